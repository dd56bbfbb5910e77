"""Real wardens: processes that do what a warden does from its start on, in whatever rights the tests have."""

import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.daemon.messages import Message, Ready, Received, channel, receive, send
from gateway.daemon.warden import Post, run_warden
from gateway.system.title import Title

PATIENCE = 20
"""Seconds of a warden's life at most: nothing here may hang."""


def post(
    folder: Path,
    *,
    files: Sequence[str] = (),
    logs: Sequence[str] = (),
    words: str = "",
    names: Mapping[str, str] | None = None,
) -> Post:
    """A warden's of these files in a folder, of which the settings file always is one.

    ``words`` are those of the settings; ``names`` are further files and their words, in which others are named.
    """
    paths = frozenset(str(folder / name) for name in ("gateway.toml", *files))
    naming = {str(folder / name): words.encode() for name, words in (names or {}).items()}
    appended = frozenset(str(folder / name) for name in logs)
    return Post(str(folder / "gateway.toml"), words.encode(), naming, paths | naming.keys(), appended)


def fork_warden(where: Post, theirs: socket.socket, forsake: Callable[[], object]) -> int:
    """The number of a new warden process, whose end of a channel is ``theirs``; ``forsake`` closes all else there."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        forsake()
        Title("warden")
        run_warden(where, theirs)
        status = 0
    finally:
        os._exit(status)


class Hired:
    """A warden and its channel; to be used with `with`."""

    def __init__(self, where: Post) -> None:
        self.channel, theirs = channel()
        self.pid = fork_warden(where, theirs, self.channel.close)
        theirs.close()
        ready = self.hear().message
        assert isinstance(ready, Ready)
        assert ready.pid == self.pid
        self.confinement = ready.confinement

    def hear(self) -> Received:
        """What it says next."""
        return heard(self.channel)

    def ask(self, message: Message, descriptors: Sequence[int] = ()) -> Received:
        """Its answer."""
        send(self.channel, message, descriptors)
        return self.hear()

    def end(self) -> int:
        """Let it go by its channel; the status that it ends with."""
        self.channel.close()
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def __enter__(self) -> "Hired":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid:
            self.end()


def heard(end: socket.socket) -> Received:
    """The next message of a channel."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    assert poll.poll(PATIENCE * 1000), "nothing came"
    received = receive(end)
    assert received is not None, "the other side has gone"
    return received
