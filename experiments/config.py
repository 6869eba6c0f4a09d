"""Reads gin files and bindings, with errors of one line."""

from collections.abc import Collection, Iterator, Sequence
import contextlib
import difflib
import inspect
import io
import os
import pathlib
import re
import tokenize

import gin

from experiments import gin_flags
from experiments.command import SettingsError

# Classes of Dopamine that ours derive from: no gin file names them.
_NOT_NAMED = ('Runner', 'JaxDQNAgent')

# Names that gin files of one of the commands use, and the command to say.
_COMMANDS = {
  'experiments.supervised': ('Setting', 'experiment', 'warm_starts', 'figures'),
  'experiments.train': (
    'train',
    'Atari100kRunner',
    'BBFAgent',
    'BBFNetwork',
    'DrQAgent',
    'DuelingQNetwork',
    'adam',
    'hare_tortoise',
  ),
}

# An `include` names a file from the working folder, beside the file that
# includes it, or in this project. (Gin knows search paths for all files alone,
# and would also look for a Python package with the folder's name.)
_ROOT = pathlib.Path(__file__).parents[1]
_REGISTRATION = re.compile(r'^\s*from[\s\\]+__gin__\b', re.MULTILINE)
_INCLUDE = re.compile(r'^(\s*include\s+)([\'"])(.+?)\2', re.MULTILINE)
gin.config._FILE_READERS[:] = [
  (lambda path: io.StringIO(_read(pathlib.Path(path))), os.path.isfile)
]


def load_config(files: Sequence[str], bindings: Sequence[str]) -> None:
  """Reads gin files and bindings, after clearing the configuration.

  Raises:
    SettingsError: a file or a name is wrong.
  """
  if not files:
    raise SettingsError(
      '--gin_files is missing: for example --gin_files=gin_configs/drq_ht.gin'
    )
  for file in files:
    if os.path.isdir(file):
      raise SettingsError(f'{file!r} must be a gin file, not a folder')
    if not os.path.isfile(file):
      raise SettingsError(f'no gin file {file!r}{_near_files(file)}')
    _check_file(pathlib.Path(file), ())
  for binding in bindings:
    first = binding.partition('\n')[0]
    _refuse_registration(binding, f'--gin_bindings={first}')
    for _, _, included in _INCLUDE.findall(binding):
      if found := _found(included, pathlib.Path()):
        _check_file(found, ())
  gin.clear_config()
  for file in files:
    with _explained(file):
      gin.parse_config_file(file)
  for binding in bindings:
    with _explained(binding):
      gin.parse_config(_with_full_paths(binding, pathlib.Path()))
  with _explained('+'.join(files)):
    gin.finalize()


@contextlib.contextmanager
def _explained(source: str) -> Iterator[None]:
  """Turns errors of gin into a SettingsError."""
  try:
    yield
  except SettingsError as error:  # Gin has added lines to it.
    raise SettingsError(explain(error)) from error
  except (
    ValueError,
    SyntaxError,
    tokenize.TokenError,
    ImportError,
    OSError,
  ) as error:
    raise SettingsError(f'{explain(error)} (in {source})') from error


def _text_of(path: pathlib.Path) -> str:
  try:
    return path.read_bytes().decode()
  except UnicodeDecodeError as error:
    raise SettingsError(f'{path} must be a text file in UTF-8') from error
  except OSError as error:
    raise SettingsError(f'{path} cannot be read ({error.strerror})') from error


def _found(included: str, by: pathlib.Path) -> pathlib.Path | None:
  """Returns the file that an `include` in the file `by` names."""
  for folder in (pathlib.Path(), by.parent, _ROOT):
    if (folder / included).is_file():
      return folder / included
  return None


def _refuse_registration(text: str, source: str | pathlib.Path) -> None:
  """Raises SettingsError for dynamic registration, unless a flag allows it."""
  if _REGISTRATION.search(text) and not gin_flags.allows_dynamic_registration():
    raise SettingsError(
      f'{source} uses dynamic registration, which can call any function: read '
      'it, and allow it with --allow_dynamic_registration'
    )


def _check_file(path: pathlib.Path, above: tuple[pathlib.Path, ...]) -> None:
  """Raises SettingsError if a file or one that it includes cannot be read.

  Args:
    path: path of the file.
    above: the files that include it.
  """
  above = (*above, path.resolve())
  text = _text_of(path)
  _refuse_registration(text, path)
  for _, _, included in _INCLUDE.findall(text):
    found = _found(included, path)
    if found is None:
      raise SettingsError(
        f'no gin file {included!r}, which {path} includes: name it from the '
        f'working folder, from {path.parent} or from {_ROOT}'
      )
    if found.resolve() in above:
      raise SettingsError(
        f'{path} includes {included}, which includes it again'
      )
    _check_file(found, above)


def _read(path: pathlib.Path) -> str:
  """Returns the text of a gin file, with the full paths of its includes.

  Gin reads every file by this, also one that `_INCLUDE` does not find.
  """
  text = _text_of(path)
  _refuse_registration(text, path)
  return _with_full_paths(text, path)


def _with_full_paths(text: str, by: pathlib.Path) -> str:
  def full(match: re.Match[str]) -> str:
    found = _found(match[3], by)
    return match[0] if found is None else f'{match[1]}{str(found.resolve())!r}'

  return _INCLUDE.sub(full, text)


def check_effects() -> None:
  """Raises SettingsError if a gin setting has no effect in this run.

  That is a parameter that the caller passes itself (`JaxDQNAgent.gamma`, passed
  by DrQAgent), or a macro (`gamma = 0.5`) that is not used. Settings of a
  configurable that was never called are allowed, and the macros that they use,
  so that a file can replace the optimizer of the file that it includes.
  """
  operative = gin.config._OPERATIVE_CONFIG
  made = {selector for _, selector in operative} | {'gin.macro'}
  spared = _macros_of_uncalled(made)
  for (scope, selector), values in gin.config._CONFIG.items():
    for name in values:
      has_effect = any(
        selector == there and scope in ('', at) and name in given
        for (at, there), given in operative.items()
      )
      is_spared = selector == 'gin.macro' and scope in spared
      if selector not in made or has_effect or is_spared:
        continue
      if selector == 'gin.macro':
        shown = name = scope
      else:
        shown = f'{gin.config._REGISTRY.minimal_selector(selector)}.{name}'
        shown = f'{scope}/{shown}' if scope else shown
      meant = [
        f'{there.split(".")[-1]}.{name}'
        for (_, there), given in operative.items()
        if name in given
      ]
      hint = f': did you mean {meant[0]}?' if meant else ''
      raise SettingsError(f'the setting {shown!r} has no effect{hint}')


def _macros_of_uncalled(made: Collection[str]) -> set[str]:
  """Returns the macros of settings of configurables that were not called."""
  waiting = [
    values
    for (_, selector), values in gin.config._CONFIG.items()
    if selector not in made
  ]
  found: set[str] = set()
  while waiting:  # A macro may use others.
    for reference in gin.config.iterate_references(waiting.pop()):
      name, _, kind = reference.scoped_selector.rpartition('/')
      if kind == 'gin.macro' and name not in found:
        found.add(name)
        waiting.append(gin.config._CONFIG.get((name, kind), {}))
  return found


def _near_files(file: str) -> str:
  folder = pathlib.Path(file).parent
  there = sorted(str(path) for path in folder.glob('*.gin'))
  near = difflib.get_close_matches(file, there, n=1)
  return f': did you mean {near[0]}?' if near else ''


def explain(error: Exception) -> str:
  """Returns the line of a gin error that says what is wrong."""
  text = str(error)
  line = text.splitlines()[0].strip() if text else type(error).__name__
  registry = gin.config._REGISTRY
  if found := re.match(r"No configurable matching .*?([\w.]+)[()]*'", text):
    first = found[1].split('.')[0]
    # If other names of the module are known, the user misspelt this one.
    modules = {
      name.split('.')[-2] for name, _ in registry.items() if '.' in name
    }
    for command, names in _COMMANDS.items():
      if first in names and first not in modules:
        return f'{found[1]!r} is for gin files of `python -m {command}`'
    known = [name.split('.')[-1] for name, _ in registry.items()]
    return _did_you_mean(f'unknown gin name {found[1]!r}', found[1], known)
  if found := re.match(r"Configurable '(.+)' doesn't have .* '(.+)'", text):
    parameters = inspect.signature(registry.get_match(found[1]).wrapped)
    known = list(parameters.parameters)
    unknown = f'{found[1]} has no setting {found[2]!r}'
    return _did_you_mean(unknown, found[2], known)
  if found := re.match(r"No bindings specified for '(.+)/gin\.macro'", text):
    return f'unknown gin name %{found[1]}'
  if isinstance(error, (SyntaxError, tokenize.TokenError)):
    return f'this is not valid gin syntax{_quotes_hint(error)}'
  called = re.search(r"In call to configurable '(.+?)'", text)
  if called is None or called[1] in _NOT_NAMED or called[1] in line:
    return line
  return f'{called[1]}: {line}'


def _quotes_hint(error: Exception) -> str:
  """Says that quotes are missing, if a value is a word without them."""
  line = getattr(error, 'text', None) or ''
  word = re.fullmatch(r'\s*[\w./]+\s*=\s*([A-Za-z][\w./+-]*)\s*', line)
  return f': text needs quotes, as in {word[1]!r}' if word else ''


def _did_you_mean(text: str, name: str, known: Sequence[str]) -> str:
  near = difflib.get_close_matches(name, known, n=1)
  return f'{text}: did you mean {near[0]}?' if near else text
