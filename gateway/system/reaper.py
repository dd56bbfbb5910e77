"""Processes that nobody waits for: their nearest ancestor that said so is their parent then, and lets them go."""

import os
import signal
from collections.abc import Collection

from gateway.system.privileges import prctl

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_reaper() -> None:
    """Be the parent of all orphans below (prctl(2)); where that can not be, init is."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        pass


def go_on_when_orphaned() -> None:
    """Have this process go on when its parent dies, though it is stopped, and so see that (prctl(2), signal(7)).

    To who runs nothing happens. It is undone by fork(2).
    """
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
    except OSError:
        pass


def reap_orphans(known: Collection[int]) -> None:
    """Let go the orphans that have ended; those of ``known`` are waited for in their turn."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, os.WNOHANG)
