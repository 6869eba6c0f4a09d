"""Published Atari-100k results of the Hare & Tortoise paper.

Lee et al. (2024), "Slow and Steady Wins the Race: Maintaining Plasticity with
Hare and Tortoise Networks", Tables 1 and 8. Methods have the names of the gin
files that configure them, in the order of the tables.

The scores below are means over runs. The median and the mean follow from them;
the IQM and the optimality gap do not, since they are taken over runs.
"""

from ht_rl.atari100k.aggregates import METRICS

# Table 8: game points, means over runs. The runs of bbf_no_ssl and bbf are
# released; their means are truncated, not rounded, to one decimal.
_DRQ_SCORES = """
game               drq  drq_sp  drq_ht drq_hr20k drq_hr40k drq_hr40k_ht
Alien           841.52   729.1  730.06     838.6    947.22        924.9
Amidar          182.46  122.78  148.82    181.26    166.01       221.67
Assault         559.98  848.25  604.08    765.18    653.28       638.26
Asterix          831.4   572.5   823.5     791.8     813.4        819.3
BankHeist       138.94   24.74  263.56     51.56     86.78        56.32
BattleZone      6404.0  2762.0  8038.0    4040.0    6186.0       4694.0
Boxing            10.6   42.84   14.29     40.98     23.61        34.26
Breakout         11.95     9.8   13.13     18.91     12.55        15.69
ChopperCommand   917.2   600.6   673.4     976.0     922.6        816.6
CrazyClimber   12031.2  6364.0 13808.4   16158.0   14649.4      18154.2
DemonAttack     663.93  906.47  657.41   1013.14    819.02        813.4
Freeway          27.28   21.99   27.29     28.33     29.21        28.95
Frostbite       828.96  561.16  2218.9   1262.06   1923.42      1939.32
Gopher          397.52  602.24  521.76    533.32    577.84       455.76
Hero           7198.58 6293.84 6193.58   7119.41   7677.46      6367.63
Jamesbond        349.0   192.5   317.5     442.6     281.6        358.2
Kangaroo        3582.0   614.4  2685.2    5534.8    2922.8       2211.4
Krull          3996.46  4697.5 3577.46    4414.6   3897.84      3920.04
KungFuMaster   17319.6  5106.2 12035.4   13909.2   13032.4      19138.8
MsPacman       1251.24  849.66  1424.3   1106.18   1459.34      1062.72
Pong             -7.13  -20.34  -15.01    -10.82    -13.96        -4.11
PrivateEye        80.0    33.0   85.84     34.62      82.4        100.0
Qbert          2304.05  763.05  3382.6   3188.45    3620.3      3408.35
RoadRunner     12821.6  6594.8 14674.2   18029.0   16383.0      13995.6
Seaquest        498.12  390.88  531.92    564.08     457.6       550.56
UpNDown        4214.26 4420.98 4269.64   9608.54   6508.24       8451.4
"""

_BBF_SCORES = """
game           bbf_no_ssl  bbf_ht     bbf
Alien              1228.7  1180.0  1121.7
Amidar              219.8   293.1   236.6
Assault            1657.3  1844.2  2004.5
Asterix            4699.0  4121.6  3169.7
BankHeist           315.4   712.8   768.8
BattleZone        23752.1 21638.5 23681.4
Boxing               60.8    62.5    77.3
Breakout            245.6   223.3   331.0
ChopperCommand     2149.3  3238.0  4251.5
CrazyClimber      56440.7 45579.0 60864.5
DemonAttack       11502.5  8248.7 18298.3
Freeway              21.4    21.9    23.1
Frostbite          2266.2  2838.2  2023.0
Gopher             1758.3  2068.1  1209.4
Hero               4905.8  7448.5  5741.8
Jamesbond           753.1   921.7  1124.6
Kangaroo           5584.2  6366.7  5032.0
Krull              7504.2  7695.1  8069.8
KungFuMaster      18166.8 17296.7 16616.8
MsPacman           1941.0  1749.3  2217.8
Pong                 13.0    12.8    13.6
PrivateEye           34.8    28.5    39.0
Qbert              3530.5  4237.0  3245.3
RoadRunner        27572.1 29422.4 26419.0
Seaquest           1188.1  1168.8   988.6
UpNDown           10266.5  7742.0 15122.6
"""


def _columns(table: str) -> dict[str, dict[str, float]]:
  """Reads a table of games by methods; returns a dictionary a column."""
  header, *rows = (line.split() for line in table.strip().splitlines())
  return {
    method: {row[0]: float(row[column]) for row in rows}
    for column, method in enumerate(header[1:], start=1)
  }


def _aggregates(*values: float) -> dict[str, float]:
  return dict(zip(METRICS, values, strict=True))


# By method and game, in the order of `games.GAMES`.
SCORES: dict[str, dict[str, float]] = {
  **_columns(_DRQ_SCORES),
  **_columns(_BBF_SCORES),
}

# Table 1: by method and the names of `aggregates.METRICS`.
AGGREGATES: dict[str, dict[str, float]] = {
  'drq': _aggregates(0.243, 0.193, 0.468, 0.642),
  'drq_sp': _aggregates(0.139, 0.138, 0.458, 0.728),
  'drq_ht': _aggregates(0.287, 0.260, 0.471, 0.617),
  'drq_hr20k': _aggregates(0.332, 0.254, 0.694, 0.580),
  'drq_hr40k': _aggregates(0.288, 0.241, 0.532, 0.607),
  'drq_hr40k_ht': _aggregates(0.328, 0.329, 0.584, 0.583),
  'bbf_no_ssl': _aggregates(0.826, 0.711, 1.737, 0.397),
  'bbf_ht': _aggregates(0.891, 0.749, 1.719, 0.372),
  'bbf': _aggregates(0.940, 0.755, 2.175, 0.377),
}
