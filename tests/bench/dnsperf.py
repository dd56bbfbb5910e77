"""Drives dnsperf and reads what it prints: answers, losses, response codes, and the latency of each answer.

Knows nothing of servers; the load is kept off their core.
"""

import re
import resource
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.errors import BenchError
from tests.bench.machine import on_cores
from tests.bench.servers import HOST, installed

OUTSTANDING = 100
"""Queries that wait for their answers at once: so many fit into the buffer of any socket."""

CLIENTS = 100
"""Sockets that the queries come from. Processes that share a port get them by their hash: many, so that it is even."""

CLIENT = "127.0.0.2"
"""Not where the name server is: who asks for a name from there, while it is asked for it, looks like a loop."""

_TIMEOUT = 2
"""Seconds after which an answer counts as lost."""

_PATIENCE = 60.0

_COUNTS = re.compile(r"^  Queries (sent|completed|lost): +(\d+)", re.MULTILINE)
_CODES = re.compile(r"^  Response codes: +(.*)$", re.MULTILINE)
_CODE = re.compile(r"(\w+) (\d+) \(")
_SECONDS = re.compile(r"^  Run time \(s\): +([\d.]+)", re.MULTILINE)
_LATENCY = re.compile(r"^> \w+ \S+ \S+ ([\d.]+)$", re.MULTILINE)


class Result(NamedTuple):
    """What one run of dnsperf counted."""

    sent: int
    completed: int
    #: answers by response code
    codes: dict[str, int]
    seconds: float
    #: of the answers in the order of their coming, in microseconds; only where they were asked for
    latencies: tuple[float, ...]
    #: seconds that dnsperf itself took of the processor
    cpu: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.completed / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """Queries without an answer, and answers that say something else than NOERROR."""
        return self.sent - self.codes.get("NOERROR", 0)

    @property
    def first_failure(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        lost = self.sent - self.completed
        wrong = [f"{count} {code}" for code, count in sorted(self.codes.items()) if code != "NOERROR"]
        return ", ".join([*([f"{lost} without an answer"] if lost else []), *wrong])


def parse(text: str, cpu: float = 0.0) -> Result:
    """What dnsperf printed at its end; BenchError for anything else."""
    counts = {word: int(number) for word, number in _COUNTS.findall(text)}
    seconds = _SECONDS.search(text)
    if counts.keys() != {"sent", "completed", "lost"} or seconds is None:
        raise BenchError(f"dnsperf printed no statistics: {(text.strip() or 'nothing').splitlines()[-1]}")
    codes = _CODES.search(text)
    return Result(
        sent=counts["sent"],
        completed=counts["completed"],
        codes={code: int(number) for code, number in _CODE.findall(codes[1])} if codes else {},
        seconds=float(seconds[1]),
        latencies=tuple(float(found) * 1e6 for found in _LATENCY.findall(text)),
        cpu=cpu,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share (0..1) of all values does not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


def run(port: int, queries: Path, cores: Iterable[int], *options: str) -> Result:
    """Send the queries of a file to a port of 127.0.0.1; ``options`` say how long (``-l``) or how often (``-n``)."""
    command = [
        *on_cores(cores, [installed("dnsperf"), "-s", HOST, "-p", str(port), "-a", CLIENT]),
        *("-d", str(queries), "-c", str(CLIENTS), "-q", str(OUTSTANDING), "-t", str(_TIMEOUT), *options),
    ]
    before = _children_seconds()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"dnsperf did not end within {_PATIENCE:.0f} s") from error
    if done.returncode != 0:
        raise BenchError(f"dnsperf: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    return parse(done.stdout, _children_seconds() - before)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
