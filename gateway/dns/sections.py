"""The records of a response: where each lies in the message, and what OPT says. Which of them belong is not known."""

import struct
from typing import NamedTuple

from gateway.dns.constants import IN, MAX_TTL, OPT, POINTER
from gateway.dns.edns import OPT_BYTES, first_error, options_end_well
from gateway.dns.message import Malformed, Names, skip_name

FOREIGN = -1
"""The type of what is not of class IN."""

_OPT_OWNER_TYPE = bytes((0, *OPT.to_bytes(2, "big")))
_NO_OPTIONS = bytes(2)

_new = tuple.__new__
_fixed = struct.Struct("!HHLH").unpack_from


class Record(NamedTuple):
    """One record; ``start`` is where its owner is, ``data`` where what its length counts begins."""

    owner: bytes
    type: int
    ttl: int
    start: int
    data: int
    end: int


class Opt(NamedTuple):
    """What a server's OPT record says: the upper bits of the rcode, and the first extended error."""

    rcode: int
    ede: tuple[int, str] | None


def read_records(data: bytes, at: int, count: int, names: Names) -> tuple[list[Record], int]:
    """The records of a section, and where it ends. Raises Malformed, and IndexError and struct.error at the end."""
    records = []
    size = len(data)
    known = names.known
    for _ in range(count):
        start = at
        # Nearly every owner is a pointer to the question or to an alias.
        owner = known.get(data[at + 1]) if data[at] == POINTER else None
        if owner is None:
            owner, at = names.owner(at)
        else:
            at += 2
        type, klass, ttl, length = _fixed(data, at)
        at += 10
        end = at + length
        if end > size:
            raise Malformed("it ends too early")
        if ttl > MAX_TTL:
            ttl = 0  # RFC 2181 §8
        records.append(_new(Record, (owner, type if klass == IN else FOREIGN, ttl, start, at, end)))
        at = end
    return records, at


def find_opt(data: bytes, at: int, count: int) -> Opt | None:
    """The OPT record of an additional section, whose other records are passed over (field-cases D2).

    Raises Malformed for a broken one and for two (RFC 6891 §6.1.1), IndexError and struct.error at the end.
    """
    if (
        count == 1
        and len(data) == at + OPT_BYTES
        and data.startswith(_OPT_OWNER_TYPE, at)
        and data.endswith(_NO_OPTIONS)
    ):
        return _new(Opt, (data[at + 5] << 4, None))  # as nearly everyone has it
    found = None
    for _ in range(count):
        start, at = at, skip_name(data, at)
        type, _, ttl, length = _fixed(data, at)
        place = at + 10
        at = place + length
        if at > len(data) or place < start:
            raise Malformed("it ends too early, or has an owner that is no name")
        if type == OPT:
            if data[start] or found is not None or not options_end_well(data, place, at):
                raise Malformed("its OPT record is broken, or there are two")
            found = _new(Opt, (ttl >> 24 << 4, first_error(data, place, at) if length else None))
    return found


def skip_record(data: bytes, at: int) -> int:
    """Where the next one begins. Raises as `find_opt` does."""
    start, at = at, skip_name(data, at)
    if at < start:
        raise Malformed("an owner is no name")
    return at + 10 + int(_fixed(data, at)[3])
