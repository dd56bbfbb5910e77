"""`gateway.config.settings`: every key with both sides of its edges, every mistake with its line, any text at all."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gateway
from gateway.address import Address
from gateway.config.fields import mask_of
from gateway.config.printer import print_settings
from gateway.config.rules import AddressPattern, Dialect, IdentLevel
from gateway.config.settings import (
    FACILITIES,
    LOG_CLASSES,
    ControlSettings,
    ExternalSettings,
    FilesSettings,
    InternalSettings,
    LiveSessions,
    LogSettings,
    MetricsSettings,
    Probe,
    QueryLog,
    ResolverSettings,
    ServerAddress,
    Settings,
    SockdSettings,
    TimeoutsSettings,
    UplinkSettings,
    ZoneSettings,
    examine_settings,
    parse_settings,
)
from gateway.errors import ConfigError
from tests.support import ways
from tests.support.manual import manual_examples, manual_text

VECTORS = Path(__file__).parents[2] / "vectors" / "config"
PATH = "/etc/gateway.toml"


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, PATH)
    return [str(problem).removeprefix(f"{PATH}") for problem in caught.value.problems]


def value_of(table: str, key: str, toml: str) -> Any:
    found = parse_settings(f"[{table}]\n{key} = {toml}\n", PATH)
    return getattr(getattr(found, table), key)


def test_an_empty_file_gives_the_defaults() -> None:
    found = parse_settings("", PATH)
    assert found == Settings(
        dialect=Dialect.CLASSIC,
        multihomed=False,
        internal=InternalSettings("", (Address(4, 0x7F000001),), 1080, ()),
        external=ExternalSettings((), True, False, 20000, 20000, (), 5, 2, 3, 2, 30, LiveSessions.KEEP),
        uplinks={},
        files=FilesSettings("/etc/sockd.conf", "", ""),
        sockd=SockdSettings(0, IdentLevel.OFF, 0, "nobody", "/run/sockd.pid", True),
        resolver=ResolverSettings((), 53, 1, "", (), "", 100_000, 0, 1000, QueryLog.FAILURES, ()),
        timeouts=TimeoutsSettings(30, 120, 7200, 10, 15, 60),
        log=LogSettings("syslog", "none", "daemon", ("denied", "connected", "resource")),
    )


def test_every_key_is_understood() -> None:
    text = (VECTORS / "good" / "gateway.toml").read_text()
    assert parse_settings(text, PATH) == Settings(
        dialect=Dialect.Y1992,
        multihomed=True,
        internal=InternalSettings(
            "",
            (Address(4, 0xC0A80701), Address(6, 0xFD000007 << 96 | 1)),
            0,
            (
                AddressPattern(4, 0xC0A80000, 0xFFFF0000),
                AddressPattern(6, 0xFD000007 << 96, mask_of(6, 32)),
                AddressPattern(4, 0x0A090909, 0xFFFFFFFF),
            ),
        ),
        external=ExternalSettings(
            ("wan1", Address(4, 0xCB007107), "eth9"),
            False,
            True,
            1000,
            32000,
            (
                Probe("tcp", Address(4, 0xC6336401), 443),
                Probe("tcp", Address(6, 0x20010DB8 << 96 | 1), 443),
                Probe("dns", Address(4, 0xC0000235), 53),
                Probe("dns", Address(4, 0xC0000235), 5353),
            ),
            0.5,
            0.5,
            100,
            1,
            0,
            LiveSessions.CUT,
        ),
        uplinks={
            "wan1": UplinkSettings(
                "eth0", (Address(4, 0xC00002FE), Address(6, 0xFE80 << 112 | 1)), (), LiveSessions.KEEP
            ),
            "eth0.100": UplinkSettings("", (), None, None),
        },
        files=FilesSettings("/etc/rules/sockd.conf", "/etc/sockd.route", "/etc/sockd.passwords"),
        sockd=SockdSettings(64, IdentLevel.LENIENT, 20000, "proxy", "/etc/sockd.pid", False),
        resolver=ResolverSettings(
            (Address(4, 0xC0A80701),),
            5353,
            2,
            "corp.example",
            (AddressPattern(4, 0xC0A80000, 0xFFFF0000),),
            "/etc/hosts",
            1000,
            1_000_000,
            1,
            QueryLog.ALL,
            (
                ZoneSettings(
                    "Corp.Example.",
                    (AddressPattern(4, 0xAC100000, 0xFFF00000),),
                    (
                        ServerAddress(Address(4, 0xC0A80735), 0),
                        ServerAddress(Address(6, 0xFD000007 << 96 | 0x35), 5353),
                        "/run/resolv.conf",
                    ),
                    "",
                    ("eth1", Address(4, 0xC0A80701)),
                    ("www.corp.example",),
                    (AddressPattern(4, 0xC0A80800, 0xFFFFFF00),),
                    "/etc/corp.hosts",
                    ("printer 1h A 192.168.7.9", "*.dev CNAME host1"),
                    True,
                    False,
                    (),
                    30,
                    30,
                    0,
                ),
                ZoneSettings(
                    ".",
                    servers=(ServerAddress(Address(4, 0xC0000235), 853),),
                    tls="dns.example.net",
                    stale=True,
                    allow=("lab.example.org",),
                    max_ttl=604_800,
                    negative_ttl=86_400,
                ),
            ),
        ),
        timeouts=TimeoutsSettings(5, 0.5, 31_622_400, 10, 15, 60),
        log=LogSettings("/var/log/sockd.log", "stderr", "local7", ("resource", "denied")),
        control=ControlSettings("/etc/control.sock", "adm"),
        metrics=MetricsSettings((Address(4, 0x7F000001), Address(6, 1)), 9000),
    )


def test_every_mistake_is_shown_with_its_line() -> None:
    text = (VECTORS / "broken" / "every-key.toml").read_text()
    expected = (VECTORS / "broken" / "every-key.problems").read_text().splitlines()
    assert faults_of(text) == [f":{line}" for line in expected]


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse_settings("", PATH).internal.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        parse_settings("[uplinks.wan1]", PATH).uplinks["wan1"] = UplinkSettings()  # type: ignore[index]


@pytest.mark.parametrize(
    ("table", "key", "toml", "value"),
    [
        ("internal", "port", "0", 0),
        ("internal", "port", "65535", 65535),
        ("internal", "addresses", '["::1"]', (Address(6, 1),)),
        ("sockd", "workers", "0", 0),
        ("sockd", "workers", "64", 64),
        ("sockd", "sessions", "1000000000", 10**9),
        ("sockd", "ident", '"strict"', IdentLevel.STRICT),
        ("timeouts", "idle", "0.001", 0.001),
        ("timeouts", "idle", "1", 1.0),
        ("log", "classic", '"none"', "none"),
        ("log", "classic", '"/a"', "/a"),
        ("log", "classic", '"journald"', "journald"),
        ("log", "json", '"stderr"', "stderr"),
        ("log", "json", '"stdout"', "stdout"),
        ("log", "classes", "[]", ()),
        ("log", "classes", '["connected"]', ("connected",)),
        ("files", "passwords", '""', ""),
        ("files", "passwords", '"p"', "/etc/p"),
        ("files", "access", '"../a b"', "/etc/../a b"),
        ("files", "routes", '""', ""),
        ("files", "routes", '"r"', "/etc/r"),
        ("sockd", "titles", "false", False),
        ("control", "socket", '""', ""),
        ("control", "socket", '"s"', "/etc/s"),
        ("metrics", "addresses", "[]", ()),
    ],
)
def test_values(table: str, key: str, toml: str, value: object) -> None:
    found = value_of(table, key, toml)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("table", "key", "toml"),
    [
        ("internal", "port", "-1"),
        ("internal", "port", "65536"),
        ("internal", "port", "80.0"),
        ("internal", "port", "true"),
        ("internal", "port", '"80"'),
        ("internal", "port", "[80]"),
        ("internal", "port", "1979-05-27"),
        ("internal", "addresses", '"127.0.0.1"'),
        ("internal", "addresses", "[127]"),
        ("internal", "addresses", '["127.0.0.1", 5]'),
        ("internal", "networks", "{}"),
        ("sockd", "workers", "65"),
        ("sockd", "sessions", "1000000001"),
        ("sockd", "ident", "true"),
        ("sockd", "ident", '"STRICT"'),
        ("sockd", "ident", "1"),
        ("sockd", "user", '""'),
        ("timeouts", "idle", "0"),
        ("timeouts", "idle", "-0.5"),
        ("timeouts", "idle", "nan"),
        ("timeouts", "idle", "31622401"),
        ("timeouts", "idle", "true"),
        ("log", "json", '"syslog"'),
        ("log", "json", '"journald"'),
        ("log", "classic", '"stdout"'),
        ("log", "classes", '"denied"'),
        ("log", "classes", "[1]"),
        ("log", "classic", '"relative.log"'),
        ("log", "classic", '""'),
        ("log", "classic", "false"),
        ("log", "facility", '"DAEMON"'),
        ("log", "facility", "3"),
        ("files", "passwords", "0"),
        ("files", "routes", "false"),
        ("sockd", "titles", "0"),
        ("control", "socket", "0"),
        ("control", "group", "0"),
        ("metrics", "addresses", '"::1"'),
    ],
)
def test_values_of_the_wrong_kind_name_the_key_and_what_is_expected(table: str, key: str, toml: str) -> None:
    (fault,) = faults_of(f"[{table}]\n{key} = {toml}\n")
    assert fault.startswith(f":2: {table}.{key}: expected ")
    assert ", not " in fault


@pytest.mark.parametrize(
    ("table", "key", "toml", "fault"),
    [
        ("internal", "addresses", "[]", "at least one address is needed, or nobody can connect"),
        ("internal", "addresses", '["::1", "0::1"]', "'0::1' stands there twice"),
        ("internal", "addresses", '["localhost"]', "'localhost' is no IPv4 or IPv6 address"),
        ("internal", "addresses", '["127.1"]', "'127.1' is no IPv4 or IPv6 address"),
        ("internal", "networks", '["10.0.0.0/33"]', "'10.0.0.0/33': the number of bits after '/' is from 0 to 32"),
        ("internal", "networks", '["lan"]', "'lan' is no IPv4 or IPv6 address; a prefix is written 10.0.0.0/8"),
        ("files", "access", '""', "the name of a file is missing"),
        ("sockd", "pidfile", '""', "the name of a file is missing"),
        ("files", "access", '"a\\nb"', "'a\\nb' holds a character that can not be seen"),
        (
            "log",
            "classes",
            '["denied", "Denied"]',
            "'Denied' is no class of lines, which are denied, connected, resource",
        ),
        ("log", "classes", '["denied", "denied"]', "'denied' stands there twice"),
        ("log", "json", '"/a\\u0000b"', "'/a\\x00b' holds a character that can not be seen"),
    ],
)
def test_values_that_are_refused_for_their_own_reason(table: str, key: str, toml: str, fault: str) -> None:
    (found,) = faults_of(f"[{table}]\n{key} = {toml}\n")
    assert found.startswith(f":2: {table}.{key}: {fault}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            "port = 1",
            ":1: unknown key 'port' at the top of the file; it belongs in [internal] or [resolver] or [metrics]",
            id="home",
        ),
        pytest.param(
            "ident = 1",
            ":1: unknown key 'ident' at the top of the file; it belongs in [sockd] or [timeouts]",
            id="homes",
        ),
        pytest.param("[log]\nfacilty = 1", ":2: unknown key 'facilty' in [log]; facility may be meant", id="a slip"),
        pytest.param(
            "[log]\nx = 1", ":2: unknown key 'x' in [log]; known are classic, json, facility, classes", id="no idea"
        ),
        pytest.param("[lgo]", ":1: unknown key 'lgo' at the top of the file; log may be meant", id="a table"),
        pytest.param("[[log]]", ":1: log: a table is expected, such as [log], not a list", id="a list of tables"),
        pytest.param("log = 'stderr'", ":1: log: a table is expected, such as [log], not 'stderr'", id="a text"),
    ],
)
def test_keys_that_do_not_exist_are_refused_with_a_hint(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("dialect = ", ":1: not TOML: Invalid value", id="no value"),
        pytest.param("a = 1\na = 2\n", ":2:6: not TOML: Cannot overwrite a value", id="a key twice"),
        pytest.param('a = 1\nb = """\n', ":3: not TOML: ", id="an end that is missing"),
        pytest.param("\n[log\n", ":2:5: not TOML: ", id="half a table"),
        pytest.param("a = " + "1" * 5000, ": not TOML that can be read", id="a number too long for Python"),
        pytest.param("a = " + "[" * 5000, ": not TOML that can be read", id="lists too deep for Python"),
    ],
)
def test_what_is_no_toml_is_placed(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("[internal]\n# port = 1\nport = -1\n", 3, id="after a comment that shows the key"),
        pytest.param("[sockd]\nuser = 'port = 1'\n[internal]\nport = -1\n", 4, id="after a text that shows the key"),
        pytest.param(
            "[sockd]\nuser = '''\nport = 1\n'''\n[internal]\nport = -1\n", 6, id="after a text of several lines"
        ),
        pytest.param("internal.port = -1\n", 1, id="a dotted key"),
        pytest.param("\ninternal = { port = -1 }\n", 2, id="an inline table"),
        pytest.param('[internal]\n"port" = -1\n', 2, id="a key in quotes"),
        pytest.param("[internal]\r\n\r\nport = -1\r\n", 3, id="the line ends of DOS"),
        pytest.param('[internal]\nport = """\n\n"""\nnetworks = []\n', 2, id="a value of several lines"),
        pytest.param('[internal]\n"\\u0070ort" = -1\n', 2, id="a key that is written with an escape"),
    ],
)
def test_the_line_of_a_key_is_found_however_it_is_written(text: str, line: int) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith(f":{line}: internal.port")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("[uplinks.wan1]\n[uplinks.wan2]\nprobes = 1\n", 3, id="a table"),
        pytest.param("[uplinks.wan1]\nprobes = []\n[uplinks.wan2]\nprobes = 1\n", 4, id="after another's"),
        pytest.param("[uplinks.wan2]\nprobes = 1\n[uplinks.wan1]\nprobes = []\n", 2, id="before another's"),
        pytest.param("[uplinks]\nwan1.probes = []\nwan2.probes = 1\n", 3, id="a dotted key"),
        pytest.param("\nuplinks.wan2.probes = 1\n", 2, id="a dotted key at the top"),
        pytest.param("[uplinks]\nwan1 = { probes = [] }\nwan2 = { probes = 1 }\n", 3, id="an inline table"),
        pytest.param("uplinks = { wan1 = { probes = [] }, wan2 = { probes = 1 } }\n", 1, id="two in one line"),
        pytest.param("[uplinks.'wan2']\nprobes = 1\n", 2, id="a name in quotes"),
        pytest.param("[uplinks.wan2]\ninterface = 'probes'\nprobes = 1\n", 3, id="after a text that shows the key"),
    ],
)
def test_the_line_of_a_key_of_an_uplink_is_found_however_it_is_written(text: str, line: int) -> None:
    (fault,) = faults_of(text)
    assert fault.startswith(f":{line}: uplinks.wan2.probes: ")


@pytest.mark.parametrize(
    ("path", "access"),
    [("/etc/gateway.toml", "/etc/sockd.conf"), ("gateway.toml", "sockd.conf"), ("run/gateway.toml", "run/sockd.conf")],
)
def test_names_of_files_are_taken_from_the_folder_of_the_settings(path: str, access: str) -> None:
    assert parse_settings('[files]\naccess = "sockd.conf"\n', path).files.access == access


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        pytest.param("port = 1\n", True, id="an unknown key"),
        pytest.param("[log]\njson = 1\n", True, id="a mistake elsewhere"),
        pytest.param("dialect = 1\n", False, id="a mistake in the dialect"),
        pytest.param("[files]\naccess = 1\n", False, id="a mistake in the files"),
        pytest.param("[files]\nroutes = 1\n", False, id="a mistake in the routes"),
        pytest.param("multihomed = true\n", True, id="a contradiction"),
        pytest.param("[uplinks.wan1]\nprobes = 1\n", True, id="a mistake in an uplink"),
        pytest.param("[files", False, id="no TOML"),
    ],
)
def test_refused_settings_still_tell_of_their_files_when_they_can(text: str, usable: bool) -> None:
    found, problems = examine_settings(text, PATH)
    assert len(problems) == 1
    assert (found is not None) == usable


def test_facilities_have_the_codes_of_syslog() -> None:
    syslog = pytest.importorskip("syslog")
    for name in ("user", "mail", "daemon", "auth", "lpr", "news", "uucp", "cron", "local0", "local7"):
        assert FACILITIES[name] << 3 == getattr(syslog, f"LOG_{name.upper()}")


def test_the_manual_describes_every_key_with_its_default() -> None:
    text = manual_text("gateway.toml.5")
    assert [name for name in FACILITIES if name.rstrip("0123456789") not in text] == []
    described = re.findall(r'^(?:\.SS \[(\w+)\]|\.BR (\w+) " = " (.*))$', text, re.MULTILINE)
    # A blank within a word of troff has a backslash.
    defaults = [(table, key, default.replace("\\ ", " ")) for table, key, default in described]
    lines = [f"[{table}]" if table else f"{key} = {default}" for table, key, default in defaults]
    written = [line for line in print_settings(Settings()).splitlines() if line]
    assert lines == written


def test_the_manual_describes_every_key_of_an_uplink() -> None:
    (section,) = re.findall(
        r"^\.SS \[uplinks\.NAME\]$(.*?)^\.SS", manual_text("gateway.toml.5"), re.DOTALL | re.MULTILINE
    )
    assert re.findall(r"^\.TP\n\.B (\w+)$", section, re.MULTILINE) == list(UplinkSettings.__struct_fields__)


def test_the_manual_describes_every_key_of_a_zone() -> None:
    text = manual_text("gateway.toml.5")
    (section,) = re.findall(r"^\.SS \[\[resolver\.zone\]\]$(.*?)^\.SS", text, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\.TP\n\.B (\w+)$", section, re.MULTILINE) == list(ZoneSettings.__struct_fields__)
    zone = ZoneSettings()
    for key in ("min_ttl", "max_ttl", "negative_ttl"):
        described = section.partition(f".B {key}\n")[2].partition(".TP")[0]
        assert re.search(rf"\b{getattr(zone, key)}\b.*if it is not written", described)


def test_the_manual_says_how_long_a_failover_and_a_failback_take_with_the_defaults() -> None:
    external = Settings().external
    text = " ".join(manual_text("gateway.toml.5").split())
    assert f"{external.fall * external.interval + external.timeout:g} with the defaults" in text
    assert f"{external.rise * external.interval + external.failback:g} with the defaults" in text


def test_the_examples_of_the_manual_are_understood() -> None:
    texts = manual_examples("gateway.toml.5")
    found = [parse_settings(text, PATH) for text in texts]
    assert [(example.dialect, example.multihomed) for example in found] == [
        (Dialect.CLASSIC, False),
        (Dialect.CLASSIC, True),
        (Dialect.CLASSIC, True),
        (Dialect.Y1992, False),
    ]


def test_the_starter_settings_are_understood_and_keep_every_file_in_their_own_folder() -> None:
    path = Path(gateway.__file__).parent / "starter" / "gateway.toml"
    found = parse_settings(path.read_text(), "/x/gateway.toml")
    assert (found.files.access, found.control.socket) == ("/x/sockd.conf", "/x/control.sock")
    assert not found.multihomed


_prefixes = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda pair: AddressPattern(4, pair[0] & mask_of(4, pair[1]), mask_of(4, pair[1]))
    ),
    st.tuples(st.integers(0, 2**128 - 1).filter(lambda number: number >> 32 != 0xFFFF), st.integers(0, 96)).map(
        lambda pair: AddressPattern(6, pair[0] & mask_of(6, pair[1]), mask_of(6, pair[1]))
    ),
)
_addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: Address(4, number)),
    st.integers(0, 2**128 - 1).map(lambda number: Address(6, number)),
)
_seconds = st.one_of(st.integers(1, 10**6), st.floats(0.001, 10**6))
_visible = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
_paths = st.text(_visible, min_size=1, max_size=20).map(lambda text: "/" + text)
_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,5}", fullmatch=True)
_hosts = st.one_of(
    st.integers(1, 0xDFFF_FFFF).map(lambda number: Address(4, number)),
    st.integers(1, (0xFF << 120) - 1).map(lambda number: Address(6, number)),
)
_probes = st.lists(
    st.builds(Probe, st.sampled_from(["tcp", "dns"]), _hosts, st.integers(1, 65535)), max_size=3, unique=True
).map(tuple)
_external = st.builds(
    lambda times, **others: ExternalSettings(timeout=times[0], interval=times[1], **others),
    times=st.tuples(_seconds, _seconds).map(sorted),
    interface=st.lists(ways.words, max_size=3, unique=True).map(tuple),
    policy_routing=st.booleans(),
    remove_at_exit=st.booleans(),
    table=st.integers(1000, 2**31),
    priority=st.integers(1, 32000),
    probes=_probes,
    fall=st.integers(1, 100),
    rise=st.integers(1, 100),
    failback=st.one_of(st.integers(0, 86400), st.floats(0, 86400)),
    sessions=st.sampled_from(LiveSessions),
)
_gateways = st.lists(_hosts, max_size=2, unique_by=lambda address: address.version).map(tuple)
_uplinks = st.dictionaries(
    _names.flatmap(lambda name: st.sampled_from([name, f"{name}.100"])),
    st.builds(
        UplinkSettings,
        gateways=_gateways,
        probes=st.one_of(st.none(), _probes),
        sessions=st.one_of(st.none(), st.sampled_from(LiveSessions)),
    ),
    max_size=3,
).flatmap(
    # Names are at most ten bytes, so that these interfaces are nobody's names.
    lambda tables: st.lists(st.booleans(), min_size=len(tables), max_size=len(tables)).map(
        lambda renamed: {
            name: msgspec.structs.replace(table, interface=f"interface-{number:05}" if other else "")
            for number, ((name, table), other) in enumerate(zip(tables.items(), renamed, strict=True))
        }
    )
)


def _coherent(found: Settings) -> Settings:
    return msgspec.structs.replace(found, multihomed=bool(found.external.interface or found.files.routes))


_valid = st.builds(
    Settings,
    dialect=st.sampled_from(Dialect),
    internal=st.builds(
        InternalSettings,
        addresses=st.lists(_addresses, min_size=1, max_size=3, unique=True).map(tuple),
        port=st.integers(0, 65535),
        networks=st.lists(_prefixes, max_size=3).map(tuple),
    )
    | st.builds(InternalSettings, interface=_names, port=st.integers(0, 65535)),
    external=_external,
    uplinks=_uplinks,
    files=st.builds(
        FilesSettings, access=_paths, routes=st.just("") | _paths, passwords=st.one_of(st.just(""), _paths)
    ),
    sockd=st.builds(
        SockdSettings,
        workers=st.integers(0, 64),
        ident=st.sampled_from(IdentLevel),
        sessions=st.integers(0, 10**9),
        user=st.text("abc-_\"\\'é", min_size=1),
        pidfile=_paths,
        titles=st.booleans(),
    ),
    timeouts=st.builds(TimeoutsSettings, *[_seconds] * 6),
    log=st.builds(
        LogSettings,
        classic=st.one_of(st.sampled_from(["syslog", "journald", "stderr", "none"]), _paths),
        json=st.one_of(st.sampled_from(["stdout", "stderr", "none"]), _paths),
        facility=st.sampled_from(sorted(FACILITIES)),
        classes=st.lists(st.sampled_from(LOG_CLASSES), unique=True).map(tuple),
    ),
    control=st.builds(ControlSettings, socket=st.just("") | _paths, group=st.text("abc-_", max_size=8)),
    metrics=st.builds(
        MetricsSettings,
        addresses=st.lists(_addresses, max_size=3, unique=True).map(tuple),
        port=st.integers(0, 65535),
    ),
).map(_coherent)


@given(_valid)
@settings(max_examples=100, deadline=None)
def test_what_is_printed_reads_back_as_the_same_settings(found: Settings) -> None:
    read = parse_settings(print_settings(found), PATH)
    assert read == found
    assert list(read.uplinks) == list(found.uplinks)


_scalars = st.one_of(
    st.sampled_from(
        [
            "1",
            "-1",
            "1e400",
            "0x" + "f" * 5000,
            "true",
            "nan",
            '"none"',
            '"1992"',
            "[]",
            '["::1"]',
            '["wan1", "wan1"]',
            '["dns ::1"]',
            "{a = 1}",
            "1979-05-27",
        ]
    ),
    st.integers().map(str),
    st.text(max_size=8).filter(str.isprintable).map(json.dumps),
)
_keys = st.sampled_from(
    [
        *Settings.__struct_fields__,
        *InternalSettings.__struct_fields__,
        *SockdSettings.__struct_fields__,
        *ExternalSettings.__struct_fields__,
        *UplinkSettings.__struct_fields__,
        "uplinks.wan1.probes",
        "x",
        '"y z"',
        "log.json",
    ]
)
_statements = st.one_of(
    st.builds("{} = {}".format, _keys, _scalars),
    st.sampled_from(Settings.__struct_fields__).map("[{}]".format),
    st.sampled_from(
        ["", "# port = 1", "[[internal]]", "[log.x]", "[uplinks.wan1]", "[uplinks.a.b]", "[[uplinks.wan2]]"]
    ),
)
_toml = st.lists(_statements, max_size=8).map("\n".join)


@given(st.one_of(_toml, st.text(max_size=100)))
@example("a = [1,\r\n2]\r")
@example("internal.port = 0x" + "f" * 5000)
@settings(max_examples=300, deadline=None)
def test_any_text_is_settings_or_a_list_of_mistakes(text: str) -> None:
    try:
        found = parse_settings(text, PATH)
    except ConfigError as error:
        problems = error.problems
        assert problems
        lines = [problem.place.line for problem in problems]
        assert lines == sorted(lines)
        assert all(0 <= line <= text.count("\n") + 1 for line in lines)
    else:
        assert isinstance(found, Settings)
