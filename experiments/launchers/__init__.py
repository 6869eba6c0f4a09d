"""Launchers: they start commands on cores, GPUs and clusters."""
