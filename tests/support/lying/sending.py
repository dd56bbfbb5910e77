"""What a lying server sends, and which rule makes it so.

A habit gets the question and what would be sent, and gives what is to be sent instead: nothing, other bytes, more of
them, later, or from elsewhere. Habits are applied in turn; a `Rule` says for which questions, and the first that fits
counts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tests.support.lying.message import Asked, Message


class Send(NamedTuple):
    """One thing to be sent; what is about connections does nothing to datagrams, and the other way round."""

    what: Message | bytes
    #: seconds from now
    after: float = 0.0
    #: empty: where it was asked; ``port``: another port of the same address; else another address, which must be ours
    source: str = ""
    #: the connection is closed behind it; with empty bytes, at once
    close: bool = False
    #: it waits until there are so many of its connection, which are then sent the last one first
    hold: int = 0
    #: bytes a piece, and seconds between two; 0: all at once
    piece: int = 0
    pause: float = 0.0
    #: what the length before it says, if not the truth
    length: int | None = None

    def data(self) -> bytes:
        """Its bytes."""
        return self.what if isinstance(self.what, bytes) else self.what.encode()


Sends = tuple[Send, ...]


class Habit(Protocol):
    """A frozen value that can be called; it goes to another process, so it holds plain data only."""

    def __call__(self, asked: Asked, sends: Sends, /) -> Sends: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """For which questions the habits are; what is not said does not matter."""

    habits: tuple[Habit, ...]
    #: this name; with ``*.`` before it: this name and all below
    name: str = ""
    type: str = ""
    #: ``udp``, ``tcp`` or ``tls``
    transport: str = ""
    edns: bool | None = None
    #: only for so many of them, the first; 0: for all
    times: int = 0

    def fits(self, asked: Asked) -> bool:
        """Whether this question is meant."""
        apex = self.name.removeprefix("*.")
        is_below = self.name.startswith("*.") and asked.name.endswith(f".{apex}")
        return (
            (not self.name or asked.name == apex or is_below)
            and self.type in ("", asked.type)
            and self.transport in ("", asked.transport)
            and self.edns in (None, asked.edns)
        )


def on(
    *habits: Habit, name: str = "", type: str = "", transport: str = "", edns: bool | None = None, times: int = 0
) -> Rule:
    """A rule."""
    return Rule(habits, name, type, transport, edns, times)


def messages(sends: Sends, change: Callable[[Message], Message]) -> Sends:
    """The messages changed; what is bytes already stays."""
    return tuple(send if isinstance(send.what, bytes) else send._replace(what=change(send.what)) for send in sends)


def as_bytes(sends: Sends, change: Callable[[bytes], bytes]) -> Sends:
    return tuple(send._replace(what=change(send.data())) for send in sends)
