"""One function for each measure: runs the load against one contestant and answers figures.

A contestant is a running server, or None for "no proxy at all". CPU time is read when the sessions stand and again when
the last byte has come, so that neither set-up nor end is in it.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.bench import figures, machine, tree
from tests.bench.errors import BenchError
from tests.bench.figures import Figure
from tests.bench.load import Client, Result, Target
from tests.bench.sample import Measure, Sample
from tests.bench.servers import Running

#: clients in the handshake at the same time: enough that no proxy waits for the load generator
CONNECTING = 64
ECHOING = 50
STREAMS = 8

#: what a server does after the last byte of a session, records above all, is part of the price of the session
_SETTLE_SECONDS = 0.05

#: danted forks while sessions arrive; its processes must have come to rest before their memory is read
_REST_SECONDS = 0.5

_WARM_SECONDS = 0.2
_WARM_CONNECTIONS = 4


class Bench(NamedTuple):
    """What all measures share."""

    program: Path
    target: Target
    #: of one run
    seconds: float
    #: idle sessions
    sessions: int


class _Clock(NamedTuple):
    proxy: float
    load: float
    machine: machine.Ticks


class _Run(NamedTuple):
    result: Result
    proxy_cpu: float
    load_cpu: float
    foreign: float

    def sample(self, values: Mapping[Figure, float]) -> Sample:
        return Sample(values, self.result.failed, self.result.first_failure, self.foreign)


def _read(bench: Bench, server: Running | None, client: Client) -> _Clock:
    return _Clock(
        proxy=tree.cpu_seconds(server.pid) if server else 0.0,
        load=tree.cpu_seconds(client.pid) + tree.cpu_seconds(bench.target.pid),
        machine=machine.ticks(),
    )


def _load(bench: Bench, server: Running | None, mode: str, connections: int) -> _Run:
    port = server.port if server else 0
    with Client(bench.program, bench.target, mode, connections, bench.seconds, port) as client:
        client.ready()
        before = _read(bench, server, client)
        result = client.go()
        time.sleep(_SETTLE_SECONDS)
        after = _read(bench, server, client)
    proxy, load = after.proxy - before.proxy, after.load - before.load
    busy = after.machine.busy - before.machine.busy
    total = max(after.machine.total - before.machine.total, 1 / machine.TICKS)
    return _Run(result, proxy, load, max(0.0, (busy - proxy - load) / total))


def _each(run: _Run, server: Running | None, scale: float, proxy: Figure, load: Figure) -> dict[Figure, float]:
    """CPU time for one unit of what was counted, in seconds times ``scale``."""
    if not run.result.units:
        return {}
    values = {load: run.load_cpu / run.result.units * scale}
    if server:
        values[proxy] = run.proxy_cpu / run.result.units * scale
    return values


def warm(bench: Bench, server: Running) -> None:
    """A few sessions, so that what a server does once (load, fork, compile) is in no figure; and proof that it works.

    Few at a time: memory that they leave behind would hide memory of the idle sessions.
    """
    with Client(bench.program, bench.target, "conn", _WARM_CONNECTIONS, _WARM_SECONDS, server.port) as client:
        client.ready()
        result = client.go()
    if not result.units:
        raise BenchError(f"{server.name} relays nothing: {result.first_failure or 'no connection completed'}")


def connections(bench: Bench, server: Running | None) -> Sample:
    """New connections: handshake, 1 KiB from the target, closed by the target."""
    run = _load(bench, server, "conn", CONNECTING)
    cpu = _each(run, server, 1e6, figures.CONNECTION_CPU, figures.CONNECTION_LOAD)
    return run.sample({figures.CONNECTIONS: run.result.rate, **cpu})


def round_trips(bench: Bench, server: Running | None) -> Sample:
    """Messages of 64 bytes to the target and back, on many connections at once."""
    run = _load(bench, server, "rr", ECHOING)
    cpu = _each(run, server, 1e6, figures.ROUND_TRIP_CPU, figures.ROUND_TRIP_LOAD)
    return run.sample({figures.ROUND_TRIPS: run.result.rate, **cpu})


def latency(bench: Bench, server: Running | None) -> Sample:
    """The same on one connection: how long a message takes when nothing else happens."""
    run = _load(bench, server, "rr", 1)
    return run.sample({figures.LATENCY: run.result.p50_us, figures.LATENCY_P99: run.result.p99_us})


def _bulk(
    bench: Bench, server: Running | None, mode: str, streams: int, rate: Figure, cpu: Figure, load: Figure
) -> Sample:
    run = _load(bench, server, mode, streams)
    return run.sample({rate: run.result.rate * 8e-9, **_each(run, server, 1e9, cpu, load)})


def bulk(bench: Bench, server: Running | None) -> Sample:
    """One download."""
    return _bulk(bench, server, "down", 1, figures.BULK, figures.BULK_CPU, figures.BULK_LOAD)


def bulk_many(bench: Bench, server: Running | None) -> Sample:
    """Several downloads at once."""
    return _bulk(bench, server, "down", STREAMS, figures.BULK_MANY, figures.BULK_MANY_CPU, figures.BULK_MANY_LOAD)


def upload(bench: Bench, server: Running | None) -> Sample:
    """One upload."""
    return _bulk(bench, server, "up", 1, figures.UPLOAD, figures.UPLOAD_CPU, figures.UPLOAD_LOAD)


def idle(bench: Bench, server: Running | None) -> Sample:
    """User-space memory of a session that says nothing; each has relayed before, and must relay after."""
    if server is None:
        raise TypeError("without a proxy there is no proxy's memory")
    empty = tree.memory_kb(server.pid)
    with Client(bench.program, bench.target, "idle", bench.sessions, 10.0, server.port) as client:
        client.ready()
        time.sleep(_REST_SECONDS)
        full = tree.memory_kb(server.pid)
        result = client.go()
    values = {figures.IDLE: (full - empty) / result.sessions} if result.sessions else {}
    return Sample(values, result.failed, result.first_failure)


MEASURES = (
    Measure("conn", connections),
    Measure("rr", round_trips),
    Measure("latency", latency),
    Measure("bulk", bulk),
    Measure("bulk8", bulk_many),
    Measure("upload", upload),
    Measure("idle", idle, fresh=True),
)
