"""Refuses settings of Dopamine's classes that would change nothing here.

`DeviceAgent` and `Atari100kRunner` inherit from Dopamine's `JaxDQNAgent` and
`Runner`, whose constructors read many settings. Some are passed by ours, others
belong to code that ours replace. The tables below have every parameter of the
two constructors, with what to set instead; '' for a parameter that has its
effect.
"""

from collections.abc import Mapping

import gin

JAX_DQN_AGENT: Mapping[str, str] = {
  'num_actions': 'the game has its number of actions',
  'observation_shape': 'the environment has its shape of frames',
  'observation_dtype': 'the environment has its dtype of frames',
  'stack_size': 'did you mean {agent}.stack_size?',
  'network': 'did you mean {agent}.network?',
  'gamma': 'did you mean {agent}.gamma?',
  'update_horizon': 'did you mean {agent}.update_horizon?',
  'min_replay_history': 'did you mean {agent}.min_replay_history?',
  'update_period': 'set {agent}.replay_ratio, gradient steps for each step',
  'target_update_period': 'set hare_tortoise.momentum',
  'epsilon_fn': 'set {agent}.epsilon_train and {agent}.epsilon_decay_period',
  'epsilon_train': 'did you mean {agent}.epsilon_train?',
  'epsilon_eval': 'did you mean {agent}.epsilon_eval?',
  'epsilon_decay_period': 'did you mean {agent}.epsilon_decay_period?',
  'eval_mode': 'the runner says when it evaluates',
  'optimizer': 'did you mean {agent}.optimizer?',
  'summary_writer': 'metrics go to CollectorDispatcher.collectors',
  'summary_writing_frequency': (
    'did you mean {agent}.summary_writing_frequency?'
  ),
  'allow_partial_reload': 'a checkpoint is restored completely',
  'seed': 'the command has the flag --seed',
  'loss_type': 'each agent has the loss of its paper',
  'preprocess_fn': 'set {agent}.network and {agent}.data_augmentation',
  'collector_allowlist': '',
}

RUNNER: Mapping[str, str] = {
  'base_dir': 'the command has the flag --base_dir',
  'create_agent_fn': 'set train.agent',
  'create_environment_fn': 'the command has the flag --game',
  'checkpoint_file_prefix': 'checkpoints have the names of their steps',
  'logging_file_prefix': 'metrics go to metrics.jsonl',
  'log_every_n': 'did you mean Atari100kRunner.log_every?',
  'num_iterations': 'set Atari100kRunner.training_steps',
  'training_steps': 'did you mean Atari100kRunner.training_steps?',
  'evaluation_steps': 'set Atari100kRunner.num_eval_episodes',
  'max_steps_per_episode': 'the protocol says when to cut an episode',
  'clip_rewards': 'the protocol clips rewards in training',
  'use_legacy_logger': 'metrics go to CollectorDispatcher.collectors',
  'fine_grained_print_to_console': 'the runner shows its own progress',
}


def check(
  configurable: str, advice: Mapping[str, str], agent: str = ''
) -> None:
  """Raises ValueError if gin sets a parameter that has no effect here.

  Args:
    configurable: Dopamine's class, by its gin name.
    advice: `JAX_DQN_AGENT` or `RUNNER`.
    agent: gin name of the agent, for the advice.
  """
  for name in gin.get_bindings(configurable, resolve_references=False):
    if instead := advice[name].format(agent=agent):
      shown = f'{configurable.split(".")[-1]}.{name}'
      raise ValueError(f'the setting {shown!r} has no effect: {instead}')
