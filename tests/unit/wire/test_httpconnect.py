"""HTTP CONNECT messages by themselves; whole conversations are in ``tests/vectors/wire``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.address import Address, parse_ipv4
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire import httpconnect
from gateway.wire.constants import REPLY5_TO_STATUS, REPLY5_TO_TEXT, Command, Protocol, Reply5
from gateway.wire.events import Credentials, Reply, Request
from tests.support.feeding import assert_response

PLAIN = Request(Protocol.HTTP, Command.CONNECT, b"example.com", 443)
FAILURES = [code for code in Reply5 if code is not Reply5.SUCCEEDED]

NAMES = st.text("abcXYZ019-._~%", min_size=1, max_size=255).filter(lambda text: parse_ipv4(text) is None)
HOSTS = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
    NAMES.map(str.encode),
)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(str.encode)
LOGINS = st.one_of(st.none(), st.builds(Credentials, PRINTABLE.map(lambda user: user.replace(b":", b"")), PRINTABLE))


@given(HOSTS, st.integers(1, 65535), LOGINS)
def test_what_is_encoded_is_parsed(host: Address | bytes, port: int, login: Credentials | None) -> None:
    request = replace(PLAIN, host=host, port=port, credentials=login)
    head = httpconnect.encode_request(request)
    assert httpconnect.request_size(head + b"rest", 0) == len(head)
    assert httpconnect.parse_request(head) == request


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_is_a_whole_response(code: Reply5) -> None:
    answer = httpconnect.encode_reply(Reply(code))
    assert_response(answer, REPLY5_TO_STATUS[code])
    assert answer.endswith(REPLY5_TO_TEXT[code].encode() + b"\n")


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_is_heard_as_a_failure(code: Reply5) -> None:
    answer = httpconnect.encode_reply(Reply(code))
    head = answer[: httpconnect.response_size(answer, 0)]
    refusal = httpconnect.status_refusal(httpconnect.parse_status(head))
    assert refusal.code is not Reply5.SUCCEEDED


@pytest.mark.parametrize("code", FAILURES)
def test_a_challenge_turns_every_failure_into_a_407(code: Reply5) -> None:
    answer = httpconnect.encode_reply(Reply(code, challenge=True))
    assert_response(answer, 407)
    assert b'\r\nProxy-Authenticate: Basic realm="gateway", charset="UTF-8"\r\n' in answer


def test_success_has_no_fields_and_no_challenge() -> None:
    answer = httpconnect.encode_reply(Reply(Reply5.SUCCEEDED, challenge=True))
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(replace(PLAIN, command=Command.BIND), id="BIND"),
        pytest.param(replace(PLAIN, command=Command.UDP_ASSOCIATE), id="UDP ASSOCIATE"),
        pytest.param(replace(PLAIN, port=0), id="port 0"),
        pytest.param(replace(PLAIN, port=65536), id="port 65536"),
        pytest.param(replace(PLAIN, host=b""), id="an empty name"),
        pytest.param(replace(PLAIN, host=b"a" * 256), id="a name of 256 bytes"),
        pytest.param(replace(PLAIN, host=b"a\r\nX: y"), id="a name with a line end"),
        pytest.param(replace(PLAIN, host=b"a b"), id="a name with a space"),
        pytest.param(replace(PLAIN, host=b"a:80"), id="a name with a colon"),
        pytest.param(replace(PLAIN, host=b"u@a"), id="a name with a user"),
        pytest.param(replace(PLAIN, host=b"a\0"), id="a name with a NUL"),
    ],
)
def test_a_client_does_not_say(request_: Request) -> None:
    with pytest.raises(LocalProtocolError):
        httpconnect.encode_request(request_)


def test_a_client_says_the_longest_name_and_the_highest_port() -> None:
    request = replace(PLAIN, host=b"a" * 255, port=65535)
    assert httpconnect.parse_request(httpconnect.encode_request(request)) == request


@given(st.lists(st.sampled_from([b"CONNECT ", b"a:1", b" HTTP/1.1", b"\r\n", b"Host: x", b":", b" ", b"[", b"]"])))
def test_any_head_is_a_request_or_a_remote_error_with_a_response(pieces: list[bytes]) -> None:
    head = b"".join(pieces) + b"\r\n\r\n"
    try:
        request = httpconnect.parse_request(head)
    except RemoteProtocolError as error:
        status = int(error.reply.split()[1])
        assert_response(error.reply, status)
    else:
        assert request.port == 1
