"""The supervised half of the paper: warm starts and continual learning."""
