"""Data sets of the Hugging Face hub, read by its package `datasets`."""

import errno
from typing import Any

from experiments.supervised.data import tables
from experiments.supervised.data.source import Source, Split, import_extra
from experiments.supervised.data.splits import choose

# Errors of writing a file; a network can have the second kind, too.
_NO_SPACE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def read_splits(source: Source) -> tuple[Split, Split]:
  """Reads a data set of the hub, or the local copy of it."""
  splits = _load(source.name, source.hub)
  chosen = choose(source, source.hub, {name: name for name in splits})
  train, test = (
    tables.decode(
      source,
      f'the split {name} of {source.hub}',
      splits[name].with_format('arrow')[:],
    )
    for name in chosen
  )
  return train, test


def _load(name: str, hub: str) -> Any:
  """Returns the splits of a data set in the hub, or of its local copy."""
  datasets = import_extra('datasets')
  hub_client = import_extra('huggingface_hub')
  advice = (
    f'give a folder with the files of {name}, or, where {hub} has been '
    'downloaded before, set HF_HUB_OFFLINE=1'
  )
  try:
    try:
      # One quick request: `datasets` would retry for half a minute.
      hub_client.HfApi().dataset_info(hub, timeout=5)
    except hub_client.errors.OfflineModeIsEnabled:
      advice = (
        f'unset HF_HUB_OFFLINE, or give a folder with the files of {name}'
      )
    return datasets.load_dataset(hub)
  except Exception as error:  # Which one depends on the HTTP client.
    cause: BaseException | None = error
    while cause is not None:
      if isinstance(cause, OSError) and _is_of_disk(cause):
        raise ValueError(
          f"the local copy of {hub} can't be written ({cause}): set HF_HOME to "
          'a folder that can be written and has space'
        ) from error
      cause = cause.__cause__ or cause.__context__
    reason = ' '.join(str(error.__cause__ or error).split())
    raise ValueError(
      f"{hub} can't be had from the Hugging Face hub ({reason}): {advice}"
    ) from error


def _is_of_disk(error: OSError) -> bool:
  """Returns whether a file can't be written; network errors are OSErrors."""
  return error.errno in _NO_SPACE or (
    error.errno in _NO_ACCESS and error.filename is not None
  )
