"""``python -m tests.support.foreground COMMAND...``: run a program so that Ctrl-C ends it, and not the make above it.

The terminal sends its signals to the process group in its foreground. A make in that group would end by the signal,
however well the program ended; so the program gets a group of its own, and that group the terminal. Ctrl-Z is ignored,
as no shell could resume the program.
"""

import os
import signal
import subprocess
import sys

TERMINAL = 0


def main(command: list[str]) -> int:
    """The exit status of the command. Without a terminal, or in its background, the command takes our place."""
    if not os.isatty(TERMINAL) or os.tcgetpgrp(TERMINAL) != os.getpgrp():
        os.execv(command[0], command)
    for number in (signal.SIGTSTP, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    program = subprocess.Popen(command, process_group=0)
    # A terminal that was closed, or somebody who ends us, means the program.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: program.terminate())
    os.tcsetpgrp(TERMINAL, program.pid)
    status = program.wait()
    try:
        os.tcsetpgrp(TERMINAL, os.getpgrp())
    except OSError:
        pass  # the terminal is gone
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
