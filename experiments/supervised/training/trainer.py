"""Trains a network for a phase, and measures it.

Everything is on the device: images as bytes, from which each step gathers,
augments and normalises its batch. An epoch of all seeds is one jitted call.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple, TypeAlias

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.supervised import methods, models, preprocessing
from experiments.supervised.data import Dataset
from experiments.supervised.phases import Phase, make_phases
from experiments.supervised.schedule import Schedule
from experiments.supervised.settings import Setting
import ht_rl
from ht_rl import plasticity

PyTree: TypeAlias = Any

# How many samples the plasticity of a network is measured on.
ANALYSIS_SIZE = 512
# The score up to which a unit counts as dormant in these measurements.
DORMANT_THRESHOLD = 0.025
_TEST_BATCH = 1000

# What a stream of random numbers is for.
_INIT, _EPOCH, _REDO, _PERTURB, _ANALYSIS, _SAMPLE, _BATCH = range(7)


class TrainState(NamedTuple):
  """All that training changes.

  Attributes:
    params: the weights of the hare.
    batch_stats: its running statistics of batch normalisation.
    tortoise_stats: those of the tortoise, whose weights are in `opt_state`.
    opt_state: the state of the optimizer.
  """

  params: PyTree
  batch_stats: PyTree
  tortoise_stats: PyTree
  opt_state: optax.OptState


class Trainer:
  """Trains several seeds of one setting side by side.

  A state has the seeds as the leading axis of all its arrays. What an epoch
  does follows from the setting, the seeds and the state that it is given alone,
  so that a run can go on from a stored state.
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
    self._model = models.make_model(
      setting.model,
      dataset.num_classes,
      width=setting.width,
      crelu=setting.crelu,
      dtype=setting.dtype,
    )
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
      )
      for seed in seeds
    ]
    devices = jax.local_devices()
    self._mesh = jax.sharding.Mesh(np.array(devices), ('data',))
    self._phases = [
      self._put(Phase(*map(np.stack, zip(*of_seeds, strict=True))))
      for of_seeds in zip(*phases, strict=True)
    ]
    self._images = self._put(dataset.train_images)
    self._programs: dict[int, Callable[..., Any]] = {}
    # Not jitted: XLA takes long to compile many draws into one program.
    self._initial = jax.vmap(self._init)(self._keys)

  def schedule(self, phase: int) -> Schedule:
    """The steps of a phase."""
    num_samples = self._phases[phase].indices.shape[1]
    num_train = len(self._dataset.train_labels)
    return Schedule(self._setting, phase, num_samples, num_train)

  def begin_phase(
    self, phase: int, previous: TrainState | None = None
  ) -> TrainState:
    """Makes the state that a phase begins with.

    Between two phases the hare is re-initialised as the setting says, and the
    optimizer starts anew; the tortoise goes on as it is.

    Args:
      phase: which one, from 0.
      previous: the state that the phase before left; None before the first.

    Returns:
      The state to train from.
    """
    if previous is None:
      return self.restore(jax.jit(self._first_state(phase))(self._initial))
    optimizer = self.schedule(phase).optimizer()

    def go_on(key: Any, initial: PyTree, previous: TrainState) -> TrainState:
      setting, params = self._setting, previous.params
      if setting.shrink or setting.perturb is not None:
        params = methods.shrink(
          params,
          initial[0],
          setting.shrink,
          setting.perturb,
          _stream(key, _PERTURB, phase),
        )
      if setting.head_reset:
        params = methods.reset_head(params, initial[0])
      # Of the initial weights, for `ht_rl.regenerate` draws to what it is given
      # here.
      opt_state = ht_rl.replace_tortoise(
        optimizer.init(initial[0]), ht_rl.tortoise_params(previous.opt_state)
      )
      return previous._replace(params=params, opt_state=opt_state)

    state = jax.jit(jax.vmap(go_on))(self._keys, self._initial, previous)
    return self.restore(state)

  def restore(self, state: TrainState) -> TrainState:
    """Puts a stored state on the devices, in buffers that can be donated."""
    return self._put(jax.tree.map(np.array, state))

  def template(self, phase: int) -> TrainState:
    """A state of a phase without its arrays: their shapes and dtypes."""
    return jax.eval_shape(self._first_state(phase), self._initial)

  def epoch(
    self, phase: int, epoch: int, state: TrainState
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """Recycles dormant units if that is due, and trains for one epoch.

    Args:
      phase: which phase, from 0.
      epoch: which epoch of it, from 0.
      state: as the epoch before left it; its buffers are donated.

    Returns:
      The new state, and what training saw: `train_loss` and `train_accuracy`,
      each float32 [seeds], means over the samples of the epoch (with their
      noisy labels).
    """
    indices, labels = self._phases[phase]
    if self.schedule(phase).recycles(epoch):
      keys = _streams(self._keys, _REDO, phase, epoch)
      fresh, _ = jax.vmap(self._init)(keys)
      state = self._redo(keys, state, fresh, self._images, indices, labels)
    keys = _streams(self._keys, _EPOCH, phase, epoch)
    return self._train_epoch(phase)(keys, state, self._images, indices, labels)

  def evaluate(self, state: TrainState) -> dict[str, np.ndarray]:
    """Tests the hare and the tortoise on the whole test set.

    Args:
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
    images, labels = self._dataset.test_images, self._dataset.test_labels
    figures: dict[str, np.ndarray] = {}
    for name, (params, stats) in networks.items():
      sums = [
        self._test(
          params,
          stats,
          images[start : start + _TEST_BATCH],
          labels[start : start + _TEST_BATCH],
        )
        for start in range(0, len(labels), _TEST_BATCH)
      ]
      for figure in sums[0]:
        total = np.sum([np.asarray(s[figure], float) for s in sums], axis=0)
        figures[f'{name}_test_{figure}'] = total / len(labels)
    return figures

  def measure(self, phase: int, state: TrainState) -> dict[str, np.ndarray]:
    """Measures the plasticity of the hare on samples of a phase.

    Args:
      phase: which phase, from 0.
      state: of that phase.

    Returns:
      The figures of appendix C (`weight_magnitude` and `weight_distance` over
      the kernels, `zero_gradients` with respect to the features,
      `zero_activations`, `feature_rank`), beside them `effective_rank`,
      `dormant` units, and what the released code logs in their place:
      `weight_norm`, `weight_norm_distance` and `zero_parameter_gradients`; each
      float [seeds].
    """
    figures = self._measure(
      _streams(self._keys, _ANALYSIS, phase, 0),
      state,
      self._initial,
      self._images,
      *self._phases[phase],
    )
    return {name: np.asarray(x, float) for name, x in figures.items()}

  def _first_state(self, phase: int) -> Callable[[PyTree], TrainState]:
    """Makes of initial weights and statistics a state with both networks."""
    optimizer = self.schedule(phase).optimizer()

    def make(initial: PyTree) -> TrainState:
      params, stats = initial
      return TrainState(params, stats, stats, optimizer.init(params))

    return jax.vmap(make)

  def _side_by_side(
    self, function: Callable[..., PyTree], axes: Sequence[int | None]
  ) -> Callable[..., PyTree]:
    """Maps a function of one seed over the leading axis of all seeds."""
    if len(self._keys) > 1:
      return jax.vmap(function, axes)

    # Mapped over one seed, convolutions on a CPU are a quarter slower.
    def of_one(*arguments: PyTree) -> PyTree:
      alone = (
        x if axis is None else jax.tree.map(lambda leaf: leaf[0], x)
        for x, axis in zip(arguments, axes, strict=True)
      )
      return jax.tree.map(lambda leaf: leaf[None], function(*alone))

    return of_one

  def _put(self, tree: PyTree) -> PyTree:
    """Puts arrays on every device, whole."""
    everywhere = jax.NamedSharding(self._mesh, jax.P())
    return jax.device_put(tree, everywhere)

  def _init(self, key: jax.Array) -> tuple[PyTree, PyTree]:
    """Draws weights, and makes the statistics of batch normalisation."""
    image = jnp.zeros((1, *self._dataset.train_images.shape[1:]))
    variables = self._model.init(_stream(key, _INIT), image)
    return variables['params'], variables.get('batch_stats', {})

  def _inputs(self, key: jax.Array, images: jax.Array) -> jax.Array:
    """Makes of stored images what the network reads when it trains."""
    if self._setting.augment:
      images = preprocessing.augment(key, images)
    return preprocessing.normalize(
      images, self._dataset.mean, self._dataset.std
    )

  def _apply(
    self, params: PyTree, stats: PyTree, inputs: jax.Array
  ) -> models.Outputs:
    """What the network says when it does not train."""
    return self._model.apply({'params': params, 'batch_stats': stats}, inputs)

  def _step(
    self,
    schedule: Schedule,
    key: jax.Array,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array,
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """One gradient step of one seed; the sums of loss and hits in the batch."""
    setting = self._setting
    if images.shape[0] % self._mesh.size == 0 and self._mesh.size > 1:
      by_sample = jax.NamedSharding(self._mesh, jax.P('data'))
      images = jax.lax.with_sharding_constraint(images, by_sample)
    image_key, dropout_key = jax.random.split(key)
    inputs = self._inputs(image_key, images)

    def loss_fn(params: PyTree) -> tuple[jax.Array, Any]:
      outputs, updated = self._model.apply(
        {'params': params, 'batch_stats': state.batch_stats},
        inputs,
        train=True,
        mutable=['batch_stats'],
        rngs={'dropout': dropout_key},
      )
      logits = outputs.logits
      loss = jnp.mean(
        optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      )
      regularized = loss
      if setting.spectral_decoupling:
        regularized += (
          setting.spectral_decoupling * methods.spectral_decoupling(logits)
        )
      if setting.self_distillation:
        teacher = self._apply(
          ht_rl.tortoise_params(state.opt_state), state.tortoise_stats, inputs
        )
        regularized += setting.self_distillation * methods.self_distillation(
          logits, teacher.logits
        )
      hits = jnp.sum(jnp.argmax(logits, axis=-1) == labels)
      sums = {'train_loss': loss * len(labels), 'train_accuracy': hits}
      return regularized, (updated.get('batch_stats', {}), sums)

    grads, (stats, sums) = jax.grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = schedule.optimizer().update(
      grads, state.opt_state, state.params
    )
    stats, tortoise_stats = ht_rl.hare_tortoise_step(
      stats,
      state.tortoise_stats,
      opt_state.count,
      momentum=schedule.momentum,
      reset_every=schedule.reset_every,
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, stats, tortoise_stats, opt_state), sums

  def _train_epoch(self, phase: int) -> Callable[..., Any]:
    """The program of an epoch of a phase."""
    if phase not in self._programs:
      self._programs[phase] = self._make_epoch(phase)
    return self._programs[phase]

  def _make_epoch(self, phase: int) -> Callable[..., Any]:
    schedule = self.schedule(phase)
    batch_size = self._setting.batch_size
    full, rest = divmod(schedule.num_samples, batch_size)

    def order(key: jax.Array) -> jax.Array:
      return jax.random.permutation(key, schedule.num_samples)

    def step(
      key: jax.Array,
      state: TrainState,
      images: jax.Array,
      indices: jax.Array,
      labels: jax.Array,
      rows: jax.Array,
      number: jax.Array,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
      return self._step(
        schedule,
        _stream(key, _BATCH, number),
        state,
        images[indices[rows]],
        labels[rows],
      )

    def mean(sums: list[dict[str, jax.Array]]) -> dict[str, jax.Array]:
      total = jax.tree.map(lambda *x: sum(map(jnp.sum, x)), *sums)
      return {name: x / schedule.num_samples for name, x in total.items()}

    def scanned(
      key: jax.Array,
      state: TrainState,
      images: jax.Array,
      indices: jax.Array,
      labels: jax.Array,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
      rows = order(key)
      sums = []

      def body(state: TrainState, batch: tuple) -> tuple[TrainState, Any]:
        return step(key, state, images, indices, labels, *batch)

      if full:
        batches = rows[: full * batch_size].reshape(full, batch_size)
        state, of_batches = jax.lax.scan(
          body, state, (batches, jnp.arange(full))
        )
        sums.append(of_batches)
      if rest:
        state, last = body(state, (rows[full * batch_size :], full))
        sums.append(last)
      return state, mean(sums)

    over_seeds = (0, 0, None, 0, 0)
    if not self._steps_alone:
      return jax.jit(self._side_by_side(scanned, over_seeds), donate_argnums=1)

    one_step = jax.jit(
      self._side_by_side(step, (*over_seeds, 0, None)), donate_argnums=1
    )
    orders = jax.jit(jax.vmap(order))
    means = jax.jit(jax.vmap(lambda *sums: mean(list(sums))))

    def looped(
      keys: jax.Array,
      state: TrainState,
      images: jax.Array,
      indices: jax.Array,
      labels: jax.Array,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
      rows = np.asarray(orders(keys))
      sums = []
      for number in range(schedule.steps_per_epoch):
        batch = rows[:, number * batch_size : (number + 1) * batch_size]
        state, of_batch = one_step(
          keys, state, images, indices, labels, batch, number
        )
        sums.append(of_batch)
      return state, means(*sums)

    return looped

  @property
  def _steps_alone(self) -> bool:
    """Whether each step is a call of its own.

    XLA computes convolutions on a CPU about three times slower within a scan.
    """
    kernels = _kernels(jax.tree.map(lambda w: w[0], self._initial[0]))
    convolves = any(w.ndim == 4 for w in kernels)
    return convolves and jax.default_backend() == 'cpu'

  @functools.cached_property
  def _test(self) -> Callable[..., dict[str, jax.Array]]:
    def test(
      params: PyTree, stats: PyTree, images: jax.Array, labels: jax.Array
    ) -> dict[str, jax.Array]:
      inputs = preprocessing.normalize(
        images, self._dataset.mean, self._dataset.std
      )
      logits = self._apply(params, stats, inputs).logits
      loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
      return {
        'accuracy': jnp.sum(jnp.argmax(logits, axis=-1) == labels),
        'top5': jnp.sum(jnp.sum(logits > own, axis=-1) < 5),
        'loss': jnp.sum(loss),
      }

    return jax.jit(self._side_by_side(test, (0, 0, None, None)))

  def _sample(
    self,
    key: jax.Array,
    images: jax.Array,
    indices: jax.Array,
    labels: jax.Array,
  ) -> tuple[jax.Array, jax.Array]:
    """Some training samples of a phase, as the network would read them."""
    row_key, image_key = jax.random.split(_stream(key, _SAMPLE))
    size = min(ANALYSIS_SIZE, len(indices))
    rows = jax.random.choice(row_key, len(indices), (size,), replace=False)
    return self._inputs(image_key, images[indices[rows]]), labels[rows]

  @functools.cached_property
  def _redo(self) -> Callable[..., TrainState]:
    def redo(
      key: jax.Array,
      state: TrainState,
      fresh: PyTree,
      images: jax.Array,
      indices: jax.Array,
      labels: jax.Array,
    ) -> TrainState:
      assert self._setting.redo is not None
      inputs, _ = self._sample(key, images, indices, labels)
      recycled = methods.recycle_dormant(
        state.params,
        state.batch_stats,
        state.opt_state,
        fresh,
        self._apply(state.params, state.batch_stats, inputs).activations,
        self._model.hidden_layers,
        self._setting.redo,
      )
      return state._replace(
        params=recycled.params,
        batch_stats=recycled.batch_stats,
        opt_state=recycled.opt_state,
      )

    return jax.jit(jax.vmap(redo, (0, 0, 0, None, 0, 0)), donate_argnums=1)

  @functools.cached_property
  def _measure(self) -> Callable[..., dict[str, jax.Array]]:
    def measure(
      key: jax.Array,
      state: TrainState,
      initial: PyTree,
      images: jax.Array,
      indices: jax.Array,
      labels: jax.Array,
    ) -> dict[str, jax.Array]:
      inputs, labels = self._sample(key, images, indices, labels)
      params, stats = state.params, state.batch_stats
      outputs = self._apply(params, stats, inputs)

      def cross_entropy(logits: jax.Array) -> jax.Array:
        return jnp.mean(
          optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        )

      def loss_of_features(features: jax.Array) -> jax.Array:
        variables = {'params': params, 'batch_stats': stats}
        return cross_entropy(
          self._model.apply(variables, features, method='head')
        )

      def loss_of_params(params: PyTree) -> jax.Array:
        return cross_entropy(self._apply(params, stats, inputs).logits)

      units = [
        methods.unit_activations(activation, layer, params)
        for activation, layer in zip(
          outputs.activations, self._model.hidden_layers, strict=True
        )
      ]
      features = outputs.features
      return {
        'weight_magnitude': plasticity.weight_magnitude(_kernels(params)),
        'weight_distance': plasticity.weight_distance(
          _kernels(params), _kernels(initial[0])
        ),
        'weight_norm': _mean_norm(params),
        'weight_norm_distance': _mean_norm(
          jax.tree.map(jnp.subtract, params, initial[0])
        ),
        'zero_gradients': plasticity.zero_ratio(
          jax.grad(loss_of_features)(features)
        ),
        'zero_parameter_gradients': plasticity.zero_ratio(
          jax.grad(loss_of_params)(params)
        ),
        'zero_activations': plasticity.zero_ratio(features),
        'dormant': plasticity.dormant_ratio(units, DORMANT_THRESHOLD),
        'feature_rank': plasticity.feature_rank(features),
        'effective_rank': plasticity.effective_rank(features),
      }

    return jax.jit(jax.vmap(measure, (0, 0, 0, None, 0, 0)))


def _kernels(params: PyTree) -> list[jax.Array]:
  """The weights of the layers, without biases and what normalises."""
  flat = traverse_util.flatten_dict(params)
  return [w for path, w in flat.items() if path[-1] == 'kernel']


def _mean_norm(params: PyTree) -> jax.Array:
  """The norm of each array by the number of its entries, summed."""
  norms = [jnp.linalg.norm(w.ravel()) / w.size for w in jax.tree.leaves(params)]
  return sum(norms, start=jnp.float32(0))


def _stream(key: jax.Array, *purpose: Any) -> jax.Array:
  return functools.reduce(jax.random.fold_in, purpose, key)


def _streams(keys: jax.Array, *purpose: int) -> jax.Array:
  return jax.vmap(lambda key: _stream(key, *purpose))(keys)
