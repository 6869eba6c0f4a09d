"""Runs the Python code of the README and the documentation."""

import pathlib
import re

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import ht_rl
from ht_rl.atari100k import GAMES

REPOSITORY = pathlib.Path(__file__).parents[2]
PAGES = [
  page.relative_to(REPOSITORY)
  for page in (REPOSITORY / 'README.md', *REPOSITORY.glob('docs/**/*.md'))
  if '```python\n' in page.read_text()
]


def names():
  """Returns the names that the pages use without definition."""
  network, x = nn.Dense(2), jnp.ones((4, 3))
  params = network.init(jax.random.key(0), x)
  optimizer = ht_rl.hare_tortoise(optax.sgd(0.1), momentum=0.9)
  return {
    'ht_rl': ht_rl,
    'optax': optax,
    'network': network,
    'x': x,
    'params': params,
    'initial_params': params,
    'grads': params,
    'gradients': params,
    'is_head': True,
    'activations': x,
    'features': x,
    'state': optimizer.init(params),
    'my_scores': {game: [10.0, 20.0, 25.0] for game in GAMES},
    'your_scores': {game: [5.0, 21.0] for game in GAMES},
  }


def test_pages_are_found():
  assert {str(page) for page in PAGES} >= {'README.md', 'docs/reinitialize.md'}


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # Some pages write files.
  text = (REPOSITORY / page).read_text()
  namespace = names()
  given = set(namespace)
  for block in re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL):
    exec(compile(block, str(page), 'exec'), namespace)
  assert set(namespace) - given - {'__builtins__'}  # Something ran.
