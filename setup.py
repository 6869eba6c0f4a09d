"""Packages `ht_rl`; the agents and experiments run from a checkout."""

from pathlib import Path
import re

from setuptools import find_packages, setup

AGENTS = [
  'absl-py>=2.1',
  'ale-py>=0.12.1',
  'chex>=0.1.90',
  'dopamine-rl==4.1.2',  # The release that agents/dopamine/repair.py fits.
  'flax>=0.12',
  'gin-config==0.5.0',  # experiments/config.py reads its internals.
  'gymnasium>=1.2',
  'jax<0.13',  # The newest that was tested with Dopamine.
  'opencv-python>=4.11',
  'orbax-checkpoint>=0.11.30',
  'rich>=13.7',
  'tensorboard>=2.18',  # Imported by flax.metrics, which does not declare it.
  'tensorflow>=2.21',
  'tqdm>=4.66',
]
ANALYSIS = ['jinja2>=3.1', 'matplotlib>=3.9', 'tabulate>=0.9']
DEV = [
  'build>=1.2',
  'hypothesis>=6.100',
  'mypy>=1.18',
  'pandas<3',  # rliable 1.2.0 fails to import with pandas 3.
  'pre-commit>=4',
  'pytest>=8.4',
  'pytest-xdist>=3.6',
  'rliable==1.2.0',  # Tests compare the summaries with it.
  'ruff>=0.14',
  'uv>=0.9',
]
DOCS = ['furo', 'myst-parser>=4', 'sphinx>=8', 'sphinx-copybutton>=0.5']
EXAMPLES = [  # Dependencies of docs/examples, for the lock file.
  'equinox>=0.13',
  'flax>=0.12',
  'gymnasium>=1.2',
  'matplotlib>=3.9',
  'orbax-checkpoint>=0.11.30',
  'scikit-learn>=1.5',
]
RAY = ['ray>=2.50']
SLURM = ['submitit>=1.5.3']
SUPERVISED = [
  'datasets>=4',
  'flax>=0.12',
  'huggingface-hub>=0.34',
  'mlxtend>=0.23',
  'pillow>=11',
  'pyarrow>=18',
  'scipy>=1.13',
]

WATCH = ['imageio>=2.36', 'imageio-ffmpeg>=0.6']

SOURCE = Path(__file__).with_name('ht_rl').joinpath('__init__.py')
# Read as text, for an import would need JAX.
VERSION = re.search(r"^__version__ = '(.+)'", SOURCE.read_text('utf-8'), re.M)

setup(
  name='ht_rl',
  version=VERSION[1],
  description='Hare & Tortoise networks in JAX, with their experiments.',
  long_description=Path(__file__).with_name('README.md').read_text('utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Typing :: Typed',
  ],
  packages=find_packages(include=['ht_rl', 'ht_rl.*']),
  package_data={'ht_rl': ['py.typed', 'atari100k/report.html.jinja']},
  python_requires='>=3.11',
  install_requires=['jax>=0.8', 'numpy>=2.0', 'optax>=0.2.8'],
  extras_require={
    'agents': AGENTS,
    'analysis': ANALYSIS,
    **{build: [f'jax[{build}]'] for build in ('cuda12', 'cuda13', 'tpu')},
    'dev': DEV,
    'docs': DOCS,
    'examples': EXAMPLES,
    'ray': RAY,
    'slurm': SLURM,
    'supervised': SUPERVISED,
    'watch': WATCH,
  },
)
