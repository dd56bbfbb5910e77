"""The log files that the processes of the daemon share, when they are opened anew (SIGUSR1)."""

from gateway.daemon.messages import Received, Reopen
from gateway.system.journal import Journal


def reopen(journal: Journal, received: Received) -> None:
    """Go on in the files that came with a `Reopen`."""
    message, descriptors = received
    assert isinstance(message, Reopen)
    files = iter(descriptors)
    classic = next(files, None) if message.classic else None
    records = next(files, None) if message.records else None
    journal.reopen(classic, records)
