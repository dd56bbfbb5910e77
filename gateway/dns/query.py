"""A client's query: read from bytes, with the reply to what is no good one; and ours to a name server.

On the path of every query that is not known by its bytes, so there are no objects for records and labels here. Whose
query it is, which zone has the name and what the answer may be is not known.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from gateway.dns.constants import (
    AD,
    ANY,
    AXFR,
    BADVERS,
    CD,
    CLASSIC_PAYLOAD,
    FORMERR,
    HEADER_BYTES,
    HINFO,
    IN,
    IXFR,
    MAILA,
    MAILB,
    MAX_LABEL,
    MAX_NAME,
    NOERROR,
    NOTIMP,
    NXNAME,
    OPCODE_MASK,
    OPT,
    QR,
    RA,
    RCODE_MASK,
    RD,
    REFUSED,
    TKEY,
    TSIG,
    UDP_PAYLOAD,
    Ede,
)
from gateway.dns.edns import EDE_BYTES, OPT_BYTES, PLAIN, WITH_DO, extended_error, opt_record, options_end_well
from gateway.dns.message import skip_name

DO_BIT, CD_BIT = 1, 2
"""The variants of a question, in the last byte of its key: DNSSEC records wanted, unchecked data wanted."""

MAX_ADDITIONAL = 8
"""Records behind the question of a query: OPT, a signature, and some to spare."""

MINIMAL_TTL = 3600
"""Seconds, of the one record that stands for ANY (RFC 8482 §4.2)."""

_new = tuple.__new__
_head = struct.Struct("!6H").unpack_from
_pair = struct.Struct("!HH").unpack_from
_opt = struct.Struct("!BHHBBHH").unpack_from
_fixed = struct.Struct("!HHLH").unpack_from
_pack_head = struct.Struct("!6H").pack

_number = int.from_bytes
_LETTERS = bytes(0x20 if 0x61 <= octet <= 0x7A else 0 for octet in range(256))
"""The bit by which a lower case letter differs from the upper case one; no other octet of a name has one."""

_VARIANTS = tuple(bytes((variant,)) for variant in range(4))
_U16 = struct.Struct("!H").pack
_HEADS = tuple(
    struct.pack("!5H", RD | AD | (CD if variant & CD_BIT else 0), 1, 0, 0, edns)
    for edns in (0, 1)
    for variant in range(4)
)
"""What follows the id of a query of ours: by its variant, and four further with EDNS.

AD asks whether the server calls the answer authentic, also where no DNSSEC records are wanted (RFC 6840 §5.7).
"""
_TAILS = tuple(_U16(IN) + tail for tail in (b"", b"", b"", b"", PLAIN, WITH_DO, PLAIN, WITH_DO))
"""What follows the type, in the same order."""

_UNASKABLE: Mapping[int, tuple[int, Ede | None]] = MappingProxyType({
    0: (FORMERR, None),
    OPT: (FORMERR, None),
    NXNAME: (FORMERR, None),  # RFC 9824 §3.4
    TKEY: (NOTIMP, None),
    TSIG: (FORMERR, None),
    IXFR: (REFUSED, Ede.NOT_SUPPORTED),
    AXFR: (REFUSED, Ede.NOT_SUPPORTED),
    MAILB: (NOTIMP, None),
    MAILA: (NOTIMP, None),
})  # fmt: skip
"""Types that nobody can be asked for, and what is answered."""

_HINFO_FOR_ANY = (
    b"\xc0\x0c" + struct.pack("!HHLH", HINFO, IN, MINIMAL_TTL, 9) + b"\7RFC8482\0"
)  # RFC 8482 §4.2: CPU "RFC8482", OS empty


class Query(NamedTuple):
    """A question that can be answered."""

    id: int
    #: the flags word as it came
    flags: int
    #: as it came: the name in its letter case, type, class
    question: bytes
    #: what caches know it by: wire name, type (2 bytes), and the variant
    key: bytes
    #: the wire name
    name: bytes
    type: int
    #: bytes that an answer over UDP may have: 512 without EDNS, else 512..1232
    size: int
    edns: bool
    #: whether DNSSEC records are wanted (RFC 3225)
    do: bool


class _Opt(NamedTuple):
    """What a client's OPT record says; ``rcode`` is what is wrong with it."""

    rcode: int
    size: int
    do: bool


_NO_OPT = _Opt(NOERROR, CLASSIC_PAYLOAD, False)


def read_query(data: bytes) -> Query | bytes | None:
    """The query in a message; or the whole reply to send instead; or None: say nothing.

    Nothing is said to what is too short for a header, and to responses. Replies instead: NOTIMP for another opcode,
    FORMERR for what can not be read, for more or fewer questions than one, records in the wrong sections, octets
    behind the end, and a broken, misplaced or second OPT (RFC 6891 §6.1.1); BADVERS; REFUSED for other classes, zone
    transfers, and queries without RD (RFC 8914 §4.21); for ANY one record (RFC 8482).

    Other additional records are passed over, TSIG and SIG(0) too: we share no keys, and who signed a query takes no
    answer without a signature (RFC 8945 §5.3).
    """
    try:
        id, flags, questions, answers, authorities, additionals = _head(data)
    except struct.error:
        return None
    if flags & QR:
        return None
    try:
        if flags & OPCODE_MASK or questions != 1 or answers or authorities:
            return _no_query(data, flags, (questions, answers, authorities), additionals)
        # The name: labels without a pointer, whose lengths are below the letters.
        at = HEADER_BYTES
        while length := data[at]:
            if length > MAX_LABEL:
                return _bare(data)
            at += length + 1
        at += 1
        type, klass = _pair(data, at)
        end = at + 4
        if at > HEADER_BYTES + MAX_NAME:
            return _bare(data)
        if not additionals:
            opt, edns = _NO_OPT, False
            if end != len(data):
                return _bare(data)
        else:
            found = _read_additional(data, end, additionals)
            if found is None:
                return _bare(data)
            opt, edns = found, found is not _NO_OPT
    except (IndexError, struct.error):
        return _bare(data)
    rcode, size, do = opt
    name = data[HEADER_BYTES:at].lower()
    variant = (DO_BIT if do else 0) | (CD_BIT if flags & CD else 0)
    key = name + data[at : at + 2] + _VARIANTS[variant]
    query = _new(Query, (id, flags, data[HEADER_BYTES:end], key, name, type, size, edns, do))
    if rcode or klass != IN or not flags & RD or type in _UNASKABLE or type == ANY:
        return _reply_instead(query, rcode, klass)
    return query


def _read_additional(data: bytes, at: int, count: int) -> _Opt | None:
    """What the additional section says; None: that it can not be read, or has a second OPT."""
    owner, type, payload, _, version, flags, length = _opt(data, at)
    if count == 1 and type == OPT and owner == 0:
        end = at + OPT_BYTES + length
        if end != len(data):
            return None
        return _read_opt(data, at + OPT_BYTES, end, payload, version, flags)
    return _walk_additional(data, at, count)


def _read_opt(data: bytes, at: int, end: int, payload: int, version: int, flags: int) -> _Opt:
    if version:
        rcode = BADVERS
    elif at == end or options_end_well(data, at, end):
        rcode = NOERROR
    else:
        rcode = FORMERR
    size = payload if CLASSIC_PAYLOAD < payload < UDP_PAYLOAD else _nearest(payload)
    return _new(_Opt, (rcode, size, flags > 0x7FFF))


def _nearest(payload: int) -> int:
    """Fewer than 512 octets count as 512 (RFC 6891 §6.2.3); more than 1232 we do not send."""
    return CLASSIC_PAYLOAD if payload <= CLASSIC_PAYLOAD else UDP_PAYLOAD


def _walk_additional(data: bytes, at: int, count: int) -> _Opt | None:
    """The rare case of other records beside OPT, before it or behind."""
    if count > MAX_ADDITIONAL:
        return None
    opt = _NO_OPT
    for _ in range(count):
        owner = at
        at = skip_name(data, at)
        if not at:
            return None
        type, payload, ttl, length = _fixed(data, at)
        at += 10 + length
        if at > len(data):
            return None
        if type == OPT:
            if data[owner] or opt is not _NO_OPT:
                return None
            opt = _read_opt(data, at - length, at, payload, ttl >> 16 & 0xFF, ttl & 0xFFFF)
    return opt if at == len(data) else None


# What is answered instead


def _bare(data: bytes, additionals: int = 0) -> bytes:
    """The header alone: FORMERR, or NOTIMP to another opcode. Of its flags only those come back that have a meaning."""
    id, flags = _pair(data)
    if flags & OPCODE_MASK:
        return _pack_head(id, QR | flags & (OPCODE_MASK | RD) | NOTIMP, 0, 0, 0, additionals)
    return _pack_head(id, QR | RA | flags & (RD | CD) | FORMERR, 0, 0, 0, additionals)


def _no_query(data: bytes, flags: int, sections: tuple[int, int, int], additionals: int) -> bytes:
    """To what is not one question. What has an OPT record at a query's place gets one (RFC 6891 §6.1.1)."""
    if flags & OPCODE_MASK and additionals and sections == (1, 0, 0):
        opt = _read_additional(data, skip_name(data, HEADER_BYTES) + 4, additionals)
        if opt is not None and opt is not _NO_OPT:
            return _bare(data, 1) + opt_record(opt.do)
    return _bare(data)


def _reply_instead(query: Query, rcode: int, klass: int) -> bytes:
    """To a query that can be read, but not be asked; what is wrong with its EDNS counts first."""
    if rcode:
        return _refusal(query, rcode, None)
    if klass != IN:
        return _refusal(query, REFUSED, Ede.NOT_SUPPORTED)
    if query.type in _UNASKABLE:
        return _refusal(query, *_UNASKABLE[query.type])
    if not query.flags & RD:
        return _refusal(query, REFUSED, Ede.NOT_AUTHORITATIVE)
    return _message(query, NOERROR, _HINFO_FOR_ANY, b"")


def _refusal(query: Query, rcode: int, ede: Ede | None) -> bytes:
    return _message(query, rcode, b"", b"" if ede is None else extended_error(ede, "", EDE_BYTES))


def _message(query: Query, rcode: int, record: bytes, options: bytes) -> bytes:
    flags = QR | RA | query.flags & (RD | CD) | rcode & RCODE_MASK
    head = _pack_head(query.id, flags, 1, bool(record), 0, query.edns)
    return head + query.question + record + (opt_record(query.do, rcode, options) if query.edns else b"")


# Keys, and our own questions


def variant(query_key: bytes) -> int:
    """The variant bits of a key."""
    return query_key[-1]


def key_of(name: bytes, type: int, variant: int = 0) -> bytes:
    """What caches know the question for this wire name by."""
    return name + _U16(type) + _VARIANTS[variant]


def build_query(id: int, name: bytes, type: int, *, variant: int, edns: bool = True, cases: int = 0) -> bytes:
    """A query to a name server: recursion desired, CD and DO as the variant says, and no option ever.

    Without EDNS there is no DO. ``cases`` are random bits: bit i makes the i-th letter of the name upper case, which
    the answer must repeat (draft-vixie-dnsext-dns0x20, field-cases D1).
    """
    which = variant + 4 if edns else variant
    if cases:
        name = _mixed(name, cases)
    return b"".join((_U16(id), _HEADS[which], name, _U16(type), _TAILS[which]))


def query_for(key: bytes, id: bytes, octets: bytes, *, edns: bool) -> bytes:
    """The same for the key of a question: ``id`` has 2 bytes, ``octets`` are random ones, as many as the name has.

    One bit of each says the case of the letter there. Without any the name is in lower case.
    """
    name, which = key[:-3], key[-1] + 4 if edns else key[-1]
    if octets:
        # All letters at once, as one large number.
        chosen = _number(octets, "big") & _number(name.translate(_LETTERS), "big")
        name = (_number(name, "big") ^ chosen).to_bytes(len(name), "big")
    return b"".join((id, _HEADS[which], name, key[-3:-1], _TAILS[which]))


def _mixed(name: bytes, cases: int) -> bytes:
    """The lengths of labels are below the letters, so that every octet can be looked at alike."""
    mixed = bytearray(name)
    for at, octet in enumerate(name):
        if 0x61 <= octet <= 0x7A:
            if cases & 1:
                mixed[at] = octet - 0x20
            cases >>= 1
    return bytes(mixed)
