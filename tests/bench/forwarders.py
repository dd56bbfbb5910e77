"""The comparison of DNS forwarders, and of our own with two processes and with one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.bench import dnsmeasures, dnsperf, report, resolvers
from tests.bench.dnsmeasures import MEASURES, Bench
from tests.bench.figures import DNS_COLD_FIGURES, DNS_FIGURES, DNS_SERIES_FIGURES
from tests.bench.resolvers import NAME_SERVER, PEERS
from tests.bench.sample import Measure
from tests.bench.servers import Running
from tests.bench.subject import Scale, Subject, Variants

_VARIANTS = (
    Variants(
        "processes",
        "process(es)",
        {f"{count}": resolvers.sockd(count, f"sockd with {count} resolver processes") for count in (1, 2)},
        Measure("cached", dnsmeasures.shared),
        DNS_SERIES_FIGURES,
        report.PROCESS_GOALS,
    ),
    Variants(
        "forwarding",
        "process(es)",
        {f"{count}": resolvers.sockd(count, f"sockd with {count} resolver processes") for count in (1, 2)},
        Measure("cold", dnsmeasures.cold),
        DNS_COLD_FIGURES,
    ),
)


@contextlib.contextmanager
def _open(folder: Path, scale: Scale) -> Iterator[Bench]:
    with Running(NAME_SERVER, folder / "name-server") as name_server:
        yield Bench(folder, name_server, scale.seconds, scale.names, dnsmeasures.new_numbers())


def _conditions(scale: Scale) -> str:
    return (
        f"{dnsmeasures.KNOWN:,} cached names, {dnsperf.OUTSTANDING} queries outstanding, by UDP; name server: nsd; "
        f"a core: by the CPU time of the busiest process; latency at {dnsmeasures.LATENCY_RATE:,} queries/s; "
        f"memory: growth of PSS by {scale.names:,} names"
    )


FORWARDERS = Subject(
    key="dns",
    names=tuple(peer.name for peer in PEERS),
    peers=PEERS,
    programs=("dnsperf", "nsd"),
    measures=MEASURES,
    variants=_VARIANTS,
    figures=DNS_FIGURES,
    goals=report.DNS_GOALS,
    open=_open,
    warm=dnsmeasures.warm,
    conditions=_conditions,
)
