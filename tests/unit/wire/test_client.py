"""The client role against any server, and in the cases that no single conversation shows."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.address import Address
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.client import ClientNegotiation
from gateway.wire.constants import MAX_HEAD, MAX_RETAINED, Command, Protocol, Reply5
from gateway.wire.events import NEED_DATA, Credentials, Established, Outgoing, Refused, Request

LOGIN = Credentials(b"fred", b"secret")
SOCKS4 = Request(Protocol.SOCKS4, Command.CONNECT, Address(4, 0xC0000201), 80, b"fred")
SOCKS4A = replace(SOCKS4, protocol=Protocol.SOCKS4A, host=b"example.com")
SOCKS5 = Request(Protocol.SOCKS5, Command.CONNECT, b"example.com", 80, credentials=LOGIN)
BIND5 = replace(SOCKS5, command=Command.BIND)
HTTP = Request(Protocol.HTTP, Command.CONNECT, b"example.com", 443, credentials=LOGIN)
REQUESTS = [SOCKS4, SOCKS4A, SOCKS5, BIND5, HTTP]

PIECES = st.one_of(
    st.sampled_from(
        [
            b"\x00\x5a\x00\x50\xc0\x00\x02\x01",
            b"\x05\x00",
            b"\x05\x02",
            b"\x01\x00",
            b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x50",
            b"\x05\x00\x00\x03\xff" + b"a" * 257,
            b"\x05\x00\x00\x04" + b"a" * 18,
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 ",
            b"\r\n",
        ]
    ),
    st.binary(max_size=40),
    st.integers(0, 255).map(lambda octet: bytes((octet,)) * 300),
)
STREAMS = st.lists(PIECES, max_size=5).map(b"".join)


def _started(request: Request) -> ClientNegotiation:
    client = ClientNegotiation(request)
    assert client.start()
    return client


def _outcome(request: Request, chunks: list[bytes]) -> list[object]:
    client = _started(request)
    seen: list[object] = []
    for chunk in chunks:
        client.receive_data(chunk)
        try:
            while (event := client.next_event()) is not NEED_DATA:
                seen.append(event)
        except RemoteProtocolError as error:
            assert error.reply == b""  # noqa: PT017
            with pytest.raises(RemoteProtocolError):
                client.next_event()
            return [*seen, error.fact]
    return [*seen, client.trailing_data]


@given(st.sampled_from(REQUESTS), STREAMS, st.lists(st.integers(1, 20), max_size=10), st.booleans())
def test_any_answer_gives_events_or_one_lasting_remote_error(
    request_: Request, stream: bytes, sizes: list[int], ended: bool
) -> None:
    rest, chunks = stream, []
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    end = [b""] if ended else []
    fragments = [chunk for chunk in (*chunks, rest) if chunk]
    whole = [stream] if stream else []
    assert _outcome(request_, fragments + end) == _outcome(request_, whole + end)


@pytest.mark.parametrize("request_", REQUESTS, ids=["SOCKS4", "SOCKS4A", "SOCKS5", "BIND", "HTTP"])
@pytest.mark.parametrize(
    "opening",
    [b"", b"\x05\x00", b"\x05\x00\x05\x00\x00\x03\xff", b"HTTP/1.1 200 ", b"HTTP/1.1 100 x\r\n\r\n"],
    ids=["nothing", "a method", "a long name", "a status line", "an interim response"],
)
def test_endless_answers_are_kept_within_a_head_until_they_are_granted(request_: Request, opening: bytes) -> None:
    client = _started(request_)
    with contextlib.suppress(RemoteProtocolError):
        for chunk in [opening, *[b"A"] * 9000]:
            if chunk:
                client.receive_data(chunk)
            event = client.next_event()
            if isinstance(event, Established | Refused):
                break
            assert client.retained <= MAX_HEAD
    assert client.retained <= MAX_HEAD


def test_a_flood_in_one_call_is_bounded_too() -> None:
    client = _started(SOCKS5)
    client.receive_data(b"\x05")
    client.receive_data(b"\x00" * MAX_RETAINED)
    assert client.retained == 0
    with pytest.raises(RemoteProtocolError, match="the server sent over 262144 bytes out of turn"):
        client.next_event()


def test_a_stream_of_interim_responses_ends() -> None:
    client = _started(HTTP)
    for _ in range(8):
        client.receive_data(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert client.next_event() is NEED_DATA
    client.receive_data(b"HTTP/1.1 102 Processing\r\n\r\n")
    with pytest.raises(RemoteProtocolError, match="interim"):
        client.next_event()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(replace(SOCKS5, host=b"a" * 256), id="a SOCKS5 name whose length would wrap"),
        pytest.param(replace(SOCKS4A, host=b"a" * 256), id="a SOCKS4A name of 256 bytes"),
        pytest.param(replace(HTTP, host=b"a" * 256), id="an HTTP name of 256 bytes"),
        pytest.param(replace(SOCKS5, host=b""), id="an empty name"),
        pytest.param(replace(SOCKS4, port=65536), id="a SOCKS4 port that is too high"),
        pytest.param(replace(SOCKS5, port=65536), id="a SOCKS5 port that is too high"),
        pytest.param(replace(SOCKS5, port=-1), id="a negative port"),
        pytest.param(replace(SOCKS5, user=b"fred"), id="a user id, which SOCKS5 does not carry"),
        pytest.param(replace(HTTP, user=b"fred"), id="a user id, which HTTP does not carry"),
        pytest.param(replace(SOCKS4, credentials=LOGIN), id="a password, which SOCKS4 does not carry"),
        pytest.param(replace(SOCKS5, credentials=Credentials(b"a" * 256, b"b")), id="a user of 256 bytes"),
        pytest.param(replace(HTTP, credentials=Credentials(b"a:b", b"c")), id="a user with a colon for Basic"),
    ],
)
def test_what_can_not_be_said_is_refused_before_anything_is_sent(request_: Request) -> None:
    with pytest.raises(LocalProtocolError):
        ClientNegotiation(request_)


def test_a_negotiation_is_started_once() -> None:
    client = _started(SOCKS5)
    with pytest.raises(LocalProtocolError, match="started before"):
        client.start()


def test_there_is_no_event_before_the_start() -> None:
    client = ClientNegotiation(SOCKS5)
    client.receive_data(b"\x05\x00")
    with pytest.raises(LocalProtocolError, match="was not started"):
        client.next_event()


@pytest.mark.parametrize(
    ("request_", "answers"),
    [
        pytest.param(SOCKS4, b"\x00\x5a\x00\x50\xc0\x00\x02\x01", id="SOCKS4"),
        pytest.param(SOCKS5, b"\x05\x00\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x50", id="SOCKS5"),
        pytest.param(HTTP, b"HTTP/1.1 200 OK\r\n\r\n", id="HTTP"),
    ],
)
def test_what_the_target_says_first_is_kept(request_: Request, answers: bytes) -> None:
    client = _started(request_)
    client.receive_data(answers + b"220 mail")
    events = [client.next_event(), client.next_event(), client.next_event()]
    client.receive_data(b".example\r\n")
    assert any(isinstance(event, Established) for event in events)
    assert client.trailing_data == b"220 mail.example\r\n"


def test_after_a_refusal_nothing_is_kept() -> None:
    client = _started(SOCKS4)
    client.receive_data(b"\x00\x5b\x00\x00\x00\x00\x00\x00more")
    assert client.next_event() == Refused(Reply5.GENERAL_FAILURE, "SOCKS4 code 91")
    client.receive_data(b"and more")
    assert (client.next_event(), client.trailing_data, client.retained) == (NEED_DATA, b"", 0)


def test_the_password_is_sent_only_to_a_server_that_asks() -> None:
    client = _started(SOCKS5)
    client.receive_data(b"\x05\x00")
    event = client.next_event()
    assert isinstance(event, Outgoing)
    assert b"secret" not in event.data


def test_the_negotiation_does_not_show_its_password() -> None:
    assert "secret" not in repr(ClientNegotiation(SOCKS5))
