"""Records written anew, because they can not stay as they lie: something was left out, or they are several messages'.

Only whole owners are compressed: those that are the question's name, or an owner or an alias's target before. So there
is no pointer into anything that changes, and each name can be read on its own. Which records belong is not known here.
"""

import struct
from collections.abc import Iterable

from gateway.dns.constants import CNAME, HEADER_BYTES, IN, MAX_MESSAGE, NAPTR
from gateway.dns.message import Malformed, Names
from gateway.dns.sections import Record

MAX_BODY = MAX_MESSAGE - 512
"""Octets of what is kept: header, question and an OPT record with a reason find room beside it."""

_QUESTION_TAIL = 4
"""Octets of a question behind its name."""

_FAR = 0x4000
"""The first place that no pointer reaches."""

_pack_pointer = struct.Struct("!H").pack
_pack_fixed = struct.Struct("!HHLH").pack


class Body:
    """What stands behind the question of one message, while it grows."""

    __slots__ = ("_octets", "_places", "_start", "_ttls")

    def __init__(self, question: bytes) -> None:
        """``question`` is the wire name that is asked for."""
        self._start = HEADER_BYTES + len(question) + _QUESTION_TAIL
        self._places = {question: HEADER_BYTES}
        self._octets = bytearray()
        self._ttls: list[int] = []

    def add(self, records: Iterable[Record], names: Names, age: int = 0) -> None:
        """These records of the message of ``names``, with TTLs that are ``age`` seconds less, but not below 0.

        Raises Malformed for what grows longer than `MAX_BODY`, and what reading names raises.
        """
        octets, places, ttls, start = self._octets, self._places, self._ttls, self._start
        plain = names.plain
        for owner, type, ttl, _, at, end in records:
            place = places.get(owner, _FAR)
            if place < _FAR:
                octets += _pack_pointer(0xC000 | place)
            else:
                places[owner] = start + len(octets)
                octets += owner
            data = plain(type, at, end) if type != NAPTR else _rule(names, at, end)
            ttls.append(len(octets) + 4)
            octets += _pack_fixed(type, IN, ttl - age if ttl > age else 0, len(data))
            if type == CNAME:
                places.setdefault(data.lower(), start + len(octets))
            octets += data
            if len(octets) > MAX_BODY:
                raise Malformed("it is too long")

    def written(self) -> tuple[bytes, tuple[int, ...]]:
        """All of it, and the places of the TTLs in there."""
        return bytes(self._octets), tuple(self._ttls)


def _rule(names: Names, at: int, end: int) -> bytes:
    """The data of NAPTR, whose name behind three texts some compress (RFC 3597 §4). What has no name stays as it is.

    A name that can not be read is Malformed: who tried on would do the work for it again with each record.
    """
    data = names.plain(NAPTR, at, end)
    behind = 4
    for _ in range(3):
        if behind >= len(data):
            return data
        behind += 1 + data[behind]
    if behind >= len(data):
        return data
    name, stop = names.read(at + behind)
    return data[:behind] + name if stop == end else data
