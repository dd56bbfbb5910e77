"""The terminal by curses(3): styled lines onto it, keys from it, and as it was before when all is over."""

import curses
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType, MappingProxyType, TracebackType
from typing import Self

from gateway.cli.top.state import Size
from gateway.cli.top.style import Line, Style

ENDS = (signal.SIGTERM, signal.SIGHUP)
ESCAPE_MS = 25
"""How long the rest of an arrow key may take behind its ESC, before it is the Escape key alone."""

KEYS: Mapping[int, str] = MappingProxyType(
    {
        curses.KEY_UP: "up",
        curses.KEY_DOWN: "down",
        curses.KEY_PPAGE: "page-up",
        curses.KEY_NPAGE: "page-down",
        curses.KEY_HOME: "home",
        curses.KEY_END: "end",
        curses.KEY_ENTER: "enter",
        10: "enter",
        13: "enter",
        27: "escape",
        # Ctrl-F and Ctrl-B, as in less(1): a serial console may know no other keys for pages.
        6: "page-down",
        2: "page-up",
        curses.KEY_BACKSPACE: "backspace",
        8: "backspace",
        127: "backspace",
    }
)

_SHAPES: Mapping[Style, int] = MappingProxyType(
    {
        Style.TITLE: curses.A_BOLD,
        Style.BAD: curses.A_BOLD,
        Style.HEAD: curses.A_REVERSE,
        Style.SORTED: curses.A_REVERSE | curses.A_BOLD | curses.A_UNDERLINE,
        Style.CURSOR: curses.A_REVERSE,
        Style.PROMPT: curses.A_BOLD,
    }
)
"""Style -> attributes that every terminal has."""

_COLOURS: Mapping[Style, int] = MappingProxyType(
    {
        Style.GOOD: curses.COLOR_GREEN,
        Style.WARNING: curses.COLOR_YELLOW,
        Style.BAD: curses.COLOR_RED,
        Style.FAINT: curses.COLOR_CYAN,
    }
)


def can_draw(terminal: int, environment: Mapping[str, str]) -> bool:
    """Whether the terminal is known to terminfo(5) and its cursor can be sent anywhere; not so with TERM=dumb."""
    try:
        curses.setupterm(environment.get("TERM", "dumb"), terminal)
    except curses.error:
        return False
    return bool(curses.tigetstr("cup"))


class Screen:
    """The terminal, ours inside of a ``with``; a SIGTERM or SIGHUP there is a SystemExit, so that it is restored."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        #: https://no-color.org
        self._coloured = not environment.get("NO_COLOR")
        self._attributes: Mapping[Style, int] = _SHAPES
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._bell, self._rope = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        curses.set_escdelay(ESCAPE_MS)
        self._window = curses.initscr()
        try:
            self._set_up()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def _set_up(self) -> None:
        for number in ENDS:
            self._handlers[number] = signal.signal(number, _end)
        # In place of the handler of curses: ours wakes the loop, which then tells curses.
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, _nothing)
        signal.set_wakeup_fd(self._rope, warn_on_full_buffer=False)
        curses.noecho()
        curses.cbreak()
        self._window.keypad(True)
        self._window.nodelay(True)
        _try_to_hide_cursor()
        if self._coloured and curses.has_colors():
            self._attributes = _with_colours()

    def _restore(self) -> None:
        try:
            self._window.keypad(False)
            curses.endwin()
        except curses.error:
            pass  # the terminal is gone
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._bell)
        os.close(self._rope)

    def fileno(self) -> int:
        """Readable when the size may have changed: then call `adapt`."""
        return self._bell

    def adapt(self) -> Size:
        """The size that the terminal has now."""
        try:
            os.read(self._bell, 4096)
        except BlockingIOError:
            pass
        columns, lines = os.get_terminal_size(0)
        # A serial line has no size of its own: 0 by 0. Then LINES and COLUMNS count, or what terminfo(5) says.
        if columns and lines:
            curses.resizeterm(lines, columns)
        return self.size()

    def size(self) -> Size:
        """As curses knows it."""
        lines, columns = self._window.getmaxyx()
        return Size(columns, lines)

    def typed(self) -> Iterator[str]:
        """What was typed, by names; Ctrl-L draws everything anew instead."""
        while (code := self._window.getch()) != curses.ERR:
            if code == 12:
                self._window.redrawwin()
            elif code in KEYS or code < 256:
                yield KEYS.get(code) or chr(code)

    def draw(self, lines: Sequence[Line]) -> None:
        """The lines, in place of what was there; curses sends only what changed."""
        self._window.erase()
        for y, line in enumerate(lines):
            self._draw_line(y, line)
        self._window.refresh()

    def _draw_line(self, y: int, line: Line) -> None:
        x = 0
        for text, style in line:
            try:
                self._window.addstr(y, x, text, self._attributes.get(style, curses.A_NORMAL))
            except curses.error:
                return  # the last corner is written, but the cursor can not go behind it; or the size just changed
            x += len(text)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The byte that set_wakeup_fd has sent is all there is to do."""


def _try_to_hide_cursor() -> None:
    try:
        curses.curs_set(0)
    except curses.error:
        pass  # some terminals can not


def _with_colours() -> Mapping[Style, int]:
    curses.start_color()
    background = _own_background()
    attributes = dict(_SHAPES)
    for pair, (style, colour) in enumerate(_COLOURS.items(), 1):
        curses.init_pair(pair, colour, background)
        attributes[style] = attributes.get(style, curses.A_NORMAL) | curses.color_pair(pair)
    return attributes


def _own_background() -> int:
    """The terminal's own, where it can have it back after a colour; else black."""
    try:
        curses.use_default_colors()
    except curses.error:
        return curses.COLOR_BLACK
    return -1
