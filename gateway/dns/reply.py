"""What a client hears: its id and its question, the octets of an answer less their age, and OPT if it sent one.

The same answer serves every client; what differs between two replies is the header, the question's letter case, the
TTLs, and whether it fits.
"""

import struct
from collections.abc import Sequence

from gateway.dns.answer import Answer
from gateway.dns.constants import AD, CD, HEADER_BYTES, QR, RA, RCODE_MASK, RD, SERVFAIL, TC, Ede
from gateway.dns.edns import EDE_BYTES, OPT_BYTES, PLAIN, WITH_DO, extended_error, opt_record
from gateway.dns.query import Query

_head = struct.Struct("!6H").pack
_u16 = struct.Struct("!H").unpack_from
_u32 = struct.Struct("!L").unpack_from
_put_u32 = struct.Struct("!L").pack_into

_TTL_BYTES = 4

_KEPT = RD | CD
"""Flags that come back as they came (RFC 1035 §4.1.1, RFC 4035 §3.2.2)."""


def reply(query: Query, answer: Answer, age: int, limit: int) -> bytes:
    """The whole message, for an answer that came ``age`` seconds ago.

    AD is set where the server set it and the client asks for it by AD or DO (RFC 6840 §5.8). Of what is longer than
    ``limit`` octets, as many records of the answer section go as fit, and TC says so (RFC 2181 §9): some stubs never
    ask by TCP, and take what came for all there is (musl before 1.2.4).
    """
    body = _aged(answer.body, answer.ttls, age) if age else answer.body
    ad = AD if answer.ad and (query.do or query.flags & AD) else 0
    return _message(query, answer, body, limit, ad, b"")


def stale_reply(query: Query, answer: Answer, ttl: int, limit: int, ede: Ede) -> bytes:
    """The same for an answer whose time is over: every record gets ``ttl`` seconds more (RFC 8767 §4).

    Its signatures may have expired as well, so that it is not called authentic.
    """
    body = bytearray(answer.body)
    for at in answer.ttls:
        _put_u32(body, at, ttl)
    return _message(query, answer, bytes(body), limit, 0, extended_error(ede, "", EDE_BYTES))


def failure(query: Query, rcode: int, ede: Ede | None = None, text: str = "") -> bytes:
    """A reply without records; who sent OPT hears why, in as many words as fit (RFC 8914)."""
    room = query.size - HEADER_BYTES - len(query.question) - OPT_BYTES
    options = b"" if ede is None else extended_error(ede, text, room)
    rcode, tail = _rare_end(query, rcode, options)
    head = _head(query.id, QR | RA | query.flags & _KEPT | rcode & RCODE_MASK, 1, 0, 0, query.edns)
    return head + query.question + tail


def age(message_or_body: bytearray, offsets: Sequence[int], seconds: int) -> None:
    """Take these seconds off the TTLs at these places; none goes below 0."""
    for at in offsets:
        left = _u32(message_or_body, at)[0] - seconds
        _put_u32(message_or_body, at, left if left > 0 else 0)


def _aged(body: bytes, offsets: Sequence[int], seconds: int) -> bytes:
    octets = bytearray(body)
    age(octets, offsets, seconds)
    return bytes(octets)


def _message(query: Query, answer: Answer, body: bytes, limit: int, ad: int, options: bytes) -> bytes:
    id, flags, question, _, _, _, _, edns, do = query
    rcode = answer.rcode
    if rcode > RCODE_MASK or options or not edns:
        rcode, tail = _rare_end(query, rcode, options)
    else:
        tail = WITH_DO if do else PLAIN
    flags = QR | RA | flags & _KEPT | rcode & RCODE_MASK
    head = _head(id, flags | ad, 1, answer.records, answer.authorities, edns)
    message = b"".join((head, question, body, tail))
    if len(message) <= limit:
        return message
    records, end = _fitting(answer, limit - len(head) - len(question) - len(tail))
    return b"".join((_head(id, flags | TC, 1, records, 0, edns), question, body[:end], tail))


def _fitting(answer: Answer, room: int) -> tuple[int, int]:
    """How many whole records of the answer section have room, and where the last of them ends.

    Their pointers lead back, so that they are right without what follows.
    """
    records = end = 0
    for place in answer.ttls[: answer.records]:
        behind = place + _TTL_BYTES + 2 + _u16(answer.body, place + _TTL_BYTES)[0]
        if behind > room:
            break
        records += 1
        end = behind
    return records, end


def _rare_end(query: Query, rcode: int, options: bytes) -> tuple[int, bytes]:
    """The rcode that can be said, and the OPT record that says the rest of it."""
    if query.edns:
        return rcode, opt_record(query.do, rcode, options)
    return (rcode if rcode <= RCODE_MASK else SERVFAIL), b""
