"""What the processes of the daemon tell one another: checked values, each one datagram of a socket pair.

One message is one JSON object, tagged with its kind; descriptors come with it (unix(7), SCM_RIGHTS). What about the
state of things, as `Orders`, is always the whole of it, so that only the last one counts and one that is lost costs
nothing. Whoever has clients' bytes in his hands may say little: `MAY_SAY` lists it, and who says anything else is
ended.
"""

import errno
import os
import select
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from gateway.address import Address
from gateway.config.rules import AddressPattern, EgressWord
from gateway.control.protocol import CacheEntry, Filter, Live, Resolved, ZoneRow
from gateway.netlink.diff import Verb
from gateway.netlink.model import KernelRoute, RoutingRule
from gateway.policy.command import Substitutions
from gateway.policy.egress import Uplink
from gateway.system.sandbox import Confinement

MAX_BYTES = 1 << 20
"""Of one message. The kernel may take fewer (net.core.wmem_max, unix(7)); either is EMSGSIZE to the sender."""

MAX_LISTENERS = 250
"""Descriptors in one message: the kernel passes at most 253 (SCM_MAX_FD, unix(7))."""


Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A number that can be counted with and shown, whoever says it."""


class ListenAddress(NamedTuple):
    """Where clients connect: an address, and the index of the interface that it is bound to; 0 for any."""

    address: Address
    interface: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """The host's networks now."""

    uplinks: tuple[Uplink, ...] = ()
    #: every address of this host
    own: tuple[Address, ...] = ()
    #: the networks of the inside
    inside: tuple[AddressPattern, ...] = ()
    listen: tuple[ListenAddress, ...] = ()


class Ready(Struct, frozen=True, tag=True):
    """A child's work has begun, so confined."""

    pid: Number
    confinement: Confinement


class Networks(Struct, frozen=True, tag=True):
    """The watcher's news."""

    network: Network


class Orders(Struct, frozen=True, tag=True):
    """What a worker or a resolver works with; ``listeners`` number the sockets that come with it, in their order.

    None: none come, those that it has are kept.
    """

    network: Network
    listeners: tuple[int, ...] | None = None


class Load(Struct, frozen=True, tag=True):
    """Make yourself ready for the files that are to rule as ``ruling``; they come in a file in memory."""

    number: Number
    ruling: Number


class Loaded(Struct, frozen=True, tag=True):
    """Ready for these files, or why not."""

    number: Number
    fault: str = ""


class Swap(Struct, frozen=True, tag=True):
    """From now on these files rule; ``recheck``: end the sessions that they deny."""

    number: Number
    ruling: Number
    recheck: bool = False


class Swapped(Struct, frozen=True, tag=True):
    """It is so, and so many sessions were ended."""

    number: Number
    ended: Number = 0


class Reopen(Struct, frozen=True, tag=True):
    """Write your logs to the files that come with this, of which there may be one, both or none, in this order."""

    classic: bool
    records: bool


class Inquire(Struct, frozen=True, tag=True):
    """List your sessions, those first that sort first."""

    number: Number
    filter: Filter
    sort: str
    limit: int


class Found(Struct, frozen=True, tag=True):
    """A part of the answer; with the last one, how many sessions matched."""

    number: Number
    rows: tuple[Live, ...]
    matched: Number | None = None


class Kill(Struct, frozen=True, tag=True):
    """End sessions."""

    number: Number
    filter: Filter


class Killed(Struct, frozen=True, tag=True):
    """So many were ended."""

    number: Number
    count: Number


class Tail(Struct, frozen=True, tag=True):
    """Write the records to the socket that comes with this, too; none comes: no more."""


class LookUp(Struct, frozen=True, tag=True):
    """The addresses of a name are wanted for a session; from worker to resolver.

    ``ways`` are those of the session, in its order, for zones that have none of their own.
    """

    number: Number
    name: str
    client: Address
    ways: tuple[EgressWord, ...] = ()


class LookedUp(Struct, frozen=True, tag=True):
    """They are these; none: ``why`` says it."""

    number: Number
    addresses: tuple[Address, ...] = ()
    why: str = ""


class Zones(Struct, frozen=True, tag=True):
    """How a resolver's zones and their name servers stand."""

    rows: tuple[ZoneRow, ...]


class Ask(Struct, frozen=True, tag=True):
    """Resolve a name as for that client, and say how."""

    number: Number
    name: str
    kind: str
    client: str


class Answered(Struct, frozen=True, tag=True):
    """That is what a client would hear; None: it can not be asked for, as ``fault`` says."""

    number: Number
    resolved: Resolved | None = None
    fault: str = ""


class Flush(Struct, frozen=True, tag=True):
    """Forget answers: of a zone, or of a name and all below it; empty: all."""

    number: Number
    zone: str
    name: str


class Flushed(Struct, frozen=True, tag=True):
    """So many were forgotten."""

    number: Number
    count: Number


class Dump(Struct, frozen=True, tag=True):
    """List so many answers of the caches at most, selected as by `Flush`."""

    number: Number
    zone: str
    name: str
    limit: int


class Dumped(Struct, frozen=True, tag=True):
    """A part of the answer; with the last one, how many matched."""

    number: Number
    rows: tuple[CacheEntry, ...]
    matched: Number | None = None


class Run(Struct, frozen=True, tag=True):
    """Run the command of a line of the ``sockd.conf`` that rules as ``ruling``; from worker to helper."""

    ruling: Number
    origin: str
    values: Substitutions


class Change(NamedTuple):
    """A `gateway.netlink.diff.Step` in two fields that JSON can tell apart."""

    verb: Verb
    route: KernelRoute | None
    rule: RoutingRule | None


class Apply(Struct, frozen=True, tag=True):
    """Change the kernel's routing; from the watcher by way of the supervisor to the warden."""

    changes: tuple[Change, ...]


class Applied(Struct, frozen=True, tag=True):
    """What of it went wrong."""

    faults: tuple[str, ...] = ()


class Clear(Struct, frozen=True, tag=True):
    """Leave nothing of ours in the kernel's routing; answered by `Applied`."""


class Listen(Struct, frozen=True, tag=True):
    """Open a listening socket, or one that takes datagrams; answered by `Opened`."""

    address: Address
    port: int
    backlog: int
    shared: bool
    device: str
    scope: int
    protocol: Literal["tcp", "udp"] = "tcp"


class Open(Struct, frozen=True, tag=True):
    """Open a file for reading, or a log file; answered by `Opened`."""

    path: str
    way: Literal["read", "append"]


class Opened(Struct, frozen=True, tag=True):
    """It comes with this, or ``number`` says why not (errno(3))."""

    number: Number = 0


class Serve(Struct, frozen=True, tag=True):
    """Take the wishes of that worker from the socket that comes with this; from supervisor to helper or resolver."""

    name: str


class Spare(Struct, frozen=True, tag=True):
    """Make another process like yourself, whose channel comes with this; answered by `Applied`."""


class Dispatch(Struct, frozen=True, tag=True):
    """End that other warden, which does not answer; answered by `Applied`."""

    pid: Number


class End(Struct, frozen=True, tag=True):
    """Nobody is served any more."""


Message = (
    Ready | Networks | Orders | Load | Loaded | Swap | Swapped | Reopen | Inquire | Found | Kill | Killed | Tail
    | Run | Apply | Applied | Clear | Listen | Open | Opened | Spare | Dispatch | Serve | End
    | LookUp | LookedUp | Zones | Ask | Answered | Flush | Flushed | Dump | Dumped
)  # fmt: skip

MAY_SAY: MappingProxyType[str, tuple[type[Struct], ...]] = MappingProxyType(
    {
        "warden": (Ready, Opened, Applied),
        "watcher": (Ready, Networks, Apply),
        "helper": (Ready, Loaded, Swapped),
        "worker": (Ready, Loaded, Swapped, Found, Killed),
        "resolver": (Ready, Loaded, Swapped, Zones, Answered, Flushed, Dumped),
    }
)
"""What each kind of child may say to the supervisor."""

ANSWERS: MappingProxyType[type[Struct], type[Struct]] = MappingProxyType(
    {Load: Loaded, Swap: Swapped, Inquire: Found, Kill: Killed, Ask: Answered, Flush: Flushed, Dump: Dumped}
)
"""What a question with a number is answered by."""

_INT = 4
"""Bytes of a descriptor in a message."""

_messages: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Message)


def check(network: Network) -> None:
    """Raises ValueError for addresses that are none."""
    own = (*network.own, *(place.address for place in network.listen))
    sources = (source for uplink in network.uplinks for source in uplink.sources)
    inside = ((pattern.version, number) for pattern in network.inside for number in (pattern.number, pattern.mask))
    if not all(map(is_address, (*own, *sources, *inside))):
        raise ValueError("an address that is none")


def is_address(address: tuple[int, int]) -> bool:
    """Whether an `Address` that was received is one: its version, and a number of that version."""
    version, number = address
    return version in _WIDTHS and 0 <= number < 1 << _WIDTHS[version]


_WIDTHS = MappingProxyType({4: 32, 6: 128})


def channel() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel: the parent's, which never waits, and the child's. Raises OSError."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (mine, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_BYTES)
        end.setblocking(False)
    return mine, theirs


def send(end: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """With these descriptors, `MAX_LISTENERS` at most.

    Raises BlockingIOError when the receiver does not keep up, and other OSErrors.
    """
    data = msgspec.json.encode(message)
    if len(data) > MAX_BYTES:
        # What the receiver would get only a part of is not sent at all.
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    if descriptors:
        socket.send_fds(end, [data], list(descriptors))
    else:
        end.send(data)


class Received(NamedTuple):
    """A message, and the descriptors that came with it, which belong to whoever received them."""

    message: Any
    descriptors: list[int]


def receive(end: socket.socket) -> Received | None:
    """The next message; None when the other side has gone.

    Raises OSError, EMFILE when there was no room for all of the descriptors and EPROTO for what is no message: then no
    descriptor is kept.
    """
    # Not socket.recv_fds(): what it gives is inherited by the commands of sockd.conf.
    room = socket.CMSG_LEN(MAX_LISTENERS * _INT)
    data, ancillary, flags, _ = end.recvmsg(MAX_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = list(_passed(ancillary))
    fault = errno.EMFILE if flags & socket.MSG_CTRUNC else 0
    message = None
    if not data and not _has_gone(end):
        fault = errno.EPROTO  # a message of nothing, which must not pass for the end
    try:
        message = _messages.decode(data) if data else None
    except (ValueError, RecursionError):  # the latter of JSON that is nested too deep
        fault = fault or errno.EPROTO
    if fault:
        close_all(descriptors)
        raise OSError(fault, os.strerror(fault))
    return None if message is None else Received(message, descriptors)


def _passed(ancillary: Iterable[tuple[int, int, bytes]]) -> Iterator[int]:
    """The descriptors; of an array that the kernel has cut the whole ones count."""
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            yield from memoryview(content)[: len(content) // _INT * _INT].cast("i")


def _has_gone(end: socket.socket) -> bool:
    """Whether the other side can say nothing any more (poll(2))."""
    poll = select.poll()
    poll.register(end, select.POLLRDHUP)
    return bool(poll.poll(0))


def close_all(descriptors: Collection[int]) -> None:
    """Close these descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)
