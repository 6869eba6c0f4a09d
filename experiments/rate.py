"""The rate of a count that grows, such as agent steps."""

import collections


class Rate:
  """Units per second, over a window that moves along.

  A mean since the start would be wrong for long: it has the time of compilation
  and the first steps, which do not train.
  """

  def __init__(self, seconds: float):
    """Begins without a sample.

    Args:
      seconds: length of the window.
    """
    self._seconds = seconds
    self._samples: collections.deque[tuple[float, int]] = collections.deque()

  def add(self, time: float, count: int) -> None:
    """Adds a sample: the count at a time in seconds, later than the others."""
    samples = self._samples
    samples.append((time, count))
    # The first sample that stays is the last one before the window.
    while len(samples) > 2 and samples[1][0] <= time - self._seconds:
      samples.popleft()

  def skip(self, count: int) -> None:
    """Leaves out units that took no time, since they were restored."""
    shifted = [(time, before + count) for time, before in self._samples]
    self._samples = collections.deque(shifted)

  @property
  def per_second(self) -> float | None:
    """Units per second; None if the count did not grow."""
    if not self._samples:
      return None
    (begin, first), (end, last) = self._samples[0], self._samples[-1]
    has_grown = last > first and end > begin
    return (last - first) / (end - begin) if has_grown else None
