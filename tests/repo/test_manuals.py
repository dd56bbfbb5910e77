"""What the manual pages list, against what the programs have: lines of the log, fields, commands, layers."""

import re

from gateway.address import parse_address
from gateway.cli.sockctl import COMMANDS
from gateway.daemon.children import process_name
from gateway.daemon.messages import MAX_LISTENERS
from gateway.netlink.desired import MOST_NETWORKS
from gateway.policy import access, router
from gateway.session.record import Record
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


def test_the_processes_are_called_as_they_are() -> None:
    text = manual_text("sockd.8")
    for name in ("warden", "worker 1"):
        assert process_name(name) in text
    assert process_name("worker 10") == "sockd: worker10"
    assert "worker10" in text


def test_the_layers_are_those_that_are_held() -> None:
    (table,) = re.findall(r"^\.TS\n.*\.\n((?:.*\n)*?)\.TE$", manual_text("design.7"), re.MULTILINE)
    found: dict[str, int] = {}
    layer = 0
    for number, rooms, *_ in (row.split("\t") for row in table.splitlines() if "\t" in row):
        layer = int(number or layer)
        found |= dict.fromkeys(rooms.split(), layer)
    assert found == {room: layer for room, layer in LAYERS.items() if room != "__init__"}
