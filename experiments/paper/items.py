"""The tables and figures of the paper: what each needs, and how it is drawn.

Lee et al. (2024), "Slow and Steady Wins the Race: Maintaining Plasticity with
Hare and Tortoise Networks". Seeds are in the gin files of the supervised
experiments.
"""

from collections.abc import Callable
import functools
import pathlib
from typing import NamedTuple

from experiments.paper import accuracies, atari, plain
from experiments.paper.accuracies import Panel
from experiments.paper.rendered import Rendered
from experiments.paper.supervised import Data, Run
from experiments.supervised import paper
from ht_rl.atari100k import paper as scores
from ht_rl.atari100k.games import GAMES

_DIGITS = Data('mnist', ("Setting.dataset = 'mnist'",))
_CIFAR10, _CIFAR100 = Data('cifar10'), Data('cifar100')
_TINY_IMAGENET = Data('tiny_imagenet')
_COLOR = (_CIFAR10, _CIFAR100, _TINY_IMAGENET)
_ALL = (_DIGITS, *_COLOR)
# In MNIST's place: of the same size, and from Debian.
_FASHION = Data('fashion_mnist', is_papers=False)
_SMALL = Data('', is_papers=False, about='small')


ATARI = atari.Needs(
  full={name: f'gin_configs/{name}.gin' for name in scores.AGGREGATES},
  small={
    name: f'gin_configs/small/small_{name}.gin'
    for name in ('drq', 'drq_ht', 'drq_hr20k')
  },
  games=GAMES,
  seeds=5,
)


def _on(data: tuple[Data, ...], *experiments: str) -> tuple[Run, ...]:
  return tuple(Run(name, of) for of in data for name in experiments)


def on_fashion(experiment: str, committed: str = '') -> Run:
  """Returns an experiment on Fashion-MNIST.

  Args:
    experiment: its name.
    committed: name of the table of its results; '' for that of the experiment.
  """
  return Run(experiment, _FASHION, committed or experiment)


_GRID = (*_on(_ALL, 'warm_start'), on_fashion('warm_start'))
_METHODS = (*_on(_COLOR, 'methods_augmented'), on_fashion('methods'))


def _each(title: str, experiment: str) -> Panel:
  """Returns a table of an experiment whose results have its name."""
  return Panel(title, (*_on(_COLOR, experiment), on_fashion(experiment)))


class Item(NamedTuple):
  """A table or figure.

  Attributes:
    title: what it shows.
    render: renders it from what is below a folder of runs, or committed.
  """

  title: str
  render: Callable[[pathlib.Path], Rendered]


ITEMS: dict[str, Item] = {
  'table1': Item(
    'aggregates on Atari-100k',
    functools.partial(atari.aggregates, needs=ATARI),
  ),
  'table2': Item('the data sets', plain.data_sets),
  'table3': Item('the hyperparameters of warm starts', plain.hyperparameters),
  'table4': Item(
    'train accuracy of warm starts by data and wrong labels',
    functools.partial(
      accuracies.grid,
      panel=Panel('Final train accuracy', _GRID),
      quantity=accuracies.train,
      published=paper.final_train_accuracy,
    ),
  ),
  'table5': Item(
    'test accuracy of warm starts by data and wrong labels',
    functools.partial(
      accuracies.grid,
      panel=Panel('Final test accuracy', _GRID),
      quantity=accuracies.test,
      published=paper.final_test_accuracy,
    ),
  ),
  'table6': Item(
    'train accuracy of all methods',
    functools.partial(
      accuracies.methods,
      panel=Panel('Final train accuracy', _METHODS),
      quantity=accuracies.train,
      published=paper.METHODS_TRAIN_ACCURACY,
    ),
  ),
  'table7': Item(
    'test accuracy of all methods',
    functools.partial(
      accuracies.methods,
      panel=Panel('Final test accuracy', _METHODS),
      quantity=accuracies.test,
      published=paper.METHODS_TEST_ACCURACY,
    ),
  ),
  'table8': Item(
    'scores on the games of Atari-100k',
    functools.partial(atari.scores, needs=ATARI),
  ),
  'figure1': Item('the architecture', plain.diagram),
  'figure2': Item(
    'warm starts by data and wrong labels',
    functools.partial(
      accuracies.grid,
      panel=Panel('Final test accuracy (the numbers of Table 5)', _GRID),
      quantity=accuracies.test,
      published=paper.final_test_accuracy,
    ),
  ),
  'figure3': Item(
    "Adam's parameters",
    functools.partial(
      accuracies.settings,
      panels=(_each('Final test accuracy', 'optimizer'),),
      quantity=accuracies.test,
    ),
  ),
  'figure4': Item(
    'all methods',
    functools.partial(
      accuracies.methods,
      panel=Panel('Final test accuracy (the numbers of Table 7)', _METHODS),
      quantity=accuracies.test,
      published=paper.METHODS_TEST_ACCURACY,
    ),
  ),
  'figure5': Item(
    'Hare & Tortoise on warm starts',
    functools.partial(
      accuracies.settings,
      panels=(
        Panel(
          'Final test accuracy',
          (
            *_on(_COLOR, 'hare_tortoise'),
            # Without augmentation its settings are a part of the methods'.
            on_fashion('hare_tortoise', 'methods'),
            Run('cifar10_small', _SMALL, 'cifar10_small'),
          ),
        ),
      ),
      quantity=accuracies.test,
    ),
  ),
  'figure6': Item(
    'continual learning',
    functools.partial(
      accuracies.settings,
      panels=(
        _each('(a) all old data: final test accuracy', 'continual'),
        _each('(b) 5000 old samples', 'continual_limited'),
      ),
      quantity=accuracies.test,
    ),
  ),
  'figure7': Item(
    'warm starts with the networks swapped',
    functools.partial(
      accuracies.grid,
      panel=Panel(
        'Final test accuracy',
        _on(
          (Data('cifar10_vgg16'), Data('tiny_imagenet_resnet18')), 'warm_start'
        ),
      ),
      quantity=accuracies.test,
      published=None,
    ),
  ),
  'figure8': Item(
    'metrics after phase 1 and the final accuracy',
    functools.partial(
      accuracies.correlations,
      panel=Panel(
        "Pearson's correlation with the final test accuracy",
        (*_on(_ALL, 'metrics'), on_fashion('metrics')),
      ),
    ),
  ),
  'figure9': Item(
    'momentum and interval of Hare & Tortoise',
    functools.partial(
      accuracies.settings,
      panels=(
        _each('(a) momentum: final test accuracy', 'ablation_momentum'),
        _each('(b) interval, in epochs', 'ablation_interval'),
      ),
      quantity=accuracies.test,
    ),
  ),
}
