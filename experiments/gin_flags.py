"""Flags shared by all commands that read gin files."""

from absl import flags

GIN_FILES = flags.DEFINE_multi_string(
  'gin_files', [], 'Configuration files, such as gin_configs/drq_ht.gin.'
)
GIN_BINDINGS = flags.DEFINE_multi_string(
  'gin_bindings', [], "More settings, such as 'DrQAgent.gamma = 0.99'."
)
BASE_DIR = flags.DEFINE_string('base_dir', 'runs', 'Folder of all runs.')
