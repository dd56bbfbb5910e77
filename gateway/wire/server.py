"""The server's side of a negotiation: SOCKS4, SOCKS4A, SOCKS5 with RFC 1929, and HTTP CONNECT on one port.

Bytes go in by `receive_data`, events come out of `next_event`, the answers to them become bytes by `send`. The first
octet tells the protocol: 4, 5, or an upper case letter. Everything that changes the state is in this file; `_READERS`
and `_ANSWERS` say per state what may come from the client and what we owe it, and what stands in neither is an error.

This is the hot path of every connection: the common case is one chunk a message, which is parsed where it lies.
"""

import enum
import struct
from collections.abc import Callable
from typing import Any

from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.wire import auth, codec4, codec5, httpconnect
from gateway.wire.buffer import Inbox, repeated
from gateway.wire.constants import (
    HTTP_LETTERS,
    SOCKS4_VERSION,
    SOCKS5_VERSION,
    Command,
    Method,
    Protocol,
    Reply5,
)
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    MethodChosen,
    MethodsOffered,
    NeedData,
    Reply,
    Request,
)

ServerEvent = MethodsOffered | Credentials | Request | NeedData
Answer = MethodChosen | CredentialsChecked | Reply


class State(enum.IntEnum):
    """Where a negotiation stands: what the client owes us, or what we owe the client (``..._DUE``)."""

    FIRST_OCTET = 0
    GREETING = 1
    METHOD_DUE = 2
    CREDENTIALS = 3
    VERDICT_DUE = 4
    REQUEST5 = 5
    REQUEST4 = 6
    HEAD = 7
    REPLY_DUE = 8
    #: a BIND is answered twice (RFC 1928 §6, ``spec/socks4.md`` §1.4)
    SECOND_REPLY_DUE = 9
    GRANTED = 10
    REFUSED = 11


_FIRST_OCTET = State.FIRST_OCTET
_METHOD_DUE = State.METHOD_DUE
_VERDICT_DUE = State.VERDICT_DUE
_REPLY_DUE = State.REPLY_DUE
_GRANTED = State.GRANTED
_BIND = Command.BIND
_SUCCEEDED = Reply5.SUCCEEDED
_UNACCEPTABLE = Method.UNACCEPTABLE

Encoder = Callable[[Reply], bytes]

_START4 = (Protocol.SOCKS4, State.REQUEST4, codec4.encode_reply)
_START5 = (Protocol.SOCKS5, State.GREETING, codec5.encode_reply)
_START_HTTP = (Protocol.HTTP, State.HEAD, httpconnect.encode_reply)
_STARTS: dict[int, tuple[Protocol, State, Encoder]] = {
    SOCKS4_VERSION: _START4,
    SOCKS5_VERSION: _START5,
    **dict.fromkeys(HTTP_LETTERS, _START_HTTP),
}
_AFTER_METHOD: dict[int, State] = {Method.NONE: State.REQUEST5, Method.PASSWORD: State.CREDENTIALS}


class ServerNegotiation(Inbox):
    """One client's negotiation. An error stays for ever: `next_event` raises it again, without its reply."""

    __slots__ = ("_command", "_encode", "_offered", "_protocol", "_state")

    _peer = "client"

    def __init__(self) -> None:
        super().__init__()
        self._state = _FIRST_OCTET
        self._protocol: Protocol | None = None

    @property
    def protocol(self) -> Protocol | None:
        """What the client speaks, once its first octet was looked at; SOCKS4A is known by its whole request."""
        return self._protocol

    def next_event(self) -> ServerEvent:
        """The next whole message, or NEED_DATA.

        Raises RemoteProtocolError when the client broke the protocol, or closed before its message was whole.
        """
        if self._failure is not None:
            raise repeated(self._failure)
        reader = _READERS.get(self._state)
        if reader is None:
            return NEED_DATA
        try:
            return reader(self)
        except ProtocolError as error:
            self._fail(error)
            raise

    def send(self, event: Answer) -> bytes:
        """The bytes of our answer to the last event.

        Raises LocalProtocolError when this answer is not due now, or says what the protocol can not.
        """
        due = _ANSWERS.get(self._state)
        if due is None or type(event) is not due[0] or self._failure is not None:
            raise self._misuse(f"{type(event).__name__} is not due now")
        try:
            return due[1](self, event)
        except LocalProtocolError as error:
            self._fail(error)
            raise
        except struct.error:
            raise self._misuse("a bound endpoint is out of range") from None

    # What the client says

    def _read_first(self) -> ServerEvent:
        data = self._data
        if not data:
            return self._starved()
        start = _STARTS.get(data[0])
        if start is None:
            raise RemoteProtocolError(f"wrong version (0x{data[0]:2x})")
        self._protocol, state, self._encode = start
        self._state = state
        return _READERS[state](self)

    def _read_greeting(self) -> ServerEvent:
        size = codec5.greeting_size(self._data)
        if len(self._data) < size:
            return self._starved()
        methods = self._offered = codec5.parse_greeting(self._take(size))
        self._state = _METHOD_DUE
        return MethodsOffered(methods)

    def _read_credentials(self) -> ServerEvent:
        size = auth.credentials_size(self._data)
        if len(self._data) < size:
            return self._starved()
        self._state = _VERDICT_DUE
        return auth.parse_credentials(self._take(size))

    def _read_request5(self) -> ServerEvent:
        size = codec5.request_size(self._data)
        if len(self._data) < size:
            return self._starved()
        return self._requested(codec5.parse_request(self._take(size)))

    def _read_request4(self) -> ServerEvent:
        size = codec4.request_size(self._data)
        if len(self._data) < size:
            return self._starved()
        return self._requested(codec4.parse_request(self._take(size)))

    def _read_head(self) -> ServerEvent:
        size = httpconnect.request_size(self._data, self._scanned)
        if len(self._data) < size:
            self._scanned = len(self._data)
            return self._starved()
        return self._requested(httpconnect.parse_request(self._take(size)))

    def _requested(self, request: Request) -> Request:
        self._settled = True
        self._protocol = request.protocol
        self._command = request.command
        self._state = _REPLY_DUE
        return request

    # What we answer

    def _answer_greeting(self, event: MethodChosen) -> bytes:
        method = event.method
        if method == _UNACCEPTABLE:
            return self._refuse(codec5.METHOD_ANSWERS[method])
        state = _AFTER_METHOD.get(method)
        if state is None or method not in self._offered:
            raise LocalProtocolError(f"method {method:#04x} was not offered, or is not served")
        self._state = state
        return codec5.METHOD_ANSWERS[method]

    def _answer_credentials(self, event: CredentialsChecked) -> bytes:
        if not event.accepted:
            return self._refuse(auth.STATUS_ANSWERS[False])
        self._state = State.REQUEST5
        return auth.STATUS_ANSWERS[True]

    def _answer_request(self, event: Reply) -> bytes:
        answer = self._encode(event)
        if event.code != _SUCCEEDED:
            return self._refuse(answer)
        self._state = State.SECOND_REPLY_DUE if self._command is _BIND else _GRANTED
        return answer

    def _answer_again(self, event: Reply) -> bytes:
        self._command = Command.CONNECT
        return self._answer_request(event)

    def _refuse(self, answer: bytes) -> bytes:
        self._state = State.REFUSED
        self._hang_up()
        return answer


_READERS: dict[State, Callable[[ServerNegotiation], ServerEvent]] = {
    State.FIRST_OCTET: ServerNegotiation._read_first,
    State.GREETING: ServerNegotiation._read_greeting,
    State.CREDENTIALS: ServerNegotiation._read_credentials,
    State.REQUEST5: ServerNegotiation._read_request5,
    State.REQUEST4: ServerNegotiation._read_request4,
    State.HEAD: ServerNegotiation._read_head,
}
_ANSWERS: dict[State, tuple[type, Callable[[ServerNegotiation, Any], bytes]]] = {
    State.METHOD_DUE: (MethodChosen, ServerNegotiation._answer_greeting),
    State.VERDICT_DUE: (CredentialsChecked, ServerNegotiation._answer_credentials),
    State.REPLY_DUE: (Reply, ServerNegotiation._answer_request),
    State.SECOND_REPLY_DUE: (Reply, ServerNegotiation._answer_again),
}
