"""Three training steps against PyTorch, which the paper's results come from.

PyTorch is no requirement of this project: without it this file is skipped.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.supervised import optimizer
from experiments.supervised.models import make_model

torch = pytest.importorskip('torch')
nn = torch.nn
F = torch.nn.functional

STEPS = 3
LEARNING_RATE = 2.0**-10
WARMUP_STEPS = 4
WEIGHT_DECAY = 0.05
MAX_GRAD_NORM = 0.5


# The networks as the paper and its code describe them, with PyTorch's layers.
# Their modules have our names, so that the parameters can be matched.


class Network(nn.Module):
  def __init__(self, backbone, head):
    super().__init__()
    self.backbone = backbone
    self.head = head

  def forward(self, x):
    return self.head(self.backbone(x))


class Head(nn.Module):
  def __init__(self, features, widths, num_classes):
    super().__init__()
    for i, width in enumerate(widths):
      self.add_module(f'hidden_{i}', nn.Linear(features, width))
      features = width
    self.depth = len(widths)
    self.output = nn.Linear(features, num_classes)

  def forward(self, x):
    for i in range(self.depth):
      x = F.relu(getattr(self, f'hidden_{i}')(x))
    return self.output(x)


class MLP(nn.Module):
  def __init__(self, width):
    super().__init__()
    self.hidden_0 = nn.Linear(28 * 28, width)
    self.norm_0 = nn.BatchNorm1d(width)
    self.hidden_1 = nn.Linear(width, width)
    self.norm_1 = nn.BatchNorm1d(width)

  def forward(self, x):
    x = F.relu(self.norm_0(self.hidden_0(x.flatten(1))))
    return F.relu(self.norm_1(self.hidden_1(x)))


class Block(nn.Module):
  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    self.conv_0_norm = nn.BatchNorm2d(outputs)
    self.conv_1 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
    self.conv_1_norm = nn.BatchNorm2d(outputs)
    self.changes = stride > 1 or inputs != outputs
    if self.changes:
      self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
      self.shortcut_norm = nn.BatchNorm2d(outputs)

  def forward(self, x):
    y = F.relu(self.conv_0_norm(self.conv_0(x)))
    y = self.conv_1_norm(self.conv_1(y))
    return F.relu(
      y + (self.shortcut_norm(self.shortcut(x)) if self.changes else x)
    )


class ResNet(nn.Module):
  def __init__(self, width):
    super().__init__()
    self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    self.stem_norm = nn.BatchNorm2d(width)
    self.block_0 = Block(width, width, 1)
    self.block_1 = Block(width, width, 1)
    self.block_2 = Block(width, 2 * width, 2)
    self.block_3 = Block(2 * width, 2 * width, 1)
    self.block_4 = Block(2 * width, 4 * width, 2)
    self.block_5 = Block(4 * width, 4 * width, 1)
    self.block_6 = Block(4 * width, 8 * width, 2)
    self.block_7 = Block(8 * width, 8 * width, 1)

  def forward(self, x):
    x = F.relu(self.stem_norm(self.stem(x)))
    for i in range(8):
      x = getattr(self, f'block_{i}')(x)
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class VGG(nn.Module):
  def __init__(self, width):
    super().__init__()
    widths = [1, 1, 'M', 2, 2, 'M', 4, 4, 4, 'M', 8, 8, 8, 'M', 8, 8, 8, 'M']
    self.layers = []
    inputs, i = 3, 0
    for factor in widths:
      if factor == 'M':
        self.layers.append(nn.MaxPool2d(2))
        continue
      conv = nn.Conv2d(inputs, factor * width, 3, padding=1)
      norm = nn.BatchNorm2d(factor * width)
      self.add_module(f'conv_{i}', conv)
      self.add_module(f'norm_{i}', norm)
      self.layers += [conv, norm, nn.ReLU()]
      inputs, i = factor * width, i + 1

  def forward(self, x):
    for layer in self.layers:
      x = layer(x)
    return x.flatten(1)


class TransformerLayer(nn.Module):
  def __init__(self, size):
    super().__init__()
    self.attention_norm = nn.LayerNorm(size)
    self.qkv = nn.Linear(size, 3 * size, bias=False)
    self.attention_output = nn.Linear(size, size)
    self.mlp_norm = nn.LayerNorm(size)
    self.mlp_hidden = nn.Linear(size, 4 * size)
    self.mlp_output = nn.Linear(4 * size, size)

  def forward(self, x):
    y = self.qkv(self.attention_norm(x))
    q, k, v = [
      part.unflatten(-1, (3, -1)).transpose(1, 2) for part in y.chunk(3, -1)
    ]
    y = F.scaled_dot_product_attention(q, k, v)
    x = x + self.attention_output(y.transpose(1, 2).flatten(2))
    y = self.mlp_output(F.gelu(self.mlp_hidden(self.mlp_norm(x))))
    return x + y


class ViT(nn.Module):
  def __init__(self, size):
    super().__init__()
    self.patch_norm = nn.LayerNorm(48)
    self.patch_embedding = nn.Linear(48, size)
    self.embedding_norm = nn.LayerNorm(size)
    self.class_token = nn.Parameter(torch.randn(size))
    self.positions = nn.Parameter(torch.randn(65, size))
    for i in range(12):
      self.add_module(f'layer_{i}', TransformerLayer(size))
    self.output_norm = nn.LayerNorm(size)

  def forward(self, x):
    # [batch, channels, rows, columns, 4, 4] -> [batch, patches, 4 4 channels]
    x = x.unfold(2, 4, 4).unfold(3, 4, 4)
    x = x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    x = self.embedding_norm(self.patch_embedding(self.patch_norm(x)))
    token = self.class_token.expand(len(x), 1, -1)
    x = torch.cat([token, x], 1) + self.positions
    for i in range(12):
      x = getattr(self, f'layer_{i}')(x)
    return self.output_norm(x[:, 0])


def variables_of(network):
  """Our tree of PyTorch's parameters and running statistics."""
  variables = {'params': {}, 'batch_stats': {}}

  def put(group, path, value):
    tree = variables[group]
    for name in path[:-1]:
      tree = tree.setdefault(name, {})
    tree[path[-1]] = value

  for name, module in network.named_modules():
    path = tuple(name.split('.'))
    own = {
      key: value.detach().numpy().copy()
      for key, value in module._parameters.items()
      if value is not None
    }
    if isinstance(module, nn.Conv2d):
      own['kernel'] = own.pop('weight').transpose(2, 3, 1, 0)
    elif isinstance(module, nn.Linear):
      own['kernel'] = own.pop('weight').T
    elif own and isinstance(
      module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm
    ):
      own['scale'] = own.pop('weight')
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
      for key in ('mean', 'var'):
        value = getattr(module, f'running_{key}').numpy().copy()
        put('batch_stats', (*path, key), value)
    for key, value in own.items():
      put('params', (*path, key), value)
  if isinstance(network.backbone, VGG):
    # PyTorch flattens maps as channels, rows, columns; we have channels last.
    hidden = variables['params']['head']['hidden_0']
    channels = network.backbone.conv_12.out_channels
    side = int((len(hidden['kernel']) // channels) ** 0.5)
    kernel = hidden['kernel'].reshape(channels, side, side, -1)
    kernel = kernel.transpose(1, 2, 0, 3)
    hidden['kernel'] = kernel.reshape(hidden['kernel'].shape)
  return variables


def train_theirs(network, images, labels):
  """Returns the logits, losses and, after the steps, the variables."""
  network.train()
  adamw = torch.optim.AdamW(
    network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
  )
  all_logits, losses = [], []
  for step in range(STEPS):
    for group in adamw.param_groups:
      group['lr'] = LEARNING_RATE * min(step / WARMUP_STEPS, 1)
    adamw.zero_grad()
    logits = network(
      torch.from_numpy(images[step].transpose(0, 3, 1, 2).copy())
    )
    loss = F.cross_entropy(logits, torch.from_numpy(labels[step]))
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
    adamw.step()
    all_logits.append(logits.detach().numpy())
    losses.append(loss.item())
  return np.stack(all_logits), np.stack(losses), variables_of(network)


def train_ours(model, variables, images, labels, train):
  tx = optimizer.adamw(
    LEARNING_RATE, warmup_steps=WARMUP_STEPS, weight_decay=WEIGHT_DECAY
  )

  def loss_fn(params, stats, images, labels):
    outputs, updated = model.apply(
      {'params': params, 'batch_stats': stats},
      images,
      train=train,
      mutable=['batch_stats'],
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(
      outputs.logits, labels
    )
    return jnp.mean(losses), (outputs.logits, updated.get('batch_stats', {}))

  @jax.jit
  def step(params, stats, opt_state, images, labels):
    (loss, (logits, stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      params, stats, images, labels
    )
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), stats, opt_state, loss, logits

  variables = jax.tree.map(jnp.asarray, variables)
  params, stats = variables['params'], variables['batch_stats']
  opt_state = tx.init(params)
  all_logits, losses = [], []
  for x, y in zip(images, labels, strict=True):
    params, stats, opt_state, loss, logits = step(
      params, stats, opt_state, x, y
    )
    all_logits.append(logits)
    losses.append(loss)
  after = {'params': params, 'batch_stats': stats}
  return np.stack(all_logits), np.stack(losses), jax.device_get(after)


def make_mlp():
  return Network(MLP(100), Head(100, [], 10))


def make_resnet18():
  return Network(ResNet(64), Head(512, [512], 10))


def make_vit_tiny():
  return Network(ViT(192), Head(192, [], 100))


def make_narrow_vgg16():
  return Network(VGG(16), Head(2 * 2 * 128, [256, 256], 200))


def compare(name, make_theirs, shape, classes, dtype, width=1.0):
  """Trains both; returns logits, losses and variables of each."""
  torch.manual_seed(0)
  theirs = make_theirs().to(getattr(torch, dtype))
  ours = make_model(name, classes, width=width, dtype=dtype)
  variables = variables_of(theirs)
  rng = np.random.default_rng(0)
  images = rng.normal(size=(STEPS, *shape)).astype(dtype)
  labels = rng.integers(0, classes, (STEPS, shape[0]))
  # There is no dropout in their ViT; ours has none where it doesn't train. It
  # has no other difference between the two.
  train = name != 'vit_tiny'
  with jax.enable_x64(dtype == 'float64'):
    our_run = train_ours(ours, variables, images, labels, train)
  return our_run, train_theirs(theirs, images, labels)


@pytest.mark.parametrize(
  ('name', 'make_theirs', 'shape', 'classes', 'width'),
  [
    ('mlp', make_mlp, (32, 28, 28, 1), 10, 1.0),
    ('resnet18', make_resnet18, (4, 32, 32, 3), 10, 1.0),
    ('vit_tiny', make_vit_tiny, (4, 32, 32, 3), 100, 1.0),
    ('vgg16', make_narrow_vgg16, (4, 64, 64, 3), 200, 0.25),
  ],
)
def test_training_is_theirs(name, make_theirs, shape, classes, width):
  # In float64, since in float32 Adam magnifies rounding: gradients that are
  # zero but for it (of biases before batch normalisation), or of a unit that is
  # a ReLU in one network and zero in the other, move weights by the learning
  # rate. What is left is 1e-6 that PyTorch adds to the norm it clips by, which
  # is another factor in each step.
  ours, theirs = compare(name, make_theirs, shape, classes, 'float64', width)
  # The second step finds the weights unmoved, the learning rate being zero.
  np.testing.assert_allclose(ours[0][:2], theirs[0][:2], rtol=0, atol=1e-13)
  np.testing.assert_allclose(ours[0][2], theirs[0][2], rtol=0, atol=1e-9)
  np.testing.assert_allclose(ours[1], theirs[1], rtol=0, atol=1e-10)
  # Weights move by about 7e-4.
  assert_trees_close(ours[2], theirs[2], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
  ('name', 'make_theirs', 'shape', 'classes'),
  [
    ('mlp', make_mlp, (32, 28, 28, 1), 10),
    ('vit_tiny', make_vit_tiny, (4, 32, 32, 3), 100),
  ],
)
def test_training_is_theirs_in_float32(name, make_theirs, shape, classes):
  # Logits and losses: a few times the distance of two float32 numbers, which is
  # 1.2e-7 at 1. Weights, which move by 7e-4: less than a hundredth of that, for
  # the sake of the smallest gradients of millions. (The convolutional networks
  # differ by more; see above.)
  ours, theirs = compare(name, make_theirs, shape, classes, 'float32')
  np.testing.assert_allclose(ours[0][:2], theirs[0][:2], rtol=0, atol=3e-6)
  np.testing.assert_allclose(ours[0][2], theirs[0][2], rtol=0, atol=5e-5)
  np.testing.assert_allclose(ours[1], theirs[1], rtol=3e-6)
  for run in (ours, theirs):
    for i in (0, 1) if name == 'mlp' else ():
      # Adam makes steps of the rounding of their gradients, which are zero. The
      # running means have these steps in them, a tenth of them each time.
      del run[2]['params']['backbone'][f'hidden_{i}']['bias']
      del run[2]['batch_stats']['backbone'][f'norm_{i}']['mean']
  assert_trees_close(ours[2], theirs[2], rtol=3e-7, atol=5e-6)


def assert_trees_close(ours, theirs, rtol, atol):
  close = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
  jax.tree.map(close, ours, theirs)
