"""What the benchmark compares: a table of contestants and measures for each thing that our daemon does."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, NamedTuple

from tests.bench.figures import Figure
from tests.bench.report import Goal
from tests.bench.sample import Bench, Measure
from tests.bench.servers import Peer, Running


class Scale(NamedTuple):
    """How much is measured; each is an option of the command line."""

    rounds: int
    #: of one run
    seconds: float
    #: idle sessions
    sessions: int
    #: different names in a cache
    names: int


class Variants(NamedTuple, Generic[Bench]):
    """Variants of our own daemon that are compared; the fields that `report.Series` has too are told there."""

    key: str
    unit: str
    peers: Mapping[str, Peer]
    measure: Measure[Bench]
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...] = ()


class Subject(NamedTuple, Generic[Bench]):
    """One of the things that are compared."""

    #: its name on the command line and in the JSON
    key: str
    #: contestants, in the order of the table's columns; those without a peer are no server at all
    names: tuple[str, ...]
    peers: tuple[Peer, ...]
    #: what must be installed beside them, as `needs` knows it
    programs: tuple[str, ...]
    measures: tuple[Measure[Bench], ...]
    variants: tuple[Variants[Bench], ...]
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...]
    #: makes what all measures share, with its files in the folder
    open: Callable[[Path, Scale], AbstractContextManager[Bench]]
    #: proves that a server works, and lets it do what it does once
    warm: Callable[[Bench, Running], None]
    #: one line for the report
    conditions: Callable[[Scale], str]

    @property
    def parts(self) -> tuple[str, ...]:
        """The measures, and the comparisons of our own variants."""
        return (*(measure.name for measure in self.measures), *(variants.key for variants in self.variants))

    def narrowed(self, names: tuple[str, ...], parts: tuple[str, ...], ours: str) -> "Subject[Bench]":
        """Only these contestants, measures and comparisons; the latter need ``ours``."""
        return self._replace(
            names=tuple(name for name in self.names if name in names),
            peers=tuple(peer for peer in self.peers if peer.name in names),
            measures=tuple(measure for measure in self.measures if measure.name in parts),
            variants=tuple(found for found in self.variants if found.key in parts and ours in names),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be measured."""
        return not (self.variants or (self.names and self.measures))
