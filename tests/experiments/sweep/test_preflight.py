"""What is wrong with a sweep is said before anything runs, a line each."""

import contextlib
import errno
import json
import pathlib
import subprocess
import sys

import pytest

from experiments import games_and_seeds
from experiments.command import (
  MachineError,
  SettingsError,
  SeveralSettingsError,
)
from experiments.sweep import history, options, plan, preflight
from experiments.sweep.plan import Configuration, Run
from ht_rl.atari100k import GAMES
from tests.experiments.wrong_settings import WRONG_SETTINGS

ROOT = pathlib.Path(__file__).parents[3]
DRQ = Configuration('DrQAgent.gamma = 0.9\n', 100)
OTHER = Configuration('DrQAgent.gamma = 0.8\n', 100)
RUNS = [Run('drq', 'Pong', 0), Run('drq', 'Qbert', 0)]


def type_command(base_dir, *words):
  process = subprocess.run(
    [
      *(sys.executable, '-m', 'experiments.sweep', 'run'),
      f'--base_dir={base_dir}',
      *words,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert 'Traceback' not in process.stderr, process.stderr
  return process.returncode, process.stdout, process.stderr.splitlines()


def test_all_that_is_wrong_gets_a_line(tmp_path):
  wild = tmp_path / 'wild.gin'
  wild.write_text("include 'gin_configs/drq.gin'\nDrQAgent.gamma = 2\n")
  code, out, lines = type_command(
    tmp_path / 'runs',
    f'--gin_files=gin_configs/drq.gin,{wild},gin_configs/drq_th.gin',
    '--games=Pong,Brakout',
    '--seeds=4-0',
  )
  assert code == 2
  assert out == ''
  assert lines[0].startswith('error: --seeds must look like 0-4 or 0,2,7')
  assert lines[1].startswith("error: --games: unknown game 'Brakout': did you")
  assert lines[2].startswith('error: wild: DrQAgent.gamma must be a number')
  assert lines[3].startswith("error: no gin file 'gin_configs/drq_th.gin': did")
  assert len(lines) == 4
  assert not (tmp_path / 'runs').exists()


def test_a_wrong_setting_is_found_before_any_run(tmp_path):
  # What is too large for this machine may fit where the run is to be.
  wrong = [x for x in WRONG_SETTINGS if 'must fit in' not in WRONG_SETTINGS[x]]
  files = [tmp_path / f'{number}.gin' for number in range(len(wrong))]
  for path, setting in zip(files, wrong, strict=True):
    path.write_text(f"include 'gin_configs/drq_ht.gin'\n{setting}\n")
  with pytest.raises(SeveralSettingsError) as caught:
    preflight.check(
      gin_files=list(map(str, files)), gin_bindings=[], games='Pong', seeds='0'
    )
  assert len(wrong) > 90
  for path, setting, problem in zip(
    files, wrong, caught.value.problems, strict=True
  ):
    assert str(path) in problem or problem.startswith(f'{path.stem}: ')
    if str(path) not in problem:  # A binding is named instead of its file.
      assert WRONG_SETTINGS[setting] in problem


def test_what_is_right_is_kept_and_can_be_read_again(tmp_path):
  arguments = (
    tmp_path,
    '--gin_files=gin_configs/drq.gin',
    '--gin_files=gin_configs/drq.gin+gin_configs/demo.gin',
    '--games=ms_pacman,ALE/Pong-v5',
    '--seeds=0,1',
    '--executor=print',
  )
  code, out, lines = type_command(*arguments)
  assert code == 0
  assert lines == []
  assert [line.split('  # ')[1] for line in out.splitlines()] == [
    f'{config}/{game}/{seed}'
    for seed in (0, 1)
    for config in ('drq', 'drq+demo')
    for game in ('MsPacman', 'Pong')
  ]
  sweep = plan.load(tmp_path)
  steps = [x.training_steps for x in sweep.configurations.values()]
  assert steps == [100_000, 15_000]
  # The settings that are kept are gin files that come to the same: they are
  # the same configurations of the same sweep.
  kept = [plan.settings_file(tmp_path, name) for name in sweep.configurations]
  copies = [tmp_path / 'copies' / path.name.replace('+', '_') for path in kept]
  copies[0].parent.mkdir()
  for path, copy in zip(kept, copies, strict=True):
    copy.write_bytes(path.read_bytes())
  files = ','.join(map(str, copies))
  type_command(tmp_path / 'other', f'--gin_files={files}', *arguments[3:])
  other = plan.load(tmp_path / 'other')
  assert [*other.configurations.values()] == [*sweep.configurations.values()]


def test_a_sweep_grows_and_its_numbers_stay(tmp_path):
  plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  more = [Run('drq', 'Alien', 0), Run('bbf', 'Pong', 0)]
  sweep = plan.extend(tmp_path, {'drq': DRQ, 'bbf': OTHER}, [*more, RUNS[1]], 5)
  assert sweep.runs == (*RUNS, *more)
  assert sweep.retries == 5
  assert plan.load(tmp_path) == sweep
  assert plan.settings_file(tmp_path, 'bbf').read_text() == OTHER.settings


def test_the_same_name_with_other_settings(tmp_path):
  plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  before = (tmp_path / plan.FILE).read_bytes()
  with pytest.raises(SeveralSettingsError) as caught:
    plan.extend(tmp_path, {'drq': OTHER}, RUNS, None)
  assert caught.value.problems == (
    f'{tmp_path}/sweep.json has drq with other settings (here: DrQAgent.gamma '
    '= 0.8); choose another --base_dir, or another name for the gin file',
  )
  assert (tmp_path / plan.FILE).read_bytes() == before


def test_a_run_folder_of_other_settings(tmp_path):
  folder = tmp_path / 'drq/Pong/0'
  folder.mkdir(parents=True)
  (folder / 'config.gin').write_text(OTHER.settings)
  with pytest.raises(SeveralSettingsError) as caught:
    plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  (problem,) = caught.value.problems
  assert problem.startswith(f'{folder} has drq with other settings (here: ')
  assert not (tmp_path / plan.FILE).exists()


@pytest.fixture
def wrong(tmp_path):
  """A sweep whose runs have all ended with a wrong setting; their folders."""
  plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  folders = [tmp_path / str(run) for run in RUNS]
  for folder in folders:
    folder.mkdir(parents=True)
    history.append(
      folder,
      'start',
      number=1,
      host='host',
      pid=1,
      device='gpu 0',
      sharing=1,
      start=history.now(),
      log='logs/1.log',
    )
    history.append(
      folder, 'end', number=1, exit_code=2, outcome='wrong setting'
    )
    assert history.read(folder).verdict(2)
  return folders


class Killed(BaseException):
  """The end of the process."""


class Steps:
  """Ends the process at a step of what is written."""

  def __init__(self, last):
    self.left = last

  def before(self, action):
    def wrapped(*args, **kwargs):
      if self.left == 0:
        raise Killed
      self.left -= 1
      return action(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize('last', range(5))
@pytest.mark.parametrize('again', [OTHER, None])
def test_a_wrong_setting_can_be_put_right(
  tmp_path, monkeypatch, wrong, last, again
):
  steps = Steps(last)
  with monkeypatch.context() as patch:
    patch.setattr(pathlib.Path, 'replace', steps.before(pathlib.Path.replace))
    patch.setattr(history, 'append', steps.before(history.append))
    # It forgives two runs and writes two files.
    with contextlib.nullcontext() if last == 4 else pytest.raises(Killed):
      plan.extend(tmp_path, {'drq': OTHER}, RUNS, None)
  # The same command puts it right; one without settings keeps what was there.
  new = {} if again is None else {'drq': again}
  sweep = plan.extend(tmp_path, new, RUNS, None)
  expected = OTHER if again or last == 4 else DRQ
  assert sweep.configurations['drq'] == expected
  assert plan.load(tmp_path) == sweep
  assert plan.settings_file(tmp_path, 'drq').read_text() == expected.settings
  if expected is OTHER:
    assert [history.read(folder).verdict(2) for folder in wrong] == [None] * 2


@pytest.mark.parametrize('last', range(3))
def test_a_kill_at_the_start_of_a_sweep(tmp_path, monkeypatch, last):
  with monkeypatch.context() as patch:
    replace = Steps(last).before(pathlib.Path.replace)
    patch.setattr(pathlib.Path, 'replace', replace)
    with contextlib.nullcontext() if last == 2 else pytest.raises(Killed):
      plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  gin_file = plan.settings_file(tmp_path, 'drq')
  assert gin_file.exists() or not (tmp_path / plan.FILE).exists()
  plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)
  assert gin_file.read_text() == DRQ.settings


def test_settings_may_change_after_a_retry(tmp_path, wrong):
  plan.forgive(plan.load(tmp_path), RUNS)
  sweep = plan.extend(tmp_path, {'drq': OTHER}, RUNS, None)
  assert sweep.configurations['drq'] == OTHER


@pytest.mark.parametrize('place', ['/proc/runs', 'file/runs'])
def test_a_folder_that_can_not_be_written(tmp_path, monkeypatch, place):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file').write_text('')
  with pytest.raises(
    SettingsError, match=r'^--base_dir: .* cannot be wr'
  ) as of:
    plan.extend(pathlib.Path(place), {'drq': DRQ}, RUNS, None)
  assert not isinstance(of.value, MachineError)


def test_a_full_disk_is_not_the_fault_of_the_folder(tmp_path, monkeypatch):
  def full(contents):
    raise OSError(errno.ENOSPC, 'No space left on device', str(min(contents)))

  monkeypatch.setattr(plan.files, 'write_files', full)
  with pytest.raises(
    MachineError, match=r'written \(No space left on device\)'
  ):
    plan.extend(tmp_path, {'drq': DRQ}, RUNS, None)


@pytest.mark.parametrize(
  'content', ['', '[]', '{"version": 1}', json.dumps({'version': 1, 'runs': 3})]
)
def test_a_damaged_sweep(tmp_path, content):
  (tmp_path / plan.FILE).write_text(content)
  with pytest.raises(SettingsError, match=r'sweep\.json is damaged'):
    plan.load(tmp_path)


def test_a_newer_sweep(tmp_path):
  (tmp_path / plan.FILE).write_text('{"version": 2}')
  with pytest.raises(SettingsError, match='is of version 2'):
    plan.load(tmp_path)


def test_two_configurations_of_one_name():
  with pytest.raises(SettingsError, match='would both be called drq'):
    options.configurations(['a/drq.gin', 'b/drq.gin'])


@pytest.mark.parametrize(
  'text', ['', '1-', '2-1', '-1', 'a', '0,,1', '4294967296', '0,2,0-1']
)
def test_seeds_that_there_are_not(text):
  with pytest.raises(SettingsError, match='--seeds'):
    games_and_seeds.seeds(text, '--seeds')


def test_all_games_are_named_alone():
  known = ('Pong', 'Alien')
  assert games_and_seeds.games('all', known, '--games') == list(GAMES)
  with pytest.raises(SettingsError, match='26 games'):
    games_and_seeds.games('Pong,all', known, '--games')


def test_a_cut_off_line_of_attempts_is_left_out(tmp_path):
  start = {
    'host': 'host',
    'pid': 1,
    'device': 'gpu 0',
    'sharing': 1,
    'log': 'logs/1.log',
  }
  history.append(tmp_path, 'start', number=1, start=history.now(), **start)
  with (tmp_path / history.FILE).open('a') as file:
    file.write('{"event": "end", "number": 1, "outc')
  assert history.read(tmp_path).attempts[0].outcome == 'killed'
  history.append(tmp_path, 'start', number=2, start=history.now(), **start)
  history.append(tmp_path, 'end', number=2, exit_code=1, outcome='failed')
  outcomes = [x.outcome for x in history.read(tmp_path).attempts]
  assert outcomes == ['killed', 'failed']
  # Who is killed is not to blame.
  assert history.read(tmp_path).verdict(retries=0).number == 2
  assert history.read(tmp_path).verdict(retries=1) is None
