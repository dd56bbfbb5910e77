"""The server role under any input, and in the cases that no single conversation shows."""

import contextlib
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import Address, Endpoint
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.constants import MAX_HEAD, MAX_RETAINED, Method, Protocol, Reply5
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    MethodChosen,
    MethodsOffered,
    Reply,
    Request,
)
from gateway.wire.server import Answer, ServerEvent, ServerNegotiation

GREETING = bytes.fromhex("05 02 00 02")
LOGIN = b"\x01\x04fred\x06secret"
REQUEST5 = bytes.fromhex("05 01 00 01 c0000201 0050")
REQUEST4 = bytes.fromhex("04 01 0050 c0000201 00")
REQUEST4A = bytes.fromhex("04 01 0050 00000001 00") + b"example.com\0"
BIND4 = bytes.fromhex("04 02 0050 c0000201 00")
HEAD = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"

PIECES = st.one_of(
    st.sampled_from(
        [GREETING, LOGIN, REQUEST5, REQUEST4, REQUEST4A, BIND4, HEAD, b"CONNECT ", b"\r\n", b"\x05\x01\x00"]
    ),
    st.binary(max_size=40),
    st.integers(0, 255).map(lambda octet: bytes((octet,)) * 300),
)
STREAMS = st.lists(PIECES, max_size=5).map(b"".join)
METHODS = st.sampled_from([Method.NONE, Method.PASSWORD, Method.UNACCEPTABLE])
CODES = st.sampled_from(Reply5)


def _chunks(stream: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        chunks.append(stream[:size])
        stream = stream[size:]
    return [chunk for chunk in (*chunks, stream) if chunk]


def _answer_to(event: ServerEvent, method: Method, accepted: bool, code: Reply5) -> Answer:
    if isinstance(event, MethodsOffered):
        return MethodChosen(method if method in event.methods else Method.UNACCEPTABLE)
    if isinstance(event, Credentials):
        return CredentialsChecked(accepted)
    return Reply(code)


@given(STREAMS, st.lists(st.integers(1, 20), max_size=10), METHODS, st.booleans(), CODES, st.booleans())
def test_any_input_gives_events_or_one_lasting_remote_error(
    stream: bytes, sizes: list[int], method: Method, accepted: bool, code: Reply5, answering: bool
) -> None:
    server = ServerNegotiation()
    try:
        for chunk in [*_chunks(stream, sizes), b""]:
            server.receive_data(chunk)
            while (event := server.next_event()) is not NEED_DATA:
                if answering:
                    assert server.send(_answer_to(event, method, accepted, code))
    except RemoteProtocolError as error:
        with pytest.raises(RemoteProtocolError) as again:
            server.next_event()
        assert (again.value.fact, again.value.reply, server.retained) == (error.fact, b"", 0)  # noqa: PT017


@given(STREAMS, st.lists(st.integers(1, 20), max_size=10))
def test_the_cuts_between_chunks_make_no_difference(stream: bytes, sizes: list[int]) -> None:
    assert _outcome(_chunks(stream, sizes)) == _outcome([stream])


def _outcome(chunks: list[bytes]) -> list[object]:
    server = ServerNegotiation()
    seen: list[object] = []
    for chunk in filter(None, chunks):
        server.receive_data(chunk)
        try:
            while (event := server.next_event()) is not NEED_DATA:
                seen += [event, server.send(_answer_to(event, Method.PASSWORD, True, Reply5.SUCCEEDED))]
        except RemoteProtocolError as error:
            return [*seen, error.fact, error.reply]
    return [*seen, server.trailing_data]


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x04\x01\x00\x50\x0a\x00\x00\x01", id="a SOCKS4 user id"),
        pytest.param(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00", id="a SOCKS4A name"),
        pytest.param(b"\x05", id="a SOCKS5 greeting"),
        pytest.param(b"CONNECT ", id="an HTTP request line"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\n", id="HTTP fields"),
    ],
)
@pytest.mark.parametrize("filler", [b"A", b"\xff", b"x" * 4096], ids=["letters", "high octets", "segments"])
def test_endless_input_after_an_opening_is_kept_within_a_head(opening: bytes, filler: bytes) -> None:
    server = ServerNegotiation()
    with contextlib.suppress(RemoteProtocolError):
        for chunk in [opening, *[filler] * 9000]:
            if chunk:
                server.receive_data(chunk)
            if server.next_event() is NEED_DATA:
                assert server.retained <= MAX_HEAD
            else:
                break
    assert server.retained <= MAX_HEAD


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param([GREETING], id="while the method is due"),
        pytest.param([GREETING, LOGIN], id="while the verdict is due"),
    ],
)
def test_endless_input_while_an_answer_is_due_ends_in_an_error(opening: list[bytes]) -> None:
    server = ServerNegotiation()
    for message in opening:
        server.receive_data(message)
        if isinstance(server.next_event(), MethodsOffered) and message is not opening[-1]:
            server.send(MethodChosen(Method.PASSWORD))
    for _ in range(MAX_RETAINED // 4096):
        server.receive_data(b"x" * 4096)
        assert server.next_event() is NEED_DATA
    assert server.retained == MAX_RETAINED
    server.receive_data(b"x")
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        server.next_event()
    with pytest.raises(LocalProtocolError):
        server.send(CredentialsChecked(True))


@pytest.mark.parametrize(
    ("octet", "protocol"),
    [
        *((octet, None) for octet in (0, 3, 6, 0x16, 0x40, 0x5B, 0x63, 0xFF)),
        (4, Protocol.SOCKS4),
        (5, Protocol.SOCKS5),
        (0x41, Protocol.HTTP),
        (0x47, Protocol.HTTP),
        (0x5A, Protocol.HTTP),
    ],
)
def test_the_first_octet_tells_the_protocol(octet: int, protocol: Protocol | None) -> None:
    server = ServerNegotiation()
    server.receive_data(bytes((octet,)))
    assert server.protocol is None
    if protocol is None:
        with pytest.raises(RemoteProtocolError, match=f"wrong version \\(0x{octet:2x}\\)") as caught:
            server.next_event()
        assert caught.value.reply == b""
    else:
        assert server.next_event() is NEED_DATA
    assert server.protocol is protocol


def test_socks4a_is_known_by_its_whole_request() -> None:
    server = ServerNegotiation()
    server.receive_data(REQUEST4A[:-1])
    server.next_event()
    known = [server.protocol]
    server.receive_data(REQUEST4A[-1:])
    server.next_event()
    assert [*known, server.protocol] == [Protocol.SOCKS4, Protocol.SOCKS4A]


@pytest.mark.parametrize(
    "message",
    [pytest.param(REQUEST4, id="SOCKS4"), pytest.param(REQUEST4A, id="SOCKS4A"), pytest.param(HEAD, id="HTTP")],
)
def test_early_data_survives_the_reply_and_grows_after_it(message: bytes) -> None:
    server = ServerNegotiation()
    server.receive_data(message + b"one ")
    server.next_event()
    server.receive_data(b"two ")
    server.send(Reply(Reply5.SUCCEEDED))
    server.receive_data(b"three")
    assert server.next_event() is NEED_DATA
    assert server.trailing_data == b"one two three"


def test_early_data_has_no_bound_of_ours() -> None:
    server = ServerNegotiation()
    server.receive_data(REQUEST4)
    server.next_event()
    for _ in range(2):
        server.receive_data(b"x" * MAX_RETAINED)
    assert len(server.trailing_data) == 2 * MAX_RETAINED


def test_early_data_of_a_refused_client_is_thrown_away() -> None:
    server = ServerNegotiation()
    server.receive_data(REQUEST4 + b"early")
    server.next_event()
    server.send(Reply(Reply5.NOT_ALLOWED))
    server.receive_data(b"late")
    assert (server.trailing_data, server.retained, server.next_event()) == (b"", 0, NEED_DATA)


@pytest.mark.parametrize("event", [MethodChosen(Method.NONE), CredentialsChecked(True), Reply(Reply5.SUCCEEDED)])
def test_nothing_can_be_sent_before_the_client_spoke(event: Answer) -> None:
    server = ServerNegotiation()
    with pytest.raises(LocalProtocolError, match="is not due now"):
        server.send(event)
    with pytest.raises(LocalProtocolError):
        server.next_event()


@pytest.mark.parametrize("message", [REQUEST4, HEAD], ids=["SOCKS4", "HTTP"])
def test_only_a_reply_answers_a_request(message: bytes) -> None:
    server = ServerNegotiation()
    server.receive_data(message)
    server.next_event()
    with pytest.raises(LocalProtocolError, match="CredentialsChecked is not due now"):
        server.send(CredentialsChecked(True))


@pytest.mark.parametrize(
    "bound",
    [
        pytest.param(Endpoint(Address(4, 1), 65536), id="port 65536"),
        pytest.param(Endpoint(Address(4, 1), -1), id="a negative port"),
        pytest.param(Endpoint(Address(4, 2**32), 1), id="an address that is too large"),
    ],
)
def test_a_bound_endpoint_that_no_reply_can_hold_is_our_own_mistake(bound: Endpoint) -> None:
    server = ServerNegotiation()
    server.receive_data(REQUEST4)
    server.next_event()
    with pytest.raises(LocalProtocolError, match="bound endpoint is out of range"):
        server.send(Reply(Reply5.SUCCEEDED, bound))


def test_no_request_is_made_without_the_login_that_was_chosen() -> None:
    server = ServerNegotiation()
    server.receive_data(GREETING + REQUEST5 + LOGIN + REQUEST5)
    assert server.next_event() == MethodsOffered(b"\x00\x02")
    assert server.next_event() is NEED_DATA
    server.send(MethodChosen(Method.PASSWORD))
    with pytest.raises(RemoteProtocolError) as caught:
        server.next_event()
    assert caught.value.reply == b"\x01\x01"


def test_no_request_is_made_before_the_verdict() -> None:
    server = ServerNegotiation()
    server.receive_data(GREETING + LOGIN + REQUEST5)
    server.next_event()
    server.send(MethodChosen(Method.PASSWORD))
    assert server.next_event() == Credentials(b"fred", b"secret")
    assert server.next_event() is NEED_DATA
    server.send(CredentialsChecked(False))
    assert server.next_event() is NEED_DATA


def test_a_request_of_socks5_carries_no_credentials_of_its_own() -> None:
    server = ServerNegotiation()
    server.receive_data(GREETING + LOGIN + REQUEST5)
    server.next_event()
    server.send(MethodChosen(Method.PASSWORD))
    server.next_event()
    server.send(CredentialsChecked(True))
    request = server.next_event()
    assert isinstance(request, Request)
    assert (request.credentials, request.user) == (None, b"")


def _converse(messages: list[bytes]) -> None:
    server = ServerNegotiation()
    for message in messages:
        server.receive_data(message)
        while (event := server.next_event()) is not NEED_DATA:
            server.send(_answer_to(event, Method.PASSWORD, True, Reply5.SUCCEEDED))


SECRET = b"hunter2-secret"


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([GREETING, b"\x02\x04fred\x0e" + SECRET], id="a login of another version"),
        pytest.param([GREETING, b"\x01\x04fred\x0f" + SECRET], id="a login that is cut short"),
        pytest.param([GREETING, b"\x01\x04fred\x0e" + SECRET, SECRET], id="a password in place of the request"),
        pytest.param([b"CONNECT u:" + SECRET + b"@a:1 HTTP/1.1\r\nHost: a\r\n\r\n"], id="a password in a target"),
        pytest.param(
            [b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic " + SECRET + b"\r\n\r\n"],
            id="a password that is not encoded",
        ),
        pytest.param([b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization " + SECRET + b"\r\n\r\n"], id="a malformed field"),
        pytest.param([SECRET.upper() + b"\r\n\r\n"], id="a password in place of a request line"),
    ],
)
def test_no_error_shows_a_password(messages: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        _converse([*messages, b""])
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.reply)
    assert SECRET.decode() not in shown.lower()
