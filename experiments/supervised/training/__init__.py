"""Trains the networks of a setting for a phase, tests and measures them."""

from experiments.supervised.training.trainer import Trainer, TrainState

__all__ = ['TrainState', 'Trainer']
