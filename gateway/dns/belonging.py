"""Which records of a response belong: those of the question's name and type, what leads there, and what proves it.

A server speaks for the names of its own zone and about the question that it was asked; whatever else it sends is
dropped, so that it answers nobody (field-cases D2, D12). Aliases are followed in whatever order the records come.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.dns.constants import CNAME, DNAME, MAX_TTL, NOERROR, NSEC, NSEC3, NXDOMAIN, RRSIG, SOA
from gateway.dns.message import Malformed, Names
from gateway.dns.names import is_below, parents
from gateway.dns.sections import Record

MAX_CHAIN = 8
"""Aliases in one answer (field-cases D8)."""

_PROOFS = frozenset((NSEC, NSEC3))
_SOA_AND_PROOFS = frozenset((SOA, NSEC, NSEC3))

_new = tuple.__new__
_u16 = struct.Struct("!H").unpack_from
_u32 = struct.Struct("!L").unpack_from

_Owners = dict[bytes, list[Record]]


class Question(NamedTuple):
    """What was asked, for which names the server speaks, and the message that it sent."""

    name: bytes
    type: int
    #: DNSSEC records are wanted
    do: bool
    inside: Callable[[bytes], bool]
    data: bytes


class Kept(NamedTuple):
    """What belongs, in the order of a reply."""

    answers: Sequence[Record]
    authorities: Sequence[Record]
    #: the name to go on with
    target: bytes | None
    #: the records say how long it may be kept; a negative answer without a SOA does not
    lasts: bool


def choose(answers: list[Record], authorities: list[Record], question: Question, rcode: int, names: Names) -> Kept:
    """From the two sections of a response with NOERROR or NXDOMAIN; raises Malformed for endless aliases and the like.

    The TTL of a SOA that is kept is the one that counts for a negative answer (RFC 2308 §5).
    """
    name, type, _, _, _ = question
    for record in answers:
        if record[1] != type or record[0] != name:
            return _follow(answers, authorities, question, rcode, names)
    # Most answers have only what was asked for, or nothing.
    if answers:
        return _positive(answers, authorities, question, rcode)
    return _negative(answers, authorities, question, rcode, name)


def _follow(answers: list[Record], authorities: list[Record], question: Question, rcode: int, names: Names) -> Kept:
    """The way from the question's name, by aliases, to the records of its type."""
    name, type, _, inside, _ = question
    owners: _Owners = {}
    for record in answers:
        owners.setdefault(record.owner, []).append(record)
    kept: list[Record] = []
    seen = {name}
    while True:
        here = owners.get(name, [])
        finals = [record for record in here if record.type == type]
        if finals:
            kept += finals
            kept += _signatures(here, type, question)
            return _positive(kept, authorities, question, rcode)
        alias = next((record for record in here if record.type == CNAME), None)
        if alias is None:
            return _negative(kept, authorities, question, rcode, name)
        kept += _redirection(owners, name, question, kept)
        kept.append(alias)
        kept += _signatures(here, CNAME, question)
        name = names.target(alias.data, alias.end)
        if name in seen or len(seen) > MAX_CHAIN:
            raise Malformed("its aliases run in a circle" if name in seen else f"it has more than {MAX_CHAIN} aliases")
        seen.add(name)
        if not inside(name):
            return _aliases(kept, authorities, question, name)


def _signatures(here: list[Record], covered: int, question: Question) -> list[Record]:
    if not question.do:
        return []
    return [record for record in here if record.type == RRSIG and _u16(question.data, record.data)[0] == covered]


def _redirection(owners: _Owners, name: bytes, question: Question, kept: list[Record]) -> list[Record]:
    """The DNAME record that an alias was made of (RFC 6672 §3.1), unless an earlier alias brought it."""
    above = parents(name)
    next(above)
    for parent in above:
        here = owners.get(parent, [])
        for record in here:
            if record.type == DNAME:
                wanted = record not in kept and question.inside(parent)
                return [record, *_signatures(here, DNAME, question)] if wanted else []
    return []


def _positive(kept: list[Record], authorities: list[Record], question: Question, rcode: int) -> Kept:
    if rcode == NXDOMAIN:
        raise Malformed("it has records of a name that it says does not exist")
    return _new(Kept, (kept, _proofs(authorities, question), None, True))


def _aliases(kept: list[Record], authorities: list[Record], question: Question, target: bytes) -> Kept:
    return Kept(kept, _proofs(authorities, question), target, True)


def _proofs(authorities: list[Record], question: Question) -> list[Record]:
    """That a wildcard is right to answer (RFC 4035 §3.1.3.3)."""
    if not question.do:
        return []
    return [
        record for record in authorities if _covers(record, question.data) in _PROOFS and question.inside(record.owner)
    ]


def _covers(record: Record, data: bytes) -> int:
    """The type of a record, or the one that it is the signature of."""
    return int(_u16(data, record.data)[0]) if record.type == RRSIG else record.type


def _negative(kept: list[Record], authorities: list[Record], question: Question, rcode: int, name: bytes) -> Kept:
    """The aliases, if any, end at a name without records of this type; or nobody says where they end."""
    soa = next((record for record in authorities if record.type == SOA and is_below(name, record.owner)), None)
    if soa is not None:
        counts = _with_minimum(soa, question.data)
        if not question.do:
            return _new(Kept, (kept, (counts,), None, True))
        return Kept(
            kept, [counts if record is soa else record for record in _denial(soa, authorities, question)], None, True
        )
    if kept and rcode == NOERROR:
        return _aliases(kept, authorities, question, name)
    return Kept(kept, (), None, False)


def _with_minimum(soa: Record, data: bytes) -> Record:
    minimum = _u32(data, soa.end - 4)[0]
    return soa if soa.ttl <= minimum <= MAX_TTL else soa._replace(ttl=0 if minimum > MAX_TTL else minimum)


def _denial(soa: Record, authorities: list[Record], question: Question) -> list[Record]:
    """The SOA, and what proves that there is nothing (RFC 4035 §3.1.3): it lies in the SOA's zone, or in ours."""
    return [
        record
        for record in authorities
        if record is soa
        or (
            record.type != SOA
            and _covers(record, question.data) in _SOA_AND_PROOFS
            and (is_below(record.owner, soa.owner) or question.inside(record.owner))
        )
    ]
