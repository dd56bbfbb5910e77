"""Memory that is shared with the kernel: batches of datagrams by recvmmsg(2) and sendmmsg(2), which Python lacks.

Everything is laid out once: a message has a slot of bytes, in which its reply is written too, and a place for the
address it came from. To answer, only the sizes of the replies are written. Nothing here knows what a message means.

The calls never wait, so they are made without letting other threads in (`ctypes.PyDLL`): getting back would cost more.
"""

import ctypes
import errno
import mmap
import socket
import struct
from collections.abc import Collection, Iterator, Sequence

BATCH = 64
"""Messages of one system call: from about 32 on more gain nothing."""

SLOT = 1472
"""Bytes of a message or a reply: what a frame of Ethernet takes, and an odd number of cache lines.

With a power of two the beginnings of all messages would compete for the same few lines of the processor's cache.
"""

PLACES = tuple(range(0, BATCH * SLOT, SLOT))
"""Where the slots begin."""

_NAME_BYTES = {int(socket.AF_INET): 16, int(socket.AF_INET6): 28}
_ADDRESS = {int(socket.AF_INET): struct.Struct("4x4s8x"), int(socket.AF_INET6): struct.Struct("8x16s4x")}
"""The address in ``struct sockaddr_in`` and ``struct sockaddr_in6`` (ip(7), ipv6(7))."""

_NOW = int(socket.MSG_DONTWAIT)
_RECEIVE = int(socket.MSG_DONTWAIT | socket.MSG_TRUNC)
"""MSG_TRUNC: the size of a message that was too long for its slot is told as it was (recv(2))."""

_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)


class _Piece(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """``struct mmsghdr``: that, and how many bytes were received or sent."""

    _fields_ = (("message", _Message), ("size", ctypes.c_uint32))


_HEADER = ctypes.sizeof(_Header)
_PIECE = ctypes.sizeof(_Piece)


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _headers(memory: mmap.mmap) -> tuple[ctypes.c_void_p, ...]:
    """Where the headers are."""
    first = _address(memory)
    return tuple(ctypes.c_void_p(first + number * _HEADER) for number in range(BATCH))


class Batches:
    """The messages of one socket."""

    __slots__ = (
        "_all",
        "_fd",
        "_first",
        "_incoming",
        "_names",
        "_out",
        "_picked",
        "_received_sizes",
        "_recvmmsg",
        "_sendmmsg",
        "_sendto",
        "_some",
        "_unpack",
        "data",
        "name_bytes",
        "sizes",
    )

    def __init__(self, fd: int, family: int) -> None:
        """For a non-blocking UDP socket of this family: AF_INET, or AF_INET6 without IPv4 (IPV6_V6ONLY)."""
        # Without argtypes: ints are passed as C's int, and pointers as the objects that are made here, once. It halves
        # the cost of a call.
        libc = ctypes.PyDLL(None, use_errno=True)
        self._recvmmsg, self._sendmmsg, self._sendto = libc.recvmmsg, libc.sendmmsg, libc.sendto
        self._fd = fd
        self.name_bytes = _NAME_BYTES[family]
        self._unpack = _ADDRESS[family].iter_unpack
        #: the messages, each at its place in ``PLACES``. An anonymous mapping: its slices are bytes at once
        self.data = mmap.mmap(-1, BATCH * SLOT)
        self._names = mmap.mmap(-1, BATCH * self.name_bytes)
        self._incoming = mmap.mmap(-1, BATCH * (_HEADER + _PIECE))
        self._out = mmap.mmap(-1, BATCH * (_HEADER + _PIECE))
        self._picked = mmap.mmap(-1, BATCH * _HEADER)
        for memory in (self._incoming, self._out):
            self._lay_out(memory)
        self._first = ctypes.c_void_p(_address(self._incoming))
        self._all, self._some = _headers(self._out), _headers(self._picked)
        headers = memoryview(self._incoming)[: BATCH * _HEADER].cast("I")
        self._received_sizes = headers[_Header.size.offset // 4 :: _HEADER // 4]
        #: how many bytes of each slot are sent
        self.sizes = memoryview(self._out)[BATCH * _HEADER :].cast("L")[1::2]

    def _lay_out(self, memory: mmap.mmap) -> None:
        """Headers, then pieces: one for each slot."""
        headers = (_Header * BATCH).from_buffer(memory)
        pieces = (_Piece * BATCH).from_buffer(memory, BATCH * _HEADER)
        names, data, first = _address(self._names), _address(self.data), _address(memory) + BATCH * _HEADER
        for number, place in enumerate(PLACES):
            pieces[number] = _Piece(data + place, SLOT)
            header = headers[number].message
            header.name, header.name_size = names + number * self.name_bytes, self.name_bytes
            header.pieces, header.piece_count = first + number * _PIECE, 1

    def receive(self) -> int:
        """Fill the slots; how many were. Less than ``BATCH``: no more waits now, or an error was fetched."""
        return max(0, int(self._recvmmsg(self._fd, self._first, BATCH, _RECEIVE, None)))

    def received(self, count: int) -> list[int]:
        """The sizes of the first messages that were received, which may be above ``SLOT``: then the rest is lost."""
        return self._received_sizes[:count].tolist()

    def sources(self) -> Iterator[tuple[bytes]]:
        """The addresses that they came from, 4 or 16 bytes; as many as there are slots."""
        return self._unpack(self._names)

    def name(self, number: int) -> bytes:
        """The socket address that this one came from, for `send_to`."""
        start = number * self.name_bytes
        return self._names[start : start + self.name_bytes]

    def reply(self, count: int, silent: Collection[int]) -> int:
        """Send the first ``count`` slots, by ``sizes``, back to where they came from, but the ``silent`` ones.

        Returns how many could not be sent: they are lost, as those of UDP may be.
        """
        if not silent:
            return self._send(self._all, count)
        return self._send(self._some, self._pick(count, silent))

    def _pick(self, count: int, silent: Collection[int]) -> int:
        """Put the headers that count one behind the other; how many there are."""
        silent = frozenset(silent)
        picked = 0
        for number in range(count):
            if number not in silent:
                start, to = number * _HEADER, picked * _HEADER
                self._picked[to : to + _HEADER] = self._out[start : start + _HEADER]
                picked += 1
        return picked

    def _send(self, headers: tuple[ctypes.c_void_p, ...], count: int) -> int:
        done = lost = 0
        while done < count:
            sent = self._sendmmsg(self._fd, headers[done], count - done, _NOW)
            if sent <= 0:
                if ctypes.get_errno() in _FULL:
                    return lost + count - done
                sent = 1  # it is this one's own: an address that nothing leads to, a firewall that forbids it
                lost += 1
            done += sent
        return lost

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> int:
        """At most ``BATCH`` socket addresses, as `name` gives them, with a message of at most ``SLOT`` bytes to each.

        What was received is not in its slots any more. Returns how many could not be sent.
        """
        data, names, sizes, width = self.data, self._names, self.sizes, self.name_bytes
        at = number = 0
        for name, message in messages:
            size = sizes[number] = len(message)
            place = PLACES[number]
            data[place : place + size] = message
            names[at : at + width] = name
            at += width
            number += 1
        return self._send(self._all, number)

    def send_to(self, name: bytes, message: bytes) -> bool:
        """One message, to a socket address as `name` gives it; whether it could be sent."""
        size = ctypes.c_size_t(len(message))
        return bool(self._sendto(self._fd, message, size, _NOW, name, self.name_bytes) >= 0)
