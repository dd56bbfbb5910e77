"""`gateway.config.settings`: [external], [uplinks.NAME], and what the ways out demand of the rest."""

from typing import Any

import pytest

from gateway.address import Address
from gateway.config.settings import (
    ExternalSettings,
    LiveSessions,
    Probe,
    Settings,
    UplinkSettings,
    examine_settings,
    parse_settings,
    uplink_settings,
)
from gateway.errors import ConfigError

PATH = "/etc/gateway.toml"
WAYS = '[external]\ninterface = "wan1"\n'
ROUTES = '[files]\nroutes = "sockd.route"\n'
PROBE = Probe("dns", Address(4, 1), 53)
OTHER = Probe("tcp", Address(4, 2), 443)


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, PATH)
    return [str(problem).removeprefix(f"{PATH}:") for problem in caught.value.problems]


def fault_of(table: str, key: str, toml: str) -> str:
    """The one mistake of a key in the second line, without its place and name."""
    (found,) = faults_of(f"[{table}]\n{key} = {toml}\n")
    prefix = f"2: {table}.{key}: "
    assert found.startswith(prefix)
    return found.removeprefix(prefix)


def external(key: str, toml: str) -> Any:
    return getattr(parse_settings(f"[external]\n{key} = {toml}\n", PATH).external, key)


def uplink(toml: str) -> UplinkSettings:
    return parse_settings(f"[uplinks.wan1]\n{toml}\n", PATH).uplinks["wan1"]


@pytest.mark.parametrize(
    ("key", "toml", "value"),
    [
        ("interface", '""', ()),
        ("interface", '"wan1"', ("wan1",)),
        ("interface", '["wan1"]', ("wan1",)),
        (
            "interface",
            '["eth0.100", "192.0.2.1", "2001:DB8::1"]',
            ("eth0.100", Address(4, 0xC0000201), Address(6, 0x20010DB8 << 96 | 1)),
        ),
        ("interface", '"w"', ("w",)),
        ("policy_routing", "false", False),
        ("remove_at_exit", "true", True),
        ("table", "1000", 1000),
        ("table", "2147483648", 2**31),
        ("priority", "1", 1),
        ("priority", "32000", 32000),
        ("probes", "[]", ()),
        ("probes", '["tcp 192.0.2.1 1"]', (Probe("tcp", Address(4, 0xC0000201), 1),)),
        ("probes", '["  dns   ::1   65535 "]', (Probe("dns", Address(6, 1), 65535),)),
        ("probes", '["dns ::1", "tcp ::1 53"]', (Probe("dns", Address(6, 1), 53), Probe("tcp", Address(6, 1), 53))),
        ("interval", "2", 2.0),
        ("interval", "31622400", 31_622_400.0),
        ("timeout", "5", 5.0),
        ("timeout", "0.001", 0.001),
        ("fall", "1", 1),
        ("fall", "100", 100),
        ("rise", "1", 1),
        ("rise", "100", 100),
        ("failback", "0", 0.0),
        ("failback", "86400", 86400.0),
        ("sessions", '"keep"', LiveSessions.KEEP),
        ("sessions", '"cut"', LiveSessions.CUT),
    ],
)
def test_values_of_external(key: str, toml: str, value: object) -> None:
    found = external(key, toml)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("table", "key", "toml"),
    [
        ("internal", "interface", "1"),
        ("internal", "interface", '["eth1"]'),
        ("external", "interface", "true"),
        ("external", "interface", "[1]"),
        ("external", "interface", '["wan1", []]'),
        ("external", "policy_routing", "1"),
        ("external", "policy_routing", '"true"'),
        ("external", "remove_at_exit", "0"),
        ("external", "table", "999"),
        ("external", "table", "2147483649"),
        ("external", "table", '"20000"'),
        ("external", "table", "true"),
        ("external", "priority", "0"),
        ("external", "priority", "32001"),
        ("external", "priority", "true"),
        ("external", "probes", '"dns 192.0.2.1"'),
        ("external", "probes", "[53]"),
        ("external", "interval", "0"),
        ("external", "interval", "true"),
        ("external", "timeout", "0"),
        ("external", "timeout", '"2"'),
        ("external", "fall", "0"),
        ("external", "fall", "101"),
        ("external", "fall", "true"),
        ("external", "rise", "0"),
        ("external", "rise", "101"),
        ("external", "rise", "2.0"),
        ("external", "failback", "-0.1"),
        ("external", "failback", "86400.1"),
        ("external", "failback", "true"),
        ("external", "sessions", '"CUT"'),
        ("external", "sessions", "true"),
        ("uplinks.wan1", "interface", "1"),
        ("uplinks.wan1", "gateways", '"192.0.2.1"'),
        ("uplinks.wan1", "gateways", "[1]"),
        ("uplinks.wan1", "probes", "false"),
        ("uplinks.wan1", "sessions", '""'),
    ],
)
def test_values_of_the_wrong_kind_name_what_is_expected(table: str, key: str, toml: str) -> None:
    fault = fault_of(table, key, toml)
    assert fault.startswith("expected ")
    assert ", not " in fault


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        pytest.param("[]", "at least one way out is needed in the list", id="none"),
        pytest.param('["wan1", "wan1"]', "'wan1' stands there twice", id="a name twice"),
        pytest.param('["::1", "0::1"]', "'0::1' stands there twice", id="an address twice"),
        pytest.param('[""]', "'' is no way out", id="an empty name in a list"),
        pytest.param('"wan1,wan2"', "'wan1,wan2' is no way out", id="a list as a route file has it"),
        pytest.param('"wan 1"', "'wan 1' is no way out", id="a blank"),
        pytest.param('"_wan"', "'_wan' is no way out", id="what via= does not take"),
        pytest.param('"wan1\\n"', r"'wan1\n' is no way out", id="a control character"),
        pytest.param('"192.0.2.256"', "'192.0.2.256' is no address of an interface", id="an address that can not be"),
        pytest.param('"192.0.2"', "'192.0.2' is no address of an interface", id="half an address"),
        pytest.param('"fe80::1%eth0"', "'fe80::1%eth0' is no address of an interface", id="an address with a zone"),
        pytest.param('"192.0.2.0/24"', "'192.0.2.0/24' is no way out", id="a network"),
    ],
)
def test_ways_out_that_can_not_be(toml: str, fault: str) -> None:
    assert fault_of("external", "interface", toml).startswith(fault)


@pytest.mark.parametrize(
    ("probe", "fault"),
    [
        pytest.param("", "'' is no probe", id="nothing"),
        pytest.param("192.0.2.1", "'192.0.2.1' is no probe", id="an address alone"),
        pytest.param("tcp", "'tcp' is no probe", id="a kind alone"),
        pytest.param("TCP 192.0.2.1 443", "'TCP 192.0.2.1 443' is no probe", id="a kind in capitals"),
        pytest.param("icmp 192.0.2.1", "'icmp 192.0.2.1' is no probe", id="a kind that there is not"),
        pytest.param("dns 192.0.2.1 53 53", "'dns 192.0.2.1 53 53' is no probe", id="a word too many"),
        pytest.param("tcp 192.0.2.1", "'tcp 192.0.2.1': the port is missing", id="tcp without a port"),
        pytest.param("tcp 192.0.2.1 0", "'tcp 192.0.2.1 0': '0' is no port from 1 to 65535", id="port 0"),
        pytest.param("dns ::1 65536", "'dns ::1 65536': '65536' is no port from 1 to 65535", id="port 65536"),
        pytest.param("dns ::1 0053", "'dns ::1 0053': '0053' is no port", id="zeros before a port"),
        pytest.param("tcp ::1 https", "'tcp ::1 https': 'https' is no port", id="the name of a service"),
        pytest.param("dns one.one", "'dns one.one': 'one.one' is no IPv4 or IPv6 address", id="a name of a host"),
        pytest.param("dns [::1]", "'dns [::1]': '[::1]' is no IPv4 or IPv6 address", id="brackets"),
        pytest.param("dns 0.0.0.0", "'dns 0.0.0.0': '0.0.0.0' is no address of a host", id="the unspecified address"),
        pytest.param("dns ff02::1", "'dns ff02::1': 'ff02::1' is no address of a host", id="a multicast address"),
        pytest.param(r"dns\t::1", r"'dns\t::1' is no probe", id="a tab"),
        pytest.param(
            r"dns ::1\u0007", r"'dns ::1\x07': '::1\x07' is no IPv4 or IPv6 address", id="a control character"
        ),
    ],
)
@pytest.mark.parametrize("table", ["external", "uplinks.wan1"])
def test_probes_that_can_not_be(table: str, probe: str, fault: str) -> None:
    assert fault_of(table, "probes", f'["dns 192.0.2.9", "{probe}"]').startswith(fault)


def test_a_probe_stands_in_a_list_once_however_it_is_written() -> None:
    assert fault_of("external", "probes", '["dns ::1", "dns 0::1 53"]') == "'dns 0::1 53' stands there twice"


@pytest.mark.parametrize(
    "name", ["", "e", "eth0", "eth0.100", "wan_1", "tun+", "123456789012345", "éééééééa", "192.0.2.1"]
)
def test_names_that_the_kernel_gives_interfaces(name: str) -> None:
    assert parse_settings(f'[internal]\ninterface = "{name}"\n', PATH).internal.interface == name
    assert uplink(f'interface = "{name}"').interface == name


@pytest.mark.parametrize(
    "name", ["1234567890123456", "éééééééé", "eth 0", " ", "a/b", "eth0:1", ".", "..", r"eth0\n", r"a\u0000", "\u00a0"]
)
def test_names_that_the_kernel_gives_no_interface(name: str) -> None:
    for table in ("internal", "uplinks.wan1"):
        assert "is no name of an interface: at most 15 bytes, " in fault_of(table, "interface", f'"{name}"')


@pytest.mark.parametrize(
    ("toml", "numbers"),
    [("[]", []), ('["192.0.2.1"]', [0xC0000201]), ('["::1", "192.0.2.1"]', [1, 0xC0000201])],
)
def test_gateways_of_an_uplink(toml: str, numbers: list[int]) -> None:
    assert [address.number for address in uplink(f"gateways = {toml}").gateways] == numbers


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        pytest.param('["192.0.2.1", "192.0.2.2"]', "more than one gateway of the same family", id="two of IPv4"),
        pytest.param('["::1", "192.0.2.1", "::2"]', "more than one gateway of the same family", id="two of IPv6"),
        pytest.param('["::1", "::1"]', "'::1' stands there twice", id="the same twice"),
        pytest.param(
            '["fe80::1%eth0"]',
            "'fe80::1%eth0' is no IPv4 or IPv6 address; the zone after '%' is not written",
            id="a zone",
        ),
        pytest.param('[""]', "'' is no IPv4 or IPv6 address", id="an empty text"),
        pytest.param('["192.0.2.1/24"]', "'192.0.2.1/24' is no IPv4 or IPv6 address", id="a prefix"),
        pytest.param('["0.0.0.0"]', "'0.0.0.0' is no address of a host", id="the unspecified address"),
        pytest.param('["::"]', "'::' is no address of a host", id="the unspecified address of IPv6"),
        pytest.param('["224.0.0.0"]', "'224.0.0.0' is no address of a host", id="the first multicast address"),
        pytest.param('["239.255.255.255"]', "'239.255.255.255' is no address of a host", id="the last one"),
        pytest.param('["255.255.255.255"]', "'255.255.255.255' is no address of a host", id="broadcast"),
    ],
)
def test_gateways_that_can_not_be(toml: str, fault: str) -> None:
    assert fault_of("uplinks.wan1", "gateways", toml).startswith(fault)


@pytest.mark.parametrize("address", ["0.0.0.1", "223.255.255.255", "240.0.0.0", "255.255.255.254", "::1", "feff::1"])
def test_addresses_beside_those_that_no_host_has(address: str) -> None:
    assert [str(found) for found in uplink(f'gateways = ["{address}"]').gateways] == [address]


@pytest.mark.parametrize("name", ["wan1", "W", "a-b_c", '"eth0.100"', '"1.a"', "a" * 15])
def test_names_of_uplinks(name: str) -> None:
    assert list(parse_settings(f"[uplinks.{name}]\n", PATH).uplinks) == [name.strip('"')]


@pytest.mark.parametrize(
    "name",
    [
        '""',
        "_wan",
        "-wan",
        '".wan"',
        '"wan 1"',
        '"wan,1"',
        '"wan/1"',
        '"wän"',
        '"192.0.2.1"',
        '"192.0"',
        '"1."',
        '"::1"',
    ],
)
def test_names_that_no_uplink_has(name: str) -> None:
    (fault,) = faults_of(f"\n[uplinks.{name}]\ninterface = 'eth0'\n")
    assert fault.startswith("2: uplinks.")
    assert fault.endswith(": an uplink's name has letters, digits, '_', '.' and '-', and does not look like an address")


def test_a_name_with_control_characters_is_shown_escaped() -> None:
    (fault,) = faults_of('[uplinks."wan\\u0007\\n"]\nprobes = []\n')
    assert r"uplinks.'wan\x07\n': an uplink's name has letters" in fault
    assert fault.isprintable()


def test_the_mistakes_of_an_uplink_are_shown_even_if_its_name_is_one() -> None:
    first, second = faults_of('[uplinks."wan 1"]\nprobes = 1\n')
    assert first.startswith("1: uplinks.'wan 1': an uplink's name")
    assert second.startswith("2: uplinks.'wan 1'.probes: expected")


def test_an_uplink_of_a_long_name_needs_an_interface() -> None:
    (fault,) = faults_of(f"[uplinks.{'a' * 16}]\n")
    assert fault == f"1: uplinks.{'a' * 16}: no interface has a name of more than 15 bytes; write interface = ..."
    assert parse_settings(f"[uplinks.{'a' * 16}]\ninterface = 'eth0'\n", PATH).uplinks


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("uplinks = 1\n", "1: uplinks: expected a table for each uplink", id="no table"),
        pytest.param("[[uplinks]]\n", "1: uplinks: expected a table for each uplink", id="a list of tables"),
        pytest.param("[uplinks]\nprobes = []\n", "2: uplinks.probes: expected a table for each uplink", id="a key"),
        pytest.param("[[uplinks.wan1]]\n", "1: uplinks.wan1: expected a table for each uplink", id="a list"),
        pytest.param(
            "[uplinks.wan1]\ntable = 5\n",
            "2: unknown key 'table' in [uplinks.wan1]; it belongs in [external]",
            id="home",
        ),
        pytest.param(
            "[uplinks.wan1]\ngateway = 5\n",
            "2: unknown key 'gateway' in [uplinks.wan1]; gateways may be meant",
            id="a slip",
        ),
        pytest.param(
            "[uplinks.wan1]\nx = 1\n",
            "2: unknown key 'x' in [uplinks.wan1]; known are interface, gateways, probes, sessions",
            id="no idea",
        ),
        pytest.param(
            "[external]\ngateways = []\n",
            "2: unknown key 'gateways' in [external]; it belongs in [uplinks.NAME]",
            id="a key of uplinks",
        ),
        pytest.param(
            "[uplinks.eth0.100]\n",
            "1: unknown table '100' in [uplinks.eth0]; a name that holds dots is written in quotes: "
            "[uplinks.'eth0.100']",
            id="a name with a dot",
        ),
    ],
)
def test_tables_and_keys_that_do_not_exist(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault)


def test_no_two_uplinks_have_one_interface() -> None:
    (fault,) = faults_of("[uplinks.a]\ninterface = 'eth0'\n[uplinks.b]\ninterface = 'eth0'\n")
    assert fault == "4: uplinks.b.interface: 'eth0' is the interface of uplinks.a already"
    (fault,) = faults_of("[uplinks.a]\ninterface = 'eth0'\n[uplinks.eth0]\n")
    assert fault == "3: uplinks.eth0: 'eth0' is the interface of uplinks.a already"
    (fault,) = faults_of("[uplinks.eth0]\n[uplinks.b]\ninterface = 'eth0'\n")
    assert fault == "3: uplinks.b.interface: 'eth0' is the interface of uplinks.eth0 already"


def test_every_further_uplink_of_one_interface_is_shown() -> None:
    faults = faults_of("".join(f"[uplinks.{name}]\ninterface = 'eth0'\n" for name in "abc"))
    assert faults == [
        "4: uplinks.b.interface: 'eth0' is the interface of uplinks.a already",
        "6: uplinks.c.interface: 'eth0' is the interface of uplinks.a already",
    ]


def test_uplinks_may_exchange_their_names() -> None:
    found = parse_settings("[uplinks.eth0]\ninterface = 'eth1'\n[uplinks.eth1]\ninterface = 'eth0'\n", PATH)
    assert [uplink_settings(found, name).interface for name in found.uplinks] == ["eth1", "eth0"]


def test_an_interface_that_was_refused_is_not_held_against_others() -> None:
    (fault,) = faults_of("[uplinks.eth0]\ninterface = 1\n[uplinks.wan1]\ninterface = 'eth0'\n")
    assert fault.startswith("2: uplinks.eth0.interface: expected ")


def test_uplinks_are_in_the_order_of_the_file() -> None:
    assert list(parse_settings("[uplinks.z]\n[uplinks.b]\n[uplinks.y]\n", PATH).uplinks) == ["z", "b", "y"]


@pytest.mark.parametrize(
    ("text", "multihomed"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param(WAYS, True, id="a way out"),
        pytest.param(ROUTES, True, id="routes"),
        pytest.param(WAYS + ROUTES, True, id="both"),
        pytest.param('[external]\ninterface = ""\n[files]\nroutes = ""\n', False, id="both written as none"),
        pytest.param("[uplinks.wan1]\n", False, id="an uplink that nothing names"),
        pytest.param("multihomed = false\n", False, id="false"),
        pytest.param("multihomed = false\n[uplinks.wan1]\n", False, id="false with an uplink"),
        pytest.param(f"multihomed = true\n{WAYS}", True, id="true with a way out"),
        pytest.param(f"multihomed = true\n{ROUTES}", True, id="true with routes"),
    ],
)
def test_a_gateway_with_ways_out_is_multihomed(text: str, multihomed: bool) -> None:
    assert parse_settings(text, PATH).multihomed is multihomed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("true\n", "true needs ways out: write [external] interface, or [files] routes", id="true"),
        pytest.param("true\n[files]\nroutes = ''\n", "true needs ways out", id="true with no routes"),
        pytest.param("true\n[uplinks.wan1]\n", "true needs ways out", id="true with an uplink"),
        pytest.param(f"false\n{WAYS}", "false contradicts [external] interface: ", id="false with a way out"),
        pytest.param(f"false\n{ROUTES}", "false contradicts [files] routes: ", id="false with routes"),
        pytest.param(
            f"false\n{WAYS}{ROUTES}",
            "false contradicts [external] interface and [files] routes: ",
            id="false with both",
        ),
    ],
)
def test_multihomed_must_agree_with_the_ways_out(text: str, fault: str) -> None:
    (found,) = faults_of(f"\nmultihomed = {text}")
    assert found.startswith(f"2: multihomed: {fault}")


@pytest.mark.parametrize(
    "text",
    [
        "[external]\ninterface = 1\n",
        "[files]\nroutes = 1\n",
        "external = 'wan1'\n",
        "files = '/etc/sockd.route'\n",
    ],
)
@pytest.mark.parametrize("word", ["true", "false"])
def test_ways_out_that_were_refused_are_not_held_against_multihomed(word: str, text: str) -> None:
    (fault,) = faults_of(f"multihomed = {word}\n{text}")
    assert not fault.startswith("1:")


def test_examined_settings_are_multihomed_as_they_can_be_understood() -> None:
    found, _ = examine_settings(f"multihomed = 'yes'\n{WAYS}", PATH)
    assert found is not None
    assert found.multihomed
    found, _ = examine_settings("multihomed = true\n", PATH)
    assert found is not None
    assert not found.multihomed


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "interface = 'eth1'\naddresses = ['::1']\n", "2: internal.interface: internal.addresses is", id="both"
        ),
        pytest.param(
            "addresses = ['::1']\ninterface = 'eth1'\n",
            "3: internal.interface: internal.addresses is",
            id="both, turned",
        ),
    ],
)
def test_an_interface_excludes_addresses(text: str, fault: str) -> None:
    (found,) = faults_of(f"[internal]\n{text}")
    assert found.startswith(fault)


def test_both_are_shown_even_if_they_are_refused_for_themselves() -> None:
    faults = faults_of("[internal]\ninterface = 1\naddresses = []\n")
    assert len(faults) == 3
    assert any("internal.addresses is written too" in fault for fault in faults)


def test_addresses_may_stand_beside_no_interface() -> None:
    found = parse_settings('[internal]\ninterface = ""\naddresses = ["::1"]\n', PATH).internal
    assert (found.interface, found.addresses) == ("", (Address(6, 1),))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "timeout = 5.5\n",
            "2: external.timeout: a probe may take 5.5 seconds, and the next round comes after 5: timeout must not be "
            "above interval",
            id="a timeout above the interval that is not written",
        ),
        pytest.param(
            "interval = 1.9\n", "2: external.interval: a probe may take 2 seconds, and", id="only the interval"
        ),
        pytest.param("interval = 1\ntimeout = 1.001\n", "3: external.timeout: a probe may take 1.001", id="both"),
        pytest.param("timeout = 31622400\n", "2: external.timeout: a probe may take 31622400 seconds", id="a year"),
    ],
)
def test_a_probe_ends_before_the_next_round(text: str, fault: str) -> None:
    (found,) = faults_of(f"[external]\n{text}")
    assert found.startswith(fault)


def test_a_probe_may_take_all_the_time_to_the_next_round() -> None:
    assert parse_settings("[external]\ninterval = 1\ntimeout = 1\n", PATH).external.timeout == 1


def test_a_time_that_was_refused_is_not_held_against_the_other() -> None:
    (fault,) = faults_of("[external]\ninterval = 0\ntimeout = 20\n")
    assert fault.startswith("2: external.interval: expected ")


FOUND = Settings(
    external=ExternalSettings(probes=(PROBE,), sessions=LiveSessions.CUT),
    uplinks={
        "full": UplinkSettings("eth0", (Address(4, 9),), (OTHER,), LiveSessions.KEEP),
        "none": UplinkSettings(probes=()),
    },
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("full", FOUND.uplinks["full"], id="an uplink with everything written"),
        pytest.param("none", UplinkSettings("none", (), (), LiveSessions.CUT), id="written as no probes"),
        pytest.param("eth7", UplinkSettings("eth7", (), (PROBE,), LiveSessions.CUT), id="an uplink without a table"),
    ],
)
def test_an_uplink_has_the_settings_of_external_where_it_has_none(name: str, expected: UplinkSettings) -> None:
    assert uplink_settings(FOUND, name) == expected


def test_the_text_of_a_probe_is_as_it_is_written() -> None:
    assert (str(OTHER), str(PROBE)) == ("tcp 0.0.0.2 443", "dns 0.0.0.1 53")
