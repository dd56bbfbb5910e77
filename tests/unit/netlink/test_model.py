"""Networks and addresses, and what they say of one another."""

import pytest

from gateway.netlink.model import Prefix, is_link_local
from tests.support.rules import address
from tests.unit.netlink.states import prefix


@pytest.mark.parametrize(
    ("text", "length", "network"),
    [
        pytest.param("192.0.2.77", 24, "192.0.2.0/24", id="IPv4"),
        pytest.param("192.0.2.77", 32, "192.0.2.77/32", id="an IPv4 host"),
        pytest.param("192.0.2.77", 0, "0.0.0.0/0", id="all of IPv4"),
        pytest.param("2001:db8::77", 64, "2001:db8::/64", id="IPv6"),
        pytest.param("2001:db8::77", 128, "2001:db8::77/128", id="an IPv6 host"),
    ],
)
def test_the_network_around_an_address(text: str, length: int, network: str) -> None:
    assert str(Prefix.around(address(text), length)) == network


def test_a_host_is_a_network_of_one() -> None:
    assert str(Prefix.host(address("192.0.2.1"))) == "192.0.2.1/32"
    assert str(Prefix.host(address("::1"))) == "::1/128"


@pytest.mark.parametrize(
    ("net", "text", "held"),
    [
        pytest.param("192.0.2.0/24", "192.0.2.0", True, id="the first address"),
        pytest.param("192.0.2.0/24", "192.0.2.255", True, id="the last address"),
        pytest.param("192.0.2.0/24", "192.0.1.255", False, id="the one before"),
        pytest.param("192.0.2.0/24", "192.0.3.0", False, id="the one after"),
        pytest.param("0.0.0.0/0", "::1", False, id="the other family"),
        pytest.param("::/0", "2001:db8::1", True, id="everything"),
    ],
)
def test_a_network_holds_its_addresses(net: str, text: str, held: bool) -> None:
    assert prefix(net).holds(address(text)) is held


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("fe80::", True),
        ("febf:ffff::", True),
        ("fe7f:ffff::", False),
        ("fec0::", False),
        ("169.254.0.1", False),
        ("::1", False),
    ],
)
def test_link_local_is_a_matter_of_ten_bits(text: str, local: bool) -> None:
    assert is_link_local(address(text)) is local
