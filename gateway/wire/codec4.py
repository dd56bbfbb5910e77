"""SOCKS4 and SOCKS4A messages, both directions (``spec/socks4.md`` §1; SOCKS4.protocol, SOCKS4A.protocol).

Pure functions of bytes: a ``_size`` function measures a message by its beginning, the others parse or build a whole
one. They know nothing of who is asking and in which state.
"""

import struct

from gateway.address import Address, Endpoint, plain
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.buffer import Data
from gateway.wire.constants import (
    CODE_AT,
    MAX_NAME,
    MAX_USER_ID,
    REPLY4_TO_REPLY5,
    REPLY5_TO_REPLY4,
    SOCKS4_HEAD,
    SOCKS4_REPLY_VERSION,
    SOCKS4_VERSION,
    SOCKS4A_MARKS,
    Command,
    Protocol,
    Reply4,
    Reply5,
)
from gateway.wire.events import Refused, Reply, Request

_HEAD = struct.Struct("!BBHI")
_NUL = b"\0"
_GRANTED = Reply4.GRANTED
_SUCCEEDED = Reply5.SUCCEEDED
_SOCKS4 = Protocol.SOCKS4
_COMMANDS: dict[int, Command] = {command.value: command for command in (Command.CONNECT, Command.BIND)}
_ZEROS = {code: _HEAD.pack(SOCKS4_REPLY_VERSION, code, 0, 0) for code in Reply4}
_FAILURES: dict[int, bytes] = {code: answer for code, answer in _ZEROS.items() if code != _GRANTED}
_REJECTED = _FAILURES[Reply4.REJECTED]


def request_size(data: Data) -> int:
    """Octets of the request that ``data`` begins with; more than there are while it is not whole.

    The search for a NUL never looks at more octets than its text may have, so repeating it costs a constant.
    Raises RemoteProtocolError for a user id or a name that is too long.
    """
    if len(data) < SOCKS4_HEAD:
        return SOCKS4_HEAD
    end = _text_end(data, SOCKS4_HEAD, MAX_USER_ID, "user id")
    if end <= len(data) and _HEAD.unpack_from(data)[3] in SOCKS4A_MARKS:
        return _text_end(data, end, MAX_NAME, "host name")
    return end


def _text_end(data: Data, start: int, limit: int, what: str) -> int:
    nul = data.find(_NUL, start, start + limit + 1)
    if nul >= 0:
        return nul + 1
    if len(data) > start + limit:
        raise RemoteProtocolError(f"the SOCKS4 {what} is longer than {limit} bytes", _REJECTED)
    return len(data) + 1


def parse_request(message: bytes) -> Request:
    """A whole request. Raises RemoteProtocolError for an unknown command and an empty SOCKS4A name."""
    _, code, port, number = _HEAD.unpack_from(message)
    command = _COMMANDS.get(code)
    if command is None:
        raise RemoteProtocolError(f"undefined command (0x{code:2x})", _REJECTED)
    user, *names = message[SOCKS4_HEAD:-1].split(_NUL)
    if not names:
        return Request(_SOCKS4, command, Address(4, number), port, user)
    if not names[0]:
        raise RemoteProtocolError("the SOCKS4A host name is empty", _REJECTED)
    return Request(Protocol.SOCKS4A, command, names[0], port, user)


def encode_reply(reply: Reply) -> bytes:
    """The eight octets of an answer; a failure carries zeros, and so does an IPv6 address, which has no place here.

    Raises LocalProtocolError when the SOCKS4 code contradicts the SOCKS5 code, since a client that hears "granted"
    takes the connection for made.
    """
    code = REPLY5_TO_REPLY4[reply.code] if reply.reply4 is None else reply.reply4
    if (code == _GRANTED) != (reply.code == _SUCCEEDED):
        raise LocalProtocolError(f"SOCKS4 code {code} contradicts {reply.code!r}")
    if code != _GRANTED:
        return _failure(code)
    address, port = reply.bound
    address = plain(address)
    if address.version != 4:
        return _ZEROS[_GRANTED]
    return _HEAD.pack(SOCKS4_REPLY_VERSION, code, port, address.number)


def _failure(code: int) -> bytes:
    known = _FAILURES.get(code)
    if known is None:
        raise LocalProtocolError(f"there is no SOCKS4 code {code}")
    return known


def encode_request(request: Request) -> bytes:
    """A request as a client sends it; a name goes as SOCKS4A, behind the mark 0.0.0.1.

    Raises LocalProtocolError for what SOCKS4 can not say, and for a text that would end another field early.
    """
    if request.command not in _COMMANDS:
        raise LocalProtocolError(f"SOCKS4 has no command {request.command!r}")
    user = _text(request.user, MAX_USER_ID, "user id")
    host = request.host
    if isinstance(host, Address):
        return _HEAD.pack(SOCKS4_VERSION, request.command, request.port, _number(host)) + user
    if request.protocol is _SOCKS4 or not host:
        raise LocalProtocolError("SOCKS4 takes no host name, SOCKS4A none that is empty")
    name = _text(host, MAX_NAME, "host name")
    return _HEAD.pack(SOCKS4_VERSION, request.command, request.port, SOCKS4A_MARKS.start) + user + name


def _number(address: Address) -> int:
    if address.version != 4 or address.number in SOCKS4A_MARKS:
        raise LocalProtocolError(f"SOCKS4 can not name the address {address}")
    return address.number


def _text(text: bytes, limit: int, what: str) -> bytes:
    if len(text) > limit or _NUL in text:
        raise LocalProtocolError(f"a SOCKS4 {what} is longer than {limit} bytes or holds a NUL")
    return text + _NUL


def reply_refusal(data: Data) -> Refused | None:
    """What the first octets of a server's answer refuse; None for "granted". ``data`` has `RESULT_HEAD` octets.

    Raises RemoteProtocolError for a wrong version.
    """
    if data[0] != SOCKS4_REPLY_VERSION:
        raise RemoteProtocolError(f"wrong version ({data[0]:#04x}) in the server's SOCKS4 reply")
    code = data[CODE_AT]
    if code == _GRANTED:
        return None
    return Refused(REPLY4_TO_REPLY5.get(code, Reply5.GENERAL_FAILURE), f"SOCKS4 code {code}")


def reply_size(_: Data) -> int:
    """Octets of any reply."""
    return SOCKS4_HEAD


def parse_bound(message: bytes) -> Endpoint:
    """The address of a whole reply that grants."""
    _, _, port, number = _HEAD.unpack(message)
    return Endpoint(Address(4, number), port)
