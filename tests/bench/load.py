"""Builds load.c and drives it: one target for the whole benchmark, one client for each measure.

Knows the client's words on its pipes ("ready", a line to go, one line of JSON); knows nothing of proxies.
"""

import json
import os
import select
import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from tests.bench.errors import BenchError

SOURCE = Path(__file__).with_name("load.c")

#: which of the target's ports a client mode talks to
PORT_OF_MODE = {"conn": "answer", "rr": "echo", "idle": "echo", "down": "source", "up": "sink"}

#: load.c bounds its set-up (30 s) and its end (5 s) itself; this is for the case that it hangs all the same
_PATIENCE = 45.0


class Result(NamedTuple):
    """What a client counted; see the head of load.c for what a unit is in each mode."""

    units: int
    units_in_window: int
    window_seconds: float
    sessions: int
    p50_us: float
    p99_us: float
    failures: dict[str, int]
    first_failure: str

    @property
    def rate(self) -> float:
        """Units a second in the window that was measured."""
        return self.units_in_window / self.window_seconds if self.window_seconds else 0.0

    @property
    def failed(self) -> int:
        """Failures of all kinds."""
        return sum(self.failures.values())


def build(folder: Path) -> Path:
    """Compile load.c into ``folder``; warnings are errors, so that a doubtful load generator measures nothing."""
    program = folder / "load"
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BenchError("no C compiler (cc); install the Debian packages: gcc libc6-dev") from error
    if done.returncode != 0:
        raise BenchError(f"cannot compile {SOURCE.name}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    return program


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("process was started without this pipe")
    return stream


class _Piped:
    """A process that talks on its standard input and output and ends when its input ends."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (_pipe(self._process.stdin), _pipe(self._process.stdout)):
            stream.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _line(self, patience: float) -> str:
        """The next line; the program writes whole lines, so that one which begins is also complete."""
        stdout = _pipe(self._process.stdout)
        if not select.select([stdout], [], [], patience)[0]:
            raise BenchError(f"load generator said nothing for {patience:.0f} s")
        line = stdout.readline()
        if not line:
            raise BenchError(f"load generator ended early, with status {self._process.wait()}")
        return line


class Target(_Piped):
    """The server that all clients are sent to; ``ports`` by duty: answer, echo, source, sink."""

    def __init__(self, program: Path, fault: str | None = None) -> None:
        """``fault`` makes it misbehave in one known way (see load.c)."""
        super().__init__([str(program), "target", *([fault] if fault else [])])
        words = self._line(_PATIENCE).split()
        self.ports = {duty: int(port) for duty, port in zip(words[::2], words[1::2], strict=True)}


class Client(_Piped):
    """One run of one mode: made, it sets its sessions up; then ``ready``, then ``go``; its end closes the sessions."""

    def __init__(
        self, program: Path, target: Target, mode: str, connections: int, seconds: float, proxy_port: int = 0
    ) -> None:
        """``proxy_port`` is a port of 127.0.0.1; 0 goes straight to the target."""
        port = target.ports[PORT_OF_MODE[mode]]
        super().__init__([str(program), mode, *map(str, (proxy_port, port, connections, seconds))])
        self._seconds = seconds

    def ready(self) -> None:
        """Return when the sessions stand."""
        self._line(_PATIENCE)

    def go(self) -> Result:
        """Run; return when the last byte has come, with the sessions still open."""
        os.write(_pipe(self._process.stdin).fileno(), b"\n")
        return Result(**json.loads(self._line(self._seconds + _PATIENCE)))
