"""Networks of the supervised experiments in plain PyTorch, to measure beside.

Each has the layers, shapes, parameters and dropout of the network of the same
name in `experiments.supervised.models`, for 10 classes.
"""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (everyone's name for it)

CLASSES = 10


def make(model: str, width: float) -> nn.Module:
  """Returns a network.

  Args:
    model: 'mlp' for images of 28x28 pixels, 'resnet18' or 'vit_tiny' for colour
      images of 32x32.
    width: factor of all widths but the MLP's; it must leave them whole.
  """
  if model == 'mlp':
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (28 * 28, 100):
      layers += [nn.Linear(inputs, 100), nn.BatchNorm1d(100), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(100, CLASSES))
  if model == 'vit_tiny':
    return ViT(size=3 * round(64 * width))
  return resnet18(round(64 * width))


def resnet18(c: int) -> nn.Module:
  """Returns ResNet-18 whose first convolution has `c` channels."""
  layers = [nn.Conv2d(3, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
  layers += [Block(c, c, 1), Block(c, c, 1)]
  for _ in range(3):
    layers += [Block(c, 2 * c, 2), Block(2 * c, 2 * c, 1)]
    c *= 2
  layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
  layers += [nn.Linear(c, c), nn.ReLU(), nn.Linear(c, CLASSES)]
  return nn.Sequential(*layers)


class Block(nn.Module):
  """A residual block."""

  def __init__(self, inputs: int, outputs: int, stride: int):
    super().__init__()
    self.body = nn.Sequential(
      nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
      nn.BatchNorm2d(outputs),
      nn.ReLU(),
      nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
      nn.BatchNorm2d(outputs),
    )
    self.shortcut: nn.Module = nn.Identity()
    if stride > 1:
      self.shortcut = nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False),
        nn.BatchNorm2d(outputs),
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Adds the body's result to the input."""
    return F.relu(self.body(x) + self.shortcut(x))


class ViT(nn.Module):
  """ViT-Tiny: patches of 4x4 pixels, 12 layers, 3 heads, dropout of 0.1.

  Args:
    size: size of a token.
  """

  depth, heads, patch, dropout = 12, 3, 4, 0.1

  def __init__(self, size: int):
    super().__init__()
    pixels = 3 * self.patch**2
    self.patches = nn.Unfold(self.patch, stride=self.patch)
    self.embedding = nn.Sequential(
      nn.LayerNorm(pixels), nn.Linear(pixels, size), nn.LayerNorm(size)
    )
    self.token = nn.Parameter(torch.randn(size))
    self.positions = nn.Parameter(
      torch.randn((32 // self.patch) ** 2 + 1, size)
    )
    self.drop = nn.Dropout(self.dropout)
    self.layers = nn.Sequential(
      *(
        TransformerLayer(size, self.heads, self.dropout)
        for _ in range(self.depth)
      )
    )
    self.head = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, CLASSES))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Maps images [batch, 3, 32, 32] to logits."""
    x = self.embedding(self.patches(x).transpose(1, 2))
    x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1)
    return self.head(self.layers(self.drop(x + self.positions))[:, 0])


class TransformerLayer(nn.Module):
  """Self-attention and a hidden layer of GELUs; both normalise their input.

  Args:
    size: size of a token.
    heads: number of heads.
    dropout: rate of the dropout.
  """

  def __init__(self, size: int, heads: int, dropout: float):
    super().__init__()
    self.heads, self.dropout = heads, dropout
    self.norm = nn.LayerNorm(size)
    self.qkv = nn.Linear(size, 3 * size, bias=False)
    self.output = nn.Linear(size, size)
    self.drop = nn.Dropout(dropout)
    self.mlp = nn.Sequential(
      nn.LayerNorm(size),
      nn.Linear(size, 4 * size),
      nn.GELU(),
      nn.Dropout(dropout),
      nn.Linear(4 * size, size),
      nn.Dropout(dropout),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Maps tokens [batch, tokens, size] to the same shape."""
    qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(
      q, k, v, dropout_p=self.dropout if self.training else 0.0
    )
    x = x + self.drop(self.output(y.transpose(1, 2).flatten(2)))
    return x + self.mlp(x)
