"""Wrong settings of a run of `drq_ht.gin`, and what their messages say."""

# Bindings and a part of their message: for each setting of the gin files, a
# wrong type and a value out of range.
WRONG_SETTINGS = {
  # Wrong syntax, or unknown names.
  'DrQAgent.gamma': 'valid gin syntax (in DrQAgent.gamma)',
  'DrQAgent.gamma =': 'valid gin syntax (in DrQAgent.gamma =)',
  'DrQAgent.gamma = (1': 'valid gin syntax (in DrQAgent.gamma = (1)',
  'DrQAgent.gamma = nan': 'not valid gin syntax',
  'DrQAgnt.gamma = 0.9': "unknown gin name 'DrQAgnt': did you mean DrQAgent?",
  'DrQAgent.gama = 0.9': "no setting 'gama': did you mean gamma?",
  'DrQAgent.gamma = %g': 'unknown gin name %g',
  'hare_tortoise.inner = @adm()': "gin name 'adm': did you mean adam?",
  'import agents.nothing': 'agents.nothing',
  "include 'nothing.gin'": 'nothing.gin',
  # Known names that have no effect in this run.
  'gamma = 0.9': "'gamma' has no effect: did you mean DrQAgent.gamma?",
  'JaxDQNAgent.gamma = 0.9': 'no effect: did you mean DrQAgent.gamma?',
  'Runner.training_steps = 9': 'did you mean Atari100kRunner.training_steps?',
  'DrQAgent.seed = 3': "DrQAgent has no setting 'seed'",
  'DrQAgent.observation_shape = (42, 42)': 'has no effect',
  # DrQAgent.
  'DrQAgent.network = 3': 'DrQAgent.network must',
  'DrQAgent.optimizer = 3': 'DrQAgent.optimizer must',
  'DrQAgent.optimizer = @hare_tortoise': 'DrQAgent.optimizer must',
  'DrQAgent.optimizer = @adam()': 'must hold exactly one @hare_tortoise()',
  **{
    f'DrQAgent.{name} = {value}': f'DrQAgent.{name} must be {what}'
    for what, names, values in (
      (
        'an integer of at least',
        (
          'replay_ratio',
          'batch_size',
          'update_horizon',
          'min_replay_history',
          'replay_capacity',
          'epsilon_decay_period',
          'reset_every',
          'stack_size',
        ),
        ("'ten'", 1.5, 0),
      ),
      (
        'a number from 0.0 to 1.0',
        ('gamma', 'epsilon_train', 'epsilon_eval', 'keep_encoder', 'keep_head'),
        ("'ten'", 1.5, -0.1),
      ),
      (
        'True or False',
        ('data_augmentation', 'target_action_selection'),
        ("'yes'", 1),
      ),
    )
    for name in names
    for value in values
  },
  # Learning would be impossible with these.
  'DrQAgent.min_replay_history = 10': 'an integer of at least 11',
  'DrQAgent.replay_capacity = 13': 'an integer of at least 14',
  # More than the memory of any machine, and than JAX can count.
  'DrQAgent.replay_capacity = 2_000_000_000': 'replay_capacity must fit in',
  'DrQAgent.replay_capacity = 10**20': 'not valid gin syntax',
  'DrQAgent.replay_capacity = 100000000000000000000': 'must fit in memory',
  'DuelingQNetwork.hidden = 2_000_000_000': 'DrQAgent.network must fit in',
  # hare_tortoise and adam.
  'hare_tortoise.inner = None': 'hare_tortoise: inner must be an optax',
  'hare_tortoise.inner = @adam': 'hare_tortoise: inner must be an optax',
  "hare_tortoise.momentum = 'x'": 'hare_tortoise: momentum must be',
  'hare_tortoise.momentum = 1.0': 'hare_tortoise: momentum must be',
  'hare_tortoise.momentum = -0.1': 'hare_tortoise: momentum must be',
  "hare_tortoise.reset_every = 'x'": 'hare_tortoise: reset_every must be',
  'hare_tortoise.reset_every = 1.5': 'hare_tortoise: reset_every must be',
  'hare_tortoise.reset_every = 0': 'hare_tortoise: reset_every must be',
  'hare_tortoise.reset_mask = 3': 'reset_mask must be',
  "adam.learning_rate = 'x'": 'adam.learning_rate must be a number',
  'adam.learning_rate = -1': 'adam.learning_rate must be a number',
  "adam.eps = 'x'": 'adam.eps must be a number',
  'adam.eps = -1e-8': 'adam.eps must be a number',
  'adam.b1 = 1.0': 'adam.b1 must be a number from 0.0 to below 1.0',
  'adam.b2 = 1.0': 'adam.b2 must be a number from 0.0 to below 1.0',
  # DuelingQNetwork.
  'DuelingQNetwork.channels = 4': 'DuelingQNetwork.channels must be',
  "DuelingQNetwork.channels = ('x',)": 'DuelingQNetwork.channels must be',
  'DuelingQNetwork.kernels = (3, 3)': 'DuelingQNetwork.kernels must be',
  'DuelingQNetwork.kernels = (0,)': 'DuelingQNetwork.kernels must be',
  'DuelingQNetwork.strides = (1.5,)': 'DuelingQNetwork.strides must be',
  'DuelingQNetwork.hidden = 0': 'DuelingQNetwork.hidden must be',
  "DuelingQNetwork.dtype = 'int8'": 'DuelingQNetwork.dtype must be',
  # The runner.
  **{
    f'Atari100kRunner.{name} = {value}': f'Atari100kRunner.{name} must be'
    for name in (
      'training_steps',
      'num_eval_episodes',
      'checkpoint_every',
      'log_every',
    )
    for value in ("'ten'", 1e5, 0)
  },
  "Atari100kRunner.keep_checkpoints = 'yes'": 'keep_checkpoints must be',
  "CollectorDispatcher.collectors = 'console'": 'collectors must be a tuple',
  "CollectorDispatcher.collectors = ('tb',)": 'collectors must be a tuple',
}
