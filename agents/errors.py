"""Exceptions that end a run early."""


class StoppedError(Exception):
  """A run was asked to stop, and has written a checkpoint."""


class DivergedError(Exception):
  """A loss was NaN or infinite: the run cannot continue."""


class ReplayError(ValueError):
  """A saved episode does not replay as it was."""


class CheckpointError(Exception):
  """A checkpoint could not be written, or none could be read."""
