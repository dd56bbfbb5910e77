"""Answers that are pieced together: aliases that lead through several answers, by dnspython, off the fast path."""

from collections.abc import Iterable

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from gateway.dns.answer import Answer
from gateway.dns.constants import CNAME, HEADER_BYTES, IN, NOERROR, QR
from gateway.dns.pursuit import Link

ALIAS_TTL = 60
"""Seconds, of the alias that a name of one label is."""


def alias(target: bytes) -> Answer:
    """That the name of the question is another name of ``target``; it is kept by nobody here."""
    record = b"\xc0\x0c" + _U16(CNAME) + _U16(IN) + ALIAS_TTL.to_bytes(4, "big") + _U16(len(target)) + target
    return Answer(NOERROR, 1, 0, record, (6,), 0, origin="[resolver] domain", target=target)


def _U16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def spliced(name: bytes, kind: int, chain: Iterable[Link], last_name: bytes, last: Answer, now: float) -> Answer:
    """One answer to the question for ``name``: the aliases of the chain, then what the last one says.

    Its TTLs are those of now, and it expires with the first of its parts. Not called authentic: nobody has seen it as
    a whole.
    """
    whole = dns.message.Message(id=0)
    whole.flags = dns.flags.Flag(QR)
    whole.question = [dns.rrset.RRset(_name(name), dns.rdataclass.IN, dns.rdatatype.RdataType(kind))]
    expires = last.expires
    for link in chain:
        part = _message(link.name, kind, link.answer, now)
        whole.answer += part.answer
        # The proofs of its wildcards; what does not exist is for the last one to say.
        whole.authority += [rrset for rrset in part.authority if rrset.rdtype != dns.rdatatype.SOA]
        expires = min(expires, link.answer.expires)
    part = _message(last_name, kind, last, now)
    whole.answer += part.answer
    whole.authority += part.authority
    whole.set_rcode(part.rcode())
    return _answer(whole, last, expires, now)


def _answer(whole: dns.message.Message, last: Answer, expires: float, now: float) -> Answer:
    # Names are written out, so that the places of the TTLs need not be searched for among pointers.
    bodies, ttls, at = [], [], 0
    for rrset in (*whole.answer, *whole.authority):
        for rdata in rrset:
            owner, data = rrset.name.to_wire() or b"\0", rdata.to_wire() or b""
            ttls.append(at + len(owner) + 4)
            fixed = _U16(rrset.rdtype) + _U16(rrset.rdclass) + rrset.ttl.to_bytes(4, "big") + _U16(len(data))
            bodies.append(owner + fixed + data)
            at += len(bodies[-1])
    records, authorities = (sum(map(len, section)) for section in (whole.answer, whole.authority))
    ttl = int(min(expires - now, 1 << 31))
    answer = Answer(last.rcode, records, authorities, b"".join(bodies), tuple(ttls), ttl, origin=last.origin)
    answer.stored, answer.expires = now, expires
    return answer


def _message(name: bytes, kind: int, answer: Answer, now: float) -> dns.message.Message:
    counts = b"".join(map(_U16, (1, answer.records, answer.authorities, 0)))
    flags = _U16(QR | (answer.rcode & 0xF))
    question = name + _U16(kind) + _U16(IN)
    assert len(flags + counts) + 2 == HEADER_BYTES
    message = dns.message.from_wire(bytes(2) + flags + counts + question + answer.body)
    age = answer.age(now)
    for rrset in (*message.answer, *message.authority):
        rrset.ttl = max(0, rrset.ttl - age)
    return message


def _name(name: bytes) -> dns.name.Name:
    return dns.name.from_wire(name, 0)[0]
