"""A measure, and the outcome of one run of it: what all subjects of the benchmark have in common."""

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.servers import Running

Bench = TypeVar("Bench")
"""What all measures of a subject share."""


class Sample(NamedTuple):
    """The outcome of one run."""

    figures: Mapping[Figure, float]
    failures: int = 0
    first_failure: str = ""
    #: share (0..1) of the machine that was used by neither the server nor the load during the run
    foreign: float = 0.0


class Measure(NamedTuple, Generic[Bench]):
    """One thing that is measured: a function that runs the load against a contestant, None for none at all."""

    name: str
    run: Callable[[Bench, Running | None], Sample]
    #: wants a server that has done nothing yet, and makes no sense without one
    fresh: bool = False


def attempt(measure: Measure[Bench], bench: Bench, server: Running | None) -> Sample:
    """Run a measure; what keeps it from a result is a failure of this run, not the end of the benchmark."""
    try:
        return measure.run(bench, server)
    except PermissionError as error:
        return Sample({}, 1, f"not allowed to read {error.filename}; run as root")
    except BenchError as error:
        return Sample({}, 1, str(error))
