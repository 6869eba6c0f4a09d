"""Reports figures of a run to Dopamine's collectors, such as TensorBoard."""

from collections.abc import Iterator
import contextlib

from dopamine.metrics import collector_dispatcher, statistics_instance
import gin
import numpy as np
from tensorflow import errors as tf_errors


class Reporter:
  """An `agents.recorded_run.Reporter` around Dopamine's dispatcher.

  Each method raises OSError where a file can't be written.
  """

  def __init__(self, dispatcher: collector_dispatcher.CollectorDispatcher):
    """Takes the dispatcher of a run."""
    self._dispatcher = dispatcher

  def write(self, name: str, value: float, step: int) -> None:
    """Reports a figure of a step."""
    with _os_errors():
      self._dispatcher.write(
        [
          statistics_instance.StatisticsInstance(
            name, np.asarray(value), step=step
          )
        ]
      )

  def flush(self) -> None:
    """Writes out what was reported."""
    with _os_errors():
      self._dispatcher.flush()

  def close(self) -> None:
    """Ends the reports."""
    with _os_errors():
      self._dispatcher.flush()
      self._dispatcher.close()


def make_reporter(folder: str) -> Reporter:
  """Returns a reporter to the collectors that gin has chosen, in a folder.

  Raises:
    OSError: a file can't be written.
  """
  with _os_errors():
    return Reporter(collector_dispatcher.CollectorDispatcher(folder))


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
  """Turns the errors of TensorBoard's writer into OSErrors."""
  try:
    yield
  except tf_errors.OpError as error:
    raise OSError(error.message) from error


def check_collectors() -> None:
  """Raises ValueError for a collector that Dopamine would silently ignore."""
  try:
    chosen = gin.query_parameter('CollectorDispatcher.collectors')
  except ValueError:  # Not set.
    return
  known = list(collector_dispatcher.AVAILABLE_COLLECTORS)
  is_list = isinstance(chosen, (tuple, list))
  if not is_list or any(name not in known for name in chosen):
    raise ValueError(
      'CollectorDispatcher.collectors must be a tuple of names among '
      f'{", ".join(known)}, not {chosen!r}'
    )
