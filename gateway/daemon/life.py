"""The life of a child that serves clients: from its first signal to its orderly end."""

import asyncio
import gc
import signal
from collections.abc import Callable

from gateway.system.journal import Journal


def live(loop: asyncio.AbstractEventLoop, journal: Journal, stop: Callable[[], None]) -> None:
    """Run the loop until ``stop``, which SIGTERM and SIGINT call, has ended it. It begins with all signals blocked."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's, also when a whole process group gets them
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # What is there now stays for ever, and need not be looked at again.
    gc.collect()
    gc.freeze()
    try:
        loop.run_forever()
    finally:
        journal.flush()
