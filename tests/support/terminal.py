"""A program in a terminal of its own (pty(7)): keys in, and what a person would see of its output.

The picture is made by a small interpreter of the VT100's sequences; what it does not know is an error, so that nothing
is overlooked. Colours are seen in `Terminal.output`, the bytes as they came.
"""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from tests.support.waiting import eventually

_TOKEN = re.compile(
    rb"\x1b\[(?P<private>\??)(?P<numbers>[0-9;]*)(?P<final>[A-Za-z@])"
    rb"|\x1b[()](?P<charset>.)"
    rb"|\x1b(?P<escape>[^\[()])"
    rb"|(?P<control>[\x00-\x1f])"
    rb"|(?P<text>[^\x00-\x1f]+)",
    re.DOTALL,
)


class Picture:
    """The characters on the screen, and where the next one goes."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns = columns
        self.height = lines
        self._cells = [[" "] * columns for _ in range(lines)]
        self.x = self.y = 0
        self._rest = b""

    def resize(self, columns: int, lines: int) -> None:
        """As a window of another size; what was there stays where it has room."""
        cells = [(row + [" "] * columns)[:columns] for row in self._cells]
        self._cells = (cells + [[" "] * columns for _ in range(lines)])[:lines]
        self.columns, self.height = columns, lines
        self.x, self.y = min(self.x, columns - 1), min(self.y, lines - 1)

    def lines(self) -> list[str]:
        """What can be read, without the blanks at the ends."""
        return ["".join(row).rstrip() for row in self._cells]

    def feed(self, data: bytes) -> None:
        """More output; a sequence may be cut anywhere."""
        data = self._rest + data
        end = 0
        for token in _TOKEN.finditer(data):
            if token.start() != end:
                break
            self._obey(token)
            end = token.end()
        self._rest = data[end:]
        assert len(self._rest) < 32, f"not understood: {self._rest[:32]!r}"

    def _obey(self, token: "re.Match[bytes]") -> None:
        if token["text"] is not None:
            for char in token["text"].decode("ascii"):
                self._put(char)
        elif token["control"] is not None:
            _CONTROLS[token["control"]](self)
        elif token["final"] is not None and not token["private"]:
            numbers = [int(number or 0) for number in token["numbers"].split(b";")]
            _SEQUENCES[token["final"]](self, numbers)

    def _put(self, char: str) -> None:
        # The cursor waits behind the last column until the next character comes.
        if self.x >= self.columns:
            self.x, self.y = 0, min(self.y + 1, self.height - 1)
        self._cells[self.y][self.x] = char
        self.x += 1

    def move(self, x: int, y: int) -> None:
        """The cursor to a place; outside of the screen it stops at the edge."""
        self.x, self.y = min(max(x, 0), self.columns - 1), min(max(y, 0), self.height - 1)

    def by(self, x: int, y: int) -> None:
        """The cursor by so many columns and lines."""
        self.move(self.x + x, self.y + y)

    def carriage_return(self) -> None:
        """The cursor to the begin of its line."""
        self.x = 0

    def tab(self) -> None:
        """The cursor to the next of the stops, which are 8 columns apart."""
        self.move((self.x // 8 + 1) * 8, self.y)

    def blank(self, count: int) -> None:
        """Blanks from the cursor on, which stays."""
        last = min(self.x + count, self.columns)
        self._cells[self.y][self.x : last] = [" "] * (last - self.x)

    def insert(self, count: int) -> None:
        """Blanks at the cursor; what was there moves to the right, and over the edge."""
        row = self._cells[self.y]
        row[self.x : self.x] = [" "] * count
        del row[self.columns :]

    def delete(self, count: int) -> None:
        """The characters from the cursor on go; what follows them moves to the left."""
        row = self._cells[self.y]
        del row[self.x : self.x + count]
        row += [" "] * (self.columns - len(row))

    def repeat(self, count: int) -> None:
        """The character before the cursor again."""
        for _ in range(count):
            self._put(self._cells[self.y][self.x - 1])

    def erase_in_line(self, mode: int) -> None:
        """From the cursor to the end, or with 1 up to it; with 2 all."""
        first, last = (0 if mode else self.x), (self.x + 1 if mode == 1 else self.columns)
        self._cells[self.y][first:last] = [" "] * (min(last, self.columns) - first)

    def erase(self, mode: int) -> None:
        """From the cursor to the end of the screen; with 2 all."""
        assert mode in (0, 2)
        if mode == 0:
            self.erase_in_line(0)
        for y in range(0 if mode else self.y + 1, self.height):
            self._cells[y] = [" "] * self.columns


def _step(numbers: Sequence[int]) -> int:
    return max(numbers[0], 1)


def _nothing(*_: Any) -> None:
    pass


_CONTROLS: Mapping[bytes, Callable[[Picture], None]] = MappingProxyType(
    {
        b"\r": Picture.carriage_return,
        b"\n": lambda picture: picture.by(0, 1),
        b"\b": lambda picture: picture.by(-1, 0),
        b"\t": Picture.tab,
        b"\x00": _nothing,  # padding
        b"\x07": _nothing,
        b"\x0e": _nothing,  # character sets
        b"\x0f": _nothing,
    }
)
_SEQUENCES: Mapping[bytes, Callable[[Picture, list[int]], None]] = MappingProxyType(
    {
        b"H": lambda picture, at: picture.move([*at, 0][1] - 1, at[0] - 1),
        b"A": lambda picture, by: picture.by(0, -_step(by)),
        b"B": lambda picture, by: picture.by(0, _step(by)),
        b"C": lambda picture, by: picture.by(_step(by), 0),
        b"D": lambda picture, by: picture.by(-_step(by), 0),
        b"G": lambda picture, at: picture.move(at[0] - 1, picture.y),
        b"d": lambda picture, at: picture.move(picture.x, at[0] - 1),
        b"@": lambda picture, count: picture.insert(_step(count)),
        b"P": lambda picture, count: picture.delete(_step(count)),
        b"b": lambda picture, count: picture.repeat(_step(count)),
        b"X": lambda picture, count: picture.blank(_step(count)),
        b"J": lambda picture, how: picture.erase(how[0]),
        b"K": lambda picture, how: picture.erase_in_line(how[0]),
        b"m": _nothing,
        b"h": _nothing,
        b"l": _nothing,
        # The region that scrolls, always the whole screen here, and the window's title put away.
        b"r": _nothing,
        b"t": _nothing,
    }
)


class Terminal:
    """The program, its screen, its keyboard; it is ended with the ``with``."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int = 80, lines: int = 24
    ) -> None:
        self._command = command
        self._environment = environment
        self.picture = Picture(columns, lines)
        #: all that the program wrote
        self.output = b""

    def __enter__(self) -> Self:
        # Our own end of the program's side stays open: its settings can be read when the program has ended.
        self._master, self._slave = os.openpty()
        self._open = [self._slave, self._master]
        self.resize(self.picture.columns, self.picture.height)
        #: the settings before the program changed them (termios(3))
        self.settings = termios.tcgetattr(self._slave)
        # setsid(1) makes it the terminal of the program, as a login does: Ctrl-C and a new size are signals then.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *self._command],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=dict(self._environment),
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """As the user who closes the window."""
        while self._open:
            os.close(self._open.pop())

    def resize(self, columns: int, lines: int) -> None:
        """As the user who pulls the window's corner."""
        self.picture.resize(columns, lines)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """What the keyboard sends."""
        os.write(self._master, keys)

    def read(self) -> bytes:
        """Take what the program has written so far; all of its output."""
        while select.select([self._master], [], [], 0)[0]:
            data = os.read(self._master, 65536)
            self.output += data
            self.picture.feed(data)
        return self.output

    def lines(self) -> list[str]:
        """What is on the screen now."""
        self.read()
        return self.picture.lines()

    def shows(self, text: str) -> bool:
        """Whether the text comes to be on the screen, within the time of `eventually`."""
        return eventually(lambda: any(text in line for line in self.lines()))

    def wait(self) -> int:
        """The exit status of the program, which ends by itself; a signal's is negative, as of subprocess."""

        def ended() -> bool:
            self.read()
            return self.process.poll() is not None

        assert eventually(ended), "\n".join(self.picture.lines())
        self.read()
        return int(self.process.returncode)

    def is_restored(self) -> bool:
        """Whether the terminal's settings are those of before."""
        return termios.tcgetattr(self._slave) == self.settings

    def signal(self, number: signal.Signals) -> None:
        """To the program."""
        self.process.send_signal(number)
