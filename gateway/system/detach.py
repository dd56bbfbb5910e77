"""Leaving the terminal, by python-daemon (PEP 3143)."""

from collections.abc import Sequence

import daemon


def detach(keep: Sequence[int]) -> None:
    """Go on as a daemon: own session, root folder, /dev/null for the standard descriptors, only ``keep`` left open.

    The signal handlers stay as they are; the caller waits for its signals itself.
    """
    daemon.DaemonContext(
        files_preserve=list(keep), umask=0o022, working_directory="/", detach_process=True, signal_map={}
    ).open()
