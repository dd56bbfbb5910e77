"""Names that lead to addresses which the rules do not let through: every address of an answer is checked, and the
connection goes to one that was checked, never to the result of a second look-up (``spec/field-cases.md`` S9).
"""

import pytest

from tests.support.daemon import Sockd
from tests.support.labworld import GOOD, GOOD6, PORT, World
from tests.support.netns import needs_namespaces
from tests.support.rawsocks import http, read_reply4, read_status, socks4a

pytestmark = needs_namespaces
NOT_ALLOWED = 2

FORBIDDEN = [
    pytest.param("private.example", id="an address that a line denies"),
    pytest.param("ula.example", id="an IPv6 address that a line denies"),
    pytest.param("alias-to-private.example", id="an alias of a name with such an address"),
    pytest.param("aliases-to-private.example", id="an alias of such an alias"),
    pytest.param("mapped.example", id="the denied address mapped into IPv6"),
    pytest.param("nat64.example", id="the denied address behind NAT64"),
    pytest.param("6to4.example", id="the denied address behind 6to4"),
    pytest.param("metadata.example", id="the metadata service"),
    pytest.param("loopback.example", id="loopback"),
    pytest.param("mapped-loopback.example", id="loopback mapped into IPv6"),
    pytest.param("unspecified.example", id="the unspecified address"),
    pytest.param("gateway.example", id="the gateway's own outside address"),
    pytest.param("link-local.example", id="a link-local address"),
    pytest.param("multicast.example", id="a multicast address"),
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_name_is_judged_by_its_addresses(lab: World, gateway: Sockd, name: str) -> None:
    assert lab.ask(gateway, name.encode()).code == NOT_ALLOWED
    assert lab.reached() == []


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_same_by_socks4a_and_http(lab: World, gateway: Sockd, name: str) -> None:
    with lab.wire(gateway) as wire:
        wire.send(socks4a(name.encode(), PORT))
        assert read_reply4(wire).code == 91
    with lab.wire(gateway) as wire:
        wire.send(http(f"{name}:{PORT}"))
        assert read_status(wire) == 403
    assert lab.reached() == []


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("10.0.0.1", id="as it is"),
        pytest.param("::ffff:10.0.0.1", id="mapped into IPv6"),
        pytest.param("64:ff9b::10.0.0.1", id="behind NAT64"),
        pytest.param("2002:a00:1::", id="behind 6to4"),
        pytest.param("169.254.169.254", id="the metadata service"),
        pytest.param("192.0.2.1", id="the gateway's own outside address"),
        pytest.param("2001:db8::1", id="the gateway's own IPv6 address"),
    ],
)
def test_a_denied_address_is_denied_in_every_form(lab: World, gateway: Sockd, address: str) -> None:
    assert lab.ask(gateway, address).code == NOT_ALLOWED
    assert lab.reached() == []


def test_a_rebinding_server_gets_nowhere(lab: World, gateway: Sockd) -> None:
    """It answers public and private by turns with TTL 0: each request is judged by the answer that it uses."""
    codes = [lab.ask(gateway, b"rebinding.example").code for _ in range(24)]
    assert set(codes) == {0, NOT_ALLOWED}
    assert lab.reached() == []


@pytest.mark.parametrize(
    ("name", "address"),
    [
        pytest.param("private-first.example", GOOD, id="the private address comes first"),
        pytest.param("private-last.example", GOOD, id="the private address comes last"),
        pytest.param("embedded-first.example", GOOD6, id="an embedded private address among IPv6 ones"),
    ],
)
def test_only_the_permitted_addresses_of_an_answer_are_used(
    lab: World, gateway: Sockd, name: str, address: str
) -> None:
    for _ in range(4):
        assert lab.ask(gateway, name.encode()).code == 0
    assert gateway.wait_record(host=name)["address"] == address
    assert lab.reached() == []


def test_a_private_server_is_really_there(lab: World) -> None:
    """Without the deny lines the private address is reached, so the tests above could fail."""
    with lab.sockd("open", "permit ALL 0.0.0.0/0\npermit ALL 10.0.0.0/8\n") as daemon:
        assert lab.ask(daemon, b"private.example").code == 0
    assert lab.reached() == ["10.0.0.1"]
