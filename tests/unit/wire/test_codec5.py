"""SOCKS5 messages by themselves; whole conversations are in ``tests/vectors/wire``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import UNSPECIFIED, Address, Endpoint
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire import codec5
from gateway.wire.constants import Command, Method, Protocol, Reply5
from gateway.wire.events import Reply, Request

ADDRESSES = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
)
HOSTS = st.one_of(ADDRESSES, st.binary(min_size=1, max_size=255))
PORTS = st.integers(0, 65535)
REQUESTS = st.builds(Request, st.just(Protocol.SOCKS5), st.sampled_from(Command), HOSTS, PORTS, st.just(b""), st.none())


@given(REQUESTS)
def test_what_is_encoded_is_parsed(request_: Request) -> None:
    assert codec5.parse_request(codec5.encode_request(request_)) == request_


@given(REQUESTS, st.binary(max_size=20))
def test_the_size_is_exact_when_the_message_is_whole_and_more_before(request_: Request, rest: bytes) -> None:
    message = codec5.encode_request(request_)
    assert codec5.request_size(message + rest) == codec5.reply_size(message + rest) == len(message)
    for size in range(min(len(message), 12)):
        assert codec5.request_size(bytearray(message[:size])) > size


@given(ADDRESSES, PORTS)
def test_a_reply_tells_where(address: Address, port: int) -> None:
    message = codec5.encode_reply(Reply(Reply5.SUCCEEDED, Endpoint(address, port)))
    assert codec5.reply_refusal(message) is None
    assert codec5.reply_size(message) == len(message)
    assert codec5.parse_bound(message) == Endpoint(address, port)


@pytest.mark.parametrize("code", [code for code in Reply5 if code is not Reply5.SUCCEEDED])
def test_a_failure_is_heard_as_the_same_failure(code: Reply5) -> None:
    message = codec5.encode_reply(Reply(code, Endpoint(Address(4, 1), 2)))
    refusal = codec5.reply_refusal(message)
    assert refusal is not None
    assert refusal.code is code
    assert codec5.parse_bound(message) == UNSPECIFIED


@given(st.binary(min_size=1, max_size=255), st.binary(max_size=5))
def test_a_greeting_is_measured_and_parsed(methods: bytes, rest: bytes) -> None:
    message = codec5.encode_greeting(methods)
    assert codec5.greeting_size(message + rest) == len(message)
    assert codec5.parse_greeting(message) == methods


def test_a_greeting_of_one_octet_has_at_least_two() -> None:
    assert codec5.greeting_size(b"\x05") == 2


@pytest.mark.parametrize("method", Method)
def test_a_method_answer_is_heard_as_the_same_method(method: Method) -> None:
    assert codec5.parse_method(codec5.METHOD_ANSWERS[method]) == method


@pytest.mark.parametrize(
    ("host", "port"),
    [pytest.param(b"", 80, id="an empty name"), pytest.param(b"a" * 256, 80, id="a name whose length would wrap")],
)
def test_a_name_that_its_length_octet_can_not_hold_is_refused(host: bytes, port: int) -> None:
    with pytest.raises(LocalProtocolError, match="1 to 255 bytes"):
        codec5.encode_target(host, port)


@given(st.integers(0, 255).filter(lambda kind: kind not in (1, 3, 4)))
def test_every_other_address_type_is_unknown(kind: int) -> None:
    head = bytes((5, 1, 0, kind))
    with pytest.raises(RemoteProtocolError) as caught:
        codec5.request_size(head)
    assert caught.value.reply[1] == Reply5.ADDRESS_TYPE_NOT_SUPPORTED
    with pytest.raises(RemoteProtocolError):
        codec5.reply_size(head)


@given(st.integers(0, 255).filter(lambda code: code not in (1, 2, 3)))
def test_every_other_command_is_unknown(code: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        codec5.parse_request(bytes((5, code, 0, 1, 10, 0, 0, 1, 0, 80)))
    assert caught.value.reply == codec5.encode_reply(Reply(Reply5.COMMAND_NOT_SUPPORTED))
