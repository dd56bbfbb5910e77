"""The warden: the only process that keeps privileges, and so the smallest.

It opens listening ports and files, and changes the kernel's routing; that is all that it can be asked for, by the
supervisor alone, one message after the other. It keeps nothing in mind: who dies has another one do the same, which it
made itself as its spare. No client's byte, and no stranger's answer, reaches it.
"""

import asyncio
import errno
import os
import re
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.address import Endpoint
from gateway.daemon.host import folders
from gateway.daemon.messages import (
    Applied,
    Apply,
    Change,
    Clear,
    Dispatch,
    End,
    Listen,
    Open,
    Opened,
    Ready,
    Received,
    Spare,
    close_all,
    receive,
    send,
)
from gateway.net.sockets import datagram_listening, listening
from gateway.netlink.diff import Step
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.system.privileges import CAP_DAC_OVERRIDE, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, drop
from gateway.system.reaper import go_on_when_orphaned
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.sinks import LOG_FLAGS, LOG_MODE

KEPT = (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE)
"""What it keeps: routing, ports below 1024, and the administrator's files whoever owns them (capabilities(7))."""

NAME = b"sockd: warden"

WORDS_BYTES = 1 << 24
WORDS_KEPT = 16
"""Of so many files, the newest, the words are known."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a warden is from its start on."""

    #: the settings file, and its words
    settings: str
    words: bytes
    #: the words of the files that it names, and in which others are named
    naming: Mapping[str, bytes]
    #: all files of the configuration, and the log files
    files: frozenset[str]
    logs: frozenset[str]

    @property
    def readable(self) -> tuple[str, ...]:
        """The folders of the files: they are replaced by others of the same name."""
        return folders(self.files)

    @property
    def writable(self) -> tuple[str, ...]:
        """The folders of the logs."""
        return folders(self.logs)


NEVER = frozenset({"shadow", "shadow-", "gshadow", "gshadow-"})
"""Names of files that are no configuration of ours, whatever names them."""


class Permits:
    """Which files it opens: no more than the administrator has named.

    A configuration may come to name other files. So a file may be read if it was part of the configuration from the
    start, or if the settings name it, or a file that the settings name: nobody who takes the supervisor over can write
    into those. What is named further down names nothing.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._words = post.words
        self._naming = dict(post.naming)

    def may_read(self, path: str) -> bool:
        """Whether it is, or is named by, a file of the configuration."""
        if os.path.basename(path) in NEVER or not os.path.isabs(path):
            return False
        named = path in self._post.files or self._is_in_settings(path)
        return named or any(_has(words, path) for words in self._naming.values())

    def _is_in_settings(self, path: str) -> bool:
        """As it is, or as seen from their folder; in quotation marks, since they may well speak of ``passwd``."""
        folder = os.path.join(os.path.dirname(self._post.settings), "")
        forms = filter(None, (path, path.removeprefix(folder)))
        return any(_encoded(f"{mark}{form}{mark}") in self._words for form in forms for mark in "'\"")

    def may_append(self, path: str) -> bool:
        """Whether it is one of the logs."""
        return path in self._post.logs

    def learn(self, path: str, descriptor: int) -> None:
        """The words of a file that may be read, if it may name others."""
        if path == self._post.settings:
            self._words = os.pread(descriptor, WORDS_BYTES, 0)
        elif path in self._naming or self._is_in_settings(path):
            while len(self._naming) >= WORDS_KEPT:
                del self._naming[next(iter(self._naming))]
            self._naming[path] = os.pread(descriptor, WORDS_BYTES, 0)


def _has(words: bytes, path: str) -> bool:
    """Whether they have it whole: only the settings have names of files that do not begin with a slash."""
    return re.search(rb"(?<![\w./-])" + re.escape(_encoded(path)) + rb"(?![\w./-])", words) is not None


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def run_warden(post: Post, channel: socket.socket) -> None:
    """The life of a warden process, which begins with all signals blocked and ends by its channel."""
    drop(None, KEPT)
    confinement = confine(Kind.WARDEN, post.readable, post.writable)
    _serve(channel, confinement, Permits(post))


def _serve(channel: socket.socket, confinement: Confinement, permits: Permits) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # The supervisor's, also when a whole process group gets them.
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    channel.setblocking(True)
    with suppress(BrokenPipeError, ConnectionResetError):  # the supervisor has gone, in the middle of a question
        send(channel, Ready(os.getpid(), confinement))
        while (received := receive(channel)) is not None and not isinstance(received.message, End):
            _obey(channel, received, confinement, permits)


def _obey(channel: socket.socket, received: Received, confinement: Confinement, permits: Permits) -> None:
    message, descriptors = received
    if isinstance(message, Spare):
        _make_spare(channel, descriptors, confinement, permits)
    else:
        close_all(descriptors)
    if isinstance(message, Listen | Open):
        _open(channel, message, permits)
    elif isinstance(message, Apply):
        send(channel, _change(lambda kernel: kernel.apply(map(_step, message.changes))))
    elif isinstance(message, Clear):
        send(channel, _change(lambda kernel: kernel.remove_all()))
    elif isinstance(message, Dispatch):
        send(channel, _dispatch(message.pid))


# Ports and files


def _open(channel: socket.socket, message: Listen | Open, permits: Permits) -> None:
    try:
        descriptor = _listener(message) if isinstance(message, Listen) else _file(message, permits)
    except Exception as error:  # a port or a path that can not be: privileges are not to be lost by it
        number = error.errno if isinstance(error, OSError) else None
        send(channel, Opened(number or errno.EINVAL))
        return
    send(channel, Opened(), [descriptor])
    os.close(descriptor)


def _listener(wanted: Listen) -> int:
    endpoint = Endpoint(wanted.address, wanted.port)
    if wanted.protocol == "udp":
        return datagram_listening(endpoint, wanted.shared, wanted.device, wanted.scope).detach()
    return listening(endpoint, wanted.backlog, wanted.shared, wanted.device, wanted.scope).detach()


def _file(wanted: Open, permits: Permits) -> int:
    if wanted.way == "append":
        if not permits.may_append(wanted.path):
            raise OSError(errno.EACCES, "no log of ours")
        # A pipe that nobody reads must not hold the warden up.
        return os.open(wanted.path, LOG_FLAGS | os.O_NONBLOCK, LOG_MODE)
    if not permits.may_read(wanted.path):
        raise OSError(errno.EACCES, "named by no file of the configuration")
    descriptor = os.open(wanted.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        permits.learn(wanted.path, descriptor)
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "no regular file")


# Routing


def _change(work: Callable[[Kernel], Awaitable[tuple[str, ...]]]) -> Applied:
    async def change() -> tuple[str, ...]:
        async with Kernel() as kernel:
            return await work(kernel)

    try:
        return Applied(asyncio.run(change()))
    except KernelRefused as error:
        return Applied((str(error),))
    except Exception as error:  # numbers that no message of netlink holds: privileges are not to be lost by them
        return Applied((f"cannot change the routing: {type(error).__name__}: {error}",))


def _step(change: Change) -> Step:
    item = change.rule if change.route is None else change.route
    if item is None:
        raise ValueError("neither a route nor a rule")
    return Step(change.verb, item)


# Other wardens


def _make_spare(channel: socket.socket, descriptors: Sequence[int], confinement: Confinement, permits: Permits) -> None:
    """A grandchild, so that it belongs to the supervisor, which is the reaper of orphans (PR_SET_CHILD_SUBREAPER)."""
    between = os.fork()
    if not between:
        if os.fork():
            os._exit(0)
        _live_as_spare(channel, descriptors, confinement, permits)
    os.waitpid(between, 0)
    close_all(descriptors)
    send(channel, Applied())


def _live_as_spare(
    channel: socket.socket, descriptors: Sequence[int], confinement: Confinement, permits: Permits
) -> None:
    try:
        channel.close()
        go_on_when_orphaned()
        with socket.socket(fileno=descriptors[0]) as own:
            _serve(own, confinement, permits)
    finally:
        os._exit(0)


def _dispatch(pid: int) -> Applied:
    """End a warden that does not answer: the supervisor has not the right to."""
    try:
        if not Path(f"/proc/{pid}/comm").read_bytes().startswith(NAME):
            return Applied((f"process {pid} is no warden",))
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        return Applied((f"process {pid}: {error.strerror}",))
    return Applied()
