"""What the wire's values show of themselves: never a password."""

import pytest

from gateway.address import Address
from gateway.wire.constants import Command, Protocol
from gateway.wire.events import NEED_DATA, Credentials, Outgoing, Request

LOGIN = Credentials(b"fred", b"hunter2")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(LOGIN, id="credentials"),
        pytest.param(
            Request(Protocol.HTTP, Command.CONNECT, Address(4, 1), 80, credentials=LOGIN),
            id="a request with credentials",
        ),
        pytest.param(Outgoing(b"\x01\x04fred\x07hunter2"), id="bytes for a server"),
    ],
)
def test_no_text_of_a_value_shows_the_password(value: object) -> None:
    assert "hunter2" not in f"{value} {value!r} {[value]}"


def test_credentials_show_their_user() -> None:
    assert repr(LOGIN) == "Credentials(user=b'fred')"


def test_outgoing_bytes_show_their_number() -> None:
    assert repr(Outgoing(b"abc")) == "Outgoing(3 bytes)"


def test_need_data_says_so() -> None:
    assert repr(NEED_DATA) == "NEED_DATA"
