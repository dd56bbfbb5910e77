"""User and password, in both forms; above all that no text of an error shows any of it."""

import base64
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire import auth
from gateway.wire.constants import Reply5
from gateway.wire.events import Credentials

SOME = st.binary(min_size=1, max_size=255)
PRINTABLE = st.binary(max_size=255).map(lambda text: bytes(octet for octet in text if octet >= 0x20 and octet != 0x7F))
USERS = PRINTABLE.map(lambda text: text.replace(b":", b""))


@given(st.builds(Credentials, SOME, SOME), st.binary(max_size=5))
def test_socks_credentials_are_measured_and_parsed(credentials: Credentials, rest: bytes) -> None:
    message = auth.encode_credentials(credentials)
    assert auth.credentials_size(message + rest) == len(message)
    assert auth.parse_credentials(message) == credentials
    for size in range(min(len(message), 8)):
        assert auth.credentials_size(bytearray(message[:size])) > size


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(Credentials(b"", b"b"), id="no user"),
        pytest.param(Credentials(b"a", b""), id="no password"),
        pytest.param(Credentials(b"a" * 256, b"b"), id="a user of 256 bytes"),
        pytest.param(Credentials(b"a", b"b" * 256), id="a password of 256 bytes"),
    ],
)
def test_socks_credentials_outside_of_1_to_255_bytes_are_not_sent(credentials: Credentials) -> None:
    with pytest.raises(LocalProtocolError, match="1 to 255 bytes"):
        auth.encode_credentials(credentials)


def test_only_status_0_is_acceptance() -> None:
    accepted = [status for status in range(256) if auth.status_refusal(bytes((1, status))) is None]
    assert accepted == [0]


def test_our_answers_are_heard_as_what_they_say() -> None:
    assert auth.status_refusal(auth.STATUS_ANSWERS[True]) is None
    refusal = auth.status_refusal(auth.STATUS_ANSWERS[False])
    assert refusal is not None
    assert refusal.code is Reply5.NOT_ALLOWED


@given(st.builds(Credentials, USERS, PRINTABLE))
def test_basic_credentials_go_round(credentials: Credentials) -> None:
    assert auth.decode_basic(auth.encode_basic(credentials)) == credentials


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(Credentials(b"a:b", b"c"), id="a user with a colon"),
        pytest.param(Credentials(b"a\n", b"c"), id="a user with a line end"),
        pytest.param(Credentials(b"a", b"c\x7f"), id="a password with a control character"),
        pytest.param(Credentials(b"a" * 256, b"b"), id="a user of 256 bytes"),
        pytest.param(Credentials(b"a", b"b" * 256), id="a password of 256 bytes"),
    ],
)
def test_what_basic_can_not_carry_is_not_sent(credentials: Credentials) -> None:
    with pytest.raises(LocalProtocolError):
        auth.encode_basic(credentials)


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(Credentials(b"a" * 255, b"b" * 255), id="255 bytes each"),
        pytest.param(Credentials(b"", b""), id="nothing at all"),
    ],
)
def test_the_longest_and_the_shortest_are_sent(credentials: Credentials) -> None:
    assert auth.decode_basic(auth.encode_basic(credentials)) == credentials


@pytest.mark.parametrize(
    ("pair", "fits"),
    [
        pytest.param(b"a" * 255 + b":" + b"b" * 255, True, id="255 bytes each"),
        pytest.param(b"a" * 256 + b":b", False, id="a user of 256 bytes"),
        pytest.param(b"a:" + b"b" * 256, False, id="a password of 256 bytes"),
    ],
)
def test_basic_credentials_are_bounded(pair: bytes, fits: bool) -> None:
    token = base64.b64encode(pair)
    if fits:
        assert auth.decode_basic(token) == tuple(pair.split(b":"))
    else:
        with pytest.raises(ValueError, match="longer than 255 bytes"):
            auth.decode_basic(token)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"=", id="padding alone"),
        pytest.param(b"YTpi=", id="padding behind a whole token"),
        pytest.param(b"YTo", id="no padding"),
        pytest.param(b"YTp i", id="a space inside"),
        pytest.param(b"YTp\xffi", id="an eight-bit octet inside"),
        pytest.param(b"YTpi-_", id="the alphabet of URLs"),
    ],
)
def test_a_token_that_is_not_strict_base64_is_refused(token: bytes) -> None:
    with pytest.raises(ValueError, match="not base64"):
        auth.decode_basic(token)


@given(st.binary(max_size=600))
def test_any_token_is_credentials_or_a_value_error(token: bytes) -> None:
    try:
        user, password = auth.decode_basic(token)
    except ValueError:
        return
    assert max(len(user), len(password)) <= 255


SECRET = b"hunter2-secret"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: auth.decode_basic(base64.b64encode(SECRET)), id="a token without a colon"),
        pytest.param(lambda: auth.decode_basic(SECRET), id="a token that is the password itself"),
        pytest.param(lambda: auth.decode_basic(base64.b64encode(b"a\n:" + SECRET)), id="a token with a line end"),
        pytest.param(lambda: auth.decode_basic(base64.b64encode(b"a:" + SECRET * 30)), id="a token that is too long"),
        pytest.param(lambda: auth.encode_basic(Credentials(b"a:", SECRET)), id="Basic credentials that can not be"),
        pytest.param(lambda: auth.encode_credentials(Credentials(b"", SECRET)), id="SOCKS credentials that can not be"),
        pytest.param(lambda: auth.credentials_size(b"\x02\x01a\x0e" + SECRET), id="a message of another version"),
    ],
)
def test_no_error_shows_the_password(call: Callable[[], object]) -> None:
    with pytest.raises((ValueError, LocalProtocolError, RemoteProtocolError)) as caught:
        call()
    messages = traceback.format_exception_only(caught.value)
    context = caught.value.__context__
    if context is not None:
        messages += traceback.format_exception_only(context)
    text = "".join(messages)
    assert SECRET.decode() not in text
    assert base64.b64encode(SECRET).decode() not in text
