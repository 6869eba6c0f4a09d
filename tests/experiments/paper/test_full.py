"""Full networks beside published scores, from scores made by hand."""

import numpy as np
import pytest

from experiments.paper import full
from ht_rl.atari100k.games import GAMES, human_normalized_score
from ht_rl.atari100k.published import SYSTEMS


def test_a_run_stands_beside_published_scores(tmp_path, monkeypatch, rows):
  file = tmp_path / 'full.csv'
  monkeypatch.setattr(full, 'FULL', file)
  file.write_text(
    'algorithm,game,seed,score\ndrq_ht,Krull,0,4000.4\ndrq_eps,Boxing,3,-1.25\n'
  )
  found = rows(full.text())
  # Table 8 of the paper, and the released runs.
  assert found['Boxing'] == [
    *('drq_eps', '3', '-1.2', '0.1', '12.1', '10.6', '14.3'),
    *('9.0 ± 3.1, 3.3 to 18.4', '-3.4'),
  ]
  assert found['Krull'] == [
    *('drq_ht', '0', '4000', '1598', '2666', '3996', '3577'),
    *('4402 ± 663.7, 2873 to 5994', '\N{EN DASH}'),
  ]
  assert list(found)[1:] == ['Boxing', 'Krull']


def test_the_released_runs_have_the_published_mean():
  (system,) = (x for x in SYSTEMS if x.name == 'DrQ(eps)')
  # Each game has the same number of runs, so the mean of all is that of means.
  means = [human_normalized_score(x, full.DRQ_EPS[x].mean) for x in GAMES]
  assert np.mean(means) == pytest.approx(system.aggregates['mean'], abs=5e-4)
  assert all(x.low < x.mean < x.high for x in full.DRQ_EPS.values())
