"""`gateway.dns.zones`: views, the one zone of each name, and what of them outlives a reload."""

import timeit
from collections.abc import Mapping

import pytest

from gateway.address import Address
from gateway.config.hosts import parse_hosts
from gateway.config.rules import AddressPattern
from gateway.config.settings import parse_settings
from gateway.dns.cache import Bounds
from gateway.dns.constants import AAAA, NXDOMAIN, PTR, A
from gateway.dns.names import reverse_name, wire_name
from gateway.dns.servers import Server
from gateway.dns.written import Files
from gateway.dns.zones import View, Zone, Zones
from gateway.errors import ConfigError
from tests.support.rules import address

PATH = "/etc/gateway.toml"
INSIDE = (AddressPattern(4, 10 << 24, 0xFF00_0000),)

CORP = '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.53"]\n'
ROOT = '[[resolver.zone]]\nname = "."\nservers = ["192.0.2.53"]\n'


def compiled(
    text: str,
    hosts: Mapping[str, str] | None = None,
    servers: Mapping[str, tuple[Address, ...]] | None = None,
    inside: tuple[AddressPattern, ...] = INSIDE,
) -> Zones:
    """Of a gateway.toml; ``hosts`` are hosts files by their paths."""
    read = {path: parse_hosts(content, path) for path, content in (hosts or {}).items()}
    return Zones.compile(parse_settings(text, PATH), inside, Files(PATH, text, read, servers or {}))


def faults_of(text: str, hosts: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compiled(text, hosts)
    return [str(problem).removeprefix(f"{PATH}:") for problem in caught.value.problems]


def warnings_of(text: str) -> list[str]:
    return [str(problem).removeprefix(f"{PATH}:") for problem in compiled(text).warnings]


def view(zones: Zones, client: str = "10.0.0.1") -> View:
    found = zones.view_of(address(client))
    assert found is not None
    return found


def zone(zones: Zones, name: str, client: str = "10.0.0.1") -> Zone:
    return view(zones, client).zone_of(wire_name(name))


def addresses(zones: Zones, name: str, client: str = "10.0.0.1") -> list[str]:
    """The local IPv4 addresses of a name."""
    local = zone(zones, name, client).local
    return [str(Address.from_packed(row.rdata)) for row in local.rows(wire_name(name)) if row.type == A]


def pointer(zones: Zones, of: str, client: str = "10.0.0.1") -> tuple[str, list[bytes]]:
    """The zone of the reverse name of an address, and the local names there."""
    name = reverse_name(address(of))
    found = view(zones, client).zone_of(name)
    return found.text, [row.rdata for row in found.local.rows(name) if row.type == PTR]


# What a zone is


def test_a_zone_has_what_is_written_of_it() -> None:
    zones = compiled(
        '[internal]\ninterface = "eth1"\n[external]\ninterface = "wan1"\n'
        '[[resolver.zone]]\nname = "Corp.Example."\nservers = ["10.0.0.53", "/x", "fd00::1 5353", "10.0.0.53 53"]\n'
        "min_ttl = 1\nmax_ttl = 2\nnegative_ttl = 3\n"
        '[[resolver.zone]]\nname = "."\nservers = ["9.9.9.9", "9.9.9.10 8853", "/x"]\ntls = "dns.example.net"\n'
        'allow = ["lab.example.org"]\nstale = false\n',
        servers={"/x": (address("10.0.0.54"), address("10.0.0.53"))},
    )
    corp, root = zones.zones[:2]
    assert (corp.name, corp.text, corp.private, corp.stale) == (wire_name("corp.example"), "corp.example", True, False)
    assert corp.servers == (
        Server(address("10.0.0.53"), 53),
        Server(address("10.0.0.54"), 53),
        Server(address("fd00::1"), 5353),
    )
    assert (corp.ways, corp.bounds, corp.allow) == (("eth1",), Bounds(1, 2, 3), frozenset())
    assert (root.name, root.text, root.private, root.stale) == (b"\0", ".", False, False)
    assert [str(server) for server in root.servers] == [
        "9.9.9.9:853 (dns.example.net)",
        "9.9.9.10:8853 (dns.example.net)",
        "10.0.0.54:853 (dns.example.net)",
        "10.0.0.53:853 (dns.example.net)",
    ]
    assert (root.ways, root.bounds) == (("wan1",), Bounds(0, 86400, 3600))
    assert root.allow == frozenset({wire_name("lab.example.org")})


def test_zones_of_the_administrator_come_first_and_the_built_in_ones_have_no_servers() -> None:
    zones = compiled(f"{ROOT}{CORP}")
    assert [one.text for one in zones.zones[:2]] == [".", "corp.example"]
    assert all(one.settings is None and one.private and not one.servers and not one.stale for one in zones.zones[2:])
    assert len({one.identity for one in zones.zones}) == len(zones.zones)


def test_the_built_in_root_leaves_what_nobody_serves_to_whoever_asks() -> None:
    found = zone(compiled(CORP), "www.example.org")
    assert (found.text, found.settings, found.local.find(wire_name("www.example.org"), A)) == (".", None, None)


def test_a_zone_without_servers_is_closed() -> None:
    zones = compiled('[[resolver.zone]]\nname = "corp.example"\nrecords = ["a A 10.0.0.9"]\n')
    answer = zone(zones, "b.corp.example").local.find(wire_name("b.corp.example"), A)
    assert answer is not None
    assert answer.rcode == NXDOMAIN
    assert addresses(zones, "a.corp.example") == ["10.0.0.9"]


def test_networks_of_a_zone_are_its_reverse_zones() -> None:
    zones = compiled(f'{CORP}networks = ["10.0.0.0/8", "172.16.0.0/12", "fd00::/8"]\n{ROOT}')
    owners = {text: pointer(zones, text)[0] for text in ("10.1.2.3", "172.31.0.1", "fd12::1", "192.168.0.1", "8.8.8.8")}
    assert list(owners.values()) == ["corp.example"] * 3 + ["168.192.in-addr.arpa", "."]


# Who sees what


def test_who_may_ask_is_the_inside_unless_it_is_written() -> None:
    zones = compiled(f"{CORP}{ROOT}")
    assert zones.view_of(address("10.255.255.255")) is zones.views[0]
    assert zones.view_of(address("::ffff:10.0.0.1")) is zones.views[0]
    assert zones.view_of(address("11.0.0.0")) is None
    assert zones.view_of(address("::1")) is None
    written = compiled(f'[resolver]\nclients = ["11.0.0.0/8", "::1"]\n{CORP}')
    assert written.view_of(address("10.0.0.1")) is None
    assert written.view_of(address("11.0.0.0")) is written.view_of(address("::1")) is written.views[0]


def test_the_inside_may_become_another_one_and_the_zones_stay() -> None:
    zones = compiled(CORP, inside=())
    assert zones.view_of(address("10.0.0.1")) is None
    now = zones.for_inside(INSIDE)
    assert now.view_of(address("10.0.0.1")) is zones.views[0]
    assert (now.zones, now.views, now.domain) == (zones.zones, zones.views, zones.domain)
    written = compiled(f'[resolver]\nclients = ["11.0.0.0/8"]\n{CORP}')
    assert written.for_inside(INSIDE).view_of(address("10.0.0.1")) is None
    assert written.for_inside(INSIDE).view_of(address("11.0.0.1")) is not None


def test_whoever_may_not_ask_has_a_view_all_the_same() -> None:
    zones = compiled(f'{CORP}clients = ["12.0.0.0/8"]\n')
    assert zones.view_of(address("12.0.0.1")) is None
    assert zones.view_for(address("12.0.0.1")).zone_of(wire_name("corp.example")).settings is not None
    assert zones.view_for(address("11.0.0.1")).zone_of(wire_name("corp.example")).settings is None


def test_there_may_be_no_zones_at_all() -> None:
    zones = Zones.none()
    assert zones.view_of(address("127.0.0.1")) is None
    assert zones.view_for(address("127.0.0.1")).zone_of(wire_name("a.example")).text == "."


VIEWS = (
    '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.1"]\nclients = ["10.1.0.0/16", "10.1.5.0/24"]\n'
    '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.2"]\nclients = ["10.1.5.0/24", "10.2.0.0/16"]\n'
    '[[resolver.zone]]\nname = "lab.example"\nservers = ["10.0.0.3"]\nclients = ["10.2.3.0/24", "fd00::/8"]\n'
    f"{ROOT}"
)


def test_of_one_name_the_first_zone_counts_that_is_for_the_client() -> None:
    zones = compiled(VIEWS, inside=(*INSIDE, AddressPattern(6, 0, 0)))
    asked = {
        client: [" ".join(map(str, zone(zones, name, client).servers)) for name in ("a.corp.example", "lab.example")]
        for client in ("10.1.0.1", "10.1.5.1", "10.2.0.1", "10.2.3.1", "10.3.0.1", "10.0.255.255", "fd00::1", "fe00::1")
    }
    assert asked == {
        "10.1.0.1": ["10.0.0.1", ""],
        "10.1.5.1": ["10.0.0.1", ""],
        "10.2.0.1": ["10.0.0.2", ""],
        "10.2.3.1": ["10.0.0.2", "10.0.0.3"],
        "10.3.0.1": ["", ""],
        "10.0.255.255": ["", ""],
        "fd00::1": ["", "10.0.0.3"],
        "fe00::1": ["", ""],
    }


def test_clients_who_see_the_same_zones_share_a_view_and_views_share_zones() -> None:
    zones = compiled(VIEWS)
    assert view(zones, "10.1.0.1") is view(zones, "10.1.5.1")
    assert view(zones, "10.3.0.1") is zones.views[0]
    assert [one.number for one in zones.views] == list(range(len(zones.views)))
    assert len(zones.views) == 5
    assert zone(zones, "x.org", "10.1.0.1") is zone(zones, "x.org", "10.3.0.1")
    assert view(zones, "10.1.0.1").hot is not view(zones, "10.2.0.1").hot


PARTLY = (
    '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.1"]\nclients = ["10.1.0.0/16"]\n'
    'networks = ["203.0.112.0/24"]\nexclude = ["www.corp.example"]\n'
)


def test_names_of_a_private_zone_do_not_exist_for_those_who_do_not_see_it() -> None:
    """Asked for outside they would tell what is inside."""
    zones = compiled(f"{PARTLY}{ROOT}")
    for name in ("corp.example", "payroll.corp.example", "1.112.0.203.in-addr.arpa"):
        assert zone(zones, name, "10.1.0.1").servers == (Server(address("10.0.0.1"), 53),)
        other = zone(zones, name, "10.2.0.1")
        assert (other.settings, other.servers, other.private) == (None, (), True)
    answer = zone(zones, "payroll.corp.example", "10.2.0.1").local.find(wire_name("payroll.corp.example"), A)
    assert answer is not None
    assert answer.rcode == NXDOMAIN
    for client in ("10.1.0.1", "10.2.0.1"):
        outside = ("www.corp.example", "a.www.corp.example", "example", "xcorp.example", "1.111.0.203.in-addr.arpa")
        assert {zone(zones, name, client).text for name in outside} == {"."}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param('name = "example"\nservers = ["10.0.0.2"]\n', "example", id="a larger one that is private"),
        pytest.param('name = "example"\nservers = ["192.0.2.2"]\nprivate = false\n', "corp.example",
                     id="not a larger one that is public"),
        pytest.param('name = "corp.example"\nservers = ["192.0.2.2"]\nprivate = false\n', "corp.example",
                     id="one of the same name, also a public one"),
        pytest.param('name = "a.corp.example"\nservers = ["192.0.2.2"]\nprivate = false\n', "a.corp.example",
                     id="one below it, also a public one"),
    ],
)  # fmt: skip
def test_what_a_client_does_not_see_may_be_another_zones(other: str, expected: str) -> None:
    zones = compiled(f"{PARTLY}{ROOT}[[resolver.zone]]\n{other}")
    found = zone(zones, "a.corp.example", "10.2.0.1")
    assert found.text == expected
    assert bool(found.servers) == ("private = false" not in other or 'name = "example"' not in other)
    assert zone(zones, "a.corp.example", "10.1.0.1").private == (expected != "a.corp.example")


def test_every_zone_of_a_view_is_listed_even_if_no_name_is_left_to_it() -> None:
    zones = compiled(f"{VIEWS}{CORP}")
    assert {one.text for one in zones.zones if one.settings} == {"corp.example", "lab.example", "."}


# Local names


HOSTS = {"/etc/h": "10.0.0.9 printer p.corp.example\n192.168.1.1 router.example.org\n127.0.0.1 localhost x.localhost\n"}


def test_names_of_the_common_hosts_file_belong_to_the_zone_they_are_in() -> None:
    zones = compiled(
        f'[resolver]\nhosts = "h"\ndomain = "corp.example"\n{CORP}networks = ["10.0.0.0/8"]\n{ROOT}', HOSTS
    )
    assert zones.domain == wire_name("corp.example")
    assert addresses(zones, "printer.corp.example") == addresses(zones, "p.corp.example") == ["10.0.0.9"]
    assert zone(zones, "router.example.org").text == "."
    assert addresses(zones, "router.example.org") == ["192.168.1.1"]
    assert addresses(zones, "printer") == []
    assert pointer(zones, "10.0.0.9") == ("corp.example", [wire_name("printer.corp.example")])
    assert pointer(zones, "192.168.1.1") == ("168.192.in-addr.arpa", [wire_name("router.example.org")])
    assert pointer(zones, "192.168.1.2") == ("168.192.in-addr.arpa", [])
    assert addresses(zones, "localhost") == ["127.0.0.1"]
    assert addresses(zones, "x.localhost") == []
    assert addresses(zones, "localhost.corp.example") == []


def test_without_a_domain_a_name_of_one_label_is_whole() -> None:
    zones = compiled(f'[resolver]\nhosts = "h"\n{CORP}', HOSTS)
    assert zones.domain is None
    assert addresses(zones, "printer") == ["10.0.0.9"]


def test_names_of_a_zones_own_hosts_file_are_its_own() -> None:
    zones = compiled(f'{CORP}hosts = "h"\n', {"/etc/h": "10.0.0.9 printer b.corp.example\nfd00::9 printer\n"})
    assert addresses(zones, "printer.corp.example") == addresses(zones, "b.corp.example") == ["10.0.0.9"]
    assert zone(zones, "printer.corp.example").local.find(wire_name("printer.corp.example"), AAAA) is not None
    assert pointer(zones, "10.0.0.9") == ("10.in-addr.arpa", [wire_name("printer.corp.example")])


def test_an_address_has_the_first_name_that_is_written_for_it() -> None:
    text = f'[resolver]\nhosts = "h"\n{CORP}hosts = "c"\nnetworks = ["10.0.0.0/8"]\n'
    text += 'records = ["7.0.0.10.in-addr.arpa. PTR seven"]\n'
    files = {"/etc/h": "10.0.0.9 a.example\n10.0.0.8 b.example\n10.0.0.8 c.example\n10.0.0.7 d.example\n",
             "/etc/c": "10.0.0.9 own\n"}  # fmt: skip
    zones = compiled(text, files)
    assert pointer(zones, "10.0.0.9")[1] == [wire_name("own.corp.example")]
    assert pointer(zones, "10.0.0.8")[1] == [wire_name("b.example")]
    assert pointer(zones, "10.0.0.7")[1] == [wire_name("seven.corp.example")]


def test_addresses_that_are_nobodys_have_no_name() -> None:
    content = "0.0.0.0 ads.example\n127.0.1.1 host.example\n:: ads.example\n::1 host.example\n"
    zones = compiled(f'[resolver]\nhosts = "h"\n{ROOT}', {"/etc/h": content})
    assert addresses(zones, "ads.example") == ["0.0.0.0"]
    assert pointer(zones, "0.0.0.0") == ("0.in-addr.arpa", [])
    assert pointer(zones, "127.0.1.1") == ("127.in-addr.arpa", [])
    assert pointer(zones, "::1")[1] == [wire_name("localhost")]


def test_local_names_of_one_view_are_not_told_in_another() -> None:
    """Nor are the names of its addresses, in zones that both have (field-cases D11)."""
    text = f'{CORP}hosts = "h"\nclients = ["10.1.0.0/16"]\n{ROOT}'
    zones = compiled(text, {"/etc/h": "10.0.0.9 secret\n8.8.8.8 dns\n"})
    assert addresses(zones, "secret.corp.example", "10.1.0.1") == ["10.0.0.9"]
    assert addresses(zones, "secret.corp.example", "10.2.0.1") == []
    assert pointer(zones, "10.0.0.9", "10.1.0.1")[1] == [wire_name("secret.corp.example")]
    assert pointer(zones, "10.0.0.9", "10.2.0.1")[1] == []
    assert pointer(zones, "8.8.8.8", "10.1.0.1")[1] == [wire_name("dns.corp.example")]
    assert pointer(zones, "8.8.8.8", "10.2.0.1") == (".", [])
    one, other = zone(zones, "x.org", "10.1.0.1"), zone(zones, "x.org", "10.2.0.1")
    assert one is not other
    assert one.identity != other.identity
    assert len({found.identity for found in zones.zones}) == len(zones.zones)


def test_every_mistake_in_records_and_hosts_files_has_its_line() -> None:
    text = (
        '[resolver]\nhosts = "h"\n[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.53"]\n'
        'exclude = ["www.corp.example"]\nhosts = "c"\nrecords = [\n  "a A 10.0.0.9",\n  "b B 1",\n  "www A 10.0.0.1",\n'
        '  "x.example. A 10.0.0.1",\n  "t TXT \\"a",\n]\n'
    )
    label = "x" * 63
    files = {"/etc/h": f"10.0.0.1 {label}.{label}.{label}.corp.example\n",
             "/etc/c": "10.0.0.1 a.example ok\n10.0.0.2 x.www.corp.example\n"}  # fmt: skip
    assert faults_of(text, files) == [
        "/etc/c:1: a.example is not in the zone corp.example or is excluded from it",
        "/etc/c:2: x.www.corp.example is not in the zone corp.example or is excluded from it",
        "10: resolver.zone \"corp.example\".records: 'b B 1': 'B' is no type of a record; a record is written "
        "'NAME [TTL] TYPE DATA'",
        "11: resolver.zone \"corp.example\".records: 'www A 10.0.0.1': www.corp.example is not in the zone "
        "corp.example or is excluded from it",
        "12: resolver.zone \"corp.example\".records: 'x.example. A 10.0.0.1': x.example is not in the zone "
        "corp.example or is excluded from it",
        "8: resolver.zone \"corp.example\".records: 't TXT \"a': '\"a' is no data of type TXT: Text input ended "
        "unexpectedly",
    ]  # fmt: skip


def test_an_alias_and_a_host_of_one_name_are_a_mistake_whoever_writes_them() -> None:
    text = f'[resolver]\nhosts = "h"\n{CORP}records = ["a CNAME b"]\n'
    assert faults_of(text, {"/etc/h": "10.0.0.1 a.corp.example\n"}) == [
        '3: resolver.zone "corp.example": gateway.toml:6: a.corp.example. is an alias, and has another record of '
        "type A (h:1) too"
    ]


def test_answers_say_where_they_are_written() -> None:
    zones = compiled(f'{CORP}records = [\n"a A 10.0.0.9",\n"b A 10.0.0.9"]\n{ROOT}records = ["b A 10.0.0.9"]\n')
    local = zone(zones, "a.corp.example").local
    assert [local.rows(wire_name(f"{name}.corp.example"))[0].origin for name in "ab"] == [
        "gateway.toml:5",
        "gateway.toml",
    ]


# Contradictions and doubts


def test_two_zones_of_a_view_can_not_have_the_same_reverse_zone() -> None:
    other = '[[resolver.zone]]\nname = "b.example"\nservers = ["10.0.0.54"]\nnetworks = ["10.0.0.0/8"]\n'
    expected = (
        'resolver.zone "b.example".networks: 10.in-addr.arpa is the zone corp.example\'s for the same clients already'
    )
    assert faults_of(f'{CORP}networks = ["10.0.0.0/8"]\n{other}') == [f"8: {expected}"]
    named = '[[resolver.zone]]\nname = "10.in-addr.arpa"\nservers = ["10.0.0.54"]\n'
    (fault,) = faults_of(f'{CORP}networks = ["10.0.0.0/8"]\n{named}')
    assert fault.startswith('6: resolver.zone "10.in-addr.arpa".name: 10.in-addr.arpa is the zone corp.example\'s')
    apart = f'{CORP}networks = ["10.0.0.0/8"]\nclients = ["10.1.0.0/16"]\n{other}clients = ["10.2.0.0/16"]\n'
    assert len(compiled(apart).views) == 3
    inner = f'{CORP}networks = ["10.0.0.0/8"]\n{other.replace("10.0.0.0/8", "10.5.0.0/16")}'
    assert pointer(compiled(inner), "10.5.0.1")[0] == "b.example"


def test_a_zone_that_nobody_sees_is_a_doubt() -> None:
    text = "".join(
        f'[[resolver.zone]]\nname = "a.example"\nservers = ["10.0.0.53"]\nclients = {clients}\n'
        for clients in ('["10.0.0.0/9"]', '["10.128.0.0/9"]', '["10.0.0.0/8"]')
    )
    assert warnings_of(text) == [
        '12: warning: resolver.zone "a.example".clients: zones of this name before it are for all these clients: it is '
        "never asked"
    ]
    assert warnings_of(text.replace("10.128.0.0/9", "10.128.0.0/10")) == []


def test_a_zone_for_clients_who_may_not_ask_is_a_doubt() -> None:
    text = f'[resolver]\nclients = ["10.0.0.0/8"]\n{CORP}clients = ["11.0.0.0/8"]\n'
    assert warnings_of(text) == [
        '6: warning: resolver.zone "corp.example".clients: none of these clients may ask; see clients of [resolver]'
    ]
    assert warnings_of(text.replace("11.0.0.0/8", "10.1.0.0/16")) == []
    assert warnings_of(text.replace("11.0.0.0/8", "0.0.0.0/0")) == []


def test_a_record_that_another_zone_is_asked_for_is_a_doubt() -> None:
    lab = '[[resolver.zone]]\nname = "lab.corp.example"\nservers = ["10.0.0.54"]\n'
    text = f'{CORP}records = ["a.lab A 10.0.0.9"]\n'
    assert warnings_of(text) == []
    assert warnings_of(text + lab) == [
        '1: warning: resolver.zone "corp.example": a.lab.corp.example (gateway.toml:4) belongs to another zone, which '
        "is asked for it"
    ]
    assert warnings_of(f'{text}{lab}clients = ["10.1.0.0/16"]\n') == []


def test_a_domain_outside_is_a_doubt() -> None:
    assert warnings_of(f'[resolver]\ndomain = "corp.example"\n{CORP}{ROOT}') == []
    assert warnings_of(f'[resolver]\ndomain = "corp.example"\n{ROOT}') == [
        "2: warning: resolver.domain: corp.example is in a zone that is not private: names of one label are asked for "
        "outside"
    ]


# Reloads


def identities(zones: Zones) -> dict[str, object]:
    return {found.text: found.identity for found in zones.zones}


def test_the_same_files_give_the_same_identities() -> None:
    text = f'[resolver]\nhosts = "h"\ndomain = "corp.example"\n{VIEWS}'
    one, other = compiled(text, HOSTS), compiled(text, HOSTS)
    assert [found.identity for found in one.zones] == [found.identity for found in other.zones]
    assert len({hash(found.identity) for found in one.zones}) == len(one.zones)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        pytest.param('["10.0.0.53"]', '["10.0.0.54"]', {"corp.example"}, id="servers"),
        pytest.param('"eth1"', '"eth2"', {"corp.example"}, id="the way of inside zones"),
        pytest.param("port = 53", "port = 5353", set(), id="what is no zone's"),
        pytest.param("a A 10.0.0.9", "a A 10.0.0.8", {"corp.example"}, id="a record"),
        pytest.param("[resolver]", "# a comment\n[resolver]", set(), id="a line further down"),
        pytest.param("max_ttl = 9", "max_ttl = 8", {"."}, id="a bound"),
        pytest.param('name = "lab.corp.example"', 'name = "lab.example"', {".", "corp.example"}, id="limits"),
    ],
)
def test_a_zone_is_another_one_when_what_it_says_may_be_another_thing(
    before: str, after: str, changed: set[str]
) -> None:
    text = (
        f'[internal]\ninterface = "eth1"\n[resolver]\nport = 53\n{CORP}records = ["a A 10.0.0.9"]\n{ROOT}max_ttl = 9\n'
        '[[resolver.zone]]\nname = "lab.corp.example"\nrecords = ["x TXT y"]\n'
    )
    assert text.count(before) == 1
    old, new = identities(compiled(text)), identities(compiled(text.replace(before, after)))
    assert {name for name in old.keys() & new.keys() if old[name] != new[name]} == changed


def test_the_zone_of_a_name_is_found_at_once() -> None:
    """As much as a slow machine allows; it takes a fifth of a microsecond."""
    many = "".join(f'[[resolver.zone]]\nname = "z{number}.example"\nservers = ["10.0.0.53"]\n' for number in range(20))
    name = wire_name("www.z7.example")
    zone_of = view(compiled(f"{many}{ROOT}")).zone_of
    assert zone_of(name).text == "z7.example"
    assert min(timeit.repeat(lambda: zone_of(name), number=1000, repeat=5)) / 1000 < 20e-6
