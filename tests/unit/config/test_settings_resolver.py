"""`gateway.config.settings`: [resolver], [[resolver.zone]], and what zones demand of one another and of ways out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.config.printer import print_settings
from gateway.config.settings import (
    QueryLog,
    ResolverSettings,
    ServerAddress,
    Settings,
    ZoneSettings,
    examine_settings,
    gives_stale,
    is_private,
    parse_settings,
    zone_ways,
)
from gateway.errors import ConfigError

PATH = "/etc/gateway.toml"
NS = Address(4, 0x0A00_0035)
ROOT = '[[resolver.zone]]\nname = "."\nservers = ["192.0.2.53"]\n'
CORP = '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.0.0.53"]\n'


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, PATH)
    return [str(problem).removeprefix(f"{PATH}:") for problem in caught.value.problems]


def zone(toml: str) -> ZoneSettings:
    """One that has no other keys than these, and a name."""
    (found,) = parse_settings(f'[[resolver.zone]]\nname = "corp.example"\n{toml}\n', PATH).resolver.zone
    return found


@pytest.mark.parametrize(
    ("key", "toml", "value"),
    [
        ("addresses", "[]", ()),
        ("addresses", '["::1"]', (Address(6, 1),)),
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("workers", "1", 1),
        ("workers", "64", 64),
        ("domain", '""', ""),
        ("domain", '"CORP.example."', "corp.example"),
        ("cache", "1000", 1000),
        ("cache", "10000000", 10**7),
        ("rate", "0", 0),
        ("rate", "1000000", 10**6),
        ("outstanding", "1", 1),
        ("outstanding", "100000", 100_000),
        ("log", '"none"', QueryLog.NONE),
        ("log", '"failures"', QueryLog.FAILURES),
        ("hosts", '"h"', "/etc/h"),
    ],
)
def test_values_of_the_resolver(key: str, toml: str, value: object) -> None:
    found = getattr(parse_settings(f"[resolver]\n{key} = {toml}\n{ROOT}", PATH).resolver, key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "toml"),
    [
        ("port", "65536"),
        ("workers", "0"),
        ("workers", "65"),
        ("domain", "1"),
        ("cache", "999"),
        ("cache", "10000001"),
        ("rate", "-1"),
        ("rate", "1000001"),
        ("outstanding", "0"),
        ("outstanding", "100001"),
        ("log", '"ALL"'),
        ("log", "true"),
    ],
)
def test_values_of_the_resolver_that_can_not_be(key: str, toml: str) -> None:
    (fault,) = faults_of(f"[resolver]\n{key} = {toml}\n{ROOT}")
    assert fault.startswith(f"2: resolver.{key}: expected ")


@pytest.mark.parametrize(
    ("key", "toml", "value"),
    [
        ("servers", "[]", ()),
        ("servers", '["10.0.0.53"]', (ServerAddress(NS, 0),)),
        ("servers", '["  10.0.0.53   65535 "]', (ServerAddress(NS, 65535),)),
        ("servers", '["::ffff:10.0.0.53 1"]', (ServerAddress(NS, 1),)),
        ("servers", '["10.0.0.53", "10.0.0.53 53"]', (ServerAddress(NS, 0), ServerAddress(NS, 53))),
        ("servers", '["/etc/resolv.conf"]', ("/etc/resolv.conf",)),
        ("exclude", '["WWW.Corp.Example."]', ("www.corp.example",)),
        ("records", '["a A  10.0.0.1"]', ("a A  10.0.0.1",)),
        ("private", "false", False),
        ("hosts", '"h"', "/etc/h"),
        ("min_ttl", "0", 0),
        ("min_ttl", "86400", 86400),
        ("max_ttl", "604800", 604_800),
        ("negative_ttl", "86400", 86400),
    ],
)
def test_values_of_a_zone(key: str, toml: str, value: object) -> None:
    found = getattr(zone(f"{key} = {toml}"), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("name", [".", "corp.example", "Corp.Example.", "10.in-addr.arpa", "lan", "_x.corp.example"])
def test_the_name_of_a_zone_is_kept_as_it_is_written(name: str) -> None:
    (found,) = parse_settings(f'[[resolver.zone]]\nname = "{name}"\n', PATH).resolver.zone
    assert found.name == name


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        pytest.param('servers = ["ns.corp.example"]', "'ns.corp.example' is no IPv4 or IPv6 address", id="a name"),
        pytest.param('servers = ["10.0.0.53:53"]', "'10.0.0.53:53' is no IPv4 or IPv6 address", id="a colon"),
        pytest.param('servers = ["10.0.0.53 0"]', "'10.0.0.53 0': '0' is no port from 1 to 65535", id="port 0"),
        pytest.param('servers = ["10.0.0.53 65536"]', "'10.0.0.53 65536': '65536' is no port", id="port 65536"),
        pytest.param('servers = ["10.0.0.53 53 tcp"]', "'10.0.0.53 53 tcp' is no name server", id="a third word"),
        pytest.param('servers = ["0.0.0.0"]', "'0.0.0.0' is no address of a host", id="no host"),
        pytest.param('servers = [""]', "'' is no IPv4 or IPv6 address", id="nothing"),
        pytest.param('servers = ["::1", "0::1"]', "'0::1' stands there twice", id="twice"),
        pytest.param('exclude = ["ä.corp.example"]', "'ä.corp.example' is not ASCII", id="no ASCII"),
        pytest.param('records = ["a\\nb A 10.0.0.1"]', r"'a\nb A 10.0.0.1' holds a character", id="a control"),
    ],
)
def test_values_of_a_zone_that_can_not_be(toml: str, fault: str) -> None:
    (found,) = faults_of(f'[[resolver.zone]]\nname = "corp.example"\n{toml}\n')
    key = toml.partition(" ")[0]
    assert found.startswith(f'3: resolver.zone "corp.example".{key}: {fault}')


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param(
            f"{ROOT}[[resolver.zone]]\nservers = []\n",
            ['4: resolver.zone 2: the name is missing, as in name = "corp.example"; all other names are in name = "."'],
            id="no name",
        ),
        pytest.param(
            f'{ROOT}[[resolver.zone]]\nname = "a b"\n',
            ['5: resolver.zone "a b".name: \'a b\': a host name holds a character other than letters, digits, hyphen '
             "and underscore"],
            id="no name that can be",
        ),
        pytest.param(
            '[resolver.zone]\nname = "."\n',
            ["1: resolver.zone: expected tables that each begin with a line [[resolver.zone]], not a table"],
            id="one bracket",
        ),
        pytest.param(
            "[resolver]\nzone = [1]\n",
            ["2: resolver.zone 1: expected tables that each begin with a line [[resolver.zone]], not 1"],
            id="no table",
        ),
        pytest.param(
            "[resolver]\nport = 53\ndomain = 'lan'\nworkers = 2\n",
            [f"{line}: resolver.{key}: has no effect, since there is no zone; a first one begins with a line "
             '[[resolver.zone]], name = "."' for line, key in ((3, "domain"), (4, "workers"))],
            id="keys without a zone",
        ),
    ],
)  # fmt: skip
def test_tables_that_are_no_zones(text: str, faults: list[str]) -> None:
    assert faults_of(text) == faults


@pytest.mark.parametrize(
    ("toml", "name", "fault"),
    [
        ('exclude = ["corp.example"]', "Corp.Example.", "exclude: corp.example is the zone itself"),
        ('exclude = ["xcorp.example"]', "corp.example", "exclude: xcorp.example is not in the zone"),
        ('exclude = ["example"]', "corp.example", "exclude: example is not in the zone"),
        ('exclude = ["a.example"]', ".", "exclude: a.example: no zone is larger than this one"),
        ('allow = ["a.corp.example"]', "corp.example", "allow: a.corp.example: a private zone may give"),
        ("stale = true", "corp.example", "stale: old answers of an inside zone would hide"),
        ("min_ttl = 61\nmax_ttl = 60", "corp.example", "min_ttl: min_ttl, 61, must not be above max_ttl, 60"),
        ("max_ttl = 1\nmin_ttl = 2", "corp.example", "min_ttl: min_ttl, 2, must not be above max_ttl, 1"),
    ],
)
def test_what_contradicts_itself_in_a_zone(toml: str, name: str, fault: str) -> None:
    (found,) = faults_of(f'[[resolver.zone]]\nname = "{name}"\nservers = ["10.0.0.53"]\n{toml}\n')
    assert found.partition(": ")[2].startswith(f'resolver.zone "{name}".{fault}')


def test_names_may_be_allowed_in_a_public_zone_and_only_in_it() -> None:
    assert zone('servers = ["10.0.0.53"]\nprivate = false\nallow = ["lab.corp.example", "corp.example"]').allow
    (fault,) = faults_of(f'{CORP}private = false\nallow = ["lab.example"]\n')
    assert fault == '5: resolver.zone "corp.example".allow: lab.example is not in the zone'


@pytest.mark.parametrize("toml", ['tls = "a.example"', 'interface = "eth1"', "private = false\nstale = true"])
def test_a_zone_without_servers_has_no_use_for_ways_to_them(toml: str) -> None:
    key = toml.rpartition("\n")[2].partition(" ")[0]
    (fault,) = faults_of(f'[[resolver.zone]]\nname = "corp.example"\n{toml}\n')
    assert f'resolver.zone "corp.example".{key}: a zone without servers has no use for it' in fault


def test_port_53_is_none_of_tls_and_any_other_is() -> None:
    assert zone('servers = ["10.0.0.53", "10.0.0.54 8853"]\ntls = "a.example"').tls == "a.example"
    fault = faults_of('[[resolver.zone]]\nname = "."\nservers = ["10.0.0.53 53"]\ntls = "a.example"\n')
    assert fault == [
        '3: resolver.zone ".".servers: 10.0.0.53 53: port 53 is never one of DNS over TLS; 853 is, and need not be '
        "written"
    ]


@pytest.mark.parametrize(
    ("toml", "private", "stale"),
    [
        ('name = "corp.example"', True, False),
        ('name = "."', False, True),
        ('name = "."\nprivate = true', True, False),
        ('name = "corp.example"\nprivate = false', False, True),
        ('name = "."\nservers = ["::1"]\nstale = false', False, False),
    ],
)
def test_a_zone_is_private_unless_it_is_the_root_and_gives_old_answers_unless_it_is_private(
    toml: str, private: bool, stale: bool
) -> None:
    (found,) = parse_settings(f"[[resolver.zone]]\n{toml}\n", PATH).resolver.zone
    assert (is_private(found), gives_stale(found)) == (private, stale)


def same(*clients: str) -> str:
    return "".join(f'[[resolver.zone]]\nname = "a.example"\nclients = {one}\n' for one in clients)


def test_zones_of_one_name_are_for_different_clients_and_the_one_for_all_comes_last() -> None:
    found = parse_settings(same('["10.0.0.0/8"]', '["10.0.0.0/16", "::1"]', "[]"), PATH)
    assert len(found.resolver.zone) == 3
    (fault,) = faults_of(same("[]", '["10.0.0.0/8"]'))
    before = "a zone of this name without clients, which is for everybody, stands before it; write that one last"
    assert fault == f'4: resolver.zone "a.example": {before}'
    assert faults_of(same("[]", "[]"))[0].startswith(
        '4: resolver.zone "a.example": a zone of this name without clients'
    )
    (fault,) = faults_of(same('["10.0.0.0/8", "::1"]', '["10.0.0.0/8"]'))
    assert fault == '4: resolver.zone "a.example": a zone of this name for the same clients stands before it'


def test_a_name_in_other_letters_is_the_same() -> None:
    (fault,) = faults_of('[[resolver.zone]]\nname = "a.example"\n[[resolver.zone]]\nname = "A.Example."\n')
    assert fault.startswith('3: resolver.zone "A.Example."')


GATEWAY = (
    '[internal]\ninterface = "eth1"\n[external]\ninterface = ["wan1", "192.0.2.7"]\n[uplinks.vpn]\ninterface = "tun0"\n'
)


def ways(text: str) -> list[tuple[Any, ...]]:
    found = parse_settings(text, PATH)
    return [zone_ways(found, one) for one in found.resolver.zone]


def test_the_ways_of_a_zone_are_its_own_or_those_of_its_side() -> None:
    assert ways(f"{GATEWAY}{CORP}{ROOT}") == [("eth1",), ("wan1", Address(4, 0xC0000207))]
    assert ways(f'{GATEWAY}{CORP}interface = "eth2"\n{ROOT}interface = "vpn"\n') == [("eth2",), ("vpn",)]
    assert ways(f"{CORP}{ROOT}") == [(), ()]
    assert ways(f'[internal]\ninterface = "eth1"\n{CORP}{ROOT}') == [("eth1",), ()]


@pytest.mark.parametrize("way", ["wan1", "192.0.2.7", "vpn", "tun0"])
def test_a_private_zone_never_leaves_by_a_way_to_the_outside(way: str) -> None:
    written = f'{GATEWAY}{CORP}interface = ["eth1", "{way}"]\n'
    assert faults_of(written) == [
        f'10: resolver.zone "corp.example".interface: {way} is a way to the outside and would let inside names out; '
        "name the interface to the inside, or say private = false if these names may be seen there"
    ]
    assert parse_settings(f"{written}private = false\n", PATH).resolver.zone[0].interface == (
        "eth1",
        Address(4, 0xC0000207) if way[0] == "1" else way,
    )


def test_an_inside_that_is_an_uplink_too_is_no_way_for_a_private_zone() -> None:
    (fault,) = faults_of(f'[internal]\ninterface = "eth1"\n[external]\ninterface = "eth1"\n{CORP}')
    assert fault.startswith('5: resolver.zone "corp.example": eth1 is a way to the outside')


def test_on_a_multihomed_gateway_the_way_of_each_zone_is_known() -> None:
    multihomed = '[external]\ninterface = "wan1"\n'
    (fault,) = faults_of(f"{multihomed}{CORP}")
    assert fault == '3: resolver.zone "corp.example": the way to its servers is not known: write interface = ..., or ' \
        "[internal] interface"  # fmt: skip
    (fault,) = faults_of(f'[files]\nroutes = "r"\n{ROOT}')
    assert fault.startswith('3: resolver.zone ".": the way to its servers is not known')
    assert fault.endswith("or [external] interface")
    local = '[[resolver.zone]]\nname = "corp.example"\nrecords = ["a A 10.0.0.1"]\n'
    assert parse_settings(f"{multihomed}{local}", PATH).resolver.zone[0].servers == ()


def test_what_was_refused_is_not_held_against_zones() -> None:
    assert len(faults_of(f'[internal]\ninterface = "eth 1"\n[external]\ninterface = "wan1"\n{CORP}')) == 1
    assert len(faults_of(f'{GATEWAY}{CORP}interface = "wan 1"\n')) == 1
    assert len(faults_of(f'{GATEWAY}[[resolver.zone]]\nname = "a b"\nservers = ["::1"]\ninterface = "wan1"\n')) == 1
    found, problems = examine_settings(f"{CORP}rate = 1\n{ROOT}", PATH)
    assert found is not None
    assert len(problems) == 1
    assert [one.name for one in found.resolver.zone] == ["corp.example", "."]


_names = st.from_regex(r"[a-z][a-z0-9_]{0,5}(\.[a-z][a-z0-9]{0,5}){0,2}", fullmatch=True)
_servers = st.one_of(
    st.builds(
        ServerAddress,
        st.builds(Address, st.just(4), st.integers(1 << 24, (1 << 27) - 1)),
        st.sampled_from([0, 1, 65535]),
    ),
    st.from_regex(r"/[a-z .]{0,9}[a-z]", fullmatch=True),
)
_zones = st.builds(
    ZoneSettings,
    name=st.one_of(st.just("."), _names),
    servers=st.lists(_servers, min_size=1, max_size=3, unique=True).map(tuple),
    private=st.sampled_from([None, True, False]),
    hosts=st.sampled_from(["", "/etc/hosts"]),
    records=st.lists(st.sampled_from(['a TXT "b\\c"', "a A 10.0.0.1", "é A 1"]), unique=True).map(tuple),
    max_ttl=st.integers(1, 604_800),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_zones, min_size=1, max_size=4, unique_by=lambda zone: zone.name), st.sampled_from(QueryLog))
def test_what_is_printed_reads_back_as_the_same_zones(zones: list[ZoneSettings], log: QueryLog) -> None:
    found = Settings(resolver=ResolverSettings(domain="corp.example", log=log, zone=tuple(zones)))
    assert parse_settings(print_settings(found), PATH) == found
