import subprocess
import sys


def test_the_core_needs_neither_tensorflow_nor_dopamine_gym_or_gin():
  code = """
import importlib, pkgutil, sys
import agents.core
for module in pkgutil.iter_modules(agents.core.__path__, 'agents.core.'):
  importlib.import_module(module.name)
heavy = {'tensorflow', 'dopamine', 'gym', 'gymnasium', 'ale_py', 'gin'}
print('agents.core.learner' in sys.modules, sorted(heavy & set(sys.modules)))
"""
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  assert result.stdout == 'True []\n'
