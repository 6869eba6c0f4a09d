import pytest


@pytest.fixture(scope='session')
def to_dopamine():
  """Returns a function that renames parameters as in `FullRainbowNetwork`."""

  def rename(params):
    encoder, head = params['params']['encoder'], params['params']['head']
    dense = {
      'Dense_0': head['hidden'],
      'Dense_1': head['advantage'],
      'Dense_2': head['value'],
    }
    return {'params': {**encoder, **dense}}

  return rename
