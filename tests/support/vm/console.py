"""A machine's serial console: a socket on which it speaks and listens, and everything that it has said.

The text may be a page that a program paints; `painted` gives what a person would see of it now.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

#: ECMA-48 §5.4: control sequences; and the short ones that are used on consoles
_SEQUENCE = re.compile(r"\x1b(?:\[(?P<numbers>[0-?]*)[ -/]*(?P<kind>[@-~])|[()*+][0-9A-Za-z]|[=>78cDEHM])")
_PIECES = re.compile(rf"(?P<sequence>{_SEQUENCE.pattern})|(?P<control>[\x00-\x1f])|(?P<text>[^\x00-\x1f]+)")
#: where nothing that was there before can be seen any more
_CLEARED = "\x1b[2J"
LINES = 24


class _Screen:
    """As much of a VT100 as programs use that write lines to places of it."""

    def __init__(self) -> None:
        self._lines = [""] * LINES
        self._row, self._column = 0, 0

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines).strip("\n")

    def put(self, text: str) -> None:
        line = self._lines[self._row].ljust(self._column)
        self._lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
        self._column += len(text)

    def control(self, character: str) -> None:
        match character:
            case "\r":
                self._column = 0
            case "\b":
                self._column = max(0, self._column - 1)
            case "\n" if self._row + 1 < LINES:
                self._row += 1
            case "\n":
                self._lines = [*self._lines[1:], ""]

    def sequence(self, kind: str | None, numbers: str) -> None:
        match kind, numbers:
            case (("H" | "f"), _):
                self._move(numbers)
            case "J", ("2" | "3"):
                self._lines = [""] * LINES
            case "J", ("" | "0"):
                self._erase_line()
                self._lines[self._row + 1 :] = [""] * (LINES - self._row - 1)
            case "K", ("" | "0"):
                self._erase_line()

    def _move(self, numbers: str) -> None:
        row, _, column = numbers.partition(";")
        self._row, self._column = min(int(row or 1), LINES) - 1, int(column or 1) - 1

    def _erase_line(self) -> None:
        self._lines[self._row] = self._lines[self._row][: self._column]


def painted(text: str) -> str:
    """What a screen of 24 lines shows after such a text."""
    screen = _Screen()
    for piece in _PIECES.finditer(text, max(0, text.rfind(_CLEARED))):
        if piece["text"]:
            screen.put(piece["text"])
        elif piece["control"]:
            screen.control(piece["control"])
        else:
            screen.sequence(piece["kind"], piece["numbers"] or "")
    return screen.text()


class Console:
    """The console of a machine that runs or has run; its text goes on where that of an earlier run of it ended."""

    def __init__(self, line: socket.socket, kept: Path) -> None:
        self._line = line
        self._kept = kept

    def text(self) -> str:
        """Everything so far, as it came."""
        return self._kept.read_bytes().decode(errors="replace") if self._kept.exists() else ""

    def page(self) -> str:
        """What a person sees now."""
        return painted(self.text())

    def type(self, text: str) -> None:
        """Press these keys. Raises OSError when the machine has gone."""
        self._line.sendall(text.encode())


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A unix socket to which qemu connects."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(30)
        yield listener


def keep(line: socket.socket, kept: Path) -> threading.Thread:
    """A thread that writes what comes on a line to the end of a file, until the far end has gone."""

    def read() -> None:
        with kept.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while data := line.recv(1 << 16):
                file.write(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread
