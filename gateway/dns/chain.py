"""Answers that are pieced together: aliases that lead through several answers, at about the cost of reading these.

Every hit behind an alias goes through here, and every part may be a stranger's. So the parts are read as octets, within
the bounds of `gateway.dns.message`, and what can not be put together is a failure like any other.
"""

import struct
from collections.abc import Iterable, Sequence

from gateway.dns.answer import Answer
from gateway.dns.body import Body
from gateway.dns.constants import CNAME, HEADER_BYTES, IN, MAX_TTL, NOERROR, SERVFAIL, SOA
from gateway.dns.message import Malformed, Names
from gateway.dns.pursuit import Link
from gateway.dns.response import MAX_RECORDS
from gateway.dns.sections import Record, read_records

ALIAS_TTL = 60
"""Seconds, of the alias that a name of one label is."""

MAX_SPLICED = 2 * MAX_RECORDS
"""Records of all parts: as many as one answer may have, and as many that lead there."""

_NO_HEADER = bytes(HEADER_BYTES)

_pack_question = struct.Struct("!HH").pack
_pack_alias = struct.Struct("!HHHLH").pack


def alias(target: bytes) -> Answer:
    """That the name of the question is another name of ``target``; it is kept by nobody here."""
    record = _pack_alias(0xC000 | HEADER_BYTES, CNAME, IN, ALIAS_TTL, len(target)) + target
    return Answer(NOERROR, 1, 0, record, (6,), 0, origin="[resolver] domain", target=target)


def spliced(name: bytes, kind: int, chain: Iterable[Link], last_name: bytes, last: Answer, now: float) -> Answer:
    """One answer to the question for ``name``: the aliases of the chain, then what the last one says.

    Its TTLs are those of now, and it expires with the first of its parts. Not called authentic: nobody has seen it as
    a whole. Never raises: parts that can not be read, or are more than one message holds, make an answer with
    SERVFAIL, without records and kept by nobody.
    """
    parts = (*chain, Link(last_name, last, None))
    answer = _joined(name, kind, parts, now)
    answer.stored = now
    answer.expires = min(part.answer.expires for part in parts) if answer.rcode != SERVFAIL else now
    answer.ttl = int(min(max(answer.expires - now, 0), MAX_TTL))
    answer.origin = last.origin
    return answer


def _joined(name: bytes, kind: int, parts: Sequence[Link], now: float) -> Answer:
    """The records of all parts, those of the answer sections first. How long they count is not known yet."""
    body = Body(name)
    proofs = []
    records = authorities = 0
    try:
        if sum(part.answer.records + part.answer.authorities for part in parts) > MAX_SPLICED:
            raise Malformed("it has too many records")
        for part in parts:
            answers, authority, names = _read(part, kind)
            if part is not parts[-1]:
                # The proofs of its wildcards; what does not exist is for the last one to say.
                authority = [record for record in authority if record.type != SOA]
            age = part.answer.age(now)
            body.add(answers, names, age)
            records += len(answers)
            authorities += len(authority)
            proofs.append((authority, names, age))
        for proof in proofs:
            body.add(*proof)
    except (Malformed, IndexError, struct.error):
        return Answer(SERVFAIL, 0, 0, b"", (), 0)
    octets, ttls = body.written()
    return Answer(parts[-1].answer.rcode, records, authorities, octets, ttls, 0)


def _read(part: Link, kind: int) -> tuple[list[Record], list[Record], Names]:
    """The records of both sections, as they lie behind the question, and the names that they point to."""
    name, answer, _ = part
    data = b"".join((_NO_HEADER, name, _pack_question(kind, IN), answer.body))
    names = Names(data, name)
    answers, at = read_records(data, len(data) - len(answer.body), answer.records, names)
    authority, _ = read_records(data, at, answer.authorities, names)
    return answers, authority, names
