"""Networks less others within them, as few pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import Address
from gateway.netlink.model import Prefix
from gateway.netlink.regions import broadest, cover, within
from tests.unit.netlink.states import prefix


def texts(networks: tuple[Prefix, ...]) -> list[str]:
    return list(map(str, networks))


def of(*words: str) -> list[Prefix]:
    return list(map(prefix, words))


@pytest.mark.parametrize(
    ("networks", "holes", "wanted"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([], ["10.0.0.0/8"], [], id="nothing less something"),
        pytest.param(["10.0.0.0/8"], [], ["10.0.0.0/8"], id="one"),
        pytest.param(["10.0.0.0/8", "10.5.0.0/16"], [], ["10.0.0.0/8"], id="one within another"),
        pytest.param(["10.0.0.0/9", "10.128.0.0/9"], [], ["10.0.0.0/8"], id="two halves"),
        pytest.param(["0.0.0.0/1", "128.0.0.0/1"], [], ["0.0.0.0/1", "128.0.0.0/1"], id="never everything"),
        pytest.param(["10.0.0.0/8"], ["10.128.0.0/9"], ["10.0.0.0/9"], id="less a half"),
        pytest.param(["10.0.0.0/8"], ["10.64.0.0/10"], ["10.0.0.0/10", "10.128.0.0/9"], id="less a quarter"),
        pytest.param(["10.0.0.0/8"], ["10.0.0.0/8"], [], id="less itself"),
        pytest.param(
            ["10.0.0.0/8"], ["10.0.0.0/7", "11.0.0.0/8", "0.0.0.0/0"], ["10.0.0.0/8"], id="less nothing of it"
        ),
        pytest.param(
            ["10.0.0.0/8", "10.0.1.0/24"], ["10.0.0.0/9"], ["10.0.1.0/24", "10.128.0.0/9"], id="with one in a hole"
        ),
        pytest.param(["10.0.0.0/31"], ["10.0.0.1/32"], ["10.0.0.0/32"], id="an address"),
        pytest.param(["fd00::/16", "10.0.0.0/8"], ["fd00::/17"], ["10.0.0.0/8", "fd00:8000::/17"], id="both families"),
    ],
)
def test_the_longest_prefix_decides(networks: list[str], holes: list[str], wanted: list[str]) -> None:
    assert texts(cover(of(*networks), of(*holes))) == wanted


_small = st.builds(
    lambda number, length: Prefix.around(Address(4, 10 << 24 | number), length), st.integers(0, 15), st.integers(27, 32)
)


@given(st.sets(_small, max_size=6), st.sets(_small, max_size=6))
def test_every_address_is_covered_once_or_not_at_all(networks: set[Prefix], holes: set[Prefix]) -> None:
    found = cover(networks, holes)
    for number in range(40):
        address = Address(4, 10 << 24 | number)
        best = max((net for net in networks | holes if net.holds(address)), key=lambda net: net.length, default=None)
        assert sum(net.holds(address) for net in found) == (best in networks - holes)
    assert cover(found, ()) == found


def test_within_is_whole() -> None:
    others = of("10.0.0.0/8", "fd00::/8")
    networks = of("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/7", "11.0.0.0/8", "fd00::1", "fe00::/8")
    assert texts(tuple(within(networks, others))) == ["10.0.0.0/8", "10.1.0.0/16", "fd00::1/128"]


def test_the_broadest_are_kept_and_first_those_that_are_needed() -> None:
    networks = of("10.3.0.0/16", "10.2.0.0/16", "172.16.0.0/12", "192.0.2.0/24", "fd00::/64")
    assert texts(broadest(networks, 2)) == ["172.16.0.0/12", "10.2.0.0/16", "fd00::/64"]
    assert texts(broadest(networks, 2, of("192.0.2.9", "10.0.0.0/8"))) == ["192.0.2.0/24", "172.16.0.0/12", "fd00::/64"]
    assert texts(broadest(networks, 9)) == [
        "172.16.0.0/12",
        "10.2.0.0/16",
        "10.3.0.0/16",
        "192.0.2.0/24",
        "fd00::/64",
    ]
