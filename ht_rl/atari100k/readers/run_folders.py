"""Reads the results of the runs below a folder."""

import pathlib
from typing import Any

from ht_rl.atari100k.games import GAMES
from ht_rl.atari100k.parsing import game_of, seed_of
from ht_rl.atari100k.readers.content import Content
from ht_rl.atari100k.run_folder import RunFolder, RunFolderError, find_runs
from ht_rl.atari100k.runs import Run


def read_runs(content: Content) -> None:
  """Reads the runs in and below the folder `content.path`."""

  def failed(error: OSError) -> None:
    content.problems.append(f'{error.filename}: {error.strerror}')

  for folder in find_runs(content.path, failed):
    try:
      result = folder.read_result()
      if result is None:
        content.unfinished.append(
          f'{folder.path} is not finished ({folder.progress()})'
        )
      else:
        add_result(content, folder.result_file, result)
    except RunFolderError as error:
      content.problems.append(str(error))
    except OSError as error:
      failed(error)


def add_result(
  content: Content, path: pathlib.Path, result: dict[str, Any]
) -> None:
  """Takes the run of a result.

  Args:
    content: takes it.
    path: the file of the result, in the run's folder.
    result: its content, which `run_folder.check_result` passed.

  Raises:
    RunFolderError: the settings of the run are damaged.
  """
  # A null score marks a game of the emulator that is not among the 26. Its name
  # was checked when it was run.
  game = result['game']
  is_other = result.get('human_normalized_score', 0) is None
  if not is_other or game in GAMES:
    game = content.parsed(str(path), game_of, game)
  if game is None:
    return
  content.add(
    Run(
      method=result['config'].strip(),
      game=game,
      seed=seed_of(result['seed']),
      score=float(result['score']),
      source=str(path),
      steps=result['protocol']['training_steps'],
      protocol=result['protocol'],
      folder=path.parent,
      settings=RunFolder(path.parent).read_settings(),
    )
  )
