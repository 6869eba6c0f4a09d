"""Published aggregates of systems for Atari-100k.

All are over the 26 games, after 100,000 agent steps, in human-normalised
scores. "Released runs": the runs that the authors released, all of them
aggregated with the formulas of `ht_rl.atari100k.aggregates`. Protocols differ
in more than is said here: see each source.

Left out are numbers on which sources differ or of which no source was at hand:
DreamerV3 (the released scores and the tables of others give IQMs from 0.46 to
0.50), the IQM of STORM (the scores released later are of other runs), SR-SPR,
SAC-BBF and EfficientZero V2.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ht_rl.atari100k.aggregates import METRICS, Estimate
from ht_rl.atari100k.summary import Method, Summary


class Published(NamedTuple):
  """A published system.

  Attributes:
    name: of the system.
    runs: runs of each game.
    source: of the numbers.
    evaluation: how the runs were evaluated; '' where unknown.
    aggregates: those of `aggregates.METRICS` that are known.
  """

  name: str
  runs: str
  source: str
  evaluation: str
  aggregates: Mapping[str, float]


def _system(
  name: str,
  runs: str,
  source: str,
  evaluation: str,
  *values: float | None,
) -> Published:
  known = {
    metric: value
    for metric, value in zip(METRICS, values, strict=True)
    if value is not None
  }
  return Published(name, runs, source, evaluation, known)


_RLIABLE = 'Agarwal et al. (2021), released runs'
_100 = '100 episodes'

# In the order of IQM, median, mean and optimality gap.
SYSTEMS: tuple[Published, ...] = (
  _system(
    'SimPLe',
    '5',
    'Kaiser et al. (2020); Micheli et al. (2023), Table 1',
    '',
    0.130,
    0.134,
    0.332,
    0.729,
  ),
  _system('DER', '100', _RLIABLE, _100, 0.183, 0.189, 0.350, 0.698),
  _system('DrQ', '100', _RLIABLE, _100, 0.224, 0.212, 0.369, 0.692),
  _system('DrQ(eps)', '100', _RLIABLE, _100, 0.280, 0.313, 0.465, 0.631),
  _system('SPR', '100', _RLIABLE, _100, 0.337, 0.396, 0.616, 0.577),
  _system(
    'TWM',
    '5',
    'Robine et al. (2023), released runs',
    '',
    0.459,
    0.505,
    0.956,
    0.513,
  ),
  _system(
    'IRIS',
    '5',
    'Micheli et al. (2023), released runs',
    _100,
    0.501,
    0.289,
    1.046,
    0.512,
  ),
  _system('STORM', '5', 'Zhang et al. (2023)', '', None, 0.584, 1.267, None),
  _system(
    'DIAMOND',
    '5',
    'Alonso et al. (2024), released runs',
    '',
    0.641,
    0.373,
    1.459,
    0.480,
  ),
  _system(
    'REM',
    '5',
    'Cohen et al. (2024), released runs',
    '',
    0.673,
    0.280,
    1.222,
    0.482,
  ),
  _system(
    'BBF, replay ratio 2',
    '14',
    'Schwarzer et al. (2023), released runs',
    '100 episodes, no sticky actions',
    0.940,
    0.755,
    2.175,
    0.377,
  ),
  _system(
    'Simulus',
    '5',
    'Cohen et al. (2025), released runs',
    '',
    0.990,
    0.982,
    1.645,
    0.412,
  ),
  _system(
    'BBF, replay ratio 8',
    '52-60',
    'Schwarzer et al. (2023)',
    '100 episodes, no sticky actions',
    1.045,
    0.917,
    2.245,
    None,
  ),
  _system(
    'EfficientZero',
    '3',
    'Ye et al. (2021)',
    '32 episodes',
    None,
    1.090,
    1.943,
    None,
  ),
)


def ranked(summary: Summary) -> tuple[Method, ...]:
  """Returns the methods of a summary and the published systems in order.

  Args:
    summary: over all 26 games.

  Returns:
    All of them by their IQM; those without one after them, by their mean.
    Published systems have no scores of games.
  """
  unknown = np.array(np.nan)
  systems = [
    Method(
      name=system.name,
      scores={},
      normalized={},
      estimates={
        metric: Estimate(np.array(value), unknown, unknown)
        for metric, value in system.aggregates.items()
      },
      is_published=True,
    )
    for system in SYSTEMS
  ]

  def place(method: Method) -> tuple[bool, float]:
    known = method.estimates.get('iqm', method.estimates['mean'])
    return 'iqm' not in method.estimates, float(known.value)

  return tuple(sorted([*summary.methods, *systems], key=place))
