"""The ways in which a run ends before its end."""


class StoppedError(Exception):
  """A run was asked to stop, and has written a checkpoint."""


class DivergedError(Exception):
  """A loss was NaN or infinite: the run can not go on."""


class CheckpointError(Exception):
  """A checkpoint could not be written, or none could be read."""
