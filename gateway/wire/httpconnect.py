"""HTTP CONNECT, both directions (RFC 9110 §9.3.6, RFC 9112), with Basic proxy authentication (RFC 7617).

Pure functions of bytes. Everything but CONNECT is refused: this is a gateway for connections and no HTTP proxy.
"""

from http import HTTPStatus

from gateway.address import Address, parse_address, parse_ipv4
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.auth import decode_basic, encode_basic
from gateway.wire.buffer import Data
from gateway.wire.constants import (
    HTTP_CONNECT,
    HTTP_STATUSES,
    MAX_NAME,
    MAX_PORT,
    REPLY5_TO_STATUS,
    REPLY5_TO_TEXT,
    STATUS_TO_REPLY5,
    Command,
    Protocol,
    Reply5,
)
from gateway.wire.events import Credentials, Refused, Reply, Request
from gateway.wire.httphead import CRLF, END, Field, head_size, is_token, parse_field, split_head

_BAD = HTTPStatus.BAD_REQUEST
_REG_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;="
_VERSION_PREFIX = b"HTTP/1."
_VERSION_WITHOUT_HOST = b"HTTP/1.0"
_CHALLENGE = b'Proxy-Authenticate: Basic realm="gateway", charset="UTF-8"\r\n'
_ALLOW = b"Allow: CONNECT\r\n"
_HTTP = Protocol.HTTP
_SUCCEEDED = Reply5.SUCCEEDED


# The server's side

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""Without Content-Length and Transfer-Encoding, which RFC 9110 §9.3.6 forbids here: the tunnel begins after it."""


def _response(status: HTTPStatus, text: str, fields: bytes = b"") -> bytes:
    body = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    )
    return head.encode() + fields + CRLF + body


_FAILURES = {code: _response(REPLY5_TO_STATUS[code], REPLY5_TO_TEXT[code]) for code in Reply5 if code != _SUCCEEDED}
_CHALLENGED = _response(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "the gateway wants a user and a password", _CHALLENGE)


def _fault(status: HTTPStatus, fact: str) -> RemoteProtocolError:
    return RemoteProtocolError(fact, _response(status, fact))


def request_size(data: Data, scanned: int) -> int:
    """Octets of the request's head; more than there are while it is not whole. ``scanned`` were looked at before.

    Raises RemoteProtocolError as `gateway.wire.httphead.head_size` does.
    """
    return head_size(data, scanned, _fault)


def parse_request(head: bytes) -> Request:
    """A whole request. Raises RemoteProtocolError with the answer that tells the client what is wrong."""
    first, *rest = split_head(head, _fault)
    target, version = _request_line(first)
    fields = [parse_field(line, _fault) for line in rest]
    _check_host(fields, version)
    _check_no_content(fields)
    host, port = _parse_authority(target)
    return Request(_HTTP, Command.CONNECT, host, port, credentials=_credentials(fields))


def _request_line(line: bytes) -> tuple[bytes, bytes]:
    """Target and version (RFC 9112 §3): three words, one space between them."""
    words = line.split(b" ")
    if len(words) != 3 or not is_token(words[0]) or not words[1]:
        raise _fault(_BAD, "the HTTP request line is malformed")
    method, target, version = words
    minor = version.removeprefix(_VERSION_PREFIX)
    if minor == version or len(minor) != 1 or not minor.isdigit():
        raise _version_fault(version)
    if method != HTTP_CONNECT:
        raise _method_fault(method)
    return target, version


def _version_fault(version: bytes) -> RemoteProtocolError:
    if version.startswith(b"HTTP/"):
        return _fault(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "the HTTP version is not 1.0 or 1.1")
    return _fault(_BAD, "the HTTP request line is malformed")


def _method_fault(method: bytes) -> RemoteProtocolError:
    """A 405 names what there is (RFC 9110 §15.5.6); an answer to HEAD has no content (§9.3.2)."""
    fact = "an HTTP method other than CONNECT"
    reply = _response(HTTPStatus.METHOD_NOT_ALLOWED, "the gateway serves CONNECT only", _ALLOW)
    if method == b"HEAD":
        reply = reply[: reply.index(END) + len(END)]
    return RemoteProtocolError(fact, reply)


def _values(fields: list[Field], wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]


def _check_host(fields: list[Field], version: bytes) -> None:
    """Exactly one Host, where the version has it (RFC 9112 §3.2).

    Its value is not compared with the target: the target decides, and clients leave the port out here.
    """
    count = len(_values(fields, b"host"))
    if count > 1 or (count == 0 and version != _VERSION_WITHOUT_HOST):
        raise _fault(_BAD, "an HTTP request must have one Host field")


def _check_no_content(fields: list[Field]) -> None:
    """A CONNECT has no content; what follows its head is the tunnel's (RFC 9110 §9.3.6).

    A field that announces content is refused: somebody on the way may have taken the tunnel's first octets for it,
    and two readers that disagree about where a message ends are how requests are smuggled. A length of 0 is none.
    """
    if _values(fields, b"transfer-encoding") or any(value != b"0" for value in _values(fields, b"content-length")):
        raise _fault(_BAD, "a CONNECT request announces content")


def _credentials(fields: list[Field]) -> Credentials | None:
    """Those of ``Proxy-Authorization: Basic`` (RFC 9110 §11.7.2).

    Another scheme is as good as none, since we never offer it: the rules then challenge the client if they want to
    know. Malformed Basic credentials are a mistake that no challenge mends, hence a 400.
    """
    values = _values(fields, b"proxy-authorization")
    if len(values) > 1:
        raise _fault(_BAD, "an HTTP request has more than one Proxy-Authorization field")
    scheme, _, token = values[0].partition(b" ") if values else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return None
    try:
        return decode_basic(token.strip(b" "))
    except ValueError as error:
        raise _fault(_BAD, str(error)) from None


def _parse_authority(target: bytes) -> tuple[Address | bytes, int]:
    """Host and port of an authority-form target (RFC 9112 §3.2.3).

    The port must be there, and 0 is none: RFC 9110 §9.3.6 wants a 400 for an empty or invalid one.
    """
    host, _, digits = target.rpartition(b":")
    port = int(digits) if digits.isdigit() and len(digits) <= len(str(MAX_PORT)) else 0
    if not 0 < port <= MAX_PORT:
        raise _fault(_BAD, "the CONNECT target has no port from 1 to 65535")
    if host.startswith(b"[") and host.endswith(b"]"):
        return _parse_bracketed(host[1:-1]), port
    if not is_reg_name(host):
        raise _fault(_BAD, "the CONNECT target is not host:port")
    return parse_ipv4(host.decode("ascii")) or host, port


def _parse_bracketed(text: bytes) -> Address:
    address = parse_address(text.decode("ascii", "replace"))
    if address is None or address.version != 6:
        raise _fault(_BAD, "the CONNECT target has no IPv6 address in its brackets")
    return address


def is_reg_name(host: bytes) -> bool:
    """Whether these octets may stand as a host name in a target (RFC 3986 §3.2.2), with our bound on its length."""
    return 0 < len(host) <= MAX_NAME and not host.translate(None, _REG_NAME)


def encode_reply(reply: Reply) -> bytes:
    """The answer to a CONNECT; where the outgoing socket is bound has no place in it."""
    if reply.code == _SUCCEEDED:
        return ESTABLISHED
    return _CHALLENGED if reply.challenge else _FAILURES[reply.code]


# The client's side


def encode_request(request: Request) -> bytes:
    """A CONNECT as a client sends it.

    Raises LocalProtocolError for another command, and for a host or credentials that HTTP can not carry.
    """
    if request.command != Command.CONNECT or not 0 < request.port <= MAX_PORT:
        raise LocalProtocolError(f"HTTP serves CONNECT only, and ports from 1 to {MAX_PORT}")
    target = b"%b:%d" % (_encode_host(request.host), request.port)
    lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: " + target]
    if request.credentials is not None:
        lines.append(b"Proxy-Authorization: Basic " + encode_basic(request.credentials))
    return CRLF.join(lines) + END


def _encode_host(host: Address | bytes) -> bytes:
    if isinstance(host, Address):
        return (str(host) if host.version == 4 else f"[{host}]").encode()
    if not is_reg_name(host):
        raise LocalProtocolError(f"a host name for HTTP has 1 to {MAX_NAME} letters, digits, hyphens and the like")
    return host


def _server_fault(_: HTTPStatus, fact: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"in the proxy's answer, {fact}")


def response_size(data: Data, scanned: int) -> int:
    """Octets of a response's head; as `request_size`, but a server gets no answer."""
    return head_size(data, scanned, _server_fault)


def parse_status(head: bytes) -> int:
    """The status of a whole response head (RFC 9112 §4); its fields do not concern a tunnel (RFC 9110 §9.3.6).

    Raises RemoteProtocolError for a malformed status line.
    """
    line = split_head(head, _server_fault)[0]
    version, _, rest = line.partition(b" ")
    code, _, _ = rest.partition(b" ")
    minor = version.removeprefix(_VERSION_PREFIX)
    status = int(code) if code.isdigit() and len(code) <= len(str(HTTP_STATUSES.stop)) else 0
    if minor == version or not minor.isdigit() or status not in HTTP_STATUSES:
        raise RemoteProtocolError("the proxy's answer does not begin with an HTTP/1 status line")
    return status


def status_refusal(status: int) -> Refused:
    """What a final status other than 2xx refuses."""
    return Refused(STATUS_TO_REPLY5.get(status, Reply5.GENERAL_FAILURE), f"HTTP status {status}")
