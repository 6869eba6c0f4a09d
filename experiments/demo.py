"""A first run: trains DrQ with Hare & Tortoise and shows the result.

    make demo

Trains with `gin_configs/demo.gin`, evaluates, plays the random policy and every
policy of one action, prints a table of the scores and draws the learning curve.
If it was interrupted, the same command continues.
"""

from collections.abc import Sequence
import pathlib

from absl import app, flags
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure
import numpy as np

from agents import atari, evaluation
from experiments import command, train
from ht_rl import atari100k
from ht_rl.atari100k.run_folder import RunCurve, RunFolder

GIN_FILE = pathlib.Path(__file__).parents[1] / 'gin_configs' / 'demo.gin'
GAME = 'Krull'
SEED = 0
# Episodes of each constant action: some never end by themselves.
EPISODES = 1


def main(argv: Sequence[str]) -> int:
  """Runs the demo; returns its exit code."""

  def action() -> None:
    if len(argv) > 1:
      raise command.SettingsError(f'unexpected argument {argv[1]!r}')
    for name in ('gin_files', 'gin_bindings', 'game', 'seed', 'strategy'):
      if flags.FLAGS[name].present:
        raise command.SettingsError(f'--{name} has no effect on the demo')
    run(flags.FLAGS.base_dir)

  return command.guarded(action)


def run(base_dir: str) -> None:
  """Trains, evaluates, prints the table and draws the picture."""
  result = train.run([str(GIN_FILE)], [], GAME, SEED, base_dir)
  num_episodes = len(result['returns'])
  random = random_returns(GAME, num_episodes, SEED)
  constant = best_constant_returns(GAME, SEED)
  run = RunFolder.of(base_dir, GIN_FILE.stem, GAME, SEED)
  episodes = run.training_episodes()
  steps = result['protocol']['training_steps']
  late = episodes.returns[-5:]
  picture = run.path / 'learning_curve.png'
  restarts = run.curve('restart_gap').steps.tolist()
  draw(episodes, float(random.mean()), restarts, picture)
  human = atari100k.REFERENCE_SCORES[GAME].human
  rows = [
    ('random policy', random),
    ('best constant action', constant),
    ('last training episodes', late),
    ('evaluation of the tortoise', np.array(result['returns'])),
  ]
  print(f'\nDrQ + H&T, small network, on {GAME}: {steps:,} agent steps')
  heads = ('episodes', 'mean', 'worst', 'best', 'human=1')
  print(f'{"":28}' + ''.join(f'{head:>10}' for head in heads))
  for name, values in rows:
    normalized = atari100k.human_normalized_score(GAME, values.mean())
    print(
      f'{name:28}{len(values):10}{values.mean():10.1f}{values.min():10.0f}'
      f'{values.max():10.0f}{normalized:10.3f}'
    )
  print(f'{"human (published)":28}{"":10}{human:10.1f}{"":20}{1:10.3f}')
  print(f'learning curve: {picture}\nall of the run:  {run.path}')


def random_returns(game: str, num_episodes: int, seed: int) -> np.ndarray:
  """Returns the returns of the uniformly random policy, in game points."""
  num_actions = atari.AtariEnvironment(game, seed).action_space.n
  generator = np.random.default_rng(seed)

  def policy(frames: np.ndarray, first: np.ndarray) -> np.ndarray:
    del first
    return generator.integers(num_actions, size=len(frames))

  return evaluation.evaluate(policy, game, num_episodes, seed).returns


def best_constant_returns(game: str, seed: int) -> np.ndarray:
  """Returns the returns of the best policy that repeats one action.

  Above it, a policy reacts to what it sees.

  Args:
    game: name of the game.
    seed: seed of the episodes.

  Returns:
    Returns in game points, [EPISODES], of the action with the best mean.
  """
  num_actions = atari.AtariEnvironment(game, seed).action_space.n
  actions = np.repeat(np.arange(num_actions), EPISODES)
  evaluated = evaluation.evaluate(
    lambda frames, first: actions, game, len(actions), seed
  )
  returns = evaluated.returns.reshape(num_actions, EPISODES)
  return returns[returns.mean(axis=1).argmax()]


def draw(
  episodes: RunCurve,
  random: float,
  restart_steps: Sequence[int],
  path: pathlib.Path,
) -> None:
  """Draws training returns, their running mean, and the random policy's."""
  steps, returns = episodes
  window = max(1, len(returns) // 15)
  mean = np.convolve(returns, np.ones(window) / window, 'valid')
  figure = Figure(figsize=(7, 4), layout='constrained')
  axes = figure.add_subplot()
  for i, step in enumerate(restart_steps):
    label = 'restart from the tortoise' if i == 0 else None
    axes.axvline(step, color='0.85', linewidth=1, label=label)
  axes.plot(steps, returns, '.', color='0.65', label='training episode')
  label = f'mean of {window} episodes' if window > 1 else None
  axes.plot(steps[window - 1 :], mean, color='C0', label=label)
  axes.axhline(random, color='k', linestyle='--', label='random policy')
  axes.set(xlabel='agent steps', ylabel='return', title=f'{GAME}, DrQ + H&T')
  axes.legend(loc='upper left', fontsize='small')
  backend_agg.FigureCanvasAgg(figure).print_png(path)


if __name__ == '__main__':
  app.run(main, flags_parser=command.parse_flags)
