"""Answers as an administrator reads them: lines as in a zone file. Off the fast path, by dnspython.

Whatever bytes a server has sent, something is shown: data that can not be read as its type is shown as that of an
unknown one (RFC 3597 §5), what can not even be divided into records as the same without a name. No line holds
anything but visible ASCII.
"""

import struct
from collections.abc import Iterator
from math import ceil
from types import MappingProxyType
from typing import NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import (
    FIXED_BYTES,
    HEADER_BYTES,
    MAX_TTL,
    OPT,
    RCODE_MASK,
    SERVFAIL,
    Ede,
    rcode_text,
    type_text,
)

_HEADER = bytes(HEADER_BYTES)
_HEAD = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_FIXED = struct.Struct("!HHIH")
_OPTION = struct.Struct("!HH")
_EDE = 15
_EDES = frozenset(map(int, Ede))
_IN = dns.rdataclass.IN
_VISIBLE = frozenset(map(chr, range(0x20, 0x7F)))


def load_types() -> None:
    """Import the code of all types, which dnspython does by itself when it meets one: then it may be too late.

    To be called before the process gives up its right to open files.
    """
    for number in dns.rdatatype.RdataType:
        dns.rdata.get_rdata_class(_IN, number)  # type: ignore[no-untyped-call]


def question_of(key: bytes) -> bytes:
    """The question that a cache's key stands for, as in a message; names are in lower case there."""
    return key[:-1] + b"\0\1"


def answer_lines(question: bytes, answer: Answer, age: int = 0) -> tuple[str, ...]:
    """The answer section, a line each: name, TTL less ``age`` seconds, type, data. Never raises.

    ``question`` is the one that the answer is for, or any of the same length: name, type and class as in a message.
    """
    return tuple(_lines(question, answer, age))


class Shown(NamedTuple):
    """A whole message."""

    rcode: str
    #: the answer section, as `answer_lines` has it
    records: tuple[str, ...]
    #: the extended error (RFC 8914): ``no reachable authority: zone corp.example: ...``; empty: there is none
    ede: str


def shown(message: bytes) -> Shown:
    """A reply of ours as whoever asked has it. Never raises: of bytes that are no message little is shown."""
    if len(message) < HEADER_BYTES:
        return Shown(rcode_text(SERVFAIL), (), "")
    _, flags, questions, answers, *rest = _HEAD.unpack_from(message)
    rcode, ede = flags & RCODE_MASK, ""
    lines: list[str] = []
    at = HEADER_BYTES
    try:
        for _ in range(questions):
            at += dns.name.from_wire(message, at)[1] + _QUESTION.size
        for number in range(answers + sum(rest)):
            record = _read(message, at)
            at = record.end
            if number < answers:
                lines.append(_line(record, message, 0))
            elif record.type == OPT:
                rcode |= record.ttl >> 24 << 4
                ede = _extended_error(record.raw(message))
    except dns.exception.DNSException:
        lines.append(_unknown(message[at:]))
    return Shown(rcode_text(rcode), tuple(lines), ede)


def _extended_error(options: bytes) -> str:
    """The first one in the data of an OPT record."""
    at = 0
    while at + 4 <= len(options):
        code, length = _OPTION.unpack_from(options, at)
        if code == _EDE and length >= 2:
            raw = options[at + 4 : at + 4 + length]
            return ede_words(int.from_bytes(raw[:2], "big"), raw[2:].decode(errors="backslashreplace"))
        at += 4 + length
    return ""


def ede_words(code: int, text: str) -> str:
    """``no reachable authority: zone corp.example: 10.0.0.53 timed out``; the text is a server's."""
    name = Ede(code).name.lower().replace("_", " ") if code in _EDES else f"extended error {code}"
    return f"{name}: {_visible(text)}" if text else name


def cache_words(answer: Answer | None, now: float) -> str:
    """How a cache has it: ``fresh, 35 s left of 300``, ``stale, expired 12 s ago``, ``local``, or ``miss``."""
    if answer is None:
        return "miss"
    if answer.expires == NEVER:
        return "local"
    left = seconds_left(answer, now)
    if left <= 0:
        return f"stale, expired {-left} s ago"
    return f"fresh, {left} s left of {round(answer.expires - answer.stored)}"


def seconds_left(answer: Answer, now: float) -> int:
    """Until it expires, begun seconds counted; 0 or less: it has. What never does has as many as a TTL can hold."""
    return MAX_TTL if answer.expires == NEVER else ceil(answer.expires - now)


def _lines(question: bytes, answer: Answer, age: int) -> Iterator[str]:
    message = _HEADER + question + answer.body
    at = HEADER_BYTES + len(question)
    try:
        for _ in range(answer.records):
            record = _read(message, at)
            at = record.end
            yield _line(record, message, age)
    except dns.exception.DNSException:
        yield _unknown(message[at:])


class _Record(NamedTuple):
    """One record, and where its data are in the message."""

    name: str
    type: int
    class_: int
    ttl: int
    start: int
    length: int

    def raw(self, message: bytes) -> bytes:
        """Its data."""
        return message[self.start : self.end]

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + self.length


def _read(message: bytes, at: int) -> _Record:
    """The next one. Raises DNSException when not even its length can be read."""
    name, octets = dns.name.from_wire(message, at)
    start = at + octets + FIXED_BYTES
    if start > len(message):
        raise dns.exception.FormError
    type, class_, ttl, length = _FIXED.unpack_from(message, at + octets)
    if start + length > len(message):
        raise dns.exception.FormError
    return _Record(name.to_text(), type, class_, ttl, start, length)


def _line(record: _Record, message: bytes, age: int) -> str:
    is_usual = record.class_ == _IN
    class_ = "" if is_usual else f"CLASS{record.class_} "
    known = _known(record.type, message, record.start, record.length) if is_usual else ""
    kind = type_text(record.type)
    ttl = max(0, record.ttl - age)
    return _visible(f"{record.name} {ttl} {class_}{kind} {known or _unknown(record.raw(message))}")


def _known(type: int, message: bytes, start: int, length: int) -> str:
    """The data as that of its type; empty if it is none, or nobody knows the type."""
    # dnspython remembers every number that it is asked for.
    kind = _KINDS.get(type)
    if kind is None:
        return ""
    try:
        return dns.rdata.from_wire(_IN, kind, message, start, length).to_text()
    except (dns.exception.DNSException, ValueError, OSError):
        return ""


_KINDS = MappingProxyType({int(kind): kind for kind in dns.rdatatype.RdataType})


def _unknown(raw: bytes) -> str:
    r"""``\# 4 0a000001``."""
    return rf"\# {len(raw)} {raw.hex()}".rstrip()


def _visible(text: str) -> str:
    if _VISIBLE.issuperset(text):
        return text
    return "".join(
        char if char in _VISIBLE else "".join(f"\\{octet:03d}" for octet in char.encode(errors="backslashreplace"))
        for char in text
    )
