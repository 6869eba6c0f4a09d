"""Checks that a command refuses what is typed."""


def assert_refused(capfd, code, message):
  """Asserts exit code 2 and one line that contains `message`."""
  out, err = capfd.readouterr()
  assert code == 2
  assert out == ''
  assert err.startswith('error: ')
  assert err.endswith('\n')
  assert err.count('\n') == 1
  assert message in err
