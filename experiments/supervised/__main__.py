"""Runs an experiment on warm-starting or continual learning, and draws it.

    python -m experiments.supervised --base_dir=runs \
      --gin_files=gin_configs/supervised/warm_start_mnist.gin

With --workers=4, four processes share the work; --executor chooses where they
run (see `experiments.sweep`).

An experiment is a list of settings, each run with several seeds. Every phase of
a run is kept in `<base_dir>/phases/`. The same command goes on from where it
was stopped; settings that begin alike share their first phases; several
processes with the same command share the work. `<base_dir>/<config>/` has a
table and a figure of what is finished.

Exit codes: 0, done; 1, a run failed (one line says why); 2, a setting is wrong
(one line says which); 75, it was asked to stop (SIGTERM, SIGINT) and has
written a checkpoint; 76, a loss was NaN or infinite, all else was run.
"""

from collections.abc import Sequence

from absl import app, flags

from experiments import gin_flags
from experiments.command import SettingsError, guarded, parse_flags
from experiments.launchers import options as launcher_options
from experiments.supervised.run import run
from experiments.supervised.share import share

_DRAW_ONLY = flags.DEFINE_bool(
  'draw_only', False, 'Draw what is finished, and train nothing.'
)
_WORKERS = flags.DEFINE_integer(
  'workers', None, 'Share the work between this many processes.', 1
)
flags.adopt_module_key_flags(gin_flags)
flags.adopt_module_key_flags(launcher_options)


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise SettingsError(f'unexpected argument {argv[1]!r}')
    experiment = (
      gin_flags.GIN_FILES.value,
      gin_flags.GIN_BINDINGS.value,
      gin_flags.BASE_DIR.value,
    )
    launcher_options.check_flags(is_used=_WORKERS.value is not None)
    if _WORKERS.value is None:
      run(*experiment, draw_only=_DRAW_ONLY.value)
    elif _DRAW_ONLY.value:
      raise SettingsError('--draw_only has no work for --workers to share')
    else:
      share(*experiment, workers=_WORKERS.value)

  return guarded(action)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)
