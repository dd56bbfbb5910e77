"""The head of an HTTP/1.x message: its end, its lines, its fields (RFC 9112 §2, §5).

Strict where two readers could disagree about where a message ends: a line ends in CRLF and in nothing else, no line
continues the one before it. What a head means is `gateway.wire.httpconnect`'s business, and so is the form of a
refusal: the functions here get a `Fault` that makes the error to raise.
"""

from collections.abc import Callable
from http import HTTPStatus

from gateway.errors import RemoteProtocolError
from gateway.wire.buffer import Data
from gateway.wire.constants import CONTROLS, MAX_FIELD_LINES, MAX_HEAD

Fault = Callable[[HTTPStatus, str], RemoteProtocolError]
"""Makes the error for a status and a fact."""

Field = tuple[bytes, bytes]
"""A name in lower case and a value without the blanks around it."""

CRLF = b"\r\n"
END = CRLF + CRLF

_LF = b"\n"
_BLANK = b" \t"
_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_BAD = HTTPStatus.BAD_REQUEST
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = b"0123456789"
_TOKEN = _LETTERS + _DIGITS + b"!#$%&'*+-.^_`|~"
_REFUSED = CONTROLS.replace(b"\t", b"")


def head_size(data: Data, scanned: int, fault: Fault) -> int:
    """Octets of the head up to and with its empty line; more than there are while it is not whole.

    ``scanned`` octets were looked at before, so a head that comes in fragments is read once.
    Raises the fault for a head beyond `MAX_HEAD` and for a line feed without its carriage return, which some read as
    the end of a line and some do not (RFC 9112 §2.2, §11.2).
    """
    found = data.find(END, max(0, scanned + 1 - len(END)))
    size = found + len(END) if found >= 0 else len(data) + 1
    stop = min(size, MAX_HEAD)
    if data.count(_LF, scanned, stop) != data.count(CRLF, max(0, scanned - 1), stop):
        raise fault(_BAD, "a line of the HTTP head ends without a carriage return")
    if min(size, len(data)) > MAX_HEAD:
        raise fault(_TOO_LARGE, f"the HTTP head is longer than {MAX_HEAD} bytes")
    return size


def split_head(head: bytes, fault: Fault) -> list[bytes]:
    """The first line and the field lines of a whole head, without their ends.

    Raises the fault for too many lines, and for a control character, which includes a bare carriage return.
    """
    lines = head[: -len(END)].split(CRLF)
    if len(lines) > 1 + MAX_FIELD_LINES:
        raise fault(_TOO_LARGE, f"the HTTP head has more than {MAX_FIELD_LINES} field lines")
    if any(has_octets(line, _REFUSED) for line in lines):
        raise fault(_BAD, "the HTTP head holds a control character")
    return lines


def parse_field(line: bytes, fault: Fault) -> Field:
    """A field line (RFC 9112 §5). Raises the fault for a continuation line, and for blanks before the colon (§5.1)."""
    name, colon, value = line.partition(b":")
    if not colon or not is_token(name):
        raise fault(_BAD, "a field line of the HTTP head is malformed")
    return name.lower(), value.strip(_BLANK)


def is_token(text: bytes) -> bool:
    """Whether this is a ``token`` (RFC 9110 §5.6.2): what methods and field names are."""
    return bool(text) and not text.translate(None, _TOKEN)


def has_octets(text: bytes, octets: bytes) -> bool:
    """Whether any of these octets is in the text."""
    return len(text.translate(None, octets)) != len(text)
