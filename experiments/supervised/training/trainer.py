"""Trains a network for a phase, and measures it.

Everything is on the device: images as bytes, from which each step gathers,
augments and normalises its batch. An epoch of all seeds is one jitted call.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.supervised.data import Dataset
from experiments.supervised.methods import Method
from experiments.supervised.phases import Phase, make_phases, num_in_all
from experiments.supervised.schedule import Schedule
from experiments.supervised.settings import Setting
from experiments.supervised.training.epochs import (
  Epoch,
  make_epoch,
  side_by_side,
)
from experiments.supervised.training.inputs import Inputs
from experiments.supervised.training.measures import make_measure, make_test
from experiments.supervised.training.network import Network, kernels
from experiments.supervised.training.orders import orders
from experiments.supervised.training.renewals import make_renewal
from experiments.supervised.training.state import (
  Stream,
  TrainState,
  stream,
  streams,
)
from experiments.supervised.training.steps import make_step
import ht_rl

PyTree: TypeAlias = Any

_TEST_BATCH = 1000


class Trainer:
  """Trains several seeds of one setting side by side.

  The seeds are the leading axis of all arrays of a state. An epoch depends on
  the setting, the seeds and the state alone, so a run can go on from a stored
  state.
  """

  def __init__(self, setting: Setting, seeds: Sequence[int], dataset: Dataset):
    """Draws the phases of all seeds, and puts the images on the device.

    Args:
      setting: what to run.
      seeds: one of each run, integers of at least 0.
      dataset: its data.

    Raises:
      ValueError: the setting does not fit the data.
    """
    self._setting = setting
    self._dataset = dataset
    self._network = Network(setting, dataset)
    self._keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    phases = [
      make_phases(
        dataset.train_labels,
        dataset.num_classes,
        setting.ratios,
        setting.noises,
        seed,
        noise_mode=setting.noise_mode,
        buffer_size=setting.buffer_size,
        buffer_policy=setting.buffer_policy,
        tasks=setting.tasks,
      )
      for seed in seeds
    ]
    devices = jax.local_devices()
    self._mesh = jax.sharding.Mesh(np.array(devices), ('data',))
    self._phases = [
      self._put(Phase(*map(np.stack, zip(*of_seeds, strict=True))))
      for of_seeds in zip(*phases, strict=True)
    ]
    self._inputs = Inputs(setting, seeds, dataset)
    self._on_device: tuple[int, jax.Array] | None = None
    self._programs: dict[tuple[Any, ...], Epoch] = {}
    self._renewals: dict[Method, Callable[..., TrainState]] = {}
    # Not jitted: XLA takes long to compile many draws into one program.
    self._initial = jax.vmap(self._network.init)(self._keys)

  def schedule(self, phase: int) -> Schedule:
    """Returns the steps of a phase."""
    num_samples = self._phases[phase].indices.shape[1]
    num_train = num_in_all(
      self._dataset.train_labels, self._dataset.num_classes, self._setting.tasks
    )
    return Schedule(self._setting, phase, num_samples, num_train)

  def begin_phase(
    self, phase: int, previous: TrainState | None = None
  ) -> TrainState:
    """Makes the state that a phase begins with.

    Between two phases the methods change the weights of the hare, and the
    optimizer starts anew. The tortoise stays as it is.

    Args:
      phase: number of the phase, from 0.
      previous: the state at the end of the phase before; None for the first.

    Returns:
      The state to train from.
    """
    if previous is None:
      return self.restore(jax.jit(self._first_state(phase))(self._initial))
    optimizer = self._network.optimizer(self.schedule(phase))

    def go_on(key: Any, initial: PyTree, previous: TrainState) -> TrainState:
      params = previous.params
      for method, purpose in self._methods('begin_phase'):
        params = method.begin_phase(
          params, initial[0], stream(key, Stream.BETWEEN, phase, *purpose)
        )
      # `ht_rl.regenerate` pulls to what `init` is given here: the initial
      # weights.
      opt_state = ht_rl.replace_tortoise(
        optimizer.init(initial[0]), ht_rl.tortoise_params(previous.opt_state)
      )
      return previous._replace(params=params, opt_state=opt_state)

    state = jax.jit(jax.vmap(go_on))(self._keys, self._initial, previous)
    return self.restore(state)

  def restore(self, state: TrainState) -> TrainState:
    """Returns a stored state on the devices, in buffers that can be donated."""
    return self._put(jax.tree.map(np.array, state))

  def template(self, phase: int) -> TrainState:
    """Returns the shapes and dtypes of a state of a phase."""
    return jax.eval_shape(self._first_state(phase), self._initial)

  def epoch(
    self, phase: int, epoch: int, state: TrainState
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """Renews weights if that is due, and trains for one epoch.

    Args:
      phase: number of the phase, from 0.
      epoch: number of the epoch in it, from 0.
      state: at the end of the epoch before; its buffers are donated.

    Returns:
      The new state, and `train_loss` and `train_accuracy`, each float32
      [seeds]: means over the samples of the epoch with their noisy labels.
    """
    indices, labels = self._phases[phase]
    schedule = self.schedule(phase)
    for method, purpose in self._methods('renew'):
      if schedule.renews(method, epoch):
        keys = streams(self._keys, Stream.RENEW, phase, epoch, *purpose)
        fresh, _ = jax.vmap(self._network.init)(keys)
        state = self._renew(method)(
          keys, state, fresh, self._images(phase), indices, labels
        )
    keys = streams(self._keys, Stream.EPOCH, phase, epoch)
    return self._train_epoch(phase)(
      *(keys, state, self._images(phase), indices, labels),
      orders(keys, schedule.num_samples),
    )

  def evaluate(self, phase: int, state: TrainState) -> dict[str, np.ndarray]:
    """Tests the hare and the tortoise on the whole test set of a phase.

    Args:
      phase: number of the phase, from 0.
      state: of any phase.

    Returns:
      `hare_test_accuracy`, `hare_test_top5`, `hare_test_loss` and those of the
      tortoise, each float [seeds].
    """
    networks = {
      'hare': (state.params, state.batch_stats),
      'tortoise': (
        ht_rl.tortoise_params(state.opt_state),
        state.tortoise_stats,
      ),
    }
    images, labels = self._inputs.test_set(phase)
    counted = np.sum(labels >= 0, axis=-1)
    figures: dict[str, np.ndarray] = {}
    for name, (params, stats) in networks.items():
      sums = [
        self._test(
          params,
          stats,
          images[..., start : start + _TEST_BATCH, :, :, :],
          labels[..., start : start + _TEST_BATCH],
        )
        for start in range(0, labels.shape[-1], _TEST_BATCH)
      ]
      for figure in sums[0]:
        total = np.sum([np.asarray(s[figure], float) for s in sums], axis=0)
        figures[f'{name}_test_{figure}'] = total / counted
    return figures

  def measure(self, phase: int, state: TrainState) -> dict[str, np.ndarray]:
    """Measures the plasticity of the hare on samples of a phase.

    Args:
      phase: number of the phase, from 0.
      state: of that phase.

    Returns:
      The figures of appendix C (`weight_magnitude` and `weight_distance` over
      the kernels, `zero_gradients` with respect to the features,
      `zero_activations`, `feature_rank`), beside them `effective_rank`,
      `dormant` units, and what the released code logs in their place:
      `weight_norm`, `weight_norm_distance` and `zero_parameter_gradients`; each
      float [seeds].
    """
    # On one device: XLA's CPU backend hangs in a batched SVD that runs on
    # several devices at once.
    images = self._images(phase)
    arguments = (state, self._initial, images, *self._phases[phase])
    figures = self._measure(
      streams(self._keys, Stream.ANALYSIS, phase, 0),
      *jax.tree.map(lambda x: x.addressable_data(0), arguments),
    )
    return {name: np.asarray(x, float) for name, x in figures.items()}

  def _first_state(self, phase: int) -> Callable[[PyTree], TrainState]:
    """Returns the function from initial weights and statistics to a state."""
    optimizer = self._network.optimizer(self.schedule(phase))

    def make(initial: PyTree) -> TrainState:
      params, stats = initial
      return TrainState(params, stats, stats, optimizer.init(params))

    return jax.vmap(make)

  def _methods(self, hook: str) -> list[tuple[Method, tuple[int, ...]]]:
    """Returns the methods with a hook, and what tells their streams apart.

    At most one of the paper's methods draws numbers in a hook.
    """
    own = len(self._setting.all_methods) - len(self._setting.methods)
    return [
      (method, () if i < own else (i - own,))
      for i, method in enumerate(self._setting.all_methods)
      if method.has(hook)
    ]

  def _images(self, phase: int) -> jax.Array:
    """Returns the training images of a phase on the devices."""
    # All phases have the same, unless there is one set for each seed.
    key = 0 if self._inputs.image_axis is None else phase
    if self._on_device is None or self._on_device[0] != key:
      self._on_device = None  # Before there is another copy.
      self._on_device = key, self._put(self._inputs.train_images(phase))
    return self._on_device[1]

  def _put(self, tree: PyTree) -> PyTree:
    """Copies arrays to every device."""
    everywhere = jax.NamedSharding(self._mesh, jax.P())
    return jax.device_put(tree, everywhere)

  def _train_epoch(self, phase: int) -> Epoch:
    """Returns the program of an epoch of a phase."""
    schedule = self.schedule(phase)
    if schedule.program not in self._programs:
      self._programs[schedule.program] = make_epoch(
        make_step(self._network, schedule, self._mesh),
        schedule,
        len(self._keys),
        image_axis=self._inputs.image_axis,
        steps_alone=self._steps_alone,
      )
    return self._programs[schedule.program]

  @property
  def _steps_alone(self) -> bool:
    """Whether each step is a call of its own.

    Convolutions in a scan are about three times slower on XLA's CPU backend.
    """
    weights = kernels(jax.tree.map(lambda w: w[0], self._initial[0]))
    convolves = any(w.ndim == 4 for w in weights)
    return convolves and jax.default_backend() == 'cpu'

  @functools.cached_property
  def _test(self) -> Callable[..., dict[str, jax.Array]]:
    image_axis, label_axis = self._inputs.image_axis, self._inputs.label_axis
    test = make_test(self._network, some_labels=label_axis is not None)
    axes = (0, 0, image_axis, label_axis)
    return jax.jit(side_by_side(test, axes, len(self._keys)))

  @functools.cached_property
  def _measure(self) -> Callable[..., dict[str, jax.Array]]:
    measure = make_measure(self._network)
    axes = (0, 0, 0, self._inputs.image_axis, 0, 0)
    return jax.jit(jax.vmap(measure, axes))

  def _renew(self, method: Method) -> Callable[..., TrainState]:
    """Returns the program in which a method renews weights."""
    if method not in self._renewals:
      renew = make_renewal(self._network, method)
      axes = (0, 0, 0, self._inputs.image_axis, 0, 0)
      self._renewals[method] = jax.jit(jax.vmap(renew, axes), donate_argnums=1)
    return self._renewals[method]
