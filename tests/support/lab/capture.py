"""What really crosses a card: an AF_PACKET socket (packet(7)) on it, read by a thread, parsed to plain values.

A test that says "not one packet" must not miss any, so whatever the kernel has handed over before a question counts in
its answer, and a capture that lost packets answers nothing.
"""

import contextlib
import errno
import ipaddress
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.support.netns import Namespace

_EVERY_KIND = 0x0003
_OUTGOING = 4
#: if_packet.h and socket.h, which Python's socket does not name
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE = 33
_ROOM = 64 << 20
_SNAP = 256
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
_FLAGS = "FSRPAU"
#: IPv6 headers that may stand before that of the transport (RFC 8200 §4.1)
_EXTENSIONS = frozenset({0, 43, 60})
_FRAGMENT = 44


class Packet(NamedTuple):
    """One packet of IPv4 or IPv6; ports are 0 where there are none."""

    #: whether this host sent it
    outgoing: bool
    source: str
    destination: str
    #: ``tcp``, ``udp``, ``icmp``, ``icmp6`` or a number
    protocol: str
    source_port: int = 0
    destination_port: int = 0
    #: those of TCP by their first letters, as in ``SA``
    flags: str = ""


def parse(data: bytes, outgoing: bool = True) -> Packet | None:
    """A packet from its first bytes, those of the IP header; None for what is neither IPv4 nor IPv6, or cut short."""
    try:
        version = data[0] >> 4
        return {4: _parse4, 6: _parse6}[version](data, outgoing)
    except (KeyError, IndexError, struct.error):
        return None


def _parse4(data: bytes, outgoing: bool) -> Packet:
    """RFC 791 §3.1; a later fragment has no ports."""
    fragment, protocol, source, destination = struct.unpack_from("!6xHxB2x4s4s", data)
    transport = data[(data[0] & 15) * 4 :] if not fragment & 0x1FFF else b""
    return _packet(outgoing, source, destination, protocol, transport)


def _parse6(data: bytes, outgoing: bool) -> Packet:
    """RFC 8200 §3 and §4."""
    protocol, source, destination = struct.unpack_from("!6xBx16s16s", data)
    at = 40
    while protocol in _EXTENSIONS:
        protocol, at = data[at], at + 8 + data[at + 1] * 8
    if protocol == _FRAGMENT:
        following, offset = struct.unpack_from("!BxH", data, at)
        protocol, at = following, len(data) if offset >> 3 else at + 8
    return _packet(outgoing, source, destination, protocol, data[at:])


def _packet(outgoing: bool, source: bytes, destination: bytes, protocol: int, transport: bytes) -> Packet:
    name = _PROTOCOLS.get(protocol, str(protocol))
    ports, flags = (0, 0), ""
    if name in ("tcp", "udp") and len(transport) >= 4:
        ports = struct.unpack_from("!HH", transport)
    if name == "tcp" and len(transport) >= 14:
        flags = "".join(letter for bit, letter in enumerate(_FLAGS) if transport[13] >> bit & 1)
    return Packet(outgoing, _text(source), _text(destination), name, *ports, flags)


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


Wanted = Callable[[Packet], bool]


class Capture:
    """The packets of one card since the capture began."""

    def __init__(self, tap: socket.socket, wanted: Wanted, most: int) -> None:
        self._tap = tap
        self._wanted = wanted
        self._most = most
        self._lock = threading.Lock()
        self._packets: list[Packet] = []
        self._lost = 0

    def packets(
        self,
        *,
        source: str | None = None,
        destination: str | None = None,
        protocol: str | None = None,
        port: int | None = None,
        outgoing: bool | None = None,
    ) -> list[Packet]:
        """The packets so far, in their order, that have all of these values; ``port`` may be either of the two.

        Raises AssertionError when packets were lost, as the answer could be wrong.
        """
        self.drain()
        assert not self._lost, f"the capture lost {self._lost} packets; narrow it by what is wanted"
        asked = {"source": source, "destination": destination, "protocol": protocol, "outgoing": outgoing}
        fixed = [(name, value) for name, value in asked.items() if value is not None]
        return [
            packet
            for packet in self._packets
            if all(getattr(packet, name) == value for name, value in fixed)
            and port in (None, packet.source_port, packet.destination_port)
        ]

    def drain(self) -> None:
        """Take over what the kernel has, and ask how many packets found no room in it."""
        with self._lock:
            if self._tap.fileno() < 0:
                return
            while (received := self._receive()) is not None:
                self._take(*received)
            # it counts anew after each answer
            self._lost += struct.unpack("II", self._tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]

    def _receive(self) -> tuple[bytes, bool] | None:
        while True:
            try:
                data, name = self._tap.recvfrom(_SNAP, socket.MSG_DONTWAIT)
                return data, name[2] == _OUTGOING
            except BlockingIOError:
                return None
            except OSError as error:
                # said once when the card goes down or away
                if error.errno not in (errno.ENETDOWN, errno.ENODEV):
                    raise

    def _take(self, data: bytes, outgoing: bool) -> None:
        packet = parse(data, outgoing)
        if packet is None or not self._wanted(packet):
            return
        if len(self._packets) < self._most:
            self._packets.append(packet)
        else:
            self._lost += 1


def _everything(_: Packet) -> bool:
    return True


@contextlib.contextmanager
def capture(space: Namespace, card: str, wanted: Wanted = _everything, most: int = 200_000) -> Iterator[Capture]:
    """See every packet of IPv4 and IPv6 on a card of a namespace, in and out, from now on until the end of the block.

    Only those ``wanted`` are kept, and of them ``most``. The packets can be asked for inside the block and after it.
    """
    with space.inside():
        # no kind yet: a socket that hears every card until it is bound to one would begin with packets of others
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM)
        tap.bind((card, _EVERY_KIND))
        seen = Capture(tap, wanted, most)
        with _reader(tap, seen):
            yield seen
        seen.drain()


@contextlib.contextmanager
def _reader(tap: socket.socket, seen: Capture) -> Iterator[None]:
    """A thread that keeps the kernel's room for packets free."""
    stopped, stop = os.pipe()

    def read() -> None:
        while stopped not in select.select([tap.fileno(), stopped], [], [])[0]:
            seen.drain()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        os.close(stop)
        thread.join()
        os.close(stopped)
