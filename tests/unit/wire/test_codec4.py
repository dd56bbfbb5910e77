"""SOCKS4 messages by themselves; whole conversations are in ``tests/vectors/wire``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.address import Address, Endpoint
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire import codec4
from gateway.wire.constants import Command, Protocol, Reply5
from gateway.wire.events import Request

PLAIN = Request(Protocol.SOCKS4, Command.CONNECT, Address(4, 0xC0000201), 80, b"fred")
NAMED = replace(PLAIN, protocol=Protocol.SOCKS4A, host=b"example.com")

TEXTS = st.binary(max_size=255).map(lambda text: text.replace(b"\0", b"x"))
REQUESTS = st.one_of(
    st.builds(
        Request,
        st.just(Protocol.SOCKS4),
        st.sampled_from([Command.CONNECT, Command.BIND]),
        st.builds(Address, st.just(4), st.one_of(st.just(0), st.integers(256, 2**32 - 1))),
        st.integers(0, 65535),
        TEXTS,
        st.none(),
    ),
    st.builds(
        Request,
        st.just(Protocol.SOCKS4A),
        st.sampled_from([Command.CONNECT, Command.BIND]),
        TEXTS.filter(bool),
        st.integers(0, 65535),
        TEXTS,
        st.none(),
    ),
)


@given(REQUESTS)
def test_what_is_encoded_is_parsed(request_: Request) -> None:
    message = codec4.encode_request(request_)
    assert codec4.parse_request(message) == request_


@given(REQUESTS, st.binary(max_size=20))
def test_the_size_is_exact_when_the_message_is_whole_and_more_before(request_: Request, rest: bytes) -> None:
    message = codec4.encode_request(request_)
    assert codec4.request_size(message + rest) == len(message)
    for size in (0, 4, 8, len(message) - 1):
        assert codec4.request_size(bytearray(message[:size])) > size or size >= len(message)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(replace(PLAIN, command=Command.UDP_ASSOCIATE), id="UDP ASSOCIATE, which SOCKS4 does not have"),
        pytest.param(replace(PLAIN, host=b"example.com"), id="a name without SOCKS4A"),
        pytest.param(replace(PLAIN, host=Address(6, 1)), id="an IPv6 address"),
        pytest.param(replace(PLAIN, host=Address(4, 1)), id="0.0.0.1, the first mark of SOCKS4A"),
        pytest.param(replace(PLAIN, host=Address(4, 255)), id="0.0.0.255, the last mark of SOCKS4A"),
        pytest.param(replace(PLAIN, user=b"a" * 256), id="a user id of 256 bytes"),
        pytest.param(replace(PLAIN, user=b"a\0b"), id="a user id with a NUL"),
        pytest.param(replace(NAMED, host=b""), id="an empty name"),
        pytest.param(replace(NAMED, host=b"a" * 256), id="a name of 256 bytes"),
        pytest.param(replace(NAMED, host=b"localhost\0.example"), id="a name with a NUL"),
    ],
)
def test_a_client_does_not_say(request_: Request) -> None:
    with pytest.raises(LocalProtocolError):
        codec4.encode_request(request_)


@pytest.mark.parametrize("number", [0, 256])
def test_the_neighbours_of_the_marks_are_addresses(number: int) -> None:
    request = replace(PLAIN, host=Address(4, number))
    assert codec4.parse_request(codec4.encode_request(request)) == request


def test_a_user_id_of_255_bytes_is_the_longest_that_a_client_says() -> None:
    request = replace(PLAIN, user=b"a" * 255)
    assert codec4.parse_request(codec4.encode_request(request)) == request


def test_the_search_for_the_end_of_a_user_id_is_bounded() -> None:
    head = bytes.fromhex("04 01 0050 c0000201")
    assert codec4.request_size(head + b"a" * 255) == len(head) + 256
    with pytest.raises(RemoteProtocolError, match="user id is longer than 255 bytes"):
        codec4.request_size(head + b"a" * 256)


def test_a_grant_is_no_refusal_and_tells_where() -> None:
    message = bytes.fromhex("00 5a 0050 c0000201")
    assert codec4.reply_refusal(message) is None
    assert codec4.reply_size(message) == len(message)
    assert codec4.parse_bound(message) == Endpoint(Address(4, 0xC0000201), 80)


@given(st.integers(0, 255).filter(lambda code: code != 90))
def test_every_code_but_90_is_a_refusal(code: int) -> None:
    refusal = codec4.reply_refusal(bytes((0, code)))
    assert refusal is not None
    assert refusal.code is not Reply5.SUCCEEDED
