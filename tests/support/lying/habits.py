"""Habits of a lying server whose messages can still be read: late, from elsewhere, to another question, of other data.

Those that break the bytes are in `tests.support.lying.tricks`.
"""

import struct
from dataclasses import dataclass, replace

from tests.support.lying.message import ECS, EDE, NXDOMAIN, TC, Asked, Message, Record, record, wire
from tests.support.lying.sending import Habit, Send, Sends, messages

# --- whether, when, how often and from where


@dataclass(frozen=True, slots=True)
class Drop:
    """No answer."""

    def __call__(self, _: Asked, __: Sends, /) -> Sends:
        return ()


@dataclass(frozen=True, slots=True)
class Delay:
    """So many seconds later."""

    seconds: float

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(after=send.after + self.seconds) for send in sends)


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same answer so many times."""

    times: int

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return sends * self.times


@dataclass(frozen=True)
class First:
    """What other habits make of the answer comes first, so many times, and then the answer as it was.

    Each of the wrong answers has another id if it is the id that is wrong.
    """

    times: int
    habits: tuple[Habit, ...]

    def __init__(self, times: int, *habits: Habit) -> None:
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "habits", habits)

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        wrong: list[Send] = []
        for number in range(self.times):
            changed = sends
            for habit in self.habits:
                changed = (WrongId(number + 1) if isinstance(habit, WrongId) else habit)(asked, changed)
            wrong += changed
        return (*wrong, *sends)


@dataclass(frozen=True, slots=True)
class OtherPort:
    """From another port of the address that was asked."""

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(source="port") for send in sends)


@dataclass(frozen=True, slots=True)
class OtherAddress:
    """From another address of the host, and the same port."""

    address: str

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(source=self.address) for send in sends)


# --- what does not fit the question


@dataclass(frozen=True, slots=True)
class WrongId:
    """Another id than that of the question; ``by`` is how far off."""

    by: int = 1

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(sends, lambda message: replace(message, id=(message.id + self.by) & 0xFFFF))


@dataclass(frozen=True, slots=True)
class WrongQuestion:
    """An answer that repeats another question: what is given of name, type and class replaces that of the question.

    The records have the name that was asked for, or the one given.
    """

    name: str = ""
    type: int = 0
    klass: int = 0

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        old, (kind, klass) = asked.question[:-4], struct.unpack("!HH", asked.question[-4:])
        name = wire(self.name) if self.name else old
        question = name + struct.pack("!HH", self.type or kind, self.klass or klass)

        def moved(one: Record) -> Record:
            return one._replace(owner=name) if one.owner.lower() == old.lower() else one

        return messages(
            sends, lambda message: replace(message, question=question, answer=tuple(map(moved, message.answer)))
        )


@dataclass(frozen=True, slots=True)
class LowerCase:
    """The question comes back in lower case, as from a server that does not keep its letters (0x20)."""

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        lower = asked.question[:-4].lower() + asked.question[-4:]
        return messages(sends, lambda message: replace(message, question=lower))


@dataclass(frozen=True, slots=True)
class NoQuestion:
    """An answer without the question."""

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(sends, lambda message: replace(message, question=b""))


@dataclass(frozen=True, slots=True)
class Flags:
    """Bits of the flags word set and cleared: `QR`, the opcode, `AD` and the like."""

    set: int = 0
    clear: int = 0

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(sends, lambda message: replace(message, flags=message.flags & ~self.clear | self.set))


# --- what kind of answer


@dataclass(frozen=True, slots=True)
class Truncated:
    """Over UDP only the question, with TC; over streams as it was."""

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        return messages(sends, cut) if asked.transport == "udp" else sends


def cut(message: Message) -> Message:
    """What a server sends of a message that is too large."""
    return replace(message, flags=message.flags | TC, answer=(), authority=(), additional=())


@dataclass(frozen=True, slots=True)
class Code:
    """No records but this rcode; ``opt`` false: and no OPT record either, as from a server that knows no EDNS."""

    rcode: int
    opt: bool = True

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        answer = replace(asked.message(self.rcode & 15), extended=self.rcode >> 4 << 24)
        return messages(sends, lambda _: answer if self.opt else replace(answer, options=None))


@dataclass(frozen=True, slots=True)
class NoName:
    """NXDOMAIN, whatever the zone holds; the SOA record is that of the name given, none if it is None."""

    apex: str | None = None
    ttl: int = 60

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        soa = () if self.apex is None else (record(f"{self.apex}. {self.ttl} SOA {_SOA} {self.ttl}"),)
        answer = replace(asked.message(NXDOMAIN), authority=soa)
        return messages(sends, lambda _: answer)


_SOA = "ns.invalid. hostmaster.invalid. 1 3600 600 86400"


@dataclass(frozen=True, slots=True)
class NoSoa:
    """Nothing in the authority section, so that a negative answer has no SOA record."""

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(sends, lambda message: replace(message, authority=()))


@dataclass(frozen=True, slots=True)
class Referral:
    """No answer, but the name servers of a zone, as from a server that is none for this and asks nobody."""

    zone: str
    servers: tuple[str, ...]

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        names = tuple(record(f"{self.zone}. 60 NS {server}.") for server in self.servers)
        return messages(sends, lambda _: replace(asked.message(), authority=names))


# --- what is in it


@dataclass(frozen=True, slots=True)
class Extra:
    """More records in the sections, as lines (`record`): those of somebody else's names above all (field-cases D2).

    ``before``: those of the answer section come before the honest ones.
    """

    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    before: bool = False

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        answer, authority, additional = (
            tuple(map(record, lines)) for lines in (self.answer, self.authority, self.additional)
        )

        def added(message: Message) -> Message:
            return replace(
                message,
                answer=answer + message.answer if self.before else message.answer + answer,
                authority=message.authority + authority,
                additional=message.additional + additional,
            )

        return messages(sends, added)


@dataclass(frozen=True, slots=True)
class Instead:
    """These records are the whole answer, with NOERROR."""

    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        said = replace(
            asked.message(), answer=tuple(map(record, self.answer)), authority=tuple(map(record, self.authority))
        )
        return messages(sends, lambda _: said)


@dataclass(frozen=True, slots=True)
class Many:
    """So many A records of the name that was asked for, each with another address of 198.18.0.0/15."""

    count: int
    ttl: int = 60

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        owner = asked.question[:-4]
        first = 198 << 24 | 18 << 16
        records = tuple(
            Record(owner, 1, self.ttl, (first + number).to_bytes(4, "big")) for number in range(1, self.count + 1)
        )
        return messages(sends, lambda _: replace(asked.message(), answer=records))


@dataclass(frozen=True, slots=True)
class Ttl:
    """Every record of the three sections has this TTL, from 0 to 2**32 - 1."""

    seconds: int

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        def aged(records: tuple[Record, ...]) -> tuple[Record, ...]:
            return tuple(one._replace(ttl=self.seconds) for one in records)

        def changed(message: Message) -> Message:
            sections = (message.answer, message.authority, message.additional)
            answer, authority, additional = map(aged, sections)
            return replace(message, answer=answer, authority=authority, additional=additional)

        return messages(sends, changed)


# --- EDNS


@dataclass(frozen=True, slots=True)
class NoEdns:
    """No OPT record in the answer, as if the one of the question had not been seen."""

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(sends, lambda message: replace(message, options=None))


@dataclass(frozen=True, slots=True)
class Options:
    """EDNS options in the answer, wanted or not; ``times`` each."""

    options: tuple[tuple[int, bytes], ...]
    times: int = 1

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(
            sends, lambda message: replace(message, options=(message.options or ()) + self.options * self.times)
        )


def ede(code: int, text: str = "") -> Options:
    """An extended error (RFC 8914)."""
    return Options(((EDE, code.to_bytes(2, "big") + text.encode()),))


@dataclass(frozen=True, slots=True)
class EchoEcs:
    """A client subnet in the answer (RFC 7871): that of the question, or the one given where it had none."""

    network: bytes = bytes((0, 1, 24, 24, 192, 0, 2))

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        held = tuple(option for option in asked.options if option[0] == ECS) or ((ECS, self.network),)
        return Options(held)(asked, sends)


@dataclass(frozen=True, slots=True)
class EdnsVersion:
    """An OPT record of another version than 0."""

    version: int = 1

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return messages(
            sends, lambda message: replace(message, options=message.options or (), extended=self.version << 16)
        )


@dataclass(frozen=True, slots=True)
class TwoOpts:
    """A second OPT record."""

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        opt = Record(b"\0", 41, 0, b"")
        return messages(sends, lambda message: replace(message, additional=(*message.additional, opt), options=()))


# --- connections


@dataclass(frozen=True, slots=True)
class CloseAfter:
    """The connection is closed behind its answer of this number, from 1; 0: without any."""

    answers: int

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends:
        if not self.answers:
            return (Send(b"", close=True),)
        return tuple(send._replace(close=asked.nth >= self.answers) for send in sends)


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """Answers wait until there are so many of a connection; then the last one comes first (RFC 7766 §6.2.1.1)."""

    count: int

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(hold=self.count) for send in sends)


@dataclass(frozen=True, slots=True)
class Dribble:
    """Over a connection in pieces of so many bytes, so many seconds between two."""

    piece: int
    pause: float = 0.001

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(piece=self.piece, pause=self.pause) for send in sends)


@dataclass(frozen=True, slots=True)
class WrongLength:
    """The length before a message on a connection is another one."""

    length: int

    def __call__(self, _: Asked, sends: Sends, /) -> Sends:
        return tuple(send._replace(length=self.length) for send in sends)
