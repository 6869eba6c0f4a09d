"""The supervised results that the Hare & Tortoise paper published.

Lee et al. (2024), "Slow and Steady Wins the Race: Maintaining Plasticity with
Hare and Tortoise Networks", Tables 2 to 7. The accuracies are those at the end
of a warm start, means over five seeds (three of Tiny ImageNet).

The text of the paper refers to wrong tables: train accuracies are in Table 4,
not in Table 1, and test accuracies of the methods in Table 7, not in Table 5.
The same warm start of CIFAR-10 (ratio 0.1, noise 0.5) has 0.69 in Table 5 and
0.704 in Table 7: two experiments with one setting differ by that much.
"""

from typing import NamedTuple

RATIOS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)

# The fields that the data sets set (Table 3, appendix A.2; the weight decay of
# CIFAR-10 and Tiny ImageNet is that of the released code).
TRAINING: dict[str, dict[str, str | float]] = {
  'mnist': {'model': 'mlp', 'learning_rate': 1e-3, 'weight_decay': 1e-4},
  'cifar10': {
    'model': 'resnet18',
    'learning_rate': 1e-3,
    'weight_decay': 1e-3,
  },
  'cifar100': {
    'model': 'vit_tiny',
    'learning_rate': 3e-3,
    'weight_decay': 0.05,
  },
  'tiny_imagenet': {
    'model': 'vgg16',
    'learning_rate': 1e-3,
    'weight_decay': 1e-3,
  },
}


class DataSet(NamedTuple):
  """A row of Table 2, as printed."""

  images: str
  classes: int
  train: int
  test: int


# Table 2. The paper's text gives MNIST 60,000 training images.
DATA_SETS = {
  'mnist': DataSet('28x28, grayscale', 10, 70_000, 10_000),
  'cifar10': DataSet('32x32, color', 10, 50_000, 10_000),
  'cifar100': DataSet('32x32, color', 100, 50_000, 10_000),
  'tiny_imagenet': DataSet('64x64, color', 200, 100_000, 10_000),
}

# Table 3.
HYPERPARAMETERS = {
  'epochs': 100,
  'betas': (0.9, 0.999),
  'batch size': 256,
  'warm-up ratio': 0.1,
  'gradient clipping': 0.5,
}
_L2 = (1.0, 0.1, 0.01, 0.001, 0.0001)
_SHRINK = (0.2, 0.4, 0.6, 0.8, 1.0)

# What each method of Tables 6 and 7 changes, and the values among which the
# paper chose the best (appendix A.4).
METHOD_FIELDS: dict[str, dict[str, tuple[float | bool, ...]]] = {
  'WS': {},
  'fresh': {},
  'fresh + Aug': {'augment': (True,)},
  'L2': {'weight_decay': _L2},
  'Aug': {'augment': (True,)},
  'Spectral': {'spectral_decoupling': (1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5)},
  'Regen': {'regenerate': (1.0, 0.1, 0.01, 0.001, 1e-4)},
  'ReDo': {'redo': (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)},
  'CReLU': {'crelu': (True,)},
  'HR': {'head_reset': (True,)},
  'S&P': {'shrink': _SHRINK},
  'S&P + L2 + Aug': {
    'shrink': _SHRINK,
    'weight_decay': _L2,
    'augment': (True,),
  },
}

# Those that are trained with all data alone.
FRESH_METHODS = ('fresh', 'fresh + Aug')

# Table 4: final train accuracy, with what the paper prints after it.
_TRAIN_TABLE = """
ratio noise     mnist     cifar10    cifar100 tiny_imagenet
  0.1   0.0 1.00±.0003 1.00±.0006 0.91±.0014    0.98±.0011
  0.1   0.1 1.00±.0002 1.00±.0002 0.91±.0019    0.98±.0018
  0.1   0.2 1.00±.0002 1.00±.0004 0.91±.0020    0.98±.0002
  0.1   0.3 1.00±.0003 1.00±.0004 0.91±.0011    0.97±.0001
  0.1   0.4 1.00±.0002 1.00±.0008 0.91±.0025    0.97±.0012
  0.1   0.5 1.00±.0001 1.00±.0005 0.91±.0016    0.97±.0003
  0.2   0.0 1.00±.0003 1.00±.0006 0.91±.0018    0.98±.0005
  0.2   0.1 1.00±.0001 1.00±.0003 0.91±.0009    0.98±.0004
  0.2   0.2 1.00±.0004 1.00±.0005 0.91±.0019    0.98±.0003
  0.2   0.3 1.00±.0003 1.00±.0007 0.91±.0006    0.98±.0003
  0.2   0.4 1.00±.0003 1.00±.0008 0.91±.0014    0.98±.0003
  0.2   0.5 1.00±.0004 1.00±.0004 0.91±.0009    0.98±.0006
  0.4   0.0 1.00±.0001 1.00±.0008 0.92±.0015    0.99±.0002
  0.4   0.1 1.00±.0002 1.00±.0009 0.92±.0016    0.99±.0002
  0.4   0.2 1.00±.0002 1.00±.0005 0.92±.0013    0.98±.0001
  0.4   0.3 1.00±.0002 1.00±.0007 0.91±.0020    0.98±.0003
  0.4   0.4 1.00±.0001 1.00±.0006 0.91±.0014    0.98±.0002
  0.4   0.5 1.00±.0002 1.00±.0002 0.91±.0014    0.98±.0004
  0.6   0.0 1.00±.0002 1.00±.0004 0.92±.0014    0.99±.0007
  0.6   0.1 1.00±.0001 1.00±.0006 0.92±.0012    0.99±.0005
  0.6   0.2 1.00±.0004 1.00±.0003 0.92±.0013    0.99±.0008
  0.6   0.3 1.00±.0003 1.00±.0004 0.92±.0011    0.99±.0006
  0.6   0.4 1.00±.0004 1.00±.0012 0.91±.0013    0.98±.0004
  0.6   0.5 1.00±.0002 1.00±.0008 0.91±.0011    0.98±.0007
  0.8   0.0 1.00±.0001 1.00±.0005 0.92±.0010    0.99±.0006
  0.8   0.1 1.00±.0001 1.00±.0006 0.92±.0022    0.99±.0008
  0.8   0.2 1.00±.0004 1.00±.0002 0.92±.0009    0.99±.0004
  0.8   0.3 1.00±.0002 1.00±.0005 0.92±.0015    0.99±.0002
  0.8   0.4 1.00±.0002 1.00±.0007 0.92±.0027    0.99±.0006
  0.8   0.5 1.00±.0001 1.00±.0007 0.91±.0051    0.98±.0003
  1.0   0.0 1.00±.0002 1.00±.0006 0.93±.0007    0.99±.0005
  1.0   0.1 1.00±.0001 1.00±.0009 0.92±.0013    0.99±.0004
  1.0   0.2 1.00±.0004 1.00±.0003 0.92±.0010    0.99±.0005
  1.0   0.3 1.00±.0002 1.00±.0005 0.92±.0011    0.99±.0004
  1.0   0.4 1.00±.0003 1.00±.0015 0.92±.0017    0.99±.0004
  1.0   0.5 1.00±.0003 1.00±.0009 0.91±.0022    0.98±.0002
"""

# Table 5: final test accuracy.
_TEST_TABLE = """
ratio noise     mnist     cifar10    cifar100 tiny_imagenet
  0.1   0.0 0.98±.0016 0.74±.0023 0.45±.0027    0.18±.0036
  0.1   0.1 0.97±.0008 0.72±.0050 0.45±.0032    0.16±.0029
  0.1   0.2 0.97±.0006 0.71±.0123 0.44±.0053    0.15±.0039
  0.1   0.3 0.97±.0012 0.70±.0054 0.44±.0066    0.14±.0057
  0.1   0.4 0.97±.0013 0.69±.0095 0.44±.0033    0.13±.0043
  0.1   0.5 0.97±.0019 0.69±.0067 0.44±.0089    0.12±.0046
  0.2   0.0 0.98±.0010 0.75±.0047 0.45±.0018    0.24±.0008
  0.2   0.1 0.97±.0009 0.72±.0049 0.44±.0039    0.22±.0034
  0.2   0.2 0.97±.0010 0.71±.0047 0.44±.0026    0.20±.0036
  0.2   0.3 0.97±.0009 0.69±.0028 0.44±.0032    0.18±.0020
  0.2   0.4 0.97±.0011 0.68±.0032 0.44±.0041    0.16±.0039
  0.2   0.5 0.97±.0012 0.66±.0057 0.44±.0029    0.15±.0032
  0.4   0.0 0.98±.0016 0.77±.0038 0.47±.0068    0.36±.0012
  0.4   0.1 0.97±.0012 0.75±.0027 0.46±.0047    0.33±.0015
  0.4   0.2 0.97±.0018 0.73±.0035 0.44±.0027    0.32±.0026
  0.4   0.3 0.97±.0013 0.71±.0053 0.44±.0027    0.30±.0061
  0.4   0.4 0.97±.0014 0.69±.0066 0.44±.0027    0.27±.0026
  0.4   0.5 0.97±.0018 0.67±.0092 0.43±.0043    0.25±.0029
  0.6   0.0 0.98±.0018 0.79±.0042 0.48±.0042    0.40±.0032
  0.6   0.1 0.97±.0009 0.77±.0045 0.47±.0042    0.38±.0012
  0.6   0.2 0.97±.0014 0.75±.0024 0.46±.0042    0.36±.0032
  0.6   0.3 0.97±.0012 0.73±.0020 0.44±.0065    0.33±.0041
  0.6   0.4 0.97±.0011 0.71±.0048 0.44±.0030    0.30±.0016
  0.6   0.5 0.97±.0010 0.69±.0040 0.43±.0040    0.27±.0005
  0.8   0.0 0.98±.0014 0.81±.0045 0.50±.0050    0.42±.0045
  0.8   0.1 0.97±.0006 0.78±.0050 0.48±.0076    0.40±.0019
  0.8   0.2 0.97±.0014 0.77±.0026 0.46±.0054    0.38±.0024
  0.8   0.3 0.97±.0014 0.75±.0063 0.46±.0041    0.35±.0023
  0.8   0.4 0.97±.0019 0.74±.0033 0.45±.0054    0.33±.0037
  0.8   0.5 0.97±.0018 0.73±.0075 0.43±.0093    0.29±.0022
  1.0   0.0 0.98±.0011 0.81±.0053 0.51±.0078    0.43±.0009
  1.0   0.1 0.97±.0012 0.79±.0060 0.49±.0052    0.41±.0019
  1.0   0.2 0.97±.0013 0.78±.0071 0.48±.0035    0.40±.0081
  1.0   0.3 0.97±.0011 0.77±.0075 0.47±.0052    0.37±.0022
  1.0   0.4 0.97±.0022 0.76±.0051 0.45±.0037    0.34±.0029
  1.0   0.5 0.97±.0010 0.75±.0076 0.40±.0376    0.30±.0033
"""

# Table 6: final train accuracy at ratio 0.1 and noise 0.5. A fresh network is
# trained with all data alone.
_METHODS_TRAIN_TABLE = """
method         cifar10 cifar100 tiny_imagenet
WS               0.998    0.907         0.972
fresh            0.998    0.912         0.984
fresh + Aug      0.994    0.852         0.974
L2               0.990    0.865         0.925
Aug              0.993    0.867         0.963
Spectral         0.997    0.913         0.997
Regen            0.996    0.906         0.979
ReDo             0.998    0.908         0.972
CReLU            0.997    0.890         0.964
HR               0.997    0.911         0.979
S&P              0.997    0.915         0.981
S&P + L2 + Aug   0.994    0.872         0.970
"""

# Table 7: final test accuracy, of the same.
_METHODS_TEST_TABLE = """
method         cifar10 cifar100 tiny_imagenet
WS               0.704    0.442         0.115
fresh            0.835    0.500         0.439
fresh + Aug      0.924    0.555         0.463
L2               0.735    0.457         0.221
Aug              0.840    0.511         0.227
Spectral         0.705    0.444         0.118
Regen            0.701    0.447         0.127
ReDo             0.682    0.445         0.118
CReLU            0.678    0.440         0.118
HR               0.693    0.445         0.177
S&P              0.771    0.467         0.229
S&P + L2 + Aug   0.910    0.536         0.376
"""


class Accuracy(NamedTuple):
  """A published accuracy.

  Attributes:
    mean: over seeds, to two decimals.
    std: the number after the sign ±, which the paper does not explain.
  """

  mean: float
  std: float


def _cells(table: str) -> dict[str, dict[tuple[float, float], Accuracy]]:
  """Reads a table of ratios and noises by datasets, dataset by dataset."""
  header, *rows = (line.split() for line in table.strip().splitlines())
  return {
    dataset: {
      (float(row[0]), float(row[1])): Accuracy(*map(float, row[i].split('±')))
      for row in rows
    }
    for i, dataset in enumerate(header[2:], start=2)
  }


def _methods(table: str) -> dict[str, dict[str, float]]:
  """Reads a table of methods by datasets, dataset by dataset."""
  header, *rows = (
    line.rsplit(maxsplit=3) for line in table.strip().splitlines()
  )
  return {
    dataset: {row[0]: float(row[i]) for row in rows}
    for i, dataset in enumerate(header[1:], start=1)
  }


# By dataset and by share and noise of the first phase.
_TRAIN = _cells(_TRAIN_TABLE)
_TEST = _cells(_TEST_TABLE)

# By dataset and name of the setting.
METHODS_TRAIN_ACCURACY = _methods(_METHODS_TRAIN_TABLE)
METHODS_TEST_ACCURACY = _methods(_METHODS_TEST_TABLE)


def warm_start_epochs(ratio: float, epochs: int = 100) -> tuple[int, int]:
  """Returns the epochs of both phases of a warm start (section 3.1).

  The first phase has the same number of gradient steps for every part of the
  data: for a tenth of it ten times as many epochs.

  Args:
    ratio: share of the training set in the first phase.
    epochs: of the second phase, which has all data.

  >>> warm_start_epochs(0.1), warm_start_epochs(0.6)
  ((1000, 100), (166, 100))
  """
  # Not 99 where the ratio is not exact in binary.
  return int(epochs / ratio + 1e-9), epochs


def final_train_accuracy(
  dataset: str, ratio: float, noise: float
) -> Accuracy | None:
  """The final train accuracy of a warm start (Table 4).

  Args:
    dataset: its name, as `data.load` takes it.
    ratio: share of the training set in the first phase.
    noise: share of wrong labels in the first phase.

  Returns:
    The accuracy, or None where the paper has none.
  """
  return _TRAIN.get(dataset, {}).get((ratio, noise))


def final_test_accuracy(
  dataset: str, ratio: float, noise: float
) -> Accuracy | None:
  """The final test accuracy of a warm start (Table 5).

  Args:
    dataset: its name, as `data.load` takes it.
    ratio: share of the training set in the first phase.
    noise: share of wrong labels in the first phase.

  Returns:
    The accuracy, or None where the paper has none.

  >>> final_test_accuracy('cifar10', 0.1, 0.5)
  Accuracy(mean=0.69, std=0.0067)
  >>> final_test_accuracy('fashion_mnist', 0.1, 0.5) is None
  True
  """
  return _TEST.get(dataset, {}).get((ratio, noise))
