import subprocess
import sys


def test_the_core_needs_neither_tensorflow_nor_dopamine_gym_or_gin():
  code = """
import sys
from agents.core import augmentation, learner, losses, networks, replay
heavy = {'tensorflow', 'dopamine', 'gym', 'gymnasium', 'ale_py', 'gin'}
print(sorted(heavy & set(sys.modules)))
"""
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == '[]\n'
