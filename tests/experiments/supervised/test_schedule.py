"""How many steps a phase has, and what happens at which of them."""

import numpy as np
import pytest

from experiments.supervised.methods import HeadReset
from experiments.supervised.schedule import Schedule
from experiments.supervised.settings import Setting


@pytest.mark.parametrize(
  ('num_samples', 'epochs', 'steps_per_epoch', 'steps'),
  [
    # MNIST, CIFAR and Tiny ImageNet: a tenth in 1000 epochs, all in 100.
    (6000, 1000, 24, 24_000),
    (60_000, 100, 235, 23_500),
    (5000, 1000, 20, 20_000),
    (50_000, 100, 196, 19_600),
    (10_000, 1000, 40, 40_000),
    (100_000, 100, 391, 39_100),
  ],
)
def test_steps(num_samples, epochs, steps_per_epoch, steps):
  setting = Setting(ratios=(1.0,), noises=(0.0,), epochs=(epochs,))
  schedule = Schedule(setting, 0, num_samples, 60_000)
  assert schedule.steps_per_epoch == steps_per_epoch
  assert schedule.steps == steps


def restart_steps(schedule):
  return [k for k in range(schedule.steps + 1) if schedule.restarts(k)]


def test_restarts_come_after_the_first_epoch_and_every_tenth_from_there():
  setting = Setting(epochs=(25, 12), reset_epochs=10, batch_size=4)
  for phase, epochs in ((0, [1, 11, 21]), (1, [1, 11])):
    schedule = Schedule(setting, phase, 10, 10)  # 3 steps each.
    assert restart_steps(schedule) == [3 * epoch for epoch in epochs]


def test_restarts_in_steps():
  setting = Setting(epochs=(9, 1), reset_steps=5, batch_size=4)
  assert restart_steps(Schedule(setting, 0, 10, 10)) == [5, 10, 15, 20, 25]


def test_restarts_in_one_phase_alone():
  setting = Setting(epochs=(3, 3), reset_epochs=(None, 2), batch_size=4)
  first, second = (Schedule(setting, phase, 8, 8) for phase in (0, 1))
  assert first.reset_every is None
  assert restart_steps(first) == []
  assert restart_steps(second) == [2, 6]


def test_the_momentum_is_none_after_a_restart_with_one_memory():
  setting = Setting(
    epochs=(3, 3), reset_steps=3, momentum=0.75, reset_alias=True
  )
  momenta = [
    float(Schedule(setting, 0, 999, 999).momentum(k)) for k in range(8)
  ]
  assert momenta == [0.75, 0.75, 0.75, 0, 0.75, 0.75, 0, 0.75]


def test_redo_counts_epochs_of_a_phase():
  # Appendix A.4: "every 5 epochs".
  setting = Setting(redo=0.1, epochs=(16, 12))
  (redo,) = setting.all_methods
  tenth = Schedule(setting, 0, 6000, 60_000)
  assert [e for e in range(16) if tenth.renews(redo, e)] == [5, 10, 15]


def test_redo_can_count_epochs_of_all_data():
  setting = Setting(redo=0.1, redo_counts='whole', epochs=(160, 12))
  (redo,) = setting.all_methods
  tenth, whole = Schedule(setting, 0, 6, 60), Schedule(setting, 1, 60, 60)
  assert [e for e in range(160) if tenth.renews(redo, e)] == [50, 100, 150]
  # Before a later phase, too.
  assert [e for e in range(12) if whole.renews(redo, e)] == [0, 5, 10]
  head_reset = HeadReset()
  assert not whole.renews(head_reset, 0)


def test_epochs_that_take_as_long():
  def of(num_samples):
    return Schedule(Setting(), 0, num_samples, 60_000).as_long_as(5)

  assert [of(n) for n in (6000, 18_000, 60_000)] == [50, 17, 5]
  assert Schedule(Setting(), 0, 60_000, 100).as_long_as(5) == 1


def test_the_optimizer_warms_up_in_a_tenth_of_each_phase():
  setting = Setting(
    epochs=(40, 10),
    batch_size=2,
    learning_rate=(0.5, 0.25),
    weight_decay=0.0,
    max_grad_norm=1e9,
  )
  for phase, (rate, warmup) in enumerate([(0.5, 8), (0.25, 2)]):
    optimizer = Schedule(setting, phase, 4, 4).optimizer(np.zeros, {})
    weight = np.float32(0.0)
    state = optimizer.init(weight)
    moved = []
    for _ in range(12):
      update, state = optimizer.update(np.float32(1.0), state, weight)
      moved.append(-float(update))  # Adam's step is the rate, for gradient 1.
    expected = [rate * min(k / warmup, 1) for k in range(12)]
    np.testing.assert_allclose(moved, expected, rtol=1e-4)
