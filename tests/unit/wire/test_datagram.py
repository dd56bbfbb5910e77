"""The header of SOCKS5 datagrams: the vectors, what can not be said, and any input."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import Address, parse_address
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire import datagram
from gateway.wire.events import Datagram
from tests.support.feeding import VECTORS, octets

CASES = tomllib.loads((VECTORS / "datagram.toml").read_text())["case"]
HOSTS = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
    st.binary(min_size=1, max_size=255),
)
PORTS = st.integers(0, 65535)
FRAGS = st.integers(0, 255)


def _expected(fields: dict[str, Any]) -> Datagram:
    host = parse_address(fields["host"]) or octets(fields["host"])
    return Datagram(fields["frag"], host, fields["port"], octets(fields["data"]))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "datagram" in case])
def test_good_datagram(case: dict[str, Any]) -> None:
    expected = _expected(case["datagram"])
    assert datagram.parse(octets(case["in"])) == expected
    assert datagram.build(expected.host, expected.port, expected.data, expected.frag) == octets(case["in"])


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES if "error" in case])
def test_bad_datagram_is_an_error_without_a_reply(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match=case["error"]) as caught:
        datagram.parse(octets(case["in"]))
    assert caught.value.reply == b""


def test_the_reserved_octets_mean_nothing() -> None:
    assert datagram.parse(bytes.fromhex("ffff 00 01 c0000201 0035")).port == 53


@pytest.mark.parametrize(
    ("host", "port", "frag"),
    [
        pytest.param(b"", 53, 0, id="an empty name"),
        pytest.param(b"a" * 256, 53, 0, id="a name of 256 bytes"),
        pytest.param(b"a", 65536, 0, id="port 65536"),
        pytest.param(b"a", -1, 0, id="a negative port"),
        pytest.param(Address(4, 1), 53, 256, id="FRAG 256"),
    ],
)
def test_what_no_field_can_hold_is_refused(host: Address | bytes, port: int, frag: int) -> None:
    with pytest.raises(LocalProtocolError):
        datagram.build(host, port, b"", frag)


@given(HOSTS, PORTS, st.binary(max_size=64), FRAGS)
def test_what_is_built_can_be_parsed(host: Address | bytes, port: int, data: bytes, frag: int) -> None:
    assert datagram.parse(datagram.build(host, port, data, frag)) == (frag, host, port, data)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda data: b"\0\0\0" + data)))
def test_any_input_is_a_datagram_or_a_remote_error(data: bytes) -> None:
    try:
        parsed = datagram.parse(data)
    except RemoteProtocolError:
        return
    assert data.endswith(parsed.data)
