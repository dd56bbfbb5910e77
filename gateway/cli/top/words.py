"""Texts and numbers as they fit a table on a terminal; pure.

Only visible ASCII reaches the terminal, a character a place: the daemon escapes what clients send, and here that is
not believed.
"""

import re
from datetime import datetime

from gateway.cli.daemon import amount, destination
from gateway.control.protocol import Live

_NUMBERS = re.compile(r"(\d+)")


def visible(text: str) -> str:
    r"""The text as visible ASCII: control characters and what is not ASCII as ``\xNN`` or ``\uNNNN``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cut(text: str, width: int) -> str:
    """At most ``width`` characters; a ``~`` at the end tells that there are more."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "~"[:width]


def cut_front(text: str, width: int) -> str:
    """As `cut`, for what differs at its end, such as the numbers of sessions."""
    return text if len(text) <= width else "~"[:width] + text[len(text) - max(width - 1, 0) :]


def rate(per_second: float | None) -> str:
    """Bytes per second as `amount` has them; ``-``: not known yet."""
    return "-" if per_second is None else amount(per_second)


def per_second(count: float | None) -> str:
    """Events per second in a few characters: ``0/s``, ``0.2/s``, ``87/s``; ``-/s``: not known yet."""
    if count is None:
        return "-/s"
    return f"{count:.1f}/s" if 0.05 <= count < 9.95 else f"{count:.0f}/s"


def target(live: Live) -> str:
    """Where a session goes, as its client named it; before it has, its state in parentheses."""
    if live.host is None and live.address is None:
        return f"({live.state})"
    return destination(live.host, live.address, live.port)


def moment(text: str) -> datetime | None:
    """A time of the daemon (RFC 3339 in UTC); None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def natural(text: str) -> list[str | int]:
    """A key by which ``10.0.0.10`` sorts behind ``10.0.0.9``: text and numbers in turn."""
    return [int(part) if at % 2 else part for at, part in enumerate(_NUMBERS.split(text))]
