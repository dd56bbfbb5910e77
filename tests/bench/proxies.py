"""The comparison of SOCKS proxies, and of our own with many rules and with few."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from tests.bench import load, measures, report, servers
from tests.bench.errors import BenchError
from tests.bench.figures import FIGURES, SERIES_FIGURES
from tests.bench.measures import MEASURES, Bench
from tests.bench.sample import Measure
from tests.bench.servers import PEERS
from tests.bench.subject import Scale, Subject, Variants

RULE_COUNTS = (10, 1_000, 10_000)

_CONNECTIONS = Measure("conn", measures.connections)

_VARIANTS = (
    Variants(
        "rules",
        "rules",
        {f"{count:,}": servers.sockd(count, f"sockd with {count:,} rules") for count in RULE_COUNTS},
        _CONNECTIONS,
        SERIES_FIGURES,
        report.RULE_GOALS,
    ),
    Variants(
        "routes",
        "sockd.route",
        {"without": servers.sockd(10), "with": servers.sockd(10, "sockd with sockd.route", routed=True)},
        _CONNECTIONS,
        SERIES_FIGURES,
    ),
)


def _raise_limits(sessions: int) -> None:
    """Let our children have the descriptors that the idle sessions take: two each in a proxy, and pipes beside them."""
    wanted = 4 * sessions + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except (ValueError, OSError) as error:
            raise BenchError(
                f"{sessions} idle sessions need {wanted} open files, the limit is {hard}: "
                f"raise it (ulimit -n, as root), or take fewer --sessions"
            ) from error


@contextlib.contextmanager
def _open(folder: Path, scale: Scale) -> Iterator[Bench]:
    _raise_limits(scale.sessions)
    program = load.build(folder)
    with load.Target(program) as target:
        yield Bench(program, target, scale.seconds, scale.sessions)


def _conditions(scale: Scale) -> str:
    return (
        f"SOCKS5 CONNECT by IPv4 address; {measures.CONNECTING} connecting at once; 1 GB = 10^9 bytes; "
        f"memory: PSS at {scale.sessions:,} sessions"
    )


PROXIES = Subject(
    key="proxy",
    names=(report.NO_PROXY, *(peer.name for peer in PEERS)),
    peers=PEERS,
    programs=("cc",),
    measures=MEASURES,
    variants=_VARIANTS,
    figures=FIGURES,
    goals=report.GOALS,
    open=_open,
    warm=measures.warm,
    conditions=_conditions,
)
