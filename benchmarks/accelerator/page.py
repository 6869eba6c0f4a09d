"""The figures as a page."""

from collections.abc import Mapping

from benchmarks.accelerator.ledger import Figure, Ledger

TARGETS = """\
Targets: 20 times the DrQ runs an hour of the paper (Table 1: half an hour a
run), that is 40; BBF without self-supervision in 15 minutes a run; 40% of the
matrix rate for the gradient step of BBF."""

SMALL = """\
This is a trial with small networks: it shows that the command works, and
nothing about speed."""


def render(ledger: Ledger) -> str:
  """Returns the page, in Markdown; what is not measured says so."""
  figures, machine = ledger.figures, ledger.machine
  lines = [
    '# An accelerator with this project',
    '',
    f"""\
Measured by `python -m benchmarks.accelerator --scale={machine['scale']}` on
{machine['devices']} {machine['device']} ({machine['platform']}), jax
{machine['jax']}, commit {machine['commit']}. A run is 100,000 agent steps of
Breakout at replay ratio 2, batch 32. Times are the shortest of three.""",
    '',
    *([] if machine['scale'] == 'full' else [SMALL, '']),
    TARGETS,
    '',
    '## The device',
    '',
    *_device(figures),
    '',
    '## Gradient steps of the network alone',
    '',
    *_updates(figures),
    '',
    '## DrQ runs an hour',
    '',
    *_populations(figures),
    '',
    '## Images a second, supervised',
    '',
    *_images(figures),
    '',
    '## A game at full length',
    '',
    *_game(figures),
    '',
  ]
  return '\n'.join(lines)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
  if not rows:
    return ['Not measured.']
  return [
    f'| {" | ".join(row)} |' for row in (head, ['---'] * len(head), *rows)
  ]


def _number(
  figure: Figure | None, key: str, scale: float = 1.0, unit: str = ''
) -> str:
  if figure is None:
    return 'not measured'
  if 'error' in figure:
    return f'failed: {figure["error"][:60]}'
  value = figure.get(key)
  return 'unknown' if value is None else f'{scale * value:,.4g}{unit}'


def _device(figures: Mapping[str, Figure]) -> list[str]:
  rows = [
    [
      f'matrix product, {name}',
      _number(figures.get(f'rate/{name}'), 'flops_a_second', 1e-12, ' TFLOP/s'),
    ]
    for name in ('float32', 'bfloat16')
  ]
  moved = figures.get('rate/bandwidth')
  rows.append(['memory', _number(moved, 'bytes_a_second', 1e-9, ' GB/s')])
  return _table(['what', 'rate'], rows)


def _updates(figures: Mapping[str, Figure]) -> list[str]:
  rate = figures.get('rate/float32', {}).get('flops_a_second')
  rows = []
  for agent in ('drq', 'bbf'):
    found = figures.get(f'update/{agent}')
    share = 'unknown'
    if found and rate and 'flops' in found:
      share = f'{found["flops"] / found["seconds"] / rate:.1%}'
    step = figures.get(f'step/{agent}')
    rows.append(
      [
        agent,
        _number(found, 'seconds', 1e3),
        _number(found, 'flops', 1e-9),
        share,
        _number(step, 'seconds', 1e3),
        _number(step, 'emulator_seconds', 1e3),
      ]
    )
  return _table(
    [
      'agent',
      'ms a gradient step',
      'GFLOP',
      'of the matrix rate',
      'ms an environment step (2 gradient steps)',
      'of which the emulator, ms',
    ],
    rows,
  )


def _populations(figures: Mapping[str, Figure]) -> list[str]:
  cells = {
    tuple(name.split('/')[1:]): figure
    for name, figure in figures.items()
    if name.startswith('population/')
  }
  sizes = list(dict.fromkeys(size for size, _ in cells))
  ways = list(dict.fromkeys(way for _, way in cells))
  rows = [
    [
      size,
      *(_number(cells.get((size, way)), 'runs_an_hour') for way in ways),
      _number(figures.get(f'emulators/{size}'), 'seconds', 1e3),
    ]
    for size in sizes
  ]
  lines = _table(['runs in one process', *ways, 'ms of all emulators'], rows)
  beside = [
    [name.split('/')[1], _number(figure, 'runs_an_hour')]
    for name, figure in figures.items()
    if name.startswith('processes/')
  ]
  return [*lines, '', *_table(['processes with one run each', 'all'], beside)]


def _images(figures: Mapping[str, Figure]) -> list[str]:
  rows = [
    [*name.split('/')[1:], _number(figure, 'images_a_second')]
    for name, figure in figures.items()
    if name.startswith('images/')
  ]
  sides = {side for _, side, _ in rows}
  if sides == {'ht_rl'}:
    rows.append(['each', 'torch', 'not measured'])
  return _table(['network', 'side', 'images a second'], rows)


def _game(figures: Mapping[str, Figure]) -> list[str]:
  rows = []
  for name, figure in figures.items():
    if name.startswith('game/'):
      scores = figure.get('scores', [])
      rows.append(
        [
          name.split('/')[1],
          ', '.join(f'{score:.4g}' for score in scores)
          or _number(figure, 'scores'),
          _number(figure, 'training_seconds', 1 / 60),
        ]
      )
  return _table(['agent', 'scores of the seeds', 'minutes of all runs'], rows)
