"""`gateway.config.printer`: what is printed reads back as the same value."""

from hypothesis import given, settings

from gateway.address import Address, Name
from gateway.config.access import parse_access
from gateway.config.printer import print_access, print_prefix, print_rule, print_settings
from gateway.config.rules import (
    AccessFile,
    AccessRule,
    Action,
    AddressPattern,
    Anyone,
    IdentLevel,
    NamePattern,
    PortOperator,
    PortTest,
)
from gateway.config.settings import (
    ExternalSettings,
    InternalSettings,
    LiveSessions,
    Probe,
    QueryLog,
    ResolverSettings,
    ServerAddress,
    Settings,
    UplinkSettings,
    ZoneSettings,
    parse_settings,
)
from tests.support.accessfiles import NOWHERE, PATH, SERVICES, files, unplaced

TEN = AddressPattern(4, 10 << 24, 0xFF00_0000)


@given(files)
@settings(max_examples=150, deadline=None)
def test_what_is_printed_reads_back_as_the_same_file(file: AccessFile) -> None:
    assert unplaced(parse_access(print_access(file), PATH, SERVICES)) == unplaced(file)


def test_ident_levels_are_three_letters_and_nothing() -> None:
    levels = [None, IdentLevel.OFF, IdentLevel.LENIENT, IdentLevel.STRICT]
    printed = [print_rule(AccessRule(NOWHERE, Action.PERMIT, Anyone(), ident=level)) for level in levels]
    assert printed == ["permit ALL", "permit ?=n ALL", "permit ?=i ALL", "permit ?=I ALL"]


def test_a_host_with_the_name_of_a_word_of_the_grammar_has_a_dot() -> None:
    names = [NamePattern(Name(name), below) for name in ("report", "reports") for below in (False, True)]
    printed = [print_rule(AccessRule(NOWHERE, Action.DENY, Anyone(), name)) for name in names]
    assert printed == ["deny ALL report.", "deny ALL .report", "deny ALL reports", "deny ALL .reports"]


def test_ports_are_numbers_and_ranges() -> None:
    test = PortTest(PortOperator.IN, ((443, 443), (80, 90)))
    assert print_rule(AccessRule(NOWHERE, Action.DENY, TEN, ports=test)) == "deny 10.0.0.0 255.0.0.0 in 443,80-90"


def test_a_line_that_would_pass_the_limit_has_prefixes_for_its_pairs() -> None:
    fits = AccessRule(NOWHERE, Action.DENY, TEN, command="a" * (1023 - len("deny 10.0.0.0 255.0.0.0 : ")))
    long = AccessRule(NOWHERE, Action.DENY, TEN, command=f"{fits.command}a")
    assert print_rule(fits).startswith("deny 10.0.0.0 255.0.0.0 : a")
    assert len(print_rule(fits)) == 1023
    assert print_rule(long).startswith("deny 10.0.0.0/8 : a")
    file = AccessFile(PATH, (fits, long))
    assert unplaced(parse_access(print_access(file), PATH, SERVICES)) == file


def test_a_mask_with_holes_stays_a_pair_however_long_the_line() -> None:
    holes = AddressPattern(4, 10 << 24, 0xFF00_00FF)
    rule = AccessRule(NOWHERE, Action.DENY, holes, command="a" * 1023)
    assert print_rule(rule).startswith("deny 10.0.0.0 255.0.0.255 : ")


def test_a_prefix_of_one_host_is_its_address() -> None:
    assert print_prefix(AddressPattern(4, 1, 0xFFFF_FFFF)) == "0.0.0.1"
    assert print_prefix(AddressPattern(4, 0, 0xFFFF_FFFE)) == "0.0.0.0/31"
    assert print_prefix(AddressPattern(6, 1, (1 << 128) - 1)) == "::1"
    assert print_prefix(AddressPattern(6, 0, 0)) == "::/0"


def test_the_unspecified_address_is_not_printed_as_a_command() -> None:
    unspecified = AddressPattern(6, 0, (1 << 128) - 1)
    rule = AccessRule(NOWHERE, Action.DENY, unspecified, unspecified)
    assert print_rule(rule) == "deny ::/128 ::/128"
    assert unplaced(parse_access(print_rule(rule), PATH, SERVICES)).rules == (rule,)


def test_default_settings_are_printed_in_full() -> None:
    printed = print_settings(Settings())
    assert printed.startswith(
        'dialect = "classic"\nmultihomed = false\n\n'
        '[internal]\ninterface = ""\naddresses = ["127.0.0.1"]\nport = 1080\nnetworks = []\n\n'
        '[external]\ninterface = ""\npolicy_routing = true\nremove_at_exit = false\n'
    )
    assert "uplinks" not in printed
    assert '\n[sockd]\nworkers = 0\nident = "off"\n' in printed
    assert "\nidle = 7200\n" in printed
    assert parse_settings(printed, "gateway.toml") == Settings()


def test_uplinks_are_printed_without_what_they_take_from_elsewhere() -> None:
    probes = (Probe("tcp", Address(6, 1), 443), Probe("dns", Address(4, 1), 53))
    found = Settings(
        uplinks={
            "wan1": UplinkSettings("eth0", (Address(4, 2),), probes, LiveSessions.CUT),
            "eth0.100": UplinkSettings(probes=()),
        }
    )
    printed = (
        '\n[uplinks.wan1]\ninterface = "eth0"\ngateways = ["0.0.0.2"]\n'
        'probes = ["tcp ::1 443", "dns 0.0.0.1 53"]\nsessions = "cut"\n'
        '\n[uplinks."eth0.100"]\ninterface = ""\ngateways = []\nprobes = []\n\n[files]\n'
    )
    assert printed in print_settings(found)


def test_an_interface_is_printed_instead_of_the_addresses() -> None:
    printed = print_settings(Settings(internal=InternalSettings(interface="eth1")))
    assert '[internal]\ninterface = "eth1"\nport = 1080\n' in printed
    assert "addresses" not in printed.partition("[resolver]")[0]


def test_zones_are_printed_with_what_is_written_of_them() -> None:
    zones = (
        ZoneSettings(
            "Corp.Example",
            (TEN,),
            (ServerAddress(Address(4, 1), 0), ServerAddress(Address(6, 1), 5353), "/run/resolv.conf"),
            interface=("eth1",),
            records=('note TXT "a b"',),
            private=False,
            stale=True,
        ),
        ZoneSettings("."),
    )
    found = Settings(resolver=ResolverSettings(domain="corp.example", log=QueryLog.ALL, zone=zones))
    printed = print_settings(found)
    assert (
        '\nlog = "all"\n\n[[resolver.zone]]\nname = "Corp.Example"\nnetworks = ["10.0.0.0/8"]\n'
        'servers = ["0.0.0.1", "::1 5353", "/run/resolv.conf"]\ntls = ""\ninterface = "eth1"\n'
    ) in printed
    assert 'records = ["note TXT \\"a b\\""]\nprivate = false\nstale = true\nallow = []\n' in printed
    assert "private" not in printed.rpartition("[[resolver.zone]]")[2]
    assert parse_settings(printed, "/etc/gateway.toml") == found


def test_one_way_out_is_printed_alone_and_several_as_a_list() -> None:
    ways: tuple[tuple[tuple[str | Address, ...], str], ...] = (
        (("wan1",), '"wan1"'),
        ((Address(4, 1),), '"0.0.0.1"'),
        (("wan1", Address(6, 1)), '["wan1", "::1"]'),
    )
    for words, printed in ways:
        shown = print_settings(Settings(multihomed=True, external=ExternalSettings(interface=words)))
        assert "multihomed = true\n" in shown
        assert f"[external]\ninterface = {printed}\n" in shown
