"""The committed scores of the full networks, beside published ones."""

from typing import NamedTuple

from experiments.paper.atari import FULL
from experiments.paper.rendered import NONE, ROOT, Rows
from ht_rl.atari100k import paper, score_files
from ht_rl.atari100k.games import GAMES, REFERENCE_SCORES
from ht_rl.atari100k.tables import points
from ht_rl.text_tables import markdown

# The methods of Table 8 whose scores are shown beside each run.
METHODS = ('drq', 'drq_ht')


class Released(NamedTuple):
  """Scores of released runs, in game points.

  Attributes:
    mean: over the runs.
    std: standard deviation over the runs.
    low: the lowest.
    high: the highest.
  """

  mean: float
  std: float
  low: float
  high: float

  def __str__(self) -> str:
    """Returns all four."""
    mean, std, low, high = map(points, self)
    return f'{mean} ± {std}, {low} to {high}'


# DrQ(eps): the 100 runs a game of Agarwal et al. (2021), "Deep Reinforcement
# Learning at the Edge of the Statistical Precipice", as released with Nikishin
# et al. (2022), "The Primacy Bias in Deep Reinforcement Learning".
DRQ_EPS = {
  'Alien': Released(865.16, 218.58, 605.7, 1956.7),
  'Amidar': Released(137.83, 41.21, 65.12, 258.19),
  'Assault': Released(579.6, 40.7, 489.75, 697.88),
  'Asterix': Released(763.59, 142.31, 513.5, 1238),
  'BankHeist': Released(232.89, 154.45, 17.7, 587),
  'BattleZone': Released(10165.3, 6185.71, 590, 25440),
  'Boxing': Released(9.04, 3.07, 3.28, 18.37),
  'Breakout': Released(19.76, 15.02, 9.69, 120.45),
  'ChopperCommand': Released(844.57, 259.56, 217, 1656),
  'CrazyClimber': Released(21539, 4408.79, 8445, 32233),
  'DemonAttack': Released(1321.55, 256.91, 725.35, 1833.7),
  'Freeway': Released(20.26, 12.75, 0, 31.12),
  'Frostbite': Released(1014.2, 918.04, 77.6, 3249),
  'Gopher': Released(621.56, 205.26, 224.6, 1086.8),
  'Hero': Released(4167.89, 2038.59, 0, 10891.6),
  'Jamesbond': Released(349.1, 56.77, 187, 509.5),
  'Kangaroo': Released(1088.38, 1275.14, 0, 6842),
  'Krull': Released(4402.07, 663.73, 2872.8, 5993.88),
  'KungFuMaster': Released(11467.41, 6587.38, 1265, 29185),
  'MsPacman': Released(1218.11, 365.18, 320, 2321.7),
  'Pong': Released(-9.06, 9.22, -20.5, 19.02),
  'PrivateEye': Released(3.53, 131.89, -955.18, 100),
  'Qbert': Released(1810.73, 1133.46, 483, 4360.75),
  'RoadRunner': Released(11211.43, 3897.81, 2187, 20437),
  'Seaquest': Released(352.28, 70.51, 214.4, 579.4),
  'UpNDown': Released(4324.5, 1533.84, 1758.1, 10334.2),
}


def text() -> str:
  """Returns a row for each run, and what the columns are, as Markdown.

  Raises:
    ScoreFileError: the committed scores are damaged.
  """
  file = ROOT / FULL
  runs = score_files.read([file]).runs if file.exists() else []
  head = ['game', 'method', 'seed', 'here', 'random', 'human']
  head += [f'{method}: paper' for method in METHODS]
  rows: Rows = [[*head, 'DrQ(eps): released runs', 'distance']]
  for run in sorted(
    runs, key=lambda run: (GAMES.index(run.game), run.method, run.seed)
  ):
    reference, released = REFERENCE_SCORES[run.game], DRQ_EPS[run.game]
    distance = (run.score - released.mean) / released.std
    rows.append(
      [
        run.game,
        run.method,
        str(run.seed),
        points(run.score),
        points(reference.random),
        points(reference.human),
        *(points(paper.SCORES[method][run.game]) for method in METHODS),
        str(released),
        f'{distance:+.1f}' if run.method == 'drq_eps' else NONE,
      ]
    )
  notes = [
    'The scores are in game points. "Paper" is the mean of Table 8, over five '
    'runs at replay ratio 2.',
    'The released runs are 100 of each game (Agarwal et al., 2021): mean ± '
    'standard deviation, lowest to highest. "Distance" is that of the score '
    'of DrQ(eps) here from their mean, in standard deviations.',
  ]
  lines = [markdown(rows), '', *(f'- {note}' for note in notes)]
  return '\n'.join(lines)
