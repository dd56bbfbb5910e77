"""What a name server said to one question, as a look-up needs it: the chain of aliases and what stands at its end.

`gateway.dns.response` has found the message to be an answer to the question, and has dropped what this server does not
speak for; here the names are read from the records that it kept. No I/O.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.address import Address
from gateway.dns.constants import AAAA, CNAME, HEADER_BYTES, NOERROR, NXDOMAIN, PTR, A, rcode_text
from gateway.dns.message import Malformed, Names, skip_name
from gateway.dns.names import text_name
from gateway.dns.response import Reading, read_response
from gateway.dns.sections import Record, read_records

_TYPE_AND_CLASS = 4
"""Bytes of a question behind its name (RFC 1035 §4.1.2)."""


class Said(NamedTuple):
    """One answer.

    ``chain``: the wire names to which the aliases lead, one after the other. ``target``: the last of them, when another
    question has to be asked for it. ``truncated``: it is to be asked by TCP, and nothing else here counts. ``why`` is
    empty for NOERROR and NXDOMAIN, and else what the server said instead of an answer.
    """

    rcode: int
    chain: tuple[bytes, ...]
    addresses: tuple[Address, ...]
    names: tuple[bytes, ...]
    target: bytes | None
    truncated: bool
    edns: bool
    why: str


def read(data: bytes, sent: bytes, trusted: Callable[[bytes], bool]) -> Said:
    """The answer to the query ``sent``, in so far as this server is ``trusted`` to speak for a wire name.

    Raises Malformed for what is no answer to this question.
    """
    reading = read_response(data, sent, trusted)
    answer = reading.answer
    if reading.truncated:
        return Said(answer.rcode, (), (), (), None, True, reading.edns, "")
    end = skip_name(sent, HEADER_BYTES) + _TYPE_AND_CLASS
    message = sent[:end] + answer.body
    name = sent[HEADER_BYTES : end - _TYPE_AND_CLASS].lower()
    names = Names(message, name)
    try:
        records, _ = read_records(message, end, answer.records, names)
        chain = _chain(name, records, names)
        last = [record for record in records if record.owner == (chain[-1] if chain else name)]
        pointers = tuple(names.target(record.data, record.end) for record in last if record.type == PTR)
    except (IndexError, struct.error):
        raise Malformed("it ends too early") from None
    addresses = tuple(Address.from_packed(message[one.data : one.end]) for one in last if one.type in (A, AAAA))
    return Said(answer.rcode, chain, addresses, pointers, reading.target, False, reading.edns, _why(reading))


def _why(reading: Reading) -> str:
    rcode = reading.answer.rcode
    if reading.referral:
        return "only refers to other servers"
    if rcode in (NOERROR, NXDOMAIN):
        return ""
    text = reading.ede[1] if reading.ede is not None else ""
    return f"says {rcode_text(rcode)}" + (f" ({_printable(text)})" if text else "")


def _printable(text: str) -> str:
    return ascii(text)[1:-1]


def _chain(name: bytes, records: Sequence[Record], names: Names) -> tuple[bytes, ...]:
    """From ``name`` along its CNAME records, however they are ordered; one that leads back ends it."""
    aliases = {found.owner: names.target(found.data, found.end) for found in records if found.type == CNAME}
    chain: list[bytes] = []
    while name in aliases:
        name = aliases.pop(name)
        chain.append(name)
    return tuple(chain)


def host_text(name: bytes) -> str:
    """A wire name without the dot at its end; what can not be printed is escaped."""
    return text_name(name).removesuffix(".")
