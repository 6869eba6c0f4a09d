"""Images a second in training: this project beside a plain PyTorch loop.

    pip install torch
    python -m benchmarks.supervised

Both train the same networks on random images with batches of 256, AdamW and
clipping, in turns, in one process. This project also averages the tortoise's
weights in every step. The PyTorch loops use a `DataLoader` on a
`TensorDataset`, or index the tensors; they train one seed after the other. The
images a second are summed over seeds.

If other programs run, pin it to one core (`taskset -c 0 python -m ...`): the
threads of PyTorch wait for each other and for busy cores.
"""

from collections.abc import Callable, Iterator
import functools
import time
from typing import Any

from absl import app, flags
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (everyone's name for it)
from torch.utils import data as torch_data

from benchmarks import torch_networks
from benchmarks.image_training import BATCH, ours, random_images
from experiments.supervised.data import Dataset

_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.')
_CASES = flags.DEFINE_list(
  'cases', ['mlp', 'narrow'], 'MLP, narrow ResNet-18; resnet: all of it.'
)

# Model, width, seeds, side and channels of the images, batches of an epoch,
# epochs of a turn.
CASES: dict[str, tuple[str, float, int, int, int, int, int]] = {
  'mlp': ('mlp', 1.0, 5, 28, 1, 24, 4),
  'narrow': ('resnet18', 0.125, 1, 32, 3, 4, 1),
  'resnet': ('resnet18', 1.0, 1, 32, 3, 1, 1),
}


def theirs(
  dataset: Dataset, model: str, width: float, seeds: int, load: bool
) -> Callable[[int], None]:
  """The same in PyTorch, with a `DataLoader` or without."""
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  images = torch.from_numpy(dataset.train_images.transpose(0, 3, 1, 2).copy())
  images = ((images / 255 - 0.5) / 0.25).to(device)
  labels = torch.from_numpy(dataset.train_labels).long().to(device)
  loader = torch_data.DataLoader(
    torch_data.TensorDataset(images, labels), batch_size=BATCH, shuffle=True
  )

  def index() -> Iterator[Any]:
    for rows in torch.randperm(len(images)).split(BATCH):
      yield images[rows], labels[rows]

  runs: list[Any] = []
  for _ in range(seeds):
    network = torch_networks.make(model, width).train().to(device)
    optimizer = torch.optim.AdamW(
      network.parameters(), lr=1e-3, weight_decay=1e-4
    )
    runs.append((network, optimizer))

  def train(epochs: int) -> None:
    for network, optimizer in runs:
      for _ in range(epochs):
        for x, y in loader if load else index():
          optimizer.zero_grad()
          F.cross_entropy(network(x), y).backward()
          nn.utils.clip_grad_norm_(network.parameters(), 0.5)
          optimizer.step()
    if device == 'cuda':
      torch.cuda.synchronize()

  return train


def indexed(
  dataset: Dataset, model: str, width: float, seeds: int
) -> Callable[[int], None]:
  """The same in PyTorch, without a `DataLoader`."""
  return theirs(dataset, model, width, seeds, load=False)


def main(argv: list[str]) -> None:
  """Prints a table."""
  del argv
  print(f'{"":8}{"":28}{"images/s":>10}{"fastest":>10}{"ms a step":>11}')
  for case in _CASES.value:
    model, width, seeds, side, channels, batches, epochs = CASES[case]
    dataset = random_images(side, channels, batches)
    make = functools.partial(theirs, dataset, model, width, seeds)
    sides = {
      'ht_rl': ours(dataset, model, width, seeds),
      'PyTorch, DataLoader': make(load=True),
      'PyTorch, indexed tensors': make(load=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for train in sides.values():
      train(1)
    for _ in range(_ROUNDS.value):
      for name, train in sides.items():
        begun = time.perf_counter()
        train(epochs)
        seconds[name].append(time.perf_counter() - begun)
    steps = seeds * epochs * batches
    for name, values in seconds.items():
      median, fastest = np.median(values), min(values)
      print(
        f'{case:8}{name:28}{BATCH * steps / median:10.0f}'
        f'{BATCH * steps / fastest:10.0f}{1e3 * median / steps:11.2f}',
        flush=True,
      )


if __name__ == '__main__':
  app.run(main)
