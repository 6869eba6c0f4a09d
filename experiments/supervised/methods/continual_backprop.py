"""Continual backprop: the least useful old units start over, steadily."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import optax

from experiments.supervised.methods.base import Method
import ht_rl


@dataclasses.dataclass(frozen=True)
class ContinualBackprop(Method):
  """Replaces units; see `ht_rl.continual_backprop`.

  A phase begins without records. All seeds draw the same new weights; where
  they train side by side, each step draws some. The running statistics of batch
  normalisation stay.

  Attributes:
    replacement_rate: share of the old units that is replaced in a gradient
      step.
    maturity: gradient steps up to which a unit is safe.
  """

  replacement_rate: float
  maturity: int = 100

  def wrap_units(
    self,
    inner: optax.GradientTransformation,
    init: Callable[[jax.Array], Any],
    layers: Mapping[str, ht_rl.Units],
  ) -> optax.GradientTransformation:
    """Lets units start over after the step of AdamW."""
    return ht_rl.continual_backprop(
      inner,
      init,
      layers=layers,
      replacement_rate=self.replacement_rate,
      maturity=self.maturity,
    )
