"""The supervised experiments: warm starts and continual learning with noise."""
