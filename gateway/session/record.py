"""What is written down about a session as one JSON object, and how a client's bytes are shown.

The classic lines are worded by the session itself (`spec/socks4.md` §9.1); this is the same and more, for programs.
"""

import enum
from collections.abc import Sequence

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


class Record(msgspec.Struct, frozen=True, gc=False):
    """One session, as its JSON line shows it. Endpoints are text with a port; bytes are counted after the reply."""

    #: the session's end, RFC 3339 in UTC
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
    #: where the outgoing connection is bound
    egress: str | None
    #: the uplink that it left by, and why by this one; None on a single-homed server
    uplink: str | None
    way: str | None
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


_encoder = msgspec.json.Encoder()


def json_lines(records: Sequence[msgspec.Struct]) -> bytes:
    """The records as lines of JSON, each with its line end."""
    return _encoder.encode_lines(records)


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+,-./:;<=>?@[]^_`{|}~")


def escape(raw: bytes) -> str:
    r"""A client's bytes as visible ASCII: all else, and what would look like a line's own structure, as ``\xNN``.

    Blanks and parentheses are escaped too, so that a user id can not pass itself off as the rest of a classic line.
    """
    if not raw:
        return ""
    text = raw.decode("latin-1")
    if _PLAIN.issuperset(text):
        return text
    return "".join(char if char in _PLAIN else f"\\x{ord(char):02x}" for char in text)
