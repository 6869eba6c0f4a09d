"""Tells the user which device JAX runs on, and which one it misses."""

import jax

from agents import machine
from experiments import accelerators
from experiments.command import MachineError
from experiments.launchers import devices


def lines() -> list[str]:
  """Returns lines for the user: this process's devices, and one it misses.

  Raises:
    MachineError: JAX_PLATFORMS names what JAX can't start here.
  """
  asked = jax.config.jax_platforms or ''  # type: ignore[attr-defined]
  try:
    there = jax.local_devices()
  except (AssertionError, RuntimeError) as error:
    # For CUDA, JAX fails in an assertion without a text.
    why = str(error).partition('\n')[0] or 'no build that is installed finds it'
    raise MachineError(
      f'JAX cannot start what JAX_PLATFORMS={asked} names: {why}'
    ) from error
  platform, kind = there[0].platform, there[0].device_kind
  if platform != 'cpu':
    return [accelerators.described(platform, kind, len(there))]
  kind = f'cores {devices.ranges(machine.cores())}'
  told = [accelerators.described(platform, kind, len(there))]
  missed = None if asked.startswith('cpu') else accelerators.find()
  warning = accelerators.warning(missed)
  return [*told, warning] if warning else told
