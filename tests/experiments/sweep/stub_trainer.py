"""A trainer of milliseconds, with the flags and exit codes of the real one.

What it does at each attempt is in `<base_dir>/behaviour.json`: a list of words
for a run, such as {"drq/Pong/0": ["crash", "stop"]}, after which it succeeds.
"""

import fcntl
import json
import os
import pathlib
import signal
import sys
import time


def main():
  flags = dict(word.lstrip('-').split('=', 1) for word in sys.argv[1:])
  base_dir = pathlib.Path(flags['base_dir'])
  config = pathlib.Path(flags['gin_files']).stem
  name = f'{config}/{flags["game"]}/{flags["seed"]}'
  folder = base_dir / name
  lock = (folder / 'lock').open('a')
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    print('error: another process is running', file=sys.stderr)
    return 75
  tried = folder / 'tried'
  count = len(tried.read_text()) if tried.exists() else 0
  behaviour = base_dir / 'behaviour.json'
  words = json.loads(behaviour.read_text()) if behaviour.exists() else {}
  do = words.get(name, [])[count : count + 1]
  with tried.open('a') as file:
    file.write('x')
  if do:
    return misbehave(do[0], base_dir, name)
  steps = folder / 'steps'  # What a checkpoint would be.
  done = len(steps.read_text()) if steps.exists() else 0
  for _ in range(done, 5):
    time.sleep(0.002)
    with steps.open('a') as file:
      file.write('x')
  result = folder / f'result.{os.getpid()}'
  seed = int(flags['seed'])
  content = {
    'config': config,
    'game': flags['game'],
    'seed': seed,
    'score': float(seed),
    'human_normalized_score': (seed + 1) / 4,
    'protocol': {'training_steps': 5},
    'training_seconds': 0.01,
  }
  result.write_text(json.dumps(content))
  try:
    os.link(result, folder / 'result.json')
  except FileExistsError:
    (base_dir / 'twice').open('a').write(f'{name}\n')
  result.unlink()
  return 0


def misbehave(word, base_dir, name):
  match word:
    case 'stop':
      print('stopped at step 3')
      return 75
    case 'wrong':
      print('error: DrQAgent.gamma must be a number', file=sys.stderr)
      return 2
    case 'diverge':
      print('error: the loss of gradient step 3 is not finite')
      return 76
    case 'memory':
      print('jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory')
      return 1
    case 'crash':
      raise OSError('the disk has gone')
    case 'segfault':
      os.kill(os.getpid(), signal.SIGSEGV)
    case 'path':
      print(f'error: {base_dir / name}/config.gin is damaged', file=sys.stderr)
      return 1
    case 'nothing':
      return 0
    case 'wait':
      with (base_dir / 'waits').open('a') as file:
        file.write(f'{os.getppid()}\n')
      while not (base_dir / 'release').exists():
        time.sleep(0.01)
      return 75
    case 'checkpoint':  # It takes until the file `release` is there.
      asked = []
      signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
      (base_dir / 'waits').touch()
      while not asked:
        time.sleep(0.01)
      (base_dir / 'asked').touch()
      while not (base_dir / 'release').exists():
        time.sleep(0.01)
      (base_dir / 'checkpoint').touch()
      return 75
  raise AssertionError(word)


if __name__ == '__main__':
  sys.exit(main())
