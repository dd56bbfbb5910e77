"""The warden: the only process that keeps privileges, and so the smallest.

It opens listening ports and files, and changes the kernel's routing; that is all that it can be asked for, by the
supervisor alone, one message after the other. It keeps nothing in mind: who dies has another one do the same, which it
made itself as its spare. No client's byte, and no stranger's answer, reaches it.
"""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.address import Endpoint
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
from gateway.net.sockets import listening
from gateway.netlink.diff import Step
from gateway.netlink.kernel import Kernel, KernelRefused
from gateway.system.privileges import CAP_DAC_OVERRIDE, CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, drop
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.sinks import LOG_FLAGS, LOG_MODE

KEPT = (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE)
"""What it keeps: routing, ports below 1024, and the administrator's files whoever owns them (capabilities(7))."""

NAME = "sockd: warden"


@dataclass(frozen=True, slots=True)
class Post:
    """What a warden is from its start on."""

    #: folders of the configuration, and those of the logs
    readable: tuple[str, ...]
    writable: tuple[str, ...]


def run_warden(post: Post, channel: socket.socket) -> None:
    """The life of a warden process, which begins with all signals blocked and ends by its channel."""
    drop(None, KEPT)
    confinement = confine(Kind.WARDEN, post.readable, post.writable)
    _serve(channel, confinement)


def _serve(channel: socket.socket, confinement: Confinement) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        # The supervisor's, also when a whole process group gets them.
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    channel.setblocking(True)
    send(channel, Ready(os.getpid(), confinement))
    while (received := receive(channel)) is not None and not isinstance(received.message, End):
        _obey(channel, received, confinement)


def _obey(channel: socket.socket, received: Received, confinement: Confinement) -> None:
    message, descriptors = received
    if isinstance(message, Spare):
        _make_spare(channel, descriptors, confinement)
    else:
        close_all(descriptors)
    if isinstance(message, Listen | Open):
        _open(channel, message)
    elif isinstance(message, Apply):
        send(channel, _change(lambda kernel: kernel.apply(map(_step, message.changes))))
    elif isinstance(message, Clear):
        send(channel, _change(lambda kernel: kernel.remove_all()))
    elif isinstance(message, Dispatch):
        send(channel, _dispatch(message.pid))


# Ports and files


def _open(channel: socket.socket, message: Listen | Open) -> None:
    try:
        descriptor = _listener(message) if isinstance(message, Listen) else _file(message)
    except OSError as error:
        send(channel, Opened(error.errno or 1))
        return
    send(channel, Opened(), [descriptor])
    os.close(descriptor)


def _listener(wanted: Listen) -> int:
    endpoint = Endpoint(wanted.address, wanted.port)
    return listening(endpoint, wanted.backlog, wanted.shared, wanted.device, wanted.scope).detach()


def _file(wanted: Open) -> int:
    if wanted.way == "append":
        return os.open(wanted.path, LOG_FLAGS, LOG_MODE)
    descriptor = os.open(wanted.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(1, "no regular file")


# Routing


def _change(work: Callable[[Kernel], Awaitable[tuple[str, ...]]]) -> Applied:
    async def change() -> tuple[str, ...]:
        async with Kernel() as kernel:
            return await work(kernel)

    try:
        return Applied(asyncio.run(change()))
    except (KernelRefused, OSError) as error:
        return Applied((str(error),))


def _step(change: Change) -> Step:
    item = change.rule if change.route is None else change.route
    if item is None:
        raise OSError(1, "a change of nothing")
    return Step(change.verb, item)


# Other wardens


def _make_spare(channel: socket.socket, descriptors: Sequence[int], confinement: Confinement) -> None:
    """A grandchild, so that it belongs to the supervisor, which is the reaper of orphans (PR_SET_CHILD_SUBREAPER)."""
    between = os.fork()
    if not between:
        if os.fork():
            os._exit(0)
        _live_as_spare(channel, descriptors, confinement)
    os.waitpid(between, 0)
    close_all(descriptors)
    send(channel, Applied())


def _live_as_spare(channel: socket.socket, descriptors: Sequence[int], confinement: Confinement) -> None:
    try:
        channel.close()
        with socket.socket(fileno=descriptors[0]) as own:
            _serve(own, confinement)
    finally:
        os._exit(0)


def _dispatch(pid: int) -> Applied:
    """End a warden that does not answer: the supervisor has not the right to."""
    try:
        if not Path(f"/proc/{pid}/comm").read_text().startswith(NAME):
            return Applied((f"process {pid} is no warden",))
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        return Applied((f"process {pid}: {error.strerror}",))
    return Applied()
