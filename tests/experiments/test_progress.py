import contextlib
import io
import os
import pty
import re
import time

import pytest

from experiments import progress


@pytest.fixture
def clock(monkeypatch):
  """Replaces the clock by one that only a test moves."""
  now = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  return now


def test_plain_lines_are_rare_and_say_all(clock):
  stream = io.StringIO()
  shown = progress.Progress('train', 'step', 4000, 1000, stream, seconds=10.0)
  for second in range(1, 31):
    clock[0] = 100.0 + second
    shown.update(1000 + 100 * second, loss=0.123456, **{'return': None})
  shown.close()
  assert stream.getvalue().splitlines() == [
    'train: step 2,000 of 4,000, loss 0.1235, 100.0 steps/s, 00:20 left',
    'train: step 3,000 of 4,000, loss 0.1235, 100.0 steps/s, 00:10 left',
    'train: step 4,000 of 4,000, loss 0.1235, 100.0 steps/s, 00:00 left',
  ]


def test_the_time_left_is_that_of_the_last_minute(clock):
  stream = io.StringIO()
  shown = progress.Progress('train', 'step', 10_000, 0, stream, seconds=10.0)
  clock[0] += 10.0
  shown.update(1_000)  # They do not train yet.
  for second in range(1, 81):
    clock[0] += 1.0
    shown.update(1_000 + 10 * second)
  *_, last = stream.getvalue().splitlines()
  assert last == 'train: step 1,800 of 10,000, 10.0 steps/s, 13:40 left'


def test_what_was_restored_takes_no_time(clock):
  stream = io.StringIO()
  shown = progress.Progress('train', 'step', 4000, 1000, stream, seconds=10.0)
  shown.skip(1500)  # Another process did 500 of the steps.
  clock[0] += 10.0
  shown.update(2000)
  shown.skip(3000)  # 1000 come from a checkpoint.
  clock[0] += 10.0
  shown.update(3500)
  # 1000 steps of its own in 20 seconds.
  assert stream.getvalue().splitlines() == [
    'train: step 2,000 of 4,000, 50.0 steps/s, 00:40 left',
    'train: step 3,500 of 4,000, 50.0 steps/s, 00:10 left',
  ]


def test_a_terminal_does_not_count_what_was_restored():
  master, slave = pty.openpty()
  with os.fdopen(slave, 'w') as stream:
    shown = progress.Progress('train', 'step', 1_000_000, 0, stream)
    shown.skip(999_000)
    time.sleep(0.2)
    shown.update(999_100)
    shown.close()
  text = ''
  with contextlib.suppress(OSError):
    while True:
      text += os.read(master, 4096).decode(errors='replace')
  os.close(master)
  (last,) = re.findall(r'999100/1000000 .*?, +([\d.]+)(?:step/s|s/step)', text)[
    -1:
  ]
  # 100 steps in 0.2 s or more: with the others it would be millions a second.
  assert float(last) <= 500


def test_the_end_is_shown_however_soon(clock):
  stream = io.StringIO()
  shown = progress.Progress('train', 'step', 10, 0, stream)
  clock[0] += 0.5
  shown.update(9)
  shown.update(10, loss=2.0)
  assert stream.getvalue() == (
    'train: step 10 of 10, loss 2, 20.0 steps/s, 00:00 left\n'
  )


def test_nothing_done_yet_promises_no_time(clock):
  stream = io.StringIO()
  shown = progress.Progress('evaluate', 'episode', 100, 0, stream)
  clock[0] += 11.0
  shown.update(0, steps=12_345)
  assert stream.getvalue() == 'evaluate: episode 0 of 100, steps 12,345\n'


def test_a_terminal_shows_one_line_that_is_redrawn():
  master, slave = pty.openpty()
  with os.fdopen(slave, 'w') as stream:
    shown = progress.Progress('train', 'step', 20, 5, stream)
    for step in (6, 12, 20):
      time.sleep(0.15)  # The shortest time between two redraws.
      shown.update(step, loss=1.0 / step, **{'return': 3.0})
    shown.close()
  text = ''
  with contextlib.suppress(OSError):  # The other end of the terminal is closed.
    while True:
      text += os.read(master, 4096).decode(errors='replace')
  os.close(master)
  draws = text.rstrip('\r\n').split('\r')
  # Only the last line ends with a newline.
  assert '\n' not in text.rstrip('\r\n')
  assert text.endswith('\n')
  middle = next(draw for draw in draws if '12/20' in draw)
  # Step, share, time left, rate, return and loss.
  assert re.search(r'train: +60%', middle)
  assert re.search(r'\d\d:\d\d<\d\d:\d\d, .*(step/s|s/step)', middle)
  assert 'return=3' in middle
  assert 'loss=0.0833' in middle
