"""The exit codes of all commands; 0 means success."""

EXIT_FAILED = 1
EXIT_WRONG_SETTING = 2
EXIT_NOT_RECORDED = 74  # EX_IOERR of sysexits.h: the disk is full, say.
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again later.
EXIT_DIVERGED = 76  # A loss is not finite; trying again gives the same.
