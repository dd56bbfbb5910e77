"""RFC 1413: the one question to a client's identd, and its answer, which is not to be trusted in form either."""

from gateway.errors import RemoteProtocolError

PORT = 113
MAX_ANSWER = 1000
"""RFC 1413 §4: an answer is at most 1000 characters before its line end."""

MAX_USER = 512
"""RFC 1413 §6: a user identifier is at most 512 octets."""


def question(client_port: int, our_port: int) -> bytes:
    """The request line: first the port on the identd's own host (RFC 1413 §4)."""
    return b"%d, %d\r\n" % (client_port, our_port)


def parse_answer(line: bytes, client_port: int, our_port: int) -> bytes | None:
    """The user that identd names; None when it answers ERROR or names nobody (RFC 1413 §6).

    Raises RemoteProtocolError for an answer to another question, or one that is no answer at all.
    """
    if len(line) > MAX_ANSWER + 2:
        raise RemoteProtocolError("identd's answer is too long")
    fields = line.rstrip(b"\r\n").split(b":", 3)
    ports = [part.strip() for part in fields[0].split(b",")]
    if ports != [b"%d" % client_port, b"%d" % our_port]:
        raise RemoteProtocolError("identd answered another question")
    kind = fields[1].strip().upper() if len(fields) > 2 else b""
    if kind == b"ERROR":
        return None
    if kind != b"USERID" or len(fields) < 4:
        raise RemoteProtocolError("identd's answer is neither USERID nor ERROR")
    user = fields[3].strip(b" \t")
    if not user or len(user) > MAX_USER or any(byte in user for byte in (0, 10, 13)):
        raise RemoteProtocolError("identd's user name is empty, too long, or holds a line end")
    return user
