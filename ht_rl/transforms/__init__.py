"""Optax transforms that keep a network plastic."""
