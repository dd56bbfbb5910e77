"""``python -m tests.bench``: our daemon beside its peers, on this machine, in this hour.

Figures of different machines or days say little about each other; so everything is run side by side, in rounds that
alternate between the contestants, and what is judged are the ratios. All traffic is on loopback.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn

from tests.bench import machine, needs, report
from tests.bench.errors import BenchError
from tests.bench.forwarders import FORWARDERS
from tests.bench.proxies import PROXIES
from tests.bench.report import NO_PROXY, OURS, Contestant, Record, Report, Series
from tests.bench.sample import Bench, Measure, Sample, attempt
from tests.bench.servers import Peer, Running
from tests.bench.subject import Scale, Subject, Variants

SUBJECTS: tuple[Subject[Any], ...] = (PROXIES, FORWARDERS)


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


NAMES = _once(name for subject in SUBJECTS for name in subject.names)

PARTS = _once(part for subject in SUBJECTS for part in subject.parts)


class Options(NamedTuple):
    """The command line, understood."""

    subjects: tuple[Subject[Any], ...]
    scale: Scale
    patience: float
    json: Path | None


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
    keys = [subject.key for subject in SUBJECTS]
    add("what", nargs="*", choices=[[], *keys], metavar="WHAT", help=f"some of: {', '.join(keys)} (all)")
    add("--only", type=_names, default=NAMES, metavar="NAMES", help=f"some of: {', '.join(NAMES)}")
    add("--measures", type=_parts, default=PARTS, metavar="NAMES", help=f"some of: {', '.join(PARTS)}")
    add("--rounds", type=int, help="how often each is measured (5)")
    add("--seconds", type=_above_zero, help="of one run (2)")
    add("--sessions", type=int, help="idle sessions (4000)")
    add("--names", type=int, help="different names in a cache (100000)")
    add("--patience", type=float, help="seconds, over all, for the repetition of runs that others disturbed (120)")
    add("--quick", action="store_true", help="1 round, 0.3 seconds, 500 sessions: shows that it works, not how fast")
    add("--json", type=Path, metavar="FILE", help="write everything there too")
    found = parser.parse_args(words)
    found.what = found.what or keys
    default = Scale(1, 0.3, 500, 5_000) if found.quick else Scale(5, 2.0, 4000, 100_000)
    given = {key: value for key in Scale._fields if (value := getattr(found, key)) is not None}
    patience = 0.0 if found.quick else 120.0
    chosen = (subject.narrowed(found.only, found.measures, OURS) for subject in SUBJECTS if subject.key in found.what)
    options = Options(
        subjects=tuple(subject for subject in chosen if not subject.is_empty),
        scale=default._replace(**given),
        patience=patience if found.patience is None else found.patience,
        json=found.json,
    )
    if min(options.scale) <= 0:
        parser.error("--rounds, --sessions and --names count from 1")
    if not options.subjects:
        parser.error("nothing is left to be measured")
    return options


def _rotated(names: Sequence[str], by: int) -> list[str]:
    """Each round begins with another contestant: nobody is always the one that runs after danted."""
    by %= len(names)
    return [*names[by:], *names[:by]]


class _Session(Generic[Bench]):
    """One run of all measures of a subject: keeps the folder, the load and what was recorded."""

    def __init__(self, subject: Subject[Bench], bench: Bench, folder: Path, options: Options) -> None:
        self._subject, self._bench, self._folder = subject, bench, folder
        self._rounds = options.scale.rounds
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
            self._subject.warm(self._bench, server)
        except BenchError as error:
            self.left_out[peer.name] = str(error)
            return None
        return server

    def _sample(self, measure: Measure[Bench], server: Running | None) -> Sample:
        """One run; repeated when it was disturbed, as long as our patience lasts, of which the quietest counts.

        This selects by what others did, never by the outcome, so it favours nobody; and a failure always counts.
        """
        best = attempt(measure, self._bench, server)
        while best.foreign > machine.BUSY_LIMIT and not best.failures and self._patience > 0:
            began = time.monotonic()
            again = attempt(measure, self._bench, server)
            best = again if again.failures else min(best, again, key=lambda sample: sample.foreign)
            self._patience -= time.monotonic() - began
        return best

    def _measure_fresh(self, number: int, measure: Measure[Bench], peer: Peer) -> None:
        with contextlib.ExitStack() as stack:
            server = self._start(stack, peer)
            if server is not None:
                sample = self._sample(measure, server)
                self.records.append(Record(number, peer.name, measure.name, sample))

    def _measure_loaded(self, number: int, order: Sequence[str]) -> None:
        """Servers stand side by side, and each in turn gets the load; a server without load takes no CPU time."""
        with contextlib.ExitStack() as stack:
            running = {peer.name: self._start(stack, peer) for peer in self._subject.peers}
            for measure in self._subject.measures:
                for name in order:
                    if not measure.fresh and (name == NO_PROXY or running[name] is not None):
                        sample = self._sample(measure, running.get(name))
                        self.records.append(Record(number, name, measure.name, sample))

    def rounds(self) -> None:
        for number in range(1, self._rounds + 1):
            print(f"{self._subject.key}: round {number} of {self._rounds}", file=sys.stderr, flush=True)
            order = _rotated(self._subject.names, number)
            if any(not measure.fresh for measure in self._subject.measures):
                self._measure_loaded(number, order)
            for measure in self._subject.measures:
                for peer in self._subject.peers if measure.fresh else ():
                    self._measure_fresh(number, measure, peer)

    def compare(self, variants: Variants[Bench]) -> None:
        """Variants against each other: differences of 5 % matter, so twice the rounds, each a few seconds apart."""
        print(f"comparison: {variants.key}", file=sys.stderr, flush=True)
        records: list[Record] = []
        with contextlib.ExitStack() as stack:
            running = {name: self._start(stack, peer) for name, peer in variants.peers.items()}
            names = [name for name, server in running.items() if server is not None]
            for number in range(1, 2 * self._rounds + 1) if names else ():
                for name in _rotated(names, number):
                    records.append(Record(number, name, variants.key, self._sample(variants.measure, running[name])))
        self.series.append(
            Series(variants.key, variants.unit, tuple(variants.peers), tuple(records), variants.goals, variants.figures)
        )


def _contestant(name: str, peers: Sequence[Peer], left_out: dict[str, str]) -> Contestant:
    for peer in peers:
        if peer.name == name:
            try:
                return Contestant(name, peer.version(), peer.settings)
            except BenchError as error:
                left_out.setdefault(name, str(error))
    return Contestant(name, "", "")


def _conditions(subject: Subject[Bench], scale: Scale) -> str:
    rounds = f"{scale.rounds} rounds" if scale.rounds > 1 else "1 round"
    return f"conditions: {rounds} in turn, {scale.seconds:g} s a run, loopback, {subject.conditions(scale)}"


def _warning(scale: Scale, found: machine.Machine) -> str:
    reasons = []
    if found.is_busy:
        reasons.append("the machine is busy: figures are lower and ranges wider than they should be")
    if scale.seconds < 1 or scale.rounds < 3:
        reasons.append("short runs: this shows that the benchmark works, not how fast anything is")
    return "; ".join(reasons)


def _bench(subject: Subject[Bench], options: Options) -> Report:
    scale = options.scale
    needs.ensure([*subject.programs, *(peer.program for peer in subject.peers if peer.program)])
    found = machine.look()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # servers that give up root must still reach their files
        with subject.open(folder, scale) as bench:
            session = _Session(subject, bench, folder, options)
            contestants = tuple(_contestant(name, subject.peers, session.left_out) for name in subject.names)
            session.rounds()
            for variants in subject.variants if OURS not in session.left_out else ():
                session.compare(variants)
    return Report(
        machine=str(found),
        warning=_warning(scale, found),
        conditions=_conditions(subject, scale),
        contestants=tuple(entry for entry in contestants if entry.name not in session.left_out),
        records=tuple(session.records),
        series=tuple(session.series),
        left_out=tuple(f"{name}: {reason}" for name, reason in session.left_out.items()),
        figures=subject.figures,
        goals=subject.goals,
    )


def _terminated(*_: object) -> NoReturn:
    """SIGTERM ends us like Ctrl-C does: through all ``with`` blocks, so that no server is left behind."""
    raise KeyboardInterrupt


def main(words: Sequence[str]) -> int:
    """0: measured; 1: measured, but with failures or with a contestant left out; 2: could not measure."""
    options = _options(words)
    signal.signal(signal.SIGTERM, _terminated)
    done: dict[str, Report] = {}
    try:
        for subject in options.subjects:
            done[subject.key] = _bench(subject, options)
            print(report.table(done[subject.key]), flush=True)
        if options.json is not None:
            everything = {key: report.as_json(found) for key, found in done.items()}
            options.json.write_text(json.dumps(everything, indent=1) + "\n")
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 1 if any(found.left_out or report.failing(found) for found in done.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
