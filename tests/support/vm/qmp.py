"""qemu's own line of commands: the QEMU Machine Protocol, version of qemu 2.10 and later (docs/interop/qmp-spec)."""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import IO


class Refused(Exception):
    """qemu does not do it; the message is its own."""


class Qmp:
    """The commands of one machine; one after the other."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines = lines
        self._events: list[str] = []

    def do(self, command: str, **arguments: object) -> object:
        """Give a command, and wait for its answer. Raises Refused, and OSError when the machine has gone."""
        written = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._lines.write(json.dumps({"execute": command, "arguments": written}) + "\n")
        self._lines.flush()
        while "return" not in (said := self._next()):
            if "error" in said:
                raise Refused(f"{command}: {said['error']}")
        return said["return"]

    def wait_for(self, event: str) -> None:
        """Until it has said that something happened, since the last time that this was waited for."""
        while event not in self._events:
            self._next()
        self._events.remove(event)

    def _next(self) -> Mapping[str, object]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("the machine has gone")
        said: Mapping[str, object] = json.loads(line)
        if "event" in said:
            self._events.append(str(said["event"]))
        return said


@contextlib.contextmanager
def commands(line: socket.socket, within: float = 60.0) -> Iterator[Qmp]:
    """The commands on a line to which qemu has connected; each answer may take so many seconds."""
    line.settimeout(within)
    with line.makefile("rw", encoding="utf-8") as lines:
        lines.readline()  # its greeting
        made = Qmp(lines)
        made.do("qmp_capabilities")
        yield made
