"""The client's side of a negotiation with a SOCKS4, SOCKS4A, SOCKS5 or HTTP proxy: a parent, or our own under test.

`start` gives the first bytes; then come the verbs of the server's side, `receive_data` and `next_event`, which also
says what is to be sent next (`Outgoing`). Everything that changes the state is in this file. The server is not
trusted: what it may send is bounded, and what it may choose is what was offered.
"""

import enum
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from gateway.address import UNSPECIFIED, Endpoint
from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.wire import auth, codec4, codec5, httpconnect
from gateway.wire.buffer import Data, Inbox, repeated
from gateway.wire.constants import (
    HTTP_INTERIM,
    HTTP_SUCCESS,
    MAX_INTERIM,
    RESULT_HEAD,
    Command,
    Method,
    Protocol,
    Reply5,
)
from gateway.wire.events import NEED_DATA, Established, Listening, NeedData, Outgoing, Refused, Request

ClientEvent = Outgoing | Listening | Established | Refused | NeedData


class State(enum.IntEnum):
    """Where a negotiation stands: what the server owes us."""

    NOT_STARTED = 0
    METHOD = 1
    VERDICT = 2
    REPLY = 3
    #: a BIND is answered twice (RFC 1928 §6, ``spec/socks4.md`` §1.4)
    SECOND_REPLY = 4
    HEAD = 5
    ESTABLISHED = 6
    REFUSED = 7


class _ReplyForm(NamedTuple):
    """How the replies of a SOCKS version are read."""

    refusal: Callable[[Data], Refused | None]
    size: Callable[[Data], int]
    bound: Callable[[bytes], Endpoint]


_FORM4 = _ReplyForm(codec4.reply_refusal, codec4.reply_size, codec4.parse_bound)
_FORM5 = _ReplyForm(codec5.reply_refusal, codec5.reply_size, codec5.parse_bound)
_REPLY_FORMS = {Protocol.SOCKS4: _FORM4, Protocol.SOCKS4A: _FORM4, Protocol.SOCKS5: _FORM5}
_ENCODERS = {
    Protocol.SOCKS4: codec4.encode_request,
    Protocol.SOCKS4A: codec4.encode_request,
    Protocol.SOCKS5: codec5.encode_request,
    Protocol.HTTP: httpconnect.encode_request,
}
_FIRST = {
    Protocol.SOCKS4: State.REPLY,
    Protocol.SOCKS4A: State.REPLY,
    Protocol.SOCKS5: State.METHOD,
    Protocol.HTTP: State.HEAD,
}
_USER_IDS = frozenset({Protocol.SOCKS4, Protocol.SOCKS4A})


class ClientNegotiation(Inbox):
    """One negotiation with a server, for one request; after an error it stays in error for ever.

    With credentials in the request, SOCKS5 offers methods 00 and 02, and HTTP sends them unasked.
    Raises LocalProtocolError at once for what the protocol can not carry: nothing is cut, and no length wraps around.
    """

    __slots__ = ("_command", "_interim", "_login", "_message", "_protocol", "_state")

    _peer = "server"

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._protocol = request.protocol
        self._command = request.command
        self._state = State.NOT_STARTED
        self._interim = 0
        self._message = _encode(request)
        self._login = _encode_login(request)

    def start(self) -> bytes:
        """The first bytes for the server. Raises LocalProtocolError when called again."""
        if self._state is not State.NOT_STARTED or self._failure is not None:
            raise self._misuse("the negotiation was started before")
        self._state = _FIRST[self._protocol]
        if self._state is State.METHOD:
            return codec5.encode_greeting(self._offered)
        return self._message

    def next_event(self) -> ClientEvent:
        """What the server said, or what is to be sent to it now, or NEED_DATA.

        Raises RemoteProtocolError (never with a reply) when the server broke the protocol, or closed too early;
        LocalProtocolError before `start`.
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

    @property
    def _offered(self) -> bytes:
        return bytes((Method.NONE,) if self._login is None else (Method.NONE, Method.PASSWORD))

    def _not_started(self) -> ClientEvent:
        raise LocalProtocolError("the negotiation was not started")

    def _read_method(self) -> ClientEvent:
        if len(self._data) < RESULT_HEAD:
            return self._starved()
        method = codec5.parse_method(self._take(RESULT_HEAD))
        if method == Method.UNACCEPTABLE:
            return self._refused(Refused(Reply5.NOT_ALLOWED, "the server accepts none of the offered methods"))
        if method not in self._offered:
            raise RemoteProtocolError(f"the server chose method {method:#04x}, which was not offered")
        if method == Method.NONE or self._login is None:
            return self._ask()
        self._state = State.VERDICT
        return Outgoing(self._login)

    def _read_verdict(self) -> ClientEvent:
        if len(self._data) < RESULT_HEAD:
            return self._starved()
        refusal = auth.status_refusal(self._take(RESULT_HEAD))
        return self._ask() if refusal is None else self._refused(refusal)

    def _ask(self) -> Outgoing:
        self._state = State.REPLY
        return Outgoing(self._message)

    def _read_reply(self) -> ClientEvent:
        if len(self._data) < RESULT_HEAD:
            return self._starved()
        form = _REPLY_FORMS[self._protocol]
        refusal = form.refusal(self._data)
        if refusal is not None:
            return self._refused(refusal)
        size = form.size(self._data)
        if len(self._data) < size:
            return self._starved()
        return self._granted(form.bound(self._take(size)))

    def _granted(self, bound: Endpoint) -> ClientEvent:
        if self._command is Command.BIND and self._state is State.REPLY:
            self._state = State.SECOND_REPLY
            return Listening(bound)
        self._state = State.ESTABLISHED
        self._settled = True
        return Established(bound)

    def _refused(self, refusal: Refused) -> Refused:
        self._state = State.REFUSED
        self._hang_up()
        return refusal

    def _read_head(self) -> ClientEvent:
        size = httpconnect.response_size(self._data, self._scanned)
        if len(self._data) < size:
            self._scanned = len(self._data)
            return self._starved()
        self._scanned = 0
        status = httpconnect.parse_status(self._take(size))
        if status in HTTP_INTERIM:
            return self._skip_interim(status)
        if status in HTTP_SUCCESS:
            return self._granted(UNSPECIFIED)
        return self._refused(httpconnect.status_refusal(status))

    def _skip_interim(self, status: int) -> ClientEvent:
        """An interim response precedes the final one (RFC 9110 §15.2); no other protocol was asked for, so no 101."""
        self._interim += 1
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise RemoteProtocolError("the proxy changes to a protocol that nobody asked for")
        if self._interim > MAX_INTERIM:
            raise RemoteProtocolError(f"the proxy sent more than {MAX_INTERIM} interim responses")
        return self._read_head()


def _encode(request: Request) -> bytes:
    if request.user and request.protocol not in _USER_IDS:
        raise LocalProtocolError("only SOCKS4 carries a user id")
    if request.credentials is not None and request.protocol in _USER_IDS:
        raise LocalProtocolError("SOCKS4 carries no password")
    try:
        return _ENCODERS[request.protocol](request)
    except struct.error:
        raise LocalProtocolError(f"port {request.port} or the address is out of range") from None


def _encode_login(request: Request) -> bytes | None:
    if request.credentials is None or request.protocol is not Protocol.SOCKS5:
        return None
    return auth.encode_credentials(request.credentials)


_READERS: dict[State, Callable[[ClientNegotiation], ClientEvent]] = {
    State.NOT_STARTED: ClientNegotiation._not_started,
    State.METHOD: ClientNegotiation._read_method,
    State.VERDICT: ClientNegotiation._read_verdict,
    State.REPLY: ClientNegotiation._read_reply,
    State.SECOND_REPLY: ClientNegotiation._read_reply,
    State.HEAD: ClientNegotiation._read_head,
}
