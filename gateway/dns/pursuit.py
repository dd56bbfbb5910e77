"""One client's question on the way to its answer, across aliases and the zones that these lead through."""

from typing import NamedTuple

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


class Pursuit:
    """Where a question has got to."""

    __slots__ = ("asker", "began", "cache", "chain", "client", "data", "generation", "key", "name", "query", "server",
                 "steps", "view", "waits", "way", "words", "zone")  # fmt: skip

    def __init__(
        self,
        data: bytes,
        query: Query,
        view: View,
        client: Client | None,
        asker: Asker,
        began: float,
        words: tuple[EgressWord, ...] = (),
        steps: list[str] | None = None,
        generation: int = 0,
    ) -> None:
        """``steps``: a list to be told what is done, for whoever wants to know."""
        #: the message, for the hot answers; empty if it must not get there
        self.data = data
        self.query = query
        self.view = view
        self.client = client
        self.asker = asker
        self.began = began
        self.words = words
        #: of the forwarder's, when this began
        self.generation = generation
        self.steps = steps
        #: the name that is looked for now, and the key of that question
        self.name = query.name
        self.key = query.key
        self.chain: list[Link] = []
        self.zone: Zone | None = None
        #: counted among its client's outstanding questions
        self.waits = False
        #: for the log: what of the cache, who was asked, and by which way
        self.cache = ""
        self.server = ""
        self.way = ""

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
