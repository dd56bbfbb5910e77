"""``python -m tests.bench``: our sockd beside microsocks and danted, on this machine, in this hour.

Figures of different machines or days say little about each other; so everything is run side by side, in rounds that
alternate between the contestants, and what is judged are the ratios. All traffic is on loopback.
"""

import argparse
import contextlib
import json
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.bench import load, machine, measures, needs, report, servers
from tests.bench.errors import BenchError
from tests.bench.measures import MEASURES, Bench, Measure, Sample
from tests.bench.report import NO_PROXY, Contestant, Goal, Record, Report, Series
from tests.bench.servers import PEERS, Peer, Running

RULE_COUNTS = (10, 1_000, 10_000)

NAMES = (NO_PROXY, *(peer.name for peer in PEERS))

#: measures, and the comparisons of our own variants
PARTS = (*(measure.name for measure in MEASURES), "rules", "routes")


class Options(NamedTuple):
    """The command line, understood."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    rounds: int
    seconds: float
    sessions: int
    patience: float
    json: Path | None

    @property
    def peers(self) -> tuple[Peer, ...]:
        return tuple(peer for peer in PEERS if peer.name in self.names)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(measure for measure in MEASURES if measure.name in self.parts)

    @property
    def variants(self) -> tuple["Variants", ...]:
        return tuple(found for found in VARIANTS if found.key in self.parts and report.OURS in self.names)


class Variants(NamedTuple):
    """Variants of our own daemon that are compared; the fields that `report.Series` has too are told there."""

    key: str
    unit: str
    peers: Mapping[str, Peer]
    goals: tuple[Goal, ...] = ()


VARIANTS = (
    Variants(
        "rules",
        "rules",
        {f"{count:,}": servers.sockd(count, f"sockd with {count:,} rules") for count in RULE_COUNTS},
        report.RULE_GOALS,
    ),
    Variants(
        "routes",
        "sockd.route",
        {"without": servers.sockd(10), "with": servers.sockd(10, "sockd with sockd.route", routed=True)},
    ),
)


def _chosen(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names between commas, put into the known order."""
    names = {name.strip() for name in text.split(",")}
    unknown = names.difference(known)
    if unknown:
        raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))} here; there are: {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _names(text: str) -> tuple[str, ...]:
    return _chosen(text, NAMES)


def _parts(text: str) -> tuple[str, ...]:
    return _chosen(text, PARTS)


def _above_zero(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _options(words: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--only", type=_names, default=NAMES, metavar="NAMES", help=f"some of: {', '.join(NAMES)}")
    add("--measures", type=_parts, default=PARTS, metavar="NAMES", help=f"some of: {', '.join(PARTS)}")
    add("--rounds", type=int, help="how often each is measured (5)")
    add("--seconds", type=_above_zero, help="of one run (2)")
    add("--sessions", type=int, help="idle sessions (4000)")
    add("--patience", type=float, help="seconds, over all, for the repetition of runs that others disturbed (120)")
    add("--quick", action="store_true", help="1 round, 0.3 seconds, 500 sessions: shows that it works, not how fast")
    add("--json", type=Path, metavar="FILE", help="write everything there too")
    found = parser.parse_args(words)
    rounds, seconds, sessions, patience = (1, 0.3, 500, 0.0) if found.quick else (5, 2.0, 4000, 120.0)
    options = Options(
        names=found.only,
        parts=found.measures,
        rounds=rounds if found.rounds is None else found.rounds,
        seconds=found.seconds or seconds,
        sessions=sessions if found.sessions is None else found.sessions,
        patience=patience if found.patience is None else found.patience,
        json=found.json,
    )
    if options.rounds < 1 or options.sessions < 1:
        parser.error("--rounds and --sessions count from 1")
    return options


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


def _rotated(names: Sequence[str], by: int) -> list[str]:
    """Each round begins with another contestant: nobody is always the one that runs after danted."""
    by %= len(names)
    return [*names[by:], *names[:by]]


class _Session:
    """One run of the whole benchmark: keeps the folder, the load and what was recorded."""

    def __init__(self, bench: Bench, folder: Path, options: Options) -> None:
        self._bench, self._folder, self._options = bench, folder, options
        self._folders = 0
        self._patience = options.patience
        self.records: list[Record] = []
        self.series: list[Series] = []
        self.left_out: dict[str, str] = {}

    def _start(self, stack: contextlib.ExitStack, peer: Peer) -> Running | None:
        """A warm server, which lives as long as ``stack``; None when it would not start, now or before."""
        if peer.name in self.left_out:
            return None
        self._folders += 1
        try:
            server = stack.enter_context(Running(peer, self._folder / f"{self._folders}"))
            measures.warm(self._bench, server)
        except BenchError as error:
            self.left_out[peer.name] = str(error)
            return None
        return server

    def _sample(self, measure: Measure, server: Running | None) -> Sample:
        """One run; repeated when it was disturbed, as long as our patience lasts, of which the quietest counts.

        This selects by what others did, never by the outcome, so it favours nobody; and a failure always counts.
        """
        best = measures.attempt(measure, self._bench, server)
        while best.foreign > machine.BUSY_LIMIT and not best.failures and self._patience > 0:
            began = time.monotonic()
            again = measures.attempt(measure, self._bench, server)
            best = again if again.failures else min(best, again, key=lambda sample: sample.foreign)
            self._patience -= time.monotonic() - began
        return best

    def _measure_fresh(self, number: int, measure: Measure, peer: Peer) -> None:
        with contextlib.ExitStack() as stack:
            server = self._start(stack, peer)
            if server is not None:
                sample = self._sample(measure, server)
                self.records.append(Record(number, peer.name, measure.name, sample))

    def _measure_loaded(self, number: int, order: Sequence[str]) -> None:
        """Servers stand side by side, and each in turn gets the load; a server without load takes no CPU time."""
        with contextlib.ExitStack() as stack:
            running = {peer.name: self._start(stack, peer) for peer in self._options.peers}
            for measure in self._options.measures:
                for name in order:
                    if not measure.fresh and (name == NO_PROXY or running[name] is not None):
                        sample = self._sample(measure, running.get(name))
                        self.records.append(Record(number, name, measure.name, sample))

    def rounds(self) -> None:
        for number in range(1, self._options.rounds + 1):
            print(f"round {number} of {self._options.rounds}", file=sys.stderr, flush=True)
            order = _rotated(self._options.names, number)
            if any(not measure.fresh for measure in self._options.measures):
                self._measure_loaded(number, order)
            for measure in self._options.measures:
                for peer in self._options.peers if measure.fresh else ():
                    self._measure_fresh(number, measure, peer)

    def compare(self, variants: Variants) -> None:
        """Variants against each other: differences of 5 % matter, so twice the rounds, each a few seconds apart."""
        print(f"comparison: {variants.key}", file=sys.stderr, flush=True)
        measure = Measure("conn", measures.connections)
        records: list[Record] = []
        with contextlib.ExitStack() as stack:
            running = {name: self._start(stack, peer) for name, peer in variants.peers.items()}
            names = [name for name, server in running.items() if server is not None]
            for number in range(1, 2 * self._options.rounds + 1) if names else ():
                for name in _rotated(names, number):
                    records.append(Record(number, name, variants.key, self._sample(measure, running[name])))
        self.series.append(Series(variants.key, variants.unit, tuple(variants.peers), tuple(records), variants.goals))


def _contestant(name: str, left_out: dict[str, str]) -> Contestant:
    for peer in PEERS:
        if peer.name == name:
            try:
                return Contestant(name, peer.version(), peer.settings)
            except BenchError as error:
                left_out.setdefault(name, str(error))
    return Contestant(name, "", "")


def _conditions(options: Options) -> str:
    rounds = f"{options.rounds} rounds" if options.rounds > 1 else "1 round"
    return (
        f"conditions: {rounds} in turn, {options.seconds:g} s a run, loopback, "
        f"SOCKS5 CONNECT by IPv4 address; {measures.CONNECTING} connecting at once; 1 GB = 10^9 bytes; "
        f"memory: PSS at {options.sessions:,} sessions"
    )


def _warning(options: Options, found: machine.Machine) -> str:
    reasons = []
    if found.is_busy:
        reasons.append("the machine is busy: figures are lower and ranges wider than they should be")
    if options.seconds < 1 or options.rounds < 3:
        reasons.append("short runs: this shows that the benchmark works, not how fast anything is")
    return "; ".join(reasons)


def _bench(options: Options) -> Report:
    needs.ensure(["cc", *(peer.program for peer in options.peers if peer.program)])
    _raise_limits(options.sessions)
    found = machine.look()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # servers that give up root must still reach their files
        program = load.build(folder)
        with load.Target(program) as target:
            session = _Session(Bench(program, target, options.seconds, options.sessions), folder, options)
            contestants = tuple(_contestant(name, session.left_out) for name in options.names)
            session.rounds()
            for variants in options.variants if report.OURS not in session.left_out else ():
                session.compare(variants)
    return Report(
        machine=str(found),
        warning=_warning(options, found),
        conditions=_conditions(options),
        contestants=tuple(entry for entry in contestants if entry.name not in session.left_out),
        records=tuple(session.records),
        series=tuple(session.series),
        left_out=tuple(f"{name}: {reason}" for name, reason in session.left_out.items()),
    )


def _terminated(*_: object) -> NoReturn:
    """SIGTERM ends us like Ctrl-C does: through all ``with`` blocks, so that no server is left behind."""
    raise KeyboardInterrupt


def main(words: Sequence[str]) -> int:
    """0: measured; 1: measured, but with failures or with a contestant left out; 2: could not measure."""
    options = _options(words)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        done = _bench(options)
        print(report.table(done))
        if options.json is not None:
            options.json.write_text(json.dumps(report.as_json(done), indent=1) + "\n")
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 1 if done.left_out or report.failing(done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
