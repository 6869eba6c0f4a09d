"""Items without runs: the diagram, the data sets, the hyperparameters."""

import pathlib

from experiments.paper.rendered import NONE, Rendered, Table
from experiments.supervised import paper
from experiments.supervised.data import sources
from experiments.supervised.settings import Setting


def diagram(base_dir: pathlib.Path) -> Rendered:
  """Renders Figure 1: the rule that the diagram shows."""
  del base_dir
  rows = [
    ['of Figure 1', 'rule', 'here'],
    ['hare', 'h <- h + optimizer step', 'the parameters'],
    ['tortoise', 's <- m s + (1 - m) h', 'ht_rl.tortoise_params(state)'],
    ['reset', 'h <- s, at intervals', 'ht_rl.hare_tortoise(reset_every=...)'],
  ]
  return Rendered(tables=[Table('The rule of the diagram', rows)])


def data_sets(base_dir: pathlib.Path) -> Rendered:
  """Renders Table 2: the data sets, beside those that are registered here."""
  del base_dir
  rows = [['data set', 'of', 'images', 'classes', 'train', 'test']]
  for name, published in paper.DATA_SETS.items():
    source = sources.SOURCES[name]
    rows.append([source.title, 'paper', *map(str, published)])
    height, width, channels = source.shape
    color = 'grayscale' if channels == 1 else 'color'
    here = [f'{height}x{width}, {color}', str(source.num_classes), NONE, NONE]
    rows.append([source.title, 'here', *here])
  return Rendered(
    tables=[Table('Data sets', rows)],
    notes=[
      'The paper prints 70,000 for the training images of MNIST, which are '
      '60,000; its text has 60,000. The sizes here are those of the files that '
      'are read.'
    ],
  )


def hyperparameters(base_dir: pathlib.Path) -> Rendered:
  """Renders Table 3: the hyperparameters, beside the defaults here."""
  del base_dir
  setting = Setting()
  here = {
    'epochs': setting.epochs[-1],
    'betas': (setting.b1, setting.b2),
    'batch size': setting.batch_size,
    'warm-up ratio': setting.warmup,
    'gradient clipping': setting.max_grad_norm,
  }
  rows = [['hyperparameter', 'paper', 'here']]
  for name, value in paper.HYPERPARAMETERS.items():
    rows.append([name, str(value), str(here[name])])
  return Rendered(
    tables=[Table('Hyperparameters of warm starts', rows)],
    notes=['Both: AdamW, and a learning rate that rises from 0.'],
  )
