"""Which servers may hear a name: SOCKS_NS, SOCKS_DNAME, resolv.conf, and the zones of the inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import canonical_name
from gateway.client.environment import BadServers, NameServers, parse_server, read_resolv_conf
from gateway.dns.names import reverse_name, wire_name
from gateway.dns.special import specials
from gateway.errors import BadName
from tests.support.playbook import endpoint

INSIDE, OUTSIDE = endpoint("10.0.0.53:53"), endpoint("192.0.2.53:53")
RESOLV_CONF = """\
# of the inside
nameserver 10.0.0.53
search corp.example lab.example
options timeout:1
"""


def of_socks(**variables: str) -> NameServers:
    return NameServers.from_environment(variables, RESOLV_CONF)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.53", "10.0.0.53:53"),
        ("10.0.0.53:5353", "10.0.0.53:5353"),
        ("fd00::53", "[fd00::53]:53"),
        ("[fd00::53]:65535", "[fd00::53]:65535"),
        ("::ffff:10.0.0.53", "10.0.0.53:53"),
    ],
)
def test_a_server_is_an_address_with_or_without_a_port(text: str, shown: str) -> None:
    assert str(parse_server(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "ns.example", "10.0.0", "10.0.0.53:", "10.0.0.53:0", "10.0.0.53:65536", "10.0.0.53:53x", "[fd00::53",
     "[fd00::53]", "[10.0.0.53]:53", "[]:53", ":53", "[:53", "[fd00::53]x53", "[fd00::53]53", "fd00::53%eth0",
     "10.0.0.53:٥٣"],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadServers, match="is no address of a name server"):
        parse_server(text)


def test_socks_ns_is_asked_first_about_all_names_but_those_of_the_inside() -> None:
    servers = of_socks(SOCKS_NS="192.0.2.53")
    assert servers.rounds(wire_name("www.example.net")) == ((OUTSIDE,), (INSIDE,))


@pytest.mark.parametrize(
    "name",
    ["corp.example", "a.b.corp.example", "host.lab.example", "printer", "nas.local", "x.internal", "hub.home.arpa",
     "7.0.0.10.in-addr.arpa", "1.16.172.in-addr.arpa", "4.3.2.1.d.f.ip6.arpa", "1.64.100.in-addr.arpa", "."],
)  # fmt: skip
def test_names_of_the_inside_are_asked_inside_only(name: str) -> None:
    assert of_socks(SOCKS_NS="192.0.2.53").rounds(wire_name(name)) == ((INSIDE,),)


@pytest.mark.parametrize(
    "name",
    ["notcorp.example", "example", "corp.example.net", "11.in-addr.arpa", "1.32.172.in-addr.arpa", "2.ip6.arpa",
     "1.128.100.in-addr.arpa"],
)  # fmt: skip
def test_names_beside_the_inside_are_not_of_it(name: str) -> None:
    assert of_socks(SOCKS_NS="192.0.2.53").owns(wire_name(name)) is (name == "example")


def test_private_names_are_of_the_inside_without_any_configuration() -> None:
    assert NameServers((INSIDE,), (OUTSIDE,)).rounds(wire_name("1.10.in-addr.arpa")) == ((INSIDE,),)


def test_without_socks_ns_the_servers_of_resolv_conf_are_asked_about_everything() -> None:
    assert of_socks().rounds(wire_name("www.example.net")) == ((INSIDE,),)
    assert of_socks(SOCKS_NS="").rounds(wire_name("www.example.net")) == ((INSIDE,),)


def test_a_server_on_both_sides_is_asked_once() -> None:
    servers = of_socks(SOCKS_NS="10.0.0.53")
    assert servers.rounds(wire_name("www.example.net")) == ((INSIDE,),)


def test_socks_ns_may_list_several_servers() -> None:
    servers = of_socks(SOCKS_NS="192.0.2.53, 198.51.100.53:5353")
    assert servers.outside == (OUTSIDE, endpoint("198.51.100.53:5353"))


def test_the_default_domain_is_the_first_of_resolv_conf() -> None:
    assert of_socks().domain == "corp.example"


def test_socks_dname_is_the_default_domain_and_an_inside_zone_beside_the_others() -> None:
    servers = of_socks(SOCKS_DNAME=".Hidden.Example.")
    assert servers.domain == "hidden.example"
    assert all(servers.owns(wire_name(name)) for name in ("x.hidden.example", "x.corp.example"))


def test_more_zones_and_networks_can_be_given() -> None:
    servers = NameServers.from_environment({"SOCKS_NS": "192.0.2.53"}, RESOLV_CONF, ["more.example", "192.0.2.0/24"])
    assert servers.owns(wire_name("x.more.example"))
    assert servers.owns(wire_name("9.2.0.192.in-addr.arpa"))
    assert not servers.owns(wire_name("9.3.0.192.in-addr.arpa"))


def test_the_root_as_a_zone_is_every_name() -> None:
    assert NameServers.of(["10.0.0.53"], ["192.0.2.53"], ["."]).owns(wire_name("www.example.net"))


@pytest.mark.parametrize("variable", ["SOCKS_NS", "SOCKS_DNAME"])
def test_a_variable_that_can_not_be_meant_is_named(variable: str) -> None:
    with pytest.raises(BadServers, match=f"^{variable}: 'not one!'|^{variable}: 'not'"):
        of_socks(**{variable: "not one!"})


@pytest.mark.parametrize("zone", ["", "a..b", "10.0.0.0/33", "-x.example", "münchen.example"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(BadServers):
        NameServers.of(["10.0.0.53"], zones=[zone])


@pytest.mark.parametrize(
    ("text", "servers", "search"),
    [
        ("", ["127.0.0.1"], []),
        ("nameserver\nnameserver ns.example\n", ["127.0.0.1"], []),
        ("# nameserver 10.0.0.1\n; nameserver 10.0.0.2\nnameserver 10.0.0.3 # three", ["10.0.0.3"], []),
        ("\n".join(f"nameserver 10.0.0.{n}" for n in range(1, 6)), ["10.0.0.1", "10.0.0.2", "10.0.0.3"], []),
        ("nameserver fe80::1%eth0\nnameserver fd00::1\n", ["fd00::1"], []),
        ("search a.example b.example\nsearch c.example", ["127.0.0.1"], ["c.example"]),
        ("search a.example\ndomain b.example c.example", ["127.0.0.1"], ["b.example"]),
        ("search . Corp.Example. bad..name", ["127.0.0.1"], ["corp.example"]),
    ],
)
def test_resolv_conf_is_read_as_the_c_library_does(text: str, servers: list[str], search: list[str]) -> None:
    assert read_resolv_conf(text) == (servers, search)


@given(st.text())
def test_any_resolv_conf_gives_servers(text: str) -> None:
    assert NameServers.from_environment({}, text).inside


@pytest.mark.parametrize(
    ("name", "is_absolute", "asked"),
    [
        ("printer", False, "printer.corp.example"),
        ("printer", True, "printer"),
        ("a.b", False, "a.b"),
        ("localhost", False, "localhost"),
    ],
)
def test_a_name_of_one_label_gets_the_default_domain(name: str, is_absolute: bool, asked: str) -> None:
    assert of_socks().completed(canonical_name(name), is_absolute) == asked


def test_without_a_default_domain_a_name_stays_as_it_is() -> None:
    assert NameServers((INSIDE,)).completed(canonical_name("printer"), False) == "printer"


def test_a_completed_name_that_is_too_long_is_refused() -> None:
    domain = ".".join(["a" * 60] * 4)
    with pytest.raises(BadName, match="longer than 253"):
        NameServers((INSIDE,), domain=domain).completed(canonical_name("b" * 10), False)


def test_what_the_resolver_never_asks_outside_is_of_the_inside_here_too() -> None:
    networks = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    documentation = NameServers.of([], zones=networks).zones
    names = {special.name for special in specials()} - documentation
    servers = NameServers((INSIDE,), (OUTSIDE,))
    assert [name for name in names if not servers.owns(name)] == []


@given(st.integers(0, 0xFF_FFFF))
def test_no_private_address_is_asked_about_outside(low: int) -> None:
    servers = NameServers((INSIDE,), (OUTSIDE,))
    address = endpoint("10.0.0.0:1").address
    assert servers.owns(reverse_name(address._replace(number=address.number + low)))
