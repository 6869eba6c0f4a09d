"""What the exit codes of all commands mean; 0 is a good end."""

EXIT_FAILED = 1
EXIT_WRONG_SETTING = 2
EXIT_NOT_TOLD = 74  # EX_IOERR of sysexits.h: an attempt could not be told of.
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again.
EXIT_DIVERGED = 76  # Trying again would end the same.
