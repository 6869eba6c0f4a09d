"""Measures what an accelerator does; see `benchmarks.accelerator`.

    python -m benchmarks.accelerator --minutes=15

Exit codes: 0, all figures are there; 2, a flag or the file is wrong; 75, the
time was over first: the same command goes on.
"""

import os

# Else the first process takes most of a GPU's memory for itself.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

from experiments.launchers import devices

# One GPU, here and in all processes that this one starts. (Populations and
# supervised training would take all of them.)
if gpus := devices.gpus():
  os.environ['CUDA_VISIBLE_DEVICES'] = gpus[0]

import pathlib
import sys
import time

import agents.dopamine  # noqa: F401

from absl import app, flags, logging

from benchmarks.accelerator import page
from benchmarks.accelerator.ledger import Ledger, LedgerError
from benchmarks.accelerator.stages import has_torch, stages
from ht_rl.files import write_text

_JSON = flags.DEFINE_string(
  'json', 'accelerator.json', 'The figures; the page lies beside it, as .md.'
)
_BASE_DIR = flags.DEFINE_string(
  'base_dir', 'runs/accelerator', 'Folder of the runs of the real game.'
)
_SCALE = flags.DEFINE_enum(
  'scale', 'full', ['full', 'small'], 'small: a trial on any machine.'
)
_MINUTES = flags.DEFINE_float(
  'minutes', 15.0, 'No figure begins after so many minutes.', lower_bound=0.0
)


def main(argv: list[str]) -> int:
  """Measures what is missing; writes the page."""
  if len(argv) > 1:
    print(f'unexpected argument {argv[1]!r}', file=sys.stderr)
    return 2
  logging.set_verbosity(logging.WARNING)
  deadline = time.monotonic() + 60 * _MINUTES.value
  path = pathlib.Path(_JSON.value)
  if path.suffix == '.md':
    print('--json: the page has this name; end it in .json', file=sys.stderr)
    return 2
  try:
    ledger = Ledger(path, _SCALE.value)
    ledger.write()  # Before any work: the path may be wrong.
  except LedgerError as error:
    print(error, file=sys.stderr)
    return 2
  except OSError as error:
    why = f'--json: {path} cannot be written ({error.strerror})'
    print(why, file=sys.stderr)
    return 2
  if not has_torch():
    print('PyTorch is not installed: no images a second beside it')
  names = []
  for name, figure in stages(_SCALE.value, _BASE_DIR.value, deadline):
    names.append(name)
    if time.monotonic() < deadline:
      ledger.measure(name, figure)
  write_text(path.with_suffix('.md'), page.render(ledger))
  left = [name for name in names if name not in ledger.figures]
  if left:
    print(f'{len(left)} figures are left: the same command goes on with them')
    return 75
  print(f'{path} and {path.with_suffix(".md")} are complete')
  return 0


if __name__ == '__main__':
  app.run(main)
