"""SOCKS5 messages, both directions (RFC 1928); user and password are in `gateway.wire.auth`.

Pure functions of bytes: a ``_size`` function measures a message by its beginning, the others parse or build a whole
one. They know nothing of who is asking and in which state.
"""

import struct

from gateway.address import UNSPECIFIED, Address, Endpoint
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.buffer import Data
from gateway.wire.constants import (
    ATYP_AT,
    CODE_AT,
    GREETING_HEAD,
    MAX_NAME,
    SOCKS5_VERSION,
    AddressType,
    Command,
    Method,
    Protocol,
    Reply5,
)
from gateway.wire.events import Refused, Reply, Request

_IPV4 = AddressType.IPV4
_IPV6 = AddressType.IPV6
_NAME = AddressType.NAME
_SUCCEEDED = Reply5.SUCCEEDED
_SOCKS5 = Protocol.SOCKS5

_HEAD = struct.Struct("!BBx")
_TYPE_SIZE = 1
_TARGET4 = struct.Struct("!BIH")
_TARGET6 = struct.Struct("!B16sH")
_NAME_HEAD = struct.Struct("!BB")
_PORT = struct.Struct("!H")
_REPLY4 = struct.Struct("!BBxBIH")

_TARGET_SIZES: dict[int, int] = {_IPV4: _TARGET4.size, _IPV6: _TARGET6.size, _NAME: _NAME_HEAD.size + _PORT.size}
_COMMANDS: dict[int, Command] = {command.value: command for command in Command}
_CODES: dict[int, Reply5] = {code.value: code for code in Reply5}

METHOD_ANSWERS: dict[int, bytes] = {method: bytes((SOCKS5_VERSION, method)) for method in Method}
"""VER METHOD, the server's answer to a greeting (RFC 1928 §3)."""


def encode_target(host: Address | bytes, port: int) -> bytes:
    """ATYP, address, port (RFC 1928 §5). Raises LocalProtocolError for a name that its length octet can not hold."""
    if isinstance(host, Address):
        if host.version == 4:
            return _TARGET4.pack(_IPV4, host.number, port)
        return _TARGET6.pack(_IPV6, host.packed, port)
    if not 0 < len(host) <= MAX_NAME:
        raise LocalProtocolError(f"a host name must have 1 to {MAX_NAME} bytes, this one has {len(host)}")
    return _NAME_HEAD.pack(_NAME, len(host)) + host + _PORT.pack(port)


def target_end(data: Data, start: int) -> int:
    """Where ATYP, address and port that begin at ``start`` end; 0 for an unknown ATYP.

    An end beyond ``data`` is a lower bound while the length of a name has not arrived.
    """
    if len(data) <= start:
        return start + _TYPE_SIZE
    kind = data[start]
    size = _TARGET_SIZES.get(kind)
    if size is None:
        return 0
    if kind == _NAME and len(data) > start + _TYPE_SIZE:
        size += data[start + _TYPE_SIZE]
    return start + size


def parse_target(data: bytes, start: int, end: int) -> tuple[Address | bytes, int]:
    """Host and port between ``start`` and ``end`` of `target_end`; a name is given as it is, even an empty one."""
    kind = data[start]
    if kind == _IPV4:
        _, number, port = _TARGET4.unpack_from(data, start)
        return Address(4, number), port
    if kind == _IPV6:
        _, packed, port = _TARGET6.unpack_from(data, start)
        return Address(6, int.from_bytes(packed, "big")), port
    cut = end - _PORT.size
    return data[start + _NAME_HEAD.size : cut], _PORT.unpack_from(data, cut)[0]


def _encode_failure(code: Reply5) -> bytes:
    return _HEAD.pack(SOCKS5_VERSION, code) + encode_target(*UNSPECIFIED)


_FAILURES = {code: _encode_failure(code) for code in Reply5 if code != _SUCCEEDED}


# The server's side


def greeting_size(data: Data) -> int:
    """Octets of the greeting; a lower bound until NMETHODS has arrived."""
    return GREETING_HEAD + data[CODE_AT] if len(data) >= GREETING_HEAD else GREETING_HEAD


def parse_greeting(message: bytes) -> bytes:
    """The methods of a whole greeting, one an octet. Raises RemoteProtocolError for an empty list."""
    methods = message[GREETING_HEAD:]
    if not methods:
        raise RemoteProtocolError("the greeting offers no method", METHOD_ANSWERS[Method.UNACCEPTABLE])
    return methods


def request_size(data: Data) -> int:
    """Octets of the request; a lower bound while its beginning does not tell.

    Raises RemoteProtocolError for another version, and for an unknown ATYP as soon as it is seen: how long the rest
    would be can not be known.
    """
    if data and data[0] != SOCKS5_VERSION:
        raise RemoteProtocolError(f"wrong version ({data[0]:#04x}) in a SOCKS5 request", _GENERAL_FAILURE)
    size = target_end(data, ATYP_AT)
    if not size:
        fact = f"unknown SOCKS5 address type {data[ATYP_AT]}"
        raise RemoteProtocolError(fact, _FAILURES[Reply5.ADDRESS_TYPE_NOT_SUPPORTED])
    return size


_GENERAL_FAILURE = _FAILURES[Reply5.GENERAL_FAILURE]


def parse_request(message: bytes) -> Request:
    """A whole request. Raises RemoteProtocolError for an unknown command and for an empty name.

    RSV is not looked at: servers in the field do not check it either, so clients that put something there exist.
    """
    command = _COMMANDS.get(message[CODE_AT])
    if command is None:
        fact = f"undefined command (0x{message[CODE_AT]:2x})"
        raise RemoteProtocolError(fact, _FAILURES[Reply5.COMMAND_NOT_SUPPORTED])
    host, port = parse_target(message, ATYP_AT, len(message))
    if not host:
        raise RemoteProtocolError("the SOCKS5 host name is empty", _GENERAL_FAILURE)
    return Request(_SOCKS5, command, host, port)


def encode_reply(reply: Reply) -> bytes:
    """An answer to a request (RFC 1928 §6); a failure carries zeros."""
    code = reply.code
    if code != _SUCCEEDED:
        return _FAILURES[code]
    address, port = reply.bound
    if address.version == 4:
        return _REPLY4.pack(SOCKS5_VERSION, code, _IPV4, address.number, port)
    return _HEAD.pack(SOCKS5_VERSION, code) + encode_target(address, port)


# The client's side


def encode_greeting(methods: bytes) -> bytes:
    """A greeting that offers these methods."""
    return bytes((SOCKS5_VERSION, len(methods))) + methods


def parse_method(message: bytes) -> int:
    """The method that a server chose. Raises RemoteProtocolError for another version."""
    _check_version(message)
    return message[CODE_AT]


def encode_request(request: Request) -> bytes:
    """A request as a client sends it. Raises LocalProtocolError for a name that its length octet can not hold."""
    return _HEAD.pack(SOCKS5_VERSION, request.command) + encode_target(request.host, request.port)


def reply_refusal(data: Data) -> Refused | None:
    """What the first octets of a server's answer refuse; None for success. ``data`` has `RESULT_HEAD` octets.

    Nothing that follows a refusal is of use, so a server that cuts it short is understood.
    Raises RemoteProtocolError for another version.
    """
    _check_version(data)
    code = data[CODE_AT]
    if code == _SUCCEEDED:
        return None
    return Refused(_CODES.get(code, Reply5.GENERAL_FAILURE), f"SOCKS5 code {code}")


def reply_size(data: Data) -> int:
    """Octets of a reply; a lower bound while its beginning does not tell. Raises RemoteProtocolError: unknown ATYP."""
    size = target_end(data, ATYP_AT)
    if not size:
        raise RemoteProtocolError(f"unknown address type {data[ATYP_AT]} in the server's SOCKS5 reply")
    return size


def parse_bound(message: bytes) -> Endpoint:
    """The address of a whole reply.

    A name is given as 0.0.0.0: RFC 1928 §6 allows one, but nobody could be told by it where the server is.
    """
    host, port = parse_target(message, ATYP_AT, len(message))
    return Endpoint(host if isinstance(host, Address) else UNSPECIFIED.address, port)


def _check_version(data: Data) -> None:
    if data[0] != SOCKS5_VERSION:
        raise RemoteProtocolError(f"wrong version ({data[0]:#04x}) in the server's SOCKS5 answer")
