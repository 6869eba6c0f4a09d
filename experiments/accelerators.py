"""Finds the accelerators of this machine, and names the JAX build for them.

    python -m experiments.accelerators

prints cpu, cuda12, cuda13 or tpu, as `make install` chooses it. So this module
needs no package that is still to be installed, and runs with an old Python up
to the message that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import importlib.util
import os
import pathlib
import re
import subprocess
from typing import NamedTuple

# Builds of JAX for accelerators, and a module that each of them installs.
BUILDS = {
  'cuda13': 'jax_cuda13_plugin',
  'cuda12': 'jax_cuda12_plugin',
  'tpu': 'libtpu',
}
# The builds for CUDA with the oldest driver and the lowest compute capability
# that each one supports (docs.jax.dev/en/latest/installation.html).
_CUDA = (('cuda13', 580, 7.5), ('cuda12', 525, 5.2))
_OLDEST_DRIVER = 525
# The PCI vendor and devices that JAX takes for a TPU, as in its
# jax/_src/hardware_utils.py.
_GOOGLE = '0x1ae0'
_TPUS = ('0x0027', '0x0056', '0x005e', '0x0062', '0x0063', '0x006f', '0x0076')
_ROOT = pathlib.Path('/')


class Accelerator(NamedTuple):
  """An accelerator of this machine.

  Attributes:
    name: what it is, such as 'a TPU'.
    build: the JAX build for it, a key of `BUILDS`; None if none supports it.
  """

  name: str
  build: str | None


def nvidia_smi(query: str, *more: str) -> list[str]:
  """Returns the lines with which nvidia-smi answers a query; none if it can't.

  Args:
    query: names of fields, with commas.
    *more: other arguments.
  """
  argv = ['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader,nounits']
  try:
    return subprocess.run(
      [*argv, *more], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
  except (OSError, subprocess.SubprocessError):
    return []


def find(
  root: pathlib.Path = _ROOT,
  environ: Mapping[str, str] = os.environ,
  nvidia_smi: Callable[..., list[str]] = nvidia_smi,
) -> Accelerator | None:
  """Returns the accelerator of this machine that this process may use, if any.

  Args:
    root: folder with `dev`, `proc` and `sys`.
    environ: environment variables; an empty CUDA_VISIBLE_DEVICES hides GPUs.
    nvidia_smi: see `nvidia_smi`.
  """
  hidden = environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
  found = None if hidden else _nvidia_driver(root, nvidia_smi)
  if found:
    driver, capability = found
    name = f'an NVIDIA GPU (driver {driver})'
    return Accelerator(name, cuda_build(driver, capability))
  if any(map(_is_tpu, root.glob('sys/bus/pci/devices/*'))):
    return Accelerator('a TPU', 'tpu')
  return None


def cuda_build(driver: int, capability: float | None) -> str | None:
  """Returns the JAX build for a GPU, or None if it is too old for all.

  Args:
    driver: major version of the driver.
    capability: compute capability of the oldest GPU; None if unknown.

  >>> cuda_build(580, 9.0), cuda_build(580, 7.0), cuda_build(570, 9.0)
  ('cuda13', 'cuda12', 'cuda12')
  """
  for build, oldest, lowest in _CUDA:
    if driver >= oldest and (capability is None or capability >= lowest):
      return build
  return None


def warning(
  found: Accelerator | None,
  is_installed: Callable[[str], object] = lambda name: importlib.util.find_spec(
    name
  ),
) -> str | None:
  """Returns a line for the user of a JAX that runs on the CPU; None if right.

  Args:
    found: the accelerator of this machine, from `find`.
    is_installed: whether there is a module.
  """
  if found is None:
    return None
  off = 'JAX_PLATFORMS=cpu turns this warning off'
  if found.build is None:
    return (
      f'warning: JAX runs on the CPU, because {found.name} is too old for it; '
      f'it needs driver {_OLDEST_DRIVER} and compute capability '
      f'{_CUDA[-1][-1]} at least ({off})'
    )
  if is_installed(BUILDS[found.build]):
    platform = 'tpu' if found.build == 'tpu' else 'cuda'
    return (
      f'warning: JAX runs on the CPU, although there is {found.name} and the '
      f'build {found.build} is installed; JAX_PLATFORMS={platform} shows why '
      f'({off})'
    )
  return (
    f'warning: JAX runs on the CPU, although there is {found.name}; '
    f'`make install JAX={found.build}` installs the build for it ({off})'
  )


def described(platform: str, kind: str, number: int) -> str:
  """Returns the first line of a command, about the devices that it uses.

  >>> described('gpu', 'NVIDIA H100 80GB HBM3', 2)
  'devices: 2 gpu (NVIDIA H100 80GB HBM3)'
  """
  return f'devices: {number} {platform} ({kind})'


def _nvidia_driver(
  root: pathlib.Path, nvidia_smi: Callable[..., list[str]]
) -> tuple[int, float | None] | None:
  """Returns the driver's version and the lowest compute capability, if any."""
  rows = [row.split(', ') for row in nvidia_smi('driver_version,compute_cap')]
  try:
    return int(rows[0][0].split('.')[0]), min(float(cap) for _, cap in rows)
  except (IndexError, ValueError):  # It is absent, old, or finds no GPU.
    pass
  # A container sees the driver of its host, even without its GPUs.
  if not any(root.glob('dev/nvidia[0-9]*')):
    return None
  try:
    text = (root / 'proc/driver/nvidia/version').read_text()
  except OSError:
    return None
  # 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  ...'
  version = re.search(r'\s(\d+)\.\d+', text)
  return (int(version[1]), None) if version else None


def _is_tpu(device: pathlib.Path) -> bool:
  try:
    vendor = (device / 'vendor').read_text().strip()
    return (
      vendor == _GOOGLE and (device / 'device').read_text().strip() in _TPUS
    )
  except OSError:
    return False


def main() -> None:
  """Prints the JAX build for this machine."""
  found = find()
  print((found and found.build) or 'cpu')


if __name__ == '__main__':
  main()
