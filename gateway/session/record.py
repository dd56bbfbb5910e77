"""What is written down about a session: the classic lines of 4.2, and the same facts as one JSON object.

The wording of the classic lines is `spec/socks4.md` §9.1; the byte counts follow ``terminated`` on the same line,
since sessions share a process here and a second line could not be told from another session's. Everything that came
from a client is escaped before it is put into a line.
"""

import enum
from datetime import UTC, datetime

import msgspec


class Result(enum.Enum):
    """How far a session came."""

    #: the relay ran
    CONNECTED = "connected"
    #: a rule, the guard, or the password check said no
    REFUSED = "refused"
    #: the destination could not be reached
    FAILED = "failed"
    #: a time limit passed before the connection was made
    TIMED_OUT = "timed-out"
    #: the client broke the protocol, or left before it was served
    ERROR = "error"


class Record(msgspec.Struct, frozen=True):
    """One session, as its JSON line shows it. Addresses are text with a port; bytes are counted after the reply."""

    time: str
    session: str
    client: str
    protocol: str | None
    command: str | None
    user: str
    auth: str
    host: str | None
    address: str | None
    port: int | None
    egress: str | None
    rule: str | None
    would_deny: str | None
    reason: str
    result: Result
    #: client to target
    sent: int
    #: target to client
    received: int
    seconds: float
    end: str


_encode = msgspec.json.Encoder().encode


def json_line(record: Record) -> bytes:
    """The record as one line of JSON, with its line end."""
    return _encode(record) + b"\n"


def timestamp(wall: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+,-./:;<=>?@[]^_`{|}~")


def escape(raw: bytes) -> str:
    r"""A client's bytes as visible ASCII: all else, and what would look like a line's own structure, as ``\xNN``.

    Blanks and parentheses are escaped too, so that a user id can not pass itself off as the rest of a classic line.
    """
    text = raw.decode("latin-1")
    if _PLAIN.issuperset(text):
        return text
    return "".join(char if char in _PLAIN else f"\\x{ord(char):02x}" for char in text)
