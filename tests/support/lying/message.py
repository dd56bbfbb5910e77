"""Messages of DNS as this server writes them (RFC 1035 §4, RFC 6891): values that habits change before they are bytes.

Questions are read as leniently as they come; what is written may be whatever a test wants, right or wrong.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
ECS, COOKIE, EDE = 8, 10, 15
OPT = 41
HEADER = struct.Struct("!6H")
_FIELDS = struct.Struct("!HHIH")
#: where a question's name begins, as a compression pointer
_POINTER = 0xC000
#: types whose data is one name, which RFC 1035 lets be compressed: NS, CNAME, PTR
_NAMES = frozenset({2, 5, 12})


class Record(NamedTuple):
    """A resource record; its owner is a name as on the wire, without compression."""

    owner: bytes
    type: int
    ttl: int
    data: bytes


def wire(name: str) -> bytes:
    """``www.example`` or ``www.example.`` as on the wire, in its letter case."""
    return dns.name.from_text(name).to_wire() or b""


def record(text: str) -> Record:
    """``www.example 60 A 192.0.2.1``: a line of a master file without its class. Names in the data are absolute."""
    owner, ttl, kind, data = text.split(None, 3)
    return Record(wire(owner), int(dns.rdatatype.from_text(kind)), int(ttl), data_of(kind, data))


def data_of(kind: str, text: str) -> bytes:
    """The data of a record, written as in a master file."""
    data = dns.rdata.from_text(dns.rdataclass.IN, kind, text, origin=dns.name.root, relativize=False)
    return data.to_wire() or b""


@dataclass(frozen=True, slots=True)
class Message:
    """An answer. ``options`` None is one without an OPT record; ``flags`` holds the low four bits of the rcode."""

    id: int
    flags: int
    question: bytes
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    options: tuple[tuple[int, bytes], ...] | None = None
    #: the high eight bits of the rcode, the version and the flags of the OPT record
    extended: int = 0
    payload: int = 1232

    def encode(self) -> bytes:
        """Its bytes; names are compressed as ordinary servers do."""
        sections = (self.answer, self.authority, self.additional)
        counts = [len(section) for section in sections]
        counts[2] += self.options is not None
        head = HEADER.pack(self.id, self.flags, bool(self.question), *counts)
        out = _Writer(head + self.question)
        for section in sections:
            out.add(section)
        return bytes(out.data) + self._opt()

    def _opt(self) -> bytes:
        if self.options is None:
            return b""
        data = b"".join(struct.pack("!HH", code, len(text)) + text for code, text in self.options)
        return b"\0" + _FIELDS.pack(OPT, self.payload, self.extended, len(data)) + data


class _Writer:
    """A message that grows, and where the names in it are."""

    def __init__(self, begun: bytes) -> None:
        self.data = bytearray(begun)
        self._known: dict[bytes, int] = {}
        if len(begun) > HEADER.size:
            self._note(begun[HEADER.size : -4], HEADER.size)

    def add(self, records: Iterable[Record]) -> None:
        for owner, kind, ttl, data in records:
            self._name(owner)
            at = len(self.data)
            self.data += _FIELDS.pack(kind, 1, ttl, 0)
            if kind in _NAMES:
                self._name(data)
            else:
                self.data += data
            struct.pack_into("!H", self.data, at + 8, len(self.data) - at - _FIELDS.size)

    def _name(self, name: bytes) -> None:
        at = 0
        while name[at] and name[at:].lower() not in self._known:
            at += name[at] + 1
        begin = len(self.data)
        self.data += name[:at]
        if name[at]:
            self.data += struct.pack("!H", _POINTER | self._known[name[at:].lower()])
        else:
            self.data += b"\0"
        self._note(name[:at] + b"\0", begin, name[at:])

    def _note(self, name: bytes, begin: int, rest: bytes = b"\0") -> None:
        at = 0
        while name[at]:
            if begin + at < _POINTER:
                self._known.setdefault((name[at:-1] + rest).lower(), begin + at)
            at += name[at] + 1


class Asked(NamedTuple):
    """A question as it came, for those who answer it."""

    transport: str
    id: int
    flags: int
    #: name, type and class, in the name's own letter case
    question: bytes
    #: in lower case, without a dot at its end; empty for the root
    name: str
    #: ``A``, ``TYPE65280``
    type: str
    edns: bool
    options: tuple[tuple[int, bytes], ...]
    #: bytes that an answer may have
    room: int
    #: how many of this name and type came before it, and which one of its connection it is, from 1
    turn: int
    nth: int

    def message(self, rcode: int = NOERROR) -> Message:
        """An answer without records, of a recursive server, with an OPT record if the question had one."""
        flags = QR | RA | self.flags & (RD | CD) | rcode
        return Message(self.id, flags, self.question, options=() if self.edns else None)


def read(data: bytes, transport: str, nth: int) -> Asked:
    """The question in a message; ``turn`` is 0 yet. Raises dns.exception.DNSException or IndexError."""
    message = dns.message.from_wire(data, ignore_trailing=True)
    question = message.question[0]
    end = HEADER.size
    while data[end]:
        end += data[end] + 1
    room = max(512, message.payload) if message.edns >= 0 else 512
    return Asked(
        transport,
        message.id,
        int.from_bytes(data[2:4], "big"),
        data[HEADER.size : end + 5],
        question.name.to_text(omit_final_dot=True).lower() if question.name != dns.name.root else "",
        dns.rdatatype.to_text(question.rdtype),
        message.edns >= 0,
        tuple((int(option.otype), option.to_wire() or b"") for option in message.options),
        room if transport == "udp" else 0xFFFF,
        0,
        nth,
    )
