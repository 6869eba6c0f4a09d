"""Atari-100k agents: a pure JAX core under thin Dopamine subclasses."""
