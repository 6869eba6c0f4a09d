"""Starts processes on cores, GPUs and clusters; knows nothing of runs."""
