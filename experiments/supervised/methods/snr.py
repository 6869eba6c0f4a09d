"""SNR: units that are silent for unusually long start over."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import optax

from experiments.supervised.methods.base import Method
import ht_rl


@dataclasses.dataclass(frozen=True)
class SelfNormalizedResets(Method):
  """Resets silent units; see `ht_rl.self_normalized_resets`.

  A phase begins without records. All seeds draw the same new weights; where
  they train side by side, each step draws some. The running statistics of batch
  normalisation stay.

  Attributes:
    rejection: the probability of a longer silence at which a unit starts over.
    max_interval: the largest limit, in gradient steps.
    refresh_every: gradient steps from one setting of the limits to the next.
  """

  rejection: float
  max_interval: int = 200
  refresh_every: int = 2000

  def wrap_units(
    self,
    inner: optax.GradientTransformation,
    init: Callable[[jax.Array], Any],
    layers: Mapping[str, ht_rl.Units],
  ) -> optax.GradientTransformation:
    """Lets units start over after the step of AdamW."""
    return ht_rl.self_normalized_resets(
      inner,
      init,
      layers=layers,
      rejection=self.rejection,
      max_interval=self.max_interval,
      refresh_every=self.refresh_every,
    )
