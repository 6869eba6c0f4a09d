"""The format of a run's folder, against files written by hand."""

import json
import os
import pathlib

import numpy as np
import pytest

from ht_rl.atari100k import run_folder
from ht_rl.atari100k.run_folder import RunFolder, RunFolderError, find_runs

PROTOCOL = {'training_steps': 100_000, 'eval_episodes': 100}
RUN = {'config': 'drq', 'game': 'Pong', 'seed': 3, 'protocol': PROTOCOL}
RESULT = {
  **RUN,
  'score': -7.5,
  'human_normalized_score': 0.37,
  'returns': [-7.0, -8.0],
}


@pytest.fixture
def run(tmp_path):
  return RunFolder(tmp_path / 'drq' / 'Pong' / '3')


def begin(run, settings='DrQAgent.gamma = 0.9\n', **changes):
  run.begin(
    **{**RUN, **changes}, settings=settings, operative_settings='x = 1\n'
  )


def write(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_the_layout(tmp_path, run):
  assert RunFolder.of(str(tmp_path), 'drq', 'Pong', 3) == run
  begin(run)
  run.write_result(RESULT)
  run.open_metrics(0).write({'step': 1})
  assert sorted(path.name for path in run.path.iterdir()) == [
    'config.gin',
    'metrics.jsonl',
    'operative_config.gin',
    'result.json',
    'run.json',
  ]
  assert run.config_file.read_text() == 'DrQAgent.gamma = 0.9\n'
  assert (run.path / 'operative_config.gin').read_text() == 'x = 1\n'
  assert json.loads((run.path / 'run.json').read_text()) == {
    'version': 1,
    **RUN,
  }
  assert run.checkpoints == run.path / 'checkpoints'
  assert run.lock_file == run.path / 'lock'


class TestResult:
  def test_what_was_written_is_read(self, run):
    assert run.read_result() is None
    assert not run.is_finished
    run.write_result(RESULT)
    assert run.is_finished
    assert run.read_result() == {'version': 1, **RESULT}
    first, *_ = json.loads(run.result_file.read_text())
    assert first == 'version'

  def test_numbers_of_numpy(self, run):
    run.write_result(
      {
        **RESULT,
        'seed': np.int64(3),
        'score': np.float32(-7.5),
        'returns': np.array([-7.0, -8.0]),
      }
    )
    assert run.read_result() == {'version': 1, **RESULT}

  def test_what_is_no_json(self, run):
    with pytest.raises(ValueError, match='cannot be written as JSON'):
      run.write_result({**RESULT, 'agent': object()})
    assert not run.is_finished

  def test_a_result_that_is_read_can_be_written(self, run):
    run.write_result({**RESULT, 'version': 7})
    assert run.read_result()['version'] == 1

  def test_an_older_file_has_no_version(self, run):
    write(run.result_file, json.dumps(RESULT))
    assert run.read_result() == RESULT

  def test_only_what_every_release_wrote_is_needed(self, run):
    minimal = {key: RESULT[key] for key in run_folder.RESULT_KEYS}
    write(run.result_file, json.dumps(minimal))
    assert run.read_result() == minimal

  def test_a_newer_file_is_refused(self, run):
    write(run.result_file, json.dumps({'version': 2, 'scores': [1]}))
    with pytest.raises(RunFolderError) as caught:
      run.read_result()
    assert str(caught.value) == (
      f'{run.result_file}: the file is of version 2 and this release of ht_rl '
      'reads versions up to 1; update ht_rl'
    )

  @pytest.mark.parametrize(
    ('content', 'problem'),
    [
      ('', 'the file is empty'),
      ('{"config": "drq",\n "sco', 'the JSON is cut off at line 2'),
      (
        b'{\0\1',
        'this is not text in UTF-8, so it is neither CSV nor JSON',
      ),
      (
        b'\xff\xfe{}',
        'this is not text in UTF-8, so it is neither CSV nor JSON',
      ),
      (
        '[]',
        'the result has no config and no game and no seed and no score and no '
        'protocol',
      ),
      ('{"version": "1"}', "the version must be a whole number, not '1'"),
      ({'score': None}, 'the score must be a finite number, not None'),
      ({'seed': '3'}, "the seed must be a whole number, not '3'"),
      ({'config': ''}, "the method must have a name, not ''"),
      ({'game': 3}, 'the game must be a name, not 3'),
      ({'returns': 3}, 'the returns must be a list'),
      ({'returns': ['x']}, "the score must be a finite number, not 'x'"),
      ({'protocol': {}}, 'the protocol must be an object with training_steps'),
    ],
  )
  def test_a_damaged_file_is_one_sentence(self, run, content, problem):
    if isinstance(content, dict):
      content = json.dumps({**RESULT, **content})
    write(run.result_file, content)
    with pytest.raises(RunFolderError) as caught:
      run.read_result()
    assert str(caught.value) == (
      f'{run.result_file}: {problem}; if experiments.train wrote this file, '
      'remove it, and the same command writes it again'
    )

  def test_a_folder_in_its_place(self, run):
    run.result_file.mkdir(parents=True)
    with pytest.raises(RunFolderError, match='not a regular file'):
      run.read_result()

  def test_a_wrong_result_is_not_written(self, run):
    for key in run_folder.RESULT_KEYS:
      wrong = {**RESULT}
      del wrong[key]
      with pytest.raises(ValueError, match=f'the result has no {key}'):
        run.write_result(wrong)
    assert not run.is_finished


class TestSettings:
  def test_comments_and_spaces_do_not_count(self, run):
    assert run.read_settings() is None
    assert run.difference('a.b = 1') is None
    begin(run, '# DrQAgent\n# ====\n\n  a.b = 1 \nc.d = 2\n')
    assert run.read_settings() == 'a.b = 1\nc.d = 2'
    assert run.difference('# of another release\na.b = 1\nc.d = 2') is None

  @pytest.mark.parametrize(
    ('settings', 'difference'),
    [
      ('a.b = 1\nc.d = 3\n', 'here: c.d = 3'),
      ('a.b = 1\n', 'there: c.d = 2'),
      ('a.b = 1\nc.d = 2\ne.f = 3', 'here: e.f = 3'),
      ('c.d = 2\na.b = 1\n', 'the same in another order'),
    ],
  )
  def test_the_first_difference(self, run, settings, difference):
    begin(run, 'a.b = 1\nc.d = 2\n')
    assert run.difference(settings) == difference

  @pytest.mark.parametrize('content', [b'a.b = "\xff"\n', None])
  def test_what_is_no_text(self, run, content):
    if content is None:
      run.config_file.mkdir(parents=True)
    else:
      write(run.config_file, content)
    for read in (run.read_settings, lambda: run.difference('')):
      with pytest.raises(RunFolderError) as caught:
        read()
      assert str(caught.value) == (
        f'{run.config_file} must be a text file in UTF-8; restore it, or start '
        'the run in another folder'
      )


class TestProgress:
  def progress(self, run, metrics):
    write(run.metrics_file, metrics)
    return str(run.progress())

  def test_before_the_first_row(self, run):
    assert run.progress() == (None, None)
    begin(run)
    assert run.progress() == (None, 100_000)
    assert str(run.progress()) == 'no step is logged'

  def test_the_last_whole_row_counts(self, run):
    begin(run)
    rows = '{"step": 41100}\n{"step": 41200, "loss": 0.1}\n{"step": 413'
    assert self.progress(run, rows) == 'step 41,200 of 100,000'

  def test_an_older_run_says_the_step(self, run):
    write(run.config_file, 'Atari100kRunner.training_steps = 100000\n')
    assert self.progress(run, '{"step": 41200}\n') == 'step 41,200'

  @pytest.mark.parametrize('length', [1, 1000, 60_000, 70_000, 3_000_000])
  def test_lines_of_any_length(self, run, length):
    padding = '{"step": 5, "x": "' + 'é' * length + '"}\n'
    rows = padding + '{"step": 6}\n' + '?' * length
    assert self.progress(run, rows) == 'step 6'

  def test_no_row_is_whole(self, run):
    rows = '{}\n[]\n3\n{"step": "3"}\n{"step": 2.5}\n\n'
    assert self.progress(run, rows) == 'no step is logged'

  def test_a_damaged_run_file(self, run):
    begin(run)
    write(run.path / 'run.json', '{"vers')
    with pytest.raises(RunFolderError) as caught:
      run.progress()
    assert str(caught.value) == (
      f'{run.path}/run.json: the JSON is cut off at line 1; if '
      'experiments.train wrote this file, remove it, and the same command '
      'writes it again'
    )

  def test_a_wrong_run_is_not_begun(self, run):
    with pytest.raises(ValueError, match='object with training_steps'):
      begin(run, protocol={'eval_episodes': 3})
    assert not run.path.exists()


class TestMetrics:
  def test_drops_what_came_after_the_checkpoint(self, run):
    write(
      run.metrics_file,
      '{"step": 1}\n{"step": 3}\n{"step": 2, "x": 1}\n{"ste',
    )
    run.open_metrics(keep_until=2).write({'step': 3, 'x': 2})
    assert run.metrics_file.read_text() == (
      '{"step": 1}\n{"step": 2, "x": 1}\n{"step": 3, "x": 2}\n'
    )

  def test_drops_an_evaluation_that_the_checkpoint_does_not_know(self, run):
    first, rest, last = (
      '{"step": 1, "evaluation_return": 3}\n',
      '{"step": 2, "loss": 1}\n',
      '{"step": 2, "evaluation_return": 4}\n',
    )
    write(run.metrics_file, first + rest + last)
    run.open_metrics(keep_until=2)
    assert run.metrics_file.read_text() == first + rest + last
    run.open_metrics(keep_until=2, is_evaluated=False)
    assert run.metrics_file.read_text() == first + rest

  def test_ends_a_line_that_lost_its_end(self, run):
    write(run.metrics_file, '{"step": 1}')
    run.open_metrics(keep_until=1).write({'step': 2})
    assert run.metrics_file.read_text() == '{"step": 1}\n{"step": 2}\n'

  @pytest.mark.parametrize(
    'row', [b'\0\0\0\0', b'\xff', b'[1]', b'{}', b'{"step": null}']
  )
  def test_drops_what_is_no_row(self, run, row):
    write(run.metrics_file, b'{"step": 1}\n' + row + b'\n{"step": 2}\n')
    run.open_metrics(keep_until=5)
    assert run.metrics_file.read_text() == '{"step": 1}\n{"step": 2}\n'

  def test_the_file_is_made_at_the_first_row(self, run):
    run.path.mkdir(parents=True)
    metrics = run.open_metrics(0)
    assert not run.metrics_file.exists()
    metrics.write({'step': 1})
    assert run.metrics_file.read_text() == '{"step": 1}\n'

  def test_a_folder_in_its_place(self, run):
    run.metrics_file.mkdir(parents=True)
    for use in (lambda: run.open_metrics(0), run.progress, run.evaluations):
      with pytest.raises(RunFolderError) as caught:
        use()
      assert str(caught.value) == (
        f'{run.metrics_file} must be a file and is a folder; remove it'
      )

  def test_any_figure_can_be_read(self, run):
    rows = '{"step": 1, "loss": 0.5}\n{"step": 2}\n{"step": 3, "loss": 1}\n'
    write(run.metrics_file, rows)
    curve = run.curve('loss')
    assert curve.steps.tolist() == [1, 3]
    assert curve.returns.tolist() == [0.5, 1.0]
    assert run.training_episodes().steps.tolist() == []

  def test_a_row_that_is_being_written(self, run):
    rows = '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.'
    write(run.metrics_file, rows)
    assert run.curve('loss').steps.tolist() == [1]
    # Nothing is written to the file of a finished run.
    run.write_result(RESULT)
    with pytest.raises(RunFolderError, match=r'metrics\.jsonl, line 2: this'):
      run.curve('loss')


class TestFindRuns:
  def found(self, below):
    return [
      str(found.path.relative_to(below)) for found in find_runs(str(below))
    ]

  def test_finished_and_unfinished_ones_in_order(self, tmp_path):
    for name, file in {
      'b/1': 'result.json',
      'b/0': 'run.json',
      'a/Pong/0': 'config.gin',
      'a/notes': 'notes.txt',
    }.items():
      write(tmp_path / name / file, '')
    assert self.found(tmp_path) == ['a/Pong/0', 'b/0', 'b/1']
    assert self.found(tmp_path / 'b' / '1') == ['.']

  def test_nothing_is_looked_for_in_their_own_folders(self, tmp_path):
    write(tmp_path / '0' / 'run.json', '')
    for name in ('checkpoints/5', 'metrics/tensorboard', 'more/1'):
      write(tmp_path / '0' / name / 'result.json', '')
    assert self.found(tmp_path) == ['0', '0/more/1']

  def test_each_is_found_once(self, tmp_path):
    write(tmp_path / 'runs' / '0' / 'run.json', '')
    (tmp_path / 'runs' / 'up').symlink_to(tmp_path / 'runs')
    (tmp_path / 'runs' / 'latest').symlink_to(tmp_path / 'runs' / '0')
    assert self.found(tmp_path / 'runs') == ['0']

  def test_what_can_not_be_listed(self, tmp_path, monkeypatch):
    write(tmp_path / '0' / 'run.json', '')
    (tmp_path / 'closed').mkdir()
    scandir = os.scandir

    def refuse(path):
      if os.fspath(path).endswith('closed'):
        raise PermissionError(13, 'Permission denied', os.fspath(path))
      return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    errors = []
    (found,) = find_runs(tmp_path, errors.append)
    assert found.path == tmp_path / '0'
    (error,) = errors
    assert pathlib.Path(error.filename) == tmp_path / 'closed'
    with pytest.raises(PermissionError):
      list(find_runs(tmp_path))
