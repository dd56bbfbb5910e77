"""Our client role talks to our server role over a wire that cuts the bytes anywhere."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.address import UNSPECIFIED, Address, Endpoint, parse_ipv4
from gateway.wire.client import ClientNegotiation
from gateway.wire.constants import Command, Method, Protocol, Reply5
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    Established,
    Listening,
    MethodChosen,
    MethodsOffered,
    Outgoing,
    Refused,
    Reply,
    Request,
)
from gateway.wire.server import ServerNegotiation

UPWARD = b"\x04\x05early from the client\r\n\r\n"
DOWNWARD = b"\x05\x00early from the target\r\n\r\n"

Cut = Callable[[int], int]
"""How many of so many bytes arrive next."""


class ConnectionPair:
    """A client and a server joined by two byte streams, each of which delivers a part of what was sent at a time."""

    def __init__(self, request: Request, replies: list[Reply], cut: Cut, accepted: bool = True) -> None:
        self.client = ClientNegotiation(request)
        self.server = ServerNegotiation()
        self.heard: list[object] = []
        self.asked: list[object] = []
        self._accepted = accepted
        self._replies = replies
        self._cut = cut
        self._up = bytearray()
        self._down = bytearray()
        self._asks_at_once = request.protocol is not Protocol.SOCKS5
        self._say(self.client.start(), self._asks_at_once)

    def run(self) -> None:
        """Deliver until both streams are empty."""
        while self._up or self._down:
            if self._up:
                self.server.receive_data(self._next(self._up))
                self._serve()
            if self._down:
                self.client.receive_data(self._next(self._down))
                self._listen()

    def _next(self, stream: bytearray) -> bytes:
        count = self._cut(len(stream))
        chunk = bytes(stream[:count])
        del stream[:count]
        return chunk

    def _say(self, data: bytes, last: bool) -> None:
        self._up += data + (UPWARD if last else b"")

    def _serve(self) -> None:
        while (event := self.server.next_event()) is not NEED_DATA:
            self.asked.append(event)
            if isinstance(event, MethodsOffered):
                method = Method.PASSWORD if Method.PASSWORD in event.methods else Method.NONE
                self._down += self.server.send(MethodChosen(method))
            elif isinstance(event, Credentials):
                self._down += self.server.send(CredentialsChecked(self._accepted))
            else:
                self._reply()

    def _reply(self) -> None:
        for reply in self._replies:
            self._down += self.server.send(reply)
        if self._replies[-1].code is Reply5.SUCCEEDED:
            self._down += DOWNWARD

    def _listen(self) -> None:
        while (event := self.client.next_event()) is not NEED_DATA:
            if isinstance(event, Outgoing):
                self._say(event.data, event.data.startswith(b"\x05"))
            else:
                self.heard.append(event)


ADDRESSES4 = st.builds(Address, st.just(4), st.integers(256, 2**32 - 1))
ADDRESSES = st.one_of(ADDRESSES4, st.builds(Address, st.just(6), st.integers(2**64, 2**128 - 1)))
ENDPOINTS = st.builds(Endpoint, ADDRESSES, st.integers(0, 65535))
TEXTS = st.binary(max_size=255).map(lambda text: text.replace(b"\0", b"x"))
HOST_NAMES = st.text("abcXYZ019-._", min_size=1, max_size=255).filter(lambda text: parse_ipv4(text) is None)
PRINTABLE = st.text("abcXYZ019 !?", min_size=1, max_size=255).map(str.encode)
LOGINS = st.one_of(st.none(), st.builds(Credentials, PRINTABLE, PRINTABLE))
CONNECT = st.just(Command.CONNECT)
BOTH = st.sampled_from([Command.CONNECT, Command.BIND])
PORTS = st.integers(1, 65535)
NO_USER = st.just(b"")
REQUESTS = st.one_of(
    st.builds(Request, st.just(Protocol.SOCKS4), BOTH, ADDRESSES4, PORTS, TEXTS, st.none()),
    st.builds(Request, st.just(Protocol.SOCKS4A), BOTH, TEXTS.filter(bool), PORTS, TEXTS, st.none()),
    st.builds(
        Request,
        st.just(Protocol.SOCKS5),
        st.sampled_from(Command),
        st.one_of(ADDRESSES, st.binary(min_size=1, max_size=255)),
        PORTS,
        NO_USER,
        LOGINS,
    ),
    st.builds(
        Request,
        st.just(Protocol.HTTP),
        CONNECT,
        st.one_of(ADDRESSES, HOST_NAMES.map(str.encode)),
        PORTS,
        NO_USER,
        LOGINS,
    ),
)
FAILURES = st.sampled_from([code for code in Reply5 if code is not Reply5.SUCCEEDED])


def _drawn(data: st.DataObject) -> Cut:
    return lambda size: data.draw(st.integers(1, size))


def _told(protocol: Protocol, bound: Endpoint) -> Endpoint:
    """What of a bound endpoint the protocol can tell."""
    if protocol is Protocol.HTTP:
        return UNSPECIFIED
    fits = protocol is Protocol.SOCKS5 or bound.address.version == 4
    return bound if fits else UNSPECIFIED


def _asked_for(request: Request) -> Request:
    """What the server hears of it: SOCKS5 credentials come by themselves."""
    return replace(request, credentials=None) if request.protocol is Protocol.SOCKS5 else request


@given(REQUESTS, ENDPOINTS, ENDPOINTS, st.data())
def test_a_granted_request_arrives_and_so_does_early_data_both_ways(
    request_: Request, first: Endpoint, second: Endpoint, data: st.DataObject
) -> None:
    twice = request_.command is Command.BIND
    bounds = [first, second] if twice else [first]
    pair = ConnectionPair(request_, [Reply(Reply5.SUCCEEDED, bound) for bound in bounds], _drawn(data))
    pair.run()
    told = [_told(request_.protocol, bound) for bound in bounds]
    assert pair.heard == ([Listening(told[0])] if twice else []) + [Established(told[-1])]
    assert pair.asked[-1] == _asked_for(request_)
    assert pair.server.trailing_data == UPWARD
    assert pair.client.trailing_data == DOWNWARD
    assert pair.server.protocol is request_.protocol


@given(REQUESTS, FAILURES, st.data())
def test_a_refused_request_is_heard_as_refused_and_nothing_follows(
    request_: Request, code: Reply5, data: st.DataObject
) -> None:
    pair = ConnectionPair(request_, [Reply(code)], _drawn(data))
    pair.run()
    assert len(pair.heard) == 1
    refusal = pair.heard[0]
    assert isinstance(refusal, Refused)
    assert refusal.code is code or request_.protocol is not Protocol.SOCKS5
    assert (pair.server.trailing_data, pair.client.trailing_data) == (b"", b"")


@given(st.builds(Credentials, PRINTABLE, PRINTABLE), st.booleans(), st.data())
def test_credentials_arrive_and_their_verdict_goes_back(
    login: Credentials, accepted: bool, data: st.DataObject
) -> None:
    request = Request(Protocol.SOCKS5, Command.CONNECT, b"example.com", 80, credentials=login)
    pair = ConnectionPair(request, [Reply(Reply5.SUCCEEDED)], _drawn(data), accepted)
    pair.run()
    assert pair.asked[:2] == [MethodsOffered(b"\x00\x02"), login]
    assert isinstance(pair.heard[-1], Established if accepted else Refused)
    assert len(pair.asked) == (3 if accepted else 2)


@pytest.mark.parametrize("step", [pytest.param(1, id="byte by byte"), pytest.param(10**6, id="all at once")])
def test_both_extremes_of_cutting_are_the_same(step: int) -> None:
    request = Request(Protocol.SOCKS5, Command.CONNECT, b"a" * 255, 80, credentials=Credentials(b"u" * 255, b"p" * 255))
    pair = ConnectionPair(request, [Reply(Reply5.SUCCEEDED)], lambda size: min(size, step))
    pair.run()
    assert pair.asked[-1] == _asked_for(request)
    assert pair.server.trailing_data == UPWARD
