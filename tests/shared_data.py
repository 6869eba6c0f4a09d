"""The folder of data that are not in the repository; tests skip without it."""

import os
import pathlib

FOLDER = pathlib.Path(
  os.environ.get(
    'HT_RL_SHARED_DATA', pathlib.Path(__file__).parents[2] / 'shared' / 'data'
  )
)
