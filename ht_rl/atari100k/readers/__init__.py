"""Readers of run folders, CSV files and JSON files."""
