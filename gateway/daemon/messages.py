"""What the processes of the daemon tell one another: checked values, each one datagram of a socket pair.

The warden tells the supervisor of the host's networks whenever they change; the supervisor tells every worker the
same, with the listening sockets that the worker should have. A message is always the whole of what it is about, so
that only the last one counts and one that is lost costs nothing.
"""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.policy.egress import Uplink

READY = b"ready"
"""What a child says when its work has begun."""

END = b"end"
"""What the warden is told when nobody is served any more: it clears up and ends."""

MAX_BYTES = 1 << 20
"""Of one message. The kernel may take fewer (net.core.wmem_max, unix(7)); either is EMSGSIZE to the sender."""

MAX_LISTENERS = 250
"""Descriptors in one message: the kernel passes at most 253 (SCM_MAX_FD, unix(7))."""


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


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker works with; ``listeners`` number the sockets that come with it, in their order.

    None: none come, the worker keeps those that it has.
    """

    network: Network
    listeners: tuple[int, ...] | None = None


_networks = msgspec.json.Decoder(Network)
_orders = msgspec.json.Decoder(Orders)


def channel() -> tuple[socket.socket, socket.socket]:
    """Both ends of a new channel: the parent's, which never waits, and the child's. Raises OSError."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (mine, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_BYTES)
        end.setblocking(False)
    return mine, theirs


def send_network(end: socket.socket, network: Network) -> None:
    """Raises BlockingIOError when the receiver does not keep up, and other OSErrors."""
    end.send(_bounded(msgspec.json.encode(network)))


def receive_network(end: socket.socket) -> Network | bytes:
    """The next message of a child; bytes are a word such as `READY`, empty when it has gone. Raises OSError."""
    data = end.recv(MAX_BYTES)
    return _networks.decode(data) if data.startswith(b"{") else data


def send_orders(end: socket.socket, orders: Orders, listeners: Sequence[socket.socket]) -> None:
    """With the sockets that ``orders`` numbers, `MAX_LISTENERS` at most.

    Raises BlockingIOError when the worker does not keep up, and other OSErrors.
    """
    socket.send_fds(end, [_bounded(msgspec.json.encode(orders))], [sock.fileno() for sock in listeners])


def receive_orders(end: socket.socket) -> tuple[Orders, list[int]] | None:
    """The next orders, and the descriptors that came with them; None when the supervisor has gone.

    Raises OSError, EMFILE when there was no room for all of the descriptors: then none is kept.
    """
    data, descriptors, flags, _ = socket.recv_fds(end, MAX_BYTES, MAX_LISTENERS)
    if flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return (_orders.decode(data), descriptors) if data else None


def _bounded(data: bytes) -> bytes:
    """What the receiver would get only a part of is not sent at all."""
    if len(data) > MAX_BYTES:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    return data
