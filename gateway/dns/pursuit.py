"""One client's question on the way to its answer, across aliases and the zones that these lead through."""

from typing import NamedTuple

import msgspec

from gateway.config.rules import EgressWord
from gateway.dns.answer import Answer
from gateway.dns.clients import Client
from gateway.dns.exchanges import Flight
from gateway.dns.names import text_name
from gateway.dns.outside import Asker
from gateway.dns.query import Query, key_of
from gateway.dns.zones import View, Zone


class Link(NamedTuple):
    """A part of a chain of aliases: the name that was asked for, and the answer that leads on."""

    name: bytes
    answer: Answer
    zone: Zone | None


class Pursuit(msgspec.Struct, eq=False):
    """Where a question has got to.

    A Struct, since it is made for each question that no cache knows.
    """

    #: the message, for the hot answers; empty if it must not get there
    data: bytes
    query: Query
    view: View
    client: Client | None
    asker: Asker
    began: float
    words: tuple[EgressWord, ...] = ()
    #: a list to be told what is done, for whoever wants to know
    steps: list[str] | None = None
    #: of the forwarder's, when this began
    generation: int = 0
    zone: Zone | None = None
    #: the name that is looked for now, and the key of that question
    name: bytes = b""
    key: bytes = b""
    chain: list[Link] = []
    #: counted among its client's outstanding questions
    waits: bool = False
    #: for the log: what of the cache, who was asked, and by which way
    cache: str = ""
    server: str = ""
    way: str = ""

    def __post_init__(self) -> None:
        """It begins with what was asked."""
        query = self.query
        self.name, self.key = query.name, query.key

    def begin_anew(self) -> None:
        """What was found is forgotten."""
        self.name, self.key = self.query.name, self.query.key
        self.chain = []
        self.note("the settings or the networks have changed meanwhile: from the beginning")

    def follow(self, answer: Answer, target: bytes) -> None:
        """The answer is an alias: look for its target."""
        self.chain.append(Link(self.name, answer, self.zone))
        if self.steps is not None:
            self.note(f"{text_name(self.name)} is an alias of {text_name(target)}")
        self.name = target
        self.key = key_of(target, self.query.type, self.query.key[-1])

    def asked(self, flight: Flight) -> None:
        """That exchange was for this question."""
        self.server = flight.server
        self.way = flight.way

    def note(self, text: str) -> None:
        """Tell whoever wants to know."""
        if self.steps is not None:
            self.steps.append(text)
