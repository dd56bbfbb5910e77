"""What the manual pages list, against what the programs have: lines of the log, fields, commands, layers."""

import argparse
import re
import typing
from pathlib import Path

import msgspec
import pytest

import gateway
from gateway.address import parse_address
from gateway.cli.sockctl import COMMANDS, make_parser
from gateway.cli.top.sorting import Sort
from gateway.cli.top.table import COLUMNS, layout
from gateway.config.settings import ControlSettings, MetricsSettings
from gateway.control import protocol
from gateway.control.metrics import exposition
from gateway.daemon import children, messages, reloading, restart, seat, supervisor
from gateway.daemon.answers import KILLED
from gateway.daemon.messages import MAX_LISTENERS
from gateway.daemon.warden import KEPT
from gateway.net.shell import MAX_RUNNING
from gateway.netlink.desired import MOST_NETWORKS
from gateway.policy import access, router
from gateway.session.record import Record
from gateway.session.tcp import State
from gateway.system.privileges import CAPABILITIES
from gateway.system.sandbox import PROFILES, Family, Kind
from gateway.system.title import NAME_BYTES, short_name
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds
from tests.repo.test_layers import LAYERS
from tests.support.manual import manual_text


def section(page: str, start: str, end: str) -> str:
    """From one heading to another, which is not part of it."""
    _, _, rest = manual_text(page).partition(f"\n{start}\n")
    text, found, _ = rest.partition(f"\n{end}")
    assert found, f"{page} has no {start} before {end}"
    return text


def plain(text: str) -> str:
    """Without requests and quotation marks of the typesetter, in one line."""
    words = re.sub(r"^\.[A-Z]+ ?", "", text, flags=re.MULTILINE)
    return " ".join(words.replace('"', "").split())


def facts(*addresses: str, exists: bool = True, running: bool = True, index: int = 2, routed: bool = True) -> Facts:
    """Of wan1."""
    sources = tuple(address for text in addresses if (address := parse_address(text)))
    return Facts("wan1", exists, running, sources, (), index, frozenset({4} if routed else ()))


def test_every_field_of_a_record_is_described_in_its_order() -> None:
    described = re.findall(r"^\.TP\n\.BR? (.+)$", section("sockd.8", ".SS Records", ".SH EXIT"), re.MULTILINE)
    assert [word for line in described for word in re.findall(r"\w+", line)] == list(Record.__struct_fields__)


def test_the_lines_about_an_uplink_are_those_of_the_log() -> None:
    text = plain(section("sockd.8", ".SS Uplinks", ".SS The daemon"))
    probed, bare = (Health("wan1", "wan1", Thresholds(3, 2, back), probed=back > 0) for back in (10.0, 0.0))
    old, new = ("192.0.2.10", "2001:db8:1::10"), ("192.0.2.77", "2001:db8:1::10")
    silence = "203.0.113.10 port 80: timed out; 203.0.113.53 port 53: timed out"
    said = [
        *probed.observe(facts(*old), 0.0),
        *probed.observe(facts(*new), 0.5),
        *probed.observe(facts(*new, running=False), 1.0),
        *probed.observe(facts(*new), 2.0),
        *probed.probed(probed.generation, True, "", 3.0),
        *probed.probed(probed.generation, True, "", 4.0),
        *probed.tick(14.0),
        *bare.observe(facts(*old), 0.0),
        *bare.observe(facts(*old, running=False), 1.0),
        *bare.observe(facts(*old), 2.0),
        *bare.observe(facts(*old, index=3), 3.0),
    ]
    assert len(said) == 10
    assert [line for line in said if line not in text] == []
    fallen = [line for _ in range(3) for line in probed.probed(probed.generation, False, silence, 20.0)]
    causes = [
        *fallen,
        *probed.observe(facts(*new, routed=False), 21.0),
        *probed.observe(facts(exists=False, running=False), 22.0),
        *probed.observe(facts(), 23.0),
    ]
    assert len(causes) == 4
    assert [line for line in causes if line.partition("down: ")[2] not in text] == []


def test_the_limits_are_those_that_are_held() -> None:
    assert f"At most {MAX_LISTENERS} addresses" in manual_text("sockd.8")
    assert f"More than {MAX_LISTENERS};" in manual_text("sockd.8")
    assert f"{MAX_LISTENERS} at most" in manual_text("gateway.toml.5")
    assert f"rules for {MOST_NETWORKS} of them" in manual_text("gateway.toml.5")
    assert f"last {router.REMEMBERED:,} answers" in manual_text("design.7")
    assert router.REMEMBERED == access.REMEMBERED


def test_every_command_of_sockctl_has_its_section() -> None:
    headings = re.findall(r"^\.SH (\w+)$", manual_text("sockctl.8"), re.MULTILINE)
    assert {command.upper() for command in COMMANDS} <= set(headings)


_SHARED = {"-h", "-s", "-f", "--json", "--user", "--from", "--to", "--rule", "--egress", "--session"}
"""What WHICH DAEMON and WHICH SESSIONS describe for all commands."""


_OWN = {"explain": _SHARED - {"-h"}, "resolve": {"--from"}}
"""Those of them that mean something else with a command, which describes them itself."""


def options_of(name: str) -> set[str]:
    """One spelling of each option of a command of sockctl, the short one where there are two."""
    (commands,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    parser = commands.choices[name]
    below = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    all_parsers = [parser, *(one for action in below for one in action.choices.values())]
    return {action.option_strings[0] for one in all_parsers for action in one._actions if action.option_strings}


def described(text: str) -> set[str]:
    """The options that have a paragraph of their own."""
    heads = re.findall(r"^\.TP\n\.[BIR]+ (.+)$", text, re.MULTILINE)
    return {word for head in heads for word in re.findall(r"(?<![\w-])--?[A-Za-z]+", head)}


def command_section(name: str) -> str:
    """Of sockctl(8)."""
    return section("sockctl.8", f".SH {name.upper()}", ".SH ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_described_and_no_other(name: str) -> None:
    own, shared = described(command_section(name)), _SHARED - _OWN.get(name, set())
    wanted = options_of(name)
    assert wanted - shared <= own
    assert {option for option in own if len(option) > 2 or option in ("-n", "-d", "-C", "-v")} <= (
        wanted | {"--verbose", "-s", "-f"}
    )


def test_the_shared_options_are_described() -> None:
    text = section("sockctl.8", ".SH WHICH DAEMON", ".SH STATUS")
    assert described(text) == _SHARED - {"-h"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_its_exit_status(name: str) -> None:
    assert "\nThe exit status is " in command_section(name)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        (
            "status",
            (
                protocol.Report,
                protocol.Totals,
                protocol.Process,
                protocol.UplinkRow,
                protocol.ResolverTotals,
                protocol.ZoneRow,
                protocol.ServerRow,
            ),
        ),
        ("sessions", (protocol.Live,)),
        ("rules", (protocol.RuleUse,)),
        ("reload", (protocol.Reloaded,)),
        ("resolve", (protocol.Resolved,)),
        ("cache", (protocol.CacheEntry,)),
    ],
)
def test_every_key_of_an_answer_is_listed(name: str, answers: tuple[type[msgspec.Struct], ...]) -> None:
    _, found, listed = command_section(name).partition("--json")
    assert found
    words = set(re.findall(r"\w+", listed))
    assert {key for answer in answers for key in answer.__struct_fields__} - words == set()


def test_the_tables_of_the_daemon_that_is_asked_are_described_with_their_defaults() -> None:
    control = section("gateway.toml.5", ".SS [control]", ".SS ")
    metrics = section("gateway.toml.5", ".SS [metrics]", ".SH ")
    for text, table in ((control, ControlSettings()), (metrics, MetricsSettings())):
        keys = re.findall(r'^\.BR (\w+) " = " (.+)$', text, re.MULTILINE)
        shown = {
            key: f'"{value}"' if isinstance(value, str) else str(list(value) if value == () else value)
            for key, value in msgspec.structs.asdict(table).items()
        }
        assert dict(keys) == shown


def test_the_end_of_a_session_that_was_killed_is_the_one_of_its_record() -> None:
    assert KILLED in command_section("kill")


def test_the_socket_of_the_settings_is_the_one_of_the_pages() -> None:
    for page in ("sockctl.8", "sockd.8"):
        assert f".I {ControlSettings().socket}\n" in manual_text(page)


def test_the_processes_are_called_as_they_are() -> None:
    for page in (manual_text("sockd.8"), manual_text("design.7")):
        for name in ("gateway", "warden", "watcher", "helper", "resolver", "worker 1"):
            assert f"sockd: {name}" in page
    assert short_name("worker 10") == "sockd: worker10"
    assert "worker10" in manual_text("sockd.8")
    assert f"{NAME_BYTES} bytes of the name" in manual_text("sockd.8")


def test_the_times_of_processes_are_those_that_are_held() -> None:
    text = plain(manual_text("sockd.8"))
    first, last = children.FIRST_DELAY, children.LAST_DELAY
    assert f"another after {first:g} seconds; that delay is doubled each time, up to {last:g} seconds" in text
    assert f"does not begin its work within {supervisor.START_SECONDS:g} seconds" in text
    assert f"has not ended after {children.STOP_SECONDS:g} seconds is killed" in text
    assert f"did not take over the new ones within {reloading.SWAP_SECONDS:g} seconds" in text
    assert f"does not answer , after {seat.ANSWER_SECONDS:g} seconds" in text
    assert f"can not load them within {reloading.LOAD_SECONDS:g} seconds" in text


def test_the_wardens_keep_the_capabilities_that_are_told() -> None:
    kept = {CAPABILITIES[number].upper() for number in KEPT}
    for text in (section("sockd.8", ".SH SECURITY", ".SH EXAMPLES"), section("design.7", ".SS Privileges", ".SS ")):
        assert set(re.findall(r"CAP_\w+", text)) == kept
    told = section("sockctl.8", ".SH STATUS", ".SH SESSIONS")
    assert ",".join(CAPABILITIES[number].removeprefix("cap_") for number in sorted(KEPT)) in told


def test_what_the_processes_may_do_is_told_as_it_is_held() -> None:
    text = plain(section("sockd.8", ".SH SECURITY", ".SH EXAMPLES"))
    runs = {kind for kind, profile in PROFILES.items() if "execve" in " ".join(profile.calls)}
    assert runs == {Kind.SUPERVISOR, Kind.HELPER}
    assert "Only the supervisor and the helper can run programs" in text
    without = {kind for kind, profile in PROFILES.items() if Family.ROUTE not in profile.families}
    assert without == {Kind.WORKER, Kind.RESOLVER}
    assert "Workers and resolvers can not use netlink" in text
    assert PROFILES[Kind.RESOLVER].readable[0] == "/etc/ssl"
    assert "the certificates of authorities in /etc/ssl" in text
    assert all(place in text for place in PROFILES[Kind.HELPER].writable)
    assert PROFILES[Kind.WORKER].writable == PROFILES[Kind.RESOLVER].writable == ("/dev/null",)


def test_commands_are_as_many_at_a_time_as_is_told() -> None:
    assert f"At most {MAX_RUNNING} run at a time" in manual_text("sockd.8")
    assert f"while {MAX_RUNNING} commands are running" in manual_text("sockd.conf.5")


def test_the_settings_that_count_from_the_next_start_on_are_listed() -> None:
    listed = re.findall(r"^(\[\w+\])\t(.+)$", section("gateway.toml.5", ".SH RELOAD", ".SH "), re.MULTILINE)
    assert [f"{table} {key}" for table, keys in listed for key in keys.split(", ")] == [
        fixed.key for fixed in restart.FIXED
    ]


def test_every_message_of_the_processes_is_in_the_table() -> None:
    text = section("design.7", ".SS What they tell one another", ".SS ")
    (table,) = re.findall(r"^\.TS\n.*\.\n.*\n((?:.*\n)*?)\.TE$", text, re.MULTILINE)
    rows = [row.split("\t") for row in table.splitlines()]
    told = {word for *_, what in rows for word in re.findall(r"[A-Z]\w+", what)}
    assert told == {kind.__name__ for kind in typing.get_args(messages.Message)}
    for question, answer in messages.ANSWERS.items():
        assert any(f"{question.__name__}, by {answer.__name__}" in what for *_, what in rows)


def report() -> protocol.Report:
    """Of a daemon with a process, an uplink and a resolver."""
    process = protocol.Process("worker 1", 1, 0, (), (), True, "on", "ABI 7")
    uplink = protocol.UplinkRow("wan1", "wan1", "up", ("192.0.2.10",), "link is up")
    server = protocol.ServerRow("10.0.0.53", "up", "", 1.5, 1, 0, "eth1")
    zone = protocol.ZoneRow("corp.example", (0,), True, (server,), 1, 1, 0)
    time = "2026-11-22T04:17:32Z"
    return protocol.Report(
        "1", 1, time, time, "0" * 64, "/etc/gateway.toml", True, False, (), protocol.Totals(), (process,), (uplink,),
        (), protocol.ResolverTotals(), (zone,), ()
    )  # fmt: skip


def test_every_metric_is_listed() -> None:
    text = exposition(report(), [protocol.RuleUse("sockd.conf:1", "", 1, 0, 0, "2026-11-22T04:17:32Z")]).decode()
    served = set(re.findall(r"^(gateway_\w+)", text, re.MULTILINE))
    assert set(re.findall(r"^(gateway_\w+)", command_section("metrics"), re.MULTILINE)) == served


def test_the_columns_and_orders_of_top_are_listed() -> None:
    text = plain(command_section("top"))
    assert [column.title for column in COLUMNS if f" {column.title}" not in text] == []
    assert ", ".join(sort.value for sort in Sort).partition(", bytes")[0] in text.replace(" ,", ",")
    (width,) = map(int, re.findall(r"at (\d+) columns", text))
    assert len(layout(width)) == len(COLUMNS) > len(layout(width - 1))


def test_every_state_of_a_session_is_listed() -> None:
    text = command_section("sessions")
    assert [state.name for state in State if state.name.lower() not in text] == ["ENDED"]


def test_the_completions_are_where_the_page_says() -> None:
    folder = Path(gateway.__file__).parent / "completion"
    listed = re.findall(r"^(\S+)\t/usr/share/", section("sockctl.8", ".SH COMPLETION", ".SH "), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in folder.iterdir() if path.is_file())


def test_the_layers_are_those_that_are_held() -> None:
    text = section("design.7", ".SH LAYERS", ".SH ")
    (table,) = re.findall(r"^\.TS\n.*\.\n((?:.*\n)*?)\.TE$", text, re.MULTILINE)
    found: dict[str, int] = {}
    layer = 0
    for number, rooms, *_ in (row.split("\t") for row in table.splitlines() if "\t" in row):
        layer = int(number or layer)
        found |= dict.fromkeys(rooms.split(), layer)
    assert found == {room: layer for room, layer in LAYERS.items() if room != "__init__"}
