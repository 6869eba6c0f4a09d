"""Wrong commands, files and folders: each is told in lines, with no traceback.

Each case is a command with one flaw. What it must say is tested where the
flaw belongs; here only that each ends with a code and a line for a person.
"""

import gzip
import json
import pathlib

from experiments import train  # isort: skip  (Dopamine's repair comes first)
from absl.testing import flagsaver
import numpy as np
import pytest

from experiments import demo, summarize, watch
from experiments.command import parse_flags
from experiments.paper import __main__ as paper
from experiments.paper import collect
from experiments.supervised import __main__ as supervised
from experiments.sweep import __main__ as sweep

ROOT = pathlib.Path(__file__).parents[2]
DRQ = f'--gin_files={ROOT}/gin_configs/drq_ht.gin'
DIGITS = f'--gin_files={ROOT}/gin_configs/supervised/hare_tortoise.gin'
LONG = 'x' * 300
PROGRAMS = {
  'train': (train.main, parse_flags),
  'supervised': (supervised.main, parse_flags),
  'summarize': (summarize.main, summarize.parse),
  'sweep': (sweep.main, parse_flags),
  'watch': (watch.main, parse_flags),
  'demo': (demo.main, parse_flags),
  'paper': (paper.main, parse_flags),
  'collect': (collect.main, parse_flags),
}
# Every command line below is run in a folder with these files.
RUN = {'config': 'a', 'game': 'Pong', 'seed': 0, 'score': 1.0}
HEAD = 'config,game,seed,score\n'
FILES = {
  'binary': b'\x00\xff\xfe\x80' * 50,
  'empty.gin': '',
  'json.gin': '{"DrQAgent.gamma": 0.9}',
  'python.gin': 'print("hello")\n',
  'loop.gin': "include 'loop.gin'\n",
  'lost.gin': "include 'nowhere.gin'\n",
  'binary.gin': b'\xff\xfe DrQAgent.gamma = 1',
  'null.gin': b'DrQAgent.gamma = \x00',
  'tabs.gin': 'DrQAgent:\n\tgamma = 1\n  batch_size = 2\n',
  'import.gin': 'import nothing_like_it\n',
  'code.gin': 'from __gin__ import dynamic_registration\nimport os\n',
  'macro.gin': 'a = %b\nb = %a\nDrQAgent.gamma = %a\n',
  'open.gin': 'DrQAgent.gamma = (0.9,\n',
  'empty.csv': '',
  'head.csv': HEAD,
  'binary.csv': b'\xff\xfe\x00\x01',
  'columns.csv': 'name,points\na,3\n',
  'cut.csv': HEAD + 'a,Pong,0,1\na,"Pon',
  'nan.csv': HEAD + 'a,Pong,0,nan\n',
  'inf.csv': HEAD + 'a,Pong,0,1e999\n',
  'word.csv': HEAD + 'a,Pong,0,high\n',
  'game.csv': HEAD + 'a,Pnog,0,1\n',
  'seed.csv': HEAD + 'a,Pong,first,1\n',
  'twice.csv': HEAD + 'a,Pong,0,1\na,Pong,0,2\n',
  'short.csv': HEAD + 'a,Pong\n',
  'empty.json': '',
  'list.json': '[]',
  'object.json': '{}',
  'number.json': '3',
  'text.json': '"Pong"',
  'null.json': 'null',
  'cut.json': '{"Pong": [1, 2',
  'deep.json': '[' * 100_000,
  'nested.json': '{"Pong": ' * 500 + '1' + '}' * 500,
  'nan.json': '{"Pong": [NaN]}',
  'huge.json': '{"Pong": [1' + '0' * 5000 + ']}',
  'game.json': '{"Pnog": [1, 2]}',
  'word.json': '{"Pong": ["high"]}',
  'binary.json': b'\xff\xfe\x00',
  'not.json.gz': 'not compressed',
  'cut.json.gz': gzip.compress(b'{"Pong": [1, 2]}' * 100)[:-12],
  'folder/empty': '',
  **{
    f'{name}/sweep.json': content
    for name, content in {
      'sweep_empty': '',
      'sweep_binary': b'\xff\x00',
      'sweep_cut': '{"version": 1, "runs": [',
      'sweep_list': '[]',
      'sweep_object': '{}',
      'sweep_newer': '{"version": 99}',
      'sweep_types': json.dumps(
        {'version': 1, 'runs': 3, 'configurations': [], 'retries': 'many'}
      ),
    }.items()
  },
  **{
    f'{name}/result.json': content
    for name, content in {
      'run_empty': '',
      'run_binary': b'\xff\x00',
      'run_cut': '{"config": "a", ',
      'run_list': '[]',
      'run_object': '{}',
      'run_types': json.dumps(RUN | {'seed': 'one', 'score': 'high'}),
      'run_game': json.dumps(RUN | {'game': 'Pnog'}),
      'run_newer': json.dumps(RUN | {'version': 99}),
      'run_only': json.dumps(RUN),
      'weights_empty': json.dumps(RUN),
      'weights_binary': json.dumps(RUN),
      'weights_pickle': json.dumps(RUN),
      'weights_other': json.dumps(RUN),
      'weights_config': json.dumps(RUN),
      'weights_alone': json.dumps(RUN),
    }.items()
  },
  **{
    f'weights_{name}/config.gin': "include 'gin_configs/drq.gin'\n"
    for name in ('empty', 'binary', 'pickle', 'other')
  },
  'weights_config/config.gin': b'\xff\xfe',
  'weights_empty/tortoise.npz': b'',
  'weights_binary/tortoise.npz': b'PK\x03\x04' + b'\xff' * 100,
  'weights_config/tortoise.npz': b'PK\x03\x04',
  'weights_alone/tortoise.npz': b'PK\x03\x04',
}

TRAIN = [
  [],
  [DRQ],
  ['--game=Pong'],
  ['word'],
  ['-x'],
  ['--'],
  ['--nonsense'],
  *(
    [DRQ, f'--game={game}']
    for game in ('', ' ', 'Pnog', 'Pong,Pong', 'all,Pong', LONG, 'ポン')
  ),
  *(
    [DRQ, '--game=Pong', f'--{flag}']
    for flag in (
      *('seed', 'seed=', 'seed=one', 'seed=-1', 'seed=1.5', 'seed=4-0'),
      *('seed=4294967296', 'seed=99999999999999999999', 'seed=1e3'),
      *('base_dir=', 'base_dir=binary', 'base_dir=/dev/null/x'),
      *(f'base_dir={LONG}', 'verbosity=x', 'gin_bindings', 'gam=Pong'),
    )
  ),
  *(
    [f'--gin_files={file}', '--game=Pong']
    for file in (
      *('', '.', 'folder', '/dev/null', 'nowhere.gin', LONG, 'binary'),
      *(name for name in FILES if name.endswith('.gin') and '/' not in name),
      f'{ROOT}/gin_configs/drq.gin,{ROOT}/gin_configs/drq_ht.gin',
    )
  ),
  *(
    [DRQ, '--game=Pong', f'--gin_bindings={binding}']
    for binding in (
      *('=', 'x', 'x =', '= 1', '.gamma = 1', 'DrQAgent..gamma = 1'),
      *('DrQAgent', 'DrQAgent.gamma', 'DrQAgent.gamma = @'),
      *('DrQAgent.gamma = %', 'DrQAgent.gamma = @nothing()', '@x = 1'),
      *("DrQAgent.gamma = '", 'DrQAgent.gamma = [', 'DrQAgent.gamma = {1: }'),
      *('DrQAgent.gamma = 1 / 0', 'DrQAgent.gamma = 1e999', 'import'),
      *(
        'import x y',
        'include',
        'include nothing',
        "include ''",
        "include '.'",
      ),
      *("include 'binary.gin'", "include 'loop.gin'", "include 'code.gin'"),
      *('DrQAgent.gamma = __import__("os")', 'DrQAgent.gamma = lambda: 1'),
      *('DrQAgent.num_actions = ()', 'train.agent = None', 'train.agent = 3'),
      *('train.agent = @adam', 'train.agent = @DrQAgent()', 'train.seed = 1'),
      *('DrQAgent.batch_size = 1e2', 'DrQAgent.network = @adam()'),
      *("DrQAgent.observation_dtype = 'x'", 'DrQAgent.optimizer = @adam()'),
      *('ünïcode.x = 1', 'DrQAgent.gamma = ½', '\x07', 'a' * 500),
    )
  ),
]
SUPERVISED = [
  [],
  ['word'],
  ['--nonsense'],
  ['--gin_files=nowhere.gin'],
  ['--gin_files=binary.gin'],
  ['--gin_files=empty.gin'],
  ['--gin_files=code.gin'],
  *(
    [DIGITS, f'--{flag}']
    for flag in (
      *('base_dir=binary', 'base_dir=/dev/null/x', 'workers=0', 'workers=x'),
      *('executor=ray', 'executor=pbs', 'gpus=2', 'runs_per_device=2'),
    )
  ),
  [DIGITS, '--draw_only', '--workers=2'],
  *(
    [DIGITS, f'--gin_bindings={binding}']
    for binding in (
      *("Setting.model = 'mpl'", 'Setting.model = 3', 'Setting.dataset = 3'),
      *("Setting.dataset = 'minst'", "Setting.folder = 'nowhere'"),
      *('Setting.ratios = (2,)', 'Setting.ratios = ()', 'Setting.noises = -1'),
      *('Setting.epochs = 0', 'Setting.epochs = 1.5', 'Setting.width = 0'),
      *('Setting.batch_size = 0', "Setting.learning_rate = 'x'"),
      *("Setting.dtype = 'int8'", 'Setting.train_size = 10**10'),
      *('Setting.train_size = 99999999', 'Setting.validation_size = -1'),
      *('Setting.methods = (3,)', 'Setting.nothing = 1', 'Setting.b1 = 1.0'),
      *('experiment.seeds = ()', 'experiment.seeds = (-1,)'),
      *("experiment.seeds = 'abc'", 'experiment.seeds = (1, 1)'),
      *('experiment.settings = {}', "experiment.settings = {'a': 3}"),
      *("experiment.settings = {'a': {'b': 1}}", 'experiment.settings = 3'),
      *('experiment.draw = 3', 'experiment.evaluate_every = 0'),
      *('experiment.seeds_at_once = 0', 'experiment.checkpoint_seconds = -1'),
    )
  ),
]
SUMMARIZE = [
  [],
  ['nowhere'],
  [''],
  ['.'],
  ['folder'],
  ['/dev/null'],
  [LONG],
  ['binary'],
  ['--nonsense', 'list.json'],
  ['good.csv', '--partial', '--report='],
  ['good.csv', '--partial', '--plots='],
  *([name] for name in FILES if name.endswith(('.csv', '.json', '.gz'))),
  *([f'run_{n}'] for n in ('empty', 'binary', 'cut', 'list', 'object')),
  *([f'run_{n}'] for n in ('types', 'game', 'newer')),
  *(
    ['good.csv', '--partial', f'--{flag}']
    for flag in (
      *('format=xml', 'confidence=2', 'confidence=nan', 'confidence=x'),
      *('replicates=1', 'replicates=x', 'replicates=1e9', 'bootstrap_seed=-1'),
      *('detect=0', 'detect=0.1', 'detect=nan', 'last=0', 'last=2', 'last=nan'),
      *('last=0.5', 'plan=1', 'plan=x', 'plan=99999', 'compare', 'compare=a'),
      *('compare=a,a', 'compare=a,b,c', 'compare=,'),
      *(
        'baselines=x',
        'baselines=published',
        'report=folder',
        'report=good.csv',
      ),
      *('report=/dev/null/x', 'plots=binary', 'plots=/dev/null'),
    )
  ),
  ['good.csv', 'good.csv'],
  ['good.csv', './good.csv'],
  ['good.csv'],
  ['--plan=5', '--last=0.5'],
  ['--plan=5', '--replicates=500'],
]
SWEEP = [
  [],
  ['nonsense'],
  ['--nonsense'],
  ['run'],
  ['run', 'word'],
  ['run', '--games=Pong'],
  ['run', '--seeds=1'],
  ['run', '--gin_bindings=DrQAgent.gamma = 1'],
  ['run', '--retries=-1'],
  ['run', '--retries=x'],
  ['run', '--executor=pbs'],
  ['run', '--executor=print', '--gpus=1'],
  ['run', '--runs_per_device=0'],
  ['run', '--runs_per_device=many'],
  ['run', '--cpus=0'],
  ['run', '--partition=x'],
  ['run', '--base_dir=binary'],
  ['run', '--watch'],
  ['status'],
  ['status', 'nowhere'],
  ['status', 'folder'],
  ['status', 'binary'],
  ['status', ''],
  ['status', LONG],
  ['status', 'folder', 'folder'],
  ['status', 'folder', '--dry_run'],
  ['status', 'folder', '--executor=ray'],
  ['status', 'folder', '--games=Pong'],
  ['retry'],
  ['retry', 'nowhere'],
  ['retry', 'folder', '--json'],
  ['attempt'],
  ['attempt', 'folder'],
  ['attempt', 'nowhere', '0'],
  ['attempt', 'folder', 'first'],
  ['attempt', 'folder', '-1'],
  ['attempt', 'folder', '0', '1'],
  *(
    [command, name.partition('/')[0], *more]
    for name in FILES
    if name.startswith('sweep_')
    for command, *more in (('status',), ('retry',), ('attempt', '0'))
  ),
]
WATCH = [
  [],
  ['nowhere'],
  ['folder'],
  ['binary'],
  [LONG],
  ['run_only', 'run_only'],
  ['run_only', '--output=film.txt'],
  ['run_only', '--output='],
  ['run_only', '--episodes=0'],
  ['run_only', '--max_steps=x'],
  ['run_only', '--start_seed=-1'],
  ['run_only', '--start_seed=4294967296'],
  *(
    [name.partition('/')[0]]
    for name in FILES
    if name.startswith(('run_', 'weights_')) and name.endswith('result.json')
  ),
]
DEMO = [
  ['word'],
  ['--nonsense'],
  ['--game=Pong'],
  ['--seed=1'],
  [DRQ],
  ['--base_dir='],
  ['--base_dir=binary'],
  ['--base_dir=/dev/null/x'],
  ['--strategy=vmap'],
]
PAPER = [
  ['list', '--base_dir='],
  ['table8', '--base_dir=binary'],
  ['list', 'x'],
]
COLLECT = [['--base_dir='], ['--base_dir=nowhere'], ['x']]
CASES = [
  (program, words)
  for program, lines in (
    ('train', TRAIN),
    ('supervised', SUPERVISED),
    ('summarize', SUMMARIZE),
    ('sweep', SWEEP),
    ('watch', WATCH),
    ('demo', DEMO),
    ('paper', PAPER),
    ('collect', COLLECT),
  )
  for words in lines
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Returns a folder with all files of `FILES`, and what they leave."""
  root = tmp_path_factory.mktemp('bad')
  for name, content in FILES.items():
    path = root / name
    path.parent.mkdir(exist_ok=True)
    encoded = content.encode() if isinstance(content, str) else content
    path.write_bytes(encoded)
  rows = [
    f'{c},{g},{s},{s}\n'
    for c in 'ab'
    for g in ('Pong', 'Qbert')
    for s in (1, 2)
  ]
  (root / 'good.csv').write_text(HEAD + ''.join(rows))
  np.savez(root / 'weights_other' / 'tortoise.npz', w=np.zeros(3))
  np.savez(root / 'weights_pickle' / 'tortoise.npz', w=np.array([{}], object))
  return root


def content(folder):
  """Returns what is in a folder; None for what is not a file."""
  return {
    path: path.read_bytes() if path.is_file() else None
    for path in folder.rglob('*')
  }


@pytest.mark.parametrize(
  ('program', 'words'),
  CASES,
  ids=[
    f'{program} {" ".join(words).replace(str(ROOT), "")[:60]!a}-{i}'
    for i, (program, words) in enumerate(CASES)
  ],
)
def test_a_bad_input_is_told_in_lines(
  folder, monkeypatch, capfd, program, words
):
  monkeypatch.chdir(folder)
  main, parse = PROGRAMS[program]
  before = content(folder)
  with flagsaver.flagsaver():
    try:
      code = main(parse([program, *words]))
    except SystemExit as error:
      code = error.code
  out, err = capfd.readouterr()
  assert code in (1, 2), (out, err)
  assert out == ''
  lines = err.splitlines()
  assert lines
  for line in lines:
    assert line.startswith('error: ')
    assert len(line) < 2000  # A list of all games is long.
  assert 'Traceback' not in err
  assert content(folder) == before
