"""One function for each measure of DNS forwarders: dnsperf against one of them, with the name server behind it.

CPU time is read before dnsperf starts and after it has ended; what it says of a core is queries by the CPU time of the
busiest process of the server, so that it stays true where the load takes a part of the cores.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.bench import dnsperf, figures, machine, resolvers, tree
from tests.bench.dnsperf import Result
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.sample import Measure, Sample
from tests.bench.servers import Running

KNOWN = 10_007
"""Names that are asked for again and again; a prime, so that each of them is asked for from each socket in turn."""

LATENCY_RATE = 10_000
"""Queries a second while latencies are measured: a load that is far below what any of them can do."""

COLD_RATE = 200_000
"""New names a second at most: more than any of them forwards."""

_WARM_NAMES = 100

#: What is left over of a start or a run must be done before memory is read: it has changed by less than this share in
#: that time.
_REST_SECONDS = 0.3
_REST_SHARE = 0.01
_REST_PATIENCE = 10


class Bench(NamedTuple):
    """What all measures share."""

    folder: Path
    name_server: Running
    #: of one run
    seconds: float
    #: different names in a cache
    names: int
    #: for names that nobody has asked for before
    numbers: Iterator[int]


def queries(folder: Path, prefix: str, count: int) -> Path:
    """A file of so many different names for dnsperf; the same one for the same words."""
    path = folder / f"{prefix}-{count}"
    if not path.exists():
        # The order has nothing to do with the numbers: 7919 is prime, so that every number comes once.
        numbers = ((index * 7919) % count if count % 7919 else index for index in range(count))
        path.write_text("".join(f"{prefix}{number:07}.{resolvers.ZONE} A\n" for number in numbers))
    return path


class _Clock(NamedTuple):
    server: Mapping[int, float]
    name_server: float
    machine: machine.Ticks


class _Run(NamedTuple):
    result: Result
    #: CPU seconds of the whole server, of its busiest process, and of dnsperf and the name server
    server_cpu: float
    busiest_cpu: float
    load: float
    foreign: float

    def sample(self, values: Mapping[Figure, float]) -> Sample:
        return Sample(values, self.result.failed, self.result.first_failure, self.foreign)

    def each(self, seconds: float) -> float:
        """Microseconds for one answer."""
        return seconds / self.result.completed * 1e6 if self.result.completed else 0.0


def _read(bench: Bench, server: Running) -> _Clock:
    return _Clock(tree.process_seconds(server.pid), tree.cpu_seconds(bench.name_server.pid), machine.ticks())


def _ask(bench: Bench, server: Running | None, names: Path, *options: str) -> _Run:
    if server is None:
        raise TypeError("without a server there is nobody to ask")
    before = _read(bench, server)
    result = dnsperf.run(server.port, names, resolvers.load_cores(), *options)
    after = _read(bench, server)
    each = [seconds - before.server.get(pid, 0.0) for pid, seconds in after.server.items()]
    load = result.cpu + after.name_server - before.name_server
    busy = after.machine.busy - before.machine.busy
    total = max(after.machine.total - before.machine.total, 1 / machine.TICKS)
    foreign = max(0.0, (busy - sum(each) - load) / total)
    return _Run(result, sum(each), max(each, default=0.0), load, foreign)


def warm(bench: Bench, server: Running) -> None:
    """A few names, so that what a server does once is in no figure; and proof that it works."""
    names = queries(bench.folder, "w", _WARM_NAMES)
    result = _ask(bench, server, names, "-n", "2").result
    if not result.completed or result.failed:
        raise BenchError(f"{server.name} answers badly: {result.first_failure or 'nothing at all'}")


def _cached(bench: Bench, server: Running | None, passes: int, *options: str) -> Sample:
    names = queries(bench.folder, "k", KNOWN)
    _ask(bench, server, names, "-n", f"{passes}")
    run = _ask(bench, server, names, "-l", str(bench.seconds), *options)
    values = {figures.DNS_CACHED: run.result.rate}
    if run.busiest_cpu:
        values[figures.DNS_CORE] = run.result.completed / run.busiest_cpu
        values[figures.DNS_CPU] = run.each(run.server_cpu)
        values[figures.DNS_LOAD] = run.each(run.load)
    return run.sample(values)


def cached(bench: Bench, server: Running | None) -> Sample:
    """Names that are in the cache, as fast as they are answered."""
    return _cached(bench, server, 2)


def shared(bench: Bench, server: Running | None) -> Sample:
    """The same for servers of several processes: each has to learn the names, and to have enough to do."""
    return _cached(bench, server, 10, "-q", f"{2 * dnsperf.OUTSTANDING}")


def latency(bench: Bench, server: Running | None) -> Sample:
    """How long an answer from the cache takes under a moderate load."""
    names = queries(bench.folder, "k", KNOWN)
    _ask(bench, server, names, "-n", "2")
    run = _ask(bench, server, names, "-l", str(bench.seconds), "-Q", str(LATENCY_RATE), "-v")
    found = run.result.latencies
    return run.sample(
        {
            figures.DNS_LATENCY: dnsperf.percentile(found, 0.5),
            figures.DNS_LATENCY_P99: dnsperf.percentile(found, 0.99),
        }
    )


def cold(bench: Bench, server: Running | None) -> Sample:
    """Names that nobody has asked for before: each goes to the name server."""
    names = queries(bench.folder, f"c{next(bench.numbers)}x", int(COLD_RATE * bench.seconds))
    run = _ask(bench, server, names, "-n", "1", "-l", str(bench.seconds))
    names.unlink()
    values = {figures.DNS_COLD: run.result.rate}
    if run.result.completed:
        values[figures.DNS_COLD_CPU] = run.each(run.server_cpu)
        values[figures.DNS_COLD_LOAD] = run.each(run.load)
    return run.sample(values)


def _memory_at_rest(root: int) -> float:
    """As `tree.memory_kb`, when it changes no more."""
    found = tree.memory_kb(root)
    for _ in range(_REST_PATIENCE):
        before = found
        time.sleep(_REST_SECONDS)
        found = tree.memory_kb(root)
        if abs(found - before) <= _REST_SHARE * found:
            break
    return found


def memory(bench: Bench, server: Running | None) -> Sample:
    """User-space memory that many different names take; afterwards each must be known without the name server."""
    if server is None:
        raise TypeError("without a server there is no server's memory")
    names = queries(bench.folder, "m", bench.names)
    empty = _memory_at_rest(server.pid)
    first = _ask(bench, server, names, "-n", "1")
    full = _memory_at_rest(server.pid)
    os.killpg(bench.name_server.pid, signal.SIGSTOP)
    try:
        again = _ask(bench, server, names, "-n", "1")
    finally:
        os.killpg(bench.name_server.pid, signal.SIGCONT)
    values = {figures.DNS_MEMORY: max(0.0, full - empty) / 1000, figures.DNS_MEMORY_ALL: full / 1000}
    worse = max(first, again, key=lambda run: run.result.failed)
    return worse.sample(values)


MEASURES = (
    Measure("cached", cached),
    Measure("answer", latency),
    Measure("cold", cold),
    Measure("names", memory, fresh=True),
)


def new_numbers() -> Iterator[int]:
    """For ``Bench.numbers``."""
    return itertools.count()
