"""What a person launches."""
