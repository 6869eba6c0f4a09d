"""The folder of a run: its files, their format, reading and writing them.

- `run.json`: what is run: version, config, game, seed and protocol;
- `config.gin`: the settings that the user gave;
- `operative_config.gin`: every setting in use;
- `metrics.jsonl`: a JSON object a line, each with its `step`;
- `episodes.jsonl`: what a final evaluation has finished while it plays, see
  `run_episodes`;
- `result.json`: the score of a finished run, see `check_result`;
- `checkpoints/`: the newest checkpoints of a run that is not finished;
- `tortoise.npz`: the weights of the tortoise of a finished run;
- `lock`: held by the process that runs it.

`run.json` and `result.json` carry the `version` of the format. Files without
one were written before there were versions and are read too; a newer version
than `VERSION` is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import dataclasses
import os
import pathlib
import shutil
from typing import Any, NamedTuple

from ht_rl import files
from ht_rl.atari100k import run_metrics, run_records
from ht_rl.atari100k.run_episodes import EpisodesFile
from ht_rl.atari100k.run_metrics import MetricsFile, RunCurve, RunFolderError
from ht_rl.atari100k.run_records import RESULT_KEYS, VERSION, check_result
from ht_rl.files import walk

__all__ = [
  'RESULT_KEYS',
  'VERSION',
  'MetricsFile',
  'RunCurve',
  'RunFolder',
  'RunFolderError',
  'RunProgress',
  'check_result',
  'find_runs',
  'first_line_only_in',
]

_RESULT, _RUN = 'result.json', 'run.json'
_CONFIG, _OPERATIVE_CONFIG = 'config.gin', 'operative_config.gin'

# Folders of the run itself, in which no other run is looked for.
_OWN_FOLDERS = ('checkpoints', 'metrics')


class RunProgress(NamedTuple):
  """How far a run has come.

  >>> str(RunProgress(41_200, 100_000))
  'step 41,200 of 100,000'

  Attributes:
    step: the last agent step that was logged; None before the first.
    training_steps: agent steps of the whole run; None where unknown.
  """

  step: int | None
  training_steps: int | None

  def __str__(self) -> str:
    """Returns the progress in words."""
    if self.step is None:
      return 'no step is logged'
    if self.training_steps is None:
      return f'step {self.step:,}'
    return f'step {self.step:,} of {self.training_steps:,}'


@dataclasses.dataclass(frozen=True)
class RunFolder:
  r"""One run on disk: a configuration on a game with a seed.

  >>> import tempfile
  >>> base_dir = tempfile.mkdtemp()
  >>> run = RunFolder.of(base_dir, 'drq_ht', 'Pong', 0)
  >>> run.begin(
  ...   config='drq_ht', game='Pong', seed=0,
  ...   protocol={'training_steps': 200, 'eval_episodes': 2},
  ...   settings='DrQAgent.gamma = 0.9\n', operative_settings='',
  ... )
  >>> metrics = run.open_metrics(keep_until=0)
  >>> metrics.write({'step': 100, 'episode_return': -21.0})
  >>> str(run.progress()), run.is_finished
  ('step 100 of 200', False)
  >>> run.write_result({**run.read_run(), 'score': -20.5})
  >>> [found.read_result()['score'] for found in find_runs(base_dir)]
  [-20.5]
  >>> run.training_episodes().returns
  array([-21.])

  Attributes:
    path: the folder, which need not exist yet.
  """

  path: pathlib.Path

  @classmethod
  def of(
    cls, base_dir: str | os.PathLike[str], config: str, game: str, seed: int
  ) -> 'RunFolder':
    """The folder `<base_dir>/<config>/<game>/<seed>`."""
    return cls(pathlib.Path(base_dir) / config / game / str(seed))

  @property
  def result_file(self) -> pathlib.Path:
    """Where the result of a finished run is."""
    return self.path / _RESULT

  @property
  def config_file(self) -> pathlib.Path:
    """Where the settings are."""
    return self.path / _CONFIG

  @property
  def metrics_file(self) -> pathlib.Path:
    """Where the figures of training are."""
    return self.path / 'metrics.jsonl'

  @property
  def episodes_file(self) -> pathlib.Path:
    """Where an evaluation keeps its finished episodes while it plays."""
    return self.path / 'episodes.jsonl'

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of the checkpoints."""
    return self.path / 'checkpoints'

  @property
  def tortoise_file(self) -> pathlib.Path:
    """Where the weights of a finished run's tortoise are."""
    return self.path / 'tortoise.npz'

  @property
  def lock_file(self) -> pathlib.Path:
    """The file whose lock the process that runs it holds."""
    return self.path / 'lock'

  def check_paths(self) -> None:
    """Raises RunFolderError if a file is in the place of a folder, or reverse.

    Raises:
      RunFolderError: it is so; the message is one line with what to do.
    """
    for name in ('', 'checkpoints', 'metrics', 'metrics/tensorboard'):
      path = self.path / name
      if os.path.lexists(path) and not path.is_dir():
        raise RunFolderError(f'{path} must be a folder; move it away')
    for path in (
      self.lock_file,
      self.path / _RUN,
      self.config_file,
      self.path / _OPERATIVE_CONFIG,
      self.metrics_file,
      self.episodes_file,
      self.result_file,
      self.tortoise_file,
    ):
      if path.exists() and not path.is_file():
        raise RunFolderError(f'{path} must be a file; move it away')

  @property
  def is_finished(self) -> bool:
    """Whether there is a result."""
    return self.result_file.exists()

  def begin(
    self,
    *,
    config: str,
    game: str,
    seed: int,
    protocol: Mapping[str, Any],
    settings: str,
    operative_settings: str,
  ) -> None:
    """Writes what is run, at the start of the run and whenever it goes on.

    Args:
      config: name of the configuration.
      game: name of the game.
      seed: seed of the run.
      protocol: with `training_steps` and `eval_episodes`.
      settings: text of `config.gin`; the run can go on only with the same.
      operative_settings: text of `operative_config.gin`.

    Raises:
      ValueError: an argument is wrong, such as a protocol without
        `training_steps`.
      OSError: a file can't be written; none is, then.
    """
    run = {
      'config': config,
      'game': game,
      'seed': seed,
      'protocol': dict(protocol),
    }
    files.write_files(
      {
        self.path / _RUN: run_records.encode(run, run_records.check_run),
        self.config_file: settings.encode(),
        self.path / _OPERATIVE_CONFIG: operative_settings.encode(),
      }
    )

  def read_run(self) -> dict[str, Any] | None:
    """Returns `run.json`, or None where there is none (older runs).

    Raises:
      RunFolderError: the file is damaged or of a newer version.
    """
    return run_records.read(self.path / _RUN, run_records.check_run)

  def write_result(self, result: Mapping[str, Any]) -> None:
    """Writes the result of a finished run, with the format's version.

    Args:
      result: what `check_result` asks for, and anything else that JSON or
        NumPy has.

    Raises:
      ValueError: something is missing in the result, or wrong.
      OSError: the file can't be written.
    """
    content = run_records.encode(result, check_result)
    files.write_files({self.result_file: content})

  def read_result(self) -> dict[str, Any] | None:
    """Returns the result, or None where the run is not finished.

    Raises:
      RunFolderError: the file is damaged or of a newer version.
    """
    return run_records.read(self.result_file, check_result)

  def read_settings(self) -> str | None:
    """Returns `config.gin` without comments; None where there is none.

    Raises:
      RunFolderError: the file is not text in UTF-8.
    """
    try:
      text = self.config_file.read_bytes().decode()
    except FileNotFoundError:
      return None
    except (UnicodeDecodeError, IsADirectoryError) as error:
      raise RunFolderError(
        f'{self.config_file} must be a text file in UTF-8; restore it, or '
        'start the run in another folder'
      ) from error
    return _without_comments(text)

  def difference(self, settings: str) -> str | None:
    """Says where the run's settings differ first from other ones.

    Args:
      settings: text of a `config.gin`.

    Returns:
      'here: LINE' for a line of `settings` that the folder lacks, 'there: LINE'
      for one of the folder that `settings` lacks; None where they are equal or
      the folder has no settings yet.

    Raises:
      RunFolderError: as `read_settings`.
    """
    there, here = self.read_settings(), _without_comments(settings)
    if there is None or there == here:
      return None
    if line := first_line_only_in(here, there):
      return f'here: {line}'
    if line := first_line_only_in(there, here):
      return f'there: {line}'
    return 'the same in another order'

  def open_metrics(
    self, keep_until: int, is_evaluated: bool = True
  ) -> MetricsFile:
    """Opens `metrics.jsonl` to go on from a checkpoint; see `MetricsFile`.

    Raises:
      RunFolderError: it is a folder.
    """
    return MetricsFile(self.metrics_file, keep_until, is_evaluated)

  def remove_leftovers(self, keep_checkpoints: bool) -> None:
    """Removes from a finished run what a kill right after its result left.

    Call it under a claim.

    Args:
      keep_checkpoints: whether the checkpoints are to stay.
    """
    self.episodes_file.unlink(missing_ok=True)
    if not keep_checkpoints:
      shutil.rmtree(self.checkpoints, ignore_errors=True)

  def open_episodes(self, policy: str, num_episodes: int) -> EpisodesFile:
    """Opens `episodes.jsonl` for the final evaluation of a policy.

    Args:
      policy: what tells it from others, such as a digest of its weights.
      num_episodes: of the evaluation.
    """
    return EpisodesFile(self.episodes_file, policy, num_episodes)

  def training_episodes(self) -> RunCurve:
    """Returns of the training episodes, in game points, at their last steps.

    Raises:
      RunFolderError: `metrics.jsonl` is damaged.
    """
    return self.curve('episode_return')

  def evaluations(self) -> RunCurve:
    """Mean returns of the evaluations during training, in game points.

    Raises:
      RunFolderError: `metrics.jsonl` is damaged.
    """
    return self.curve('evaluation_return')

  def curve(self, key: str) -> RunCurve:
    """Reads one figure from `metrics.jsonl`.

    Args:
      key: which, such as 'loss'. Lines without it are skipped.

    Returns:
      Its values; no points where there are none. Where the run is not finished,
      a last line that has no end yet is left out.

    Raises:
      RunFolderError: a line is damaged, or the file is a folder.
    """
    return run_metrics.read_curve(
      self.metrics_file, key, is_whole=self.is_finished
    )

  def progress(self) -> RunProgress:
    """Returns how far the run has come.

    Raises:
      RunFolderError: `run.json` or `metrics.jsonl` is damaged.
    """
    run = self.read_run() or {}
    training_steps = run.get('protocol', {}).get('training_steps')
    return RunProgress(run_metrics.last_step(self.metrics_file), training_steps)


def find_runs(
  below: str | os.PathLike[str],
  on_error: Callable[[OSError], None] | None = None,
) -> Iterator[RunFolder]:
  """Finds the folders of runs, finished or not, in and below a folder.

  Each is found once, whatever links there are, in the order of their names.

  Args:
    below: the folder.
    on_error: is given the error of a folder that can't be listed; None raises
      it.

  Yields:
    The folders of runs.
  """
  for folder, subfolders, names in walk(below, on_error):
    if holds_run(names):
      yield RunFolder(pathlib.Path(folder))
      subfolders[:] = [x for x in subfolders if x not in _OWN_FOLDERS]


def holds_run(names: Iterable[str]) -> bool:
  """Returns whether a folder with files of these names is that of a run."""
  return not {_RESULT, _CONFIG, _RUN}.isdisjoint(names)


def first_line_only_in(text: str, other: str) -> str | None:
  """Returns the first line of `text` that `other` lacks, or None."""
  known = set(other.splitlines())
  return next((line for line in text.splitlines() if line not in known), None)


def _without_comments(text: str) -> str:
  lines = [line.strip() for line in text.splitlines()]
  return '\n'.join(line for line in lines if line and line[0] != '#')
