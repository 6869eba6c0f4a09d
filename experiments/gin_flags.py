"""Flags shared by all commands that read gin files."""

from absl import flags

GIN_FILES = flags.DEFINE_multi_string(
  'gin_files', [], 'Configuration files, such as gin_configs/drq_ht.gin.'
)
GIN_BINDINGS = flags.DEFINE_multi_string(
  'gin_bindings', [], "More settings, such as 'DrQAgent.gamma = 0.99'."
)
_ALLOW = 'allow_dynamic_registration'
flags.DEFINE_bool(
  _ALLOW,
  False,
  'Accept gin files with dynamic registration, which can call any function of '
  'any module. Only for files that you have read.',
)
BASE_DIR = flags.DEFINE_string('base_dir', 'runs', 'Folder of all runs.')
flags.register_validator(
  BASE_DIR, bool, 'it is empty: for example --base_dir=runs'
)


def allows_dynamic_registration() -> bool:
  """Returns whether gin files may use dynamic registration."""
  return bool(flags.FLAGS[_ALLOW].value)


def passed_on() -> list[str]:
  """Returns the flags that a process started by this one needs as well."""
  return [f'--{_ALLOW}'] if allows_dynamic_registration() else []
