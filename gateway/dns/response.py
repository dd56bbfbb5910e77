"""What a name server answered: read from bytes, checked against what it was asked, and cut down to what belongs.

The octets that are kept are nearly always the beginning of the message after its question, and then they stay as they
are. DNSSEC is not validated here (field-cases D6): its records and flags are passed on.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.dns.answer import Answer
from gateway.dns.belonging import Kept, Question, choose
from gateway.dns.body import MAX_BODY, Body
from gateway.dns.constants import (
    AD,
    HEADER_BYTES,
    MAX_TTL,
    NOERROR,
    NS,
    NXDOMAIN,
    OPCODE_MASK,
    QR,
    RCODE_MASK,
    SERVFAIL,
    SOA,
    TC,
    A,
)
from gateway.dns.edns import OPT_BYTES
from gateway.dns.message import CHECKED, Names
from gateway.dns.message import Malformed as Malformed
from gateway.dns.sections import Opt, Record, find_opt, read_records, skip_record

MAX_RECORDS = 1000
"""In one message (field-cases D6)."""

_new = tuple.__new__
_head = struct.Struct("!6H").unpack_from
_u16 = struct.Struct("!H").unpack_from
_put_u32 = struct.Struct("!L").pack_into

_Body = tuple[bytes, tuple[int, ...]]
"""What is kept of a message, and the places of the TTLs in there."""


class Reading(NamedTuple):
    """What a response says."""

    #: without OPT, and only what belongs; its rcode has the upper bits of OPT
    answer: Answer
    #: ask again by TCP: nothing else here counts
    truncated: bool
    #: of the A and AAAA records kept, and the address hints of SVCB and HTTPS: 4 or 16 bytes each
    addresses: tuple[bytes, ...]
    #: the name to go on with: the aliases lead out of the zone or have no end here
    target: bytes | None
    #: neither answer nor SOA, but other name servers: this one does not look further for us
    referral: bool
    #: the extended error that came along; its text is a stranger's
    ede: tuple[int, str] | None
    #: there was an OPT record
    edns: bool


def read_response(data: bytes, sent: bytes, inside: Callable[[bytes], bool]) -> Reading:
    """The answer in a message that came for ``sent``, a query of `build_query`. Raises Malformed.

    Its id and its question must be those of the query, the question in the same letter case (field-cases D1); only
    who reports a failure may leave the question out. ``inside`` tells of a wire name whether the zone whose server
    this is speaks for it.

    The smallest TTL that is kept counts for the whole; a negative answer has that of its SOA or the minimum in there
    (RFC 2308 §5), and without a SOA it is not to be kept. Of a failure only the rcode counts, and the reason.
    """
    end = len(sent) - OPT_BYTES if sent[11] else len(sent)
    try:
        _, flags, questions, answers, authorities, additionals = _head(data)
        if data[:2] != sent[:2] or flags & (QR | OPCODE_MASK) != QR:
            raise Malformed("it is no response to this query")
        if questions != 1 or not data.startswith(sent[HEADER_BYTES:end], HEADER_BYTES):
            return _without_question(data, flags, questions)
        if flags & TC:
            return _failure(SERVFAIL, None)._replace(truncated=True)
        counts = (answers, authorities, additionals)
        if flags & RCODE_MASK not in (NOERROR, NXDOMAIN):
            return _failure(flags & RCODE_MASK, _opt_of_failure(data, end, counts))
        if answers + authorities + additionals > MAX_RECORDS:
            raise Malformed(f"it has more than {MAX_RECORDS} records")
        name, (type,) = sent[HEADER_BYTES : end - 4].lower(), _u16(sent, end - 4)
        do = end != len(sent) and sent[-4] > 0x7F
        return _read(flags, counts, _new(Question, (name, type, do, inside, data)), end)
    except (IndexError, struct.error):
        raise Malformed("it ends too early") from None


def _without_question(data: bytes, flags: int, questions: int) -> Reading:
    """Servers that do not understand a query may repeat nothing of it, or nothing but its header."""
    rcode = flags & RCODE_MASK
    if rcode in (NOERROR, NXDOMAIN) or (questions and len(data) != HEADER_BYTES):
        raise Malformed("its question is another one")
    return _failure(rcode, None)


def _failure(rcode: int, opt: Opt | None) -> Reading:
    extended, ede = (0, None) if opt is None else opt
    return Reading(Answer(rcode | extended, 0, 0, b"", (), 0), False, (), None, False, ede, opt is not None)


def _opt_of_failure(data: bytes, at: int, counts: Sequence[int]) -> Opt | None:
    """Whoever fails may have counted records that it did not send."""
    answers, authorities, additionals = counts
    if answers + authorities + additionals > MAX_RECORDS:
        return None
    try:
        for _ in range(answers + authorities):
            at = skip_record(data, at)
        return find_opt(data, at, additionals)
    except (Malformed, IndexError, struct.error):
        return None


def _read(flags: int, counts: tuple[int, int, int], question: Question, start: int) -> Reading:
    data = question.data
    names = Names(data, question.name)
    answers, at = read_records(data, start, counts[0], names)
    authorities: list[Record] = []
    if counts[1]:
        authorities, at = read_records(data, at, counts[1], names)
    opt = find_opt(data, at, counts[2]) if counts[2] else None
    rcode = flags & RCODE_MASK
    ede = None
    if opt is not None:
        if opt.rcode:
            return _failure(rcode | opt.rcode, opt)
        ede = opt.ede
    kept = choose(answers, authorities, question, rcode, names)
    answer, addresses = _answer(kept, rcode, flags & AD != 0, names, data, start)
    referral = not answer.ttls and rcode == NOERROR and any(record.type == NS for record in authorities)
    return _new(Reading, (answer, False, addresses, kept.target, referral, ede, opt is not None))


def _answer(
    kept: Kept, rcode: int, ad: bool, names: Names, data: bytes, start: int
) -> tuple[Answer, tuple[bytes, ...]]:
    """Of what is kept, whose data is looked into now; and the addresses in there. ``start``: after the question."""
    answers, authorities, target, lasts = kept
    records = (*answers, *authorities) if authorities else answers
    least = MAX_TTL
    addresses: list[bytes] = []
    octets, last = 0, start
    is_changed = False
    places = []
    for _, type, ttl, begin, at, end in records:
        if ttl < least:
            least = ttl
        octets += end - begin
        if end > last:
            last = end
        if type == A and end - at == 4:
            addresses.append(data[at:end])
        elif type in CHECKED:
            names.check(type, at, end, addresses)
        if not ttl or type == SOA:
            is_changed = True
        places.append(at - 6 - start)
    if octets != last - start:
        body, ttls = _written(records, names)
    else:
        body, ttls = data[start:last], tuple(places)
        if is_changed:
            body = _with_ttls(body, ttls, records)
    if len(body) > MAX_BODY:
        raise Malformed("it is too long")
    if target is not None:
        rcode = NOERROR  # the server's is about what the aliases lead to
    ttl = least if lasts else 0
    return Answer(rcode, len(answers), len(authorities), body, ttls, ttl, ad=ad), tuple(addresses)


def _with_ttls(body: bytes, ttls: Sequence[int], records: Sequence[Record]) -> bytes:
    """With the TTLs that count, where they are not those that were sent."""
    changed = bytearray(body)
    for at, record in zip(ttls, records, strict=True):
        _put_u32(changed, at, record.ttl)
    return bytes(changed)


def _written(records: Sequence[Record], names: Names) -> _Body:
    """The records anew, since something between them is left out."""
    body = Body(names.known[HEADER_BYTES])
    body.add(records, names)
    return body.written()
