"""The lab of two networks itself: what can reach what in it, and that its cables, cards and captures do as they say."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.lab.build import Lab, lab
from tests.support.lab.capture import Capture, Packet, capture, parse
from tests.support.lab.servers import needs_lab
from tests.support.lab.topology import (
    CLIENT,
    CLIENT6,
    GATEWAY,
    INSIDE,
    INSIDE_NAMES,
    INSIDE_WEB,
    ONLY_WAN1,
    ONLY_WAN1_6,
    ONLY_WAN2,
    ONLY_WAN2_6,
    OUTSIDE,
    OUTSIDE2,
    OUTSIDE_NAMES,
    PROXY,
    PROXY6,
    ROUTER1,
    SPLIT_DNS,
    TARGET_6,
    TARGET_A,
    TARGET_B,
    TWO_NETWORKS,
    WAN1,
    WAN1_6,
    WAN2,
    WAN2_6,
)
from tests.support.waiting import eventually, least

pytestmark = needs_lab


def fetch(made: Lab, host: str, url: str, *options: str) -> dict[str, str]:
    """What a target answers; empty when it cannot be reached."""
    done = made.run(host, "curl", "--silent", "--max-time", "2", *options, url)
    answer: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return answer


def answer(host: str, source: str, target: str) -> dict[str, str]:
    return {"host": host, "source": source, "target": target}


# --- what can reach what


def test_it_stands_within_two_seconds_and_leaves_nothing() -> None:
    def seconds() -> float:
        began = time.monotonic()
        with lab() as made:
            names = [Path(f"/run/netns/{space.name}") for space in made.spaces.values()]
            took = time.monotonic() - began
            assert all(name.exists() for name in names)
        assert not any(name.exists() for name in names)
        return took

    assert least(seconds, below=2) < 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(f"http://{TARGET_A}/", answer(OUTSIDE, WAN1, TARGET_A), id="A by the preferred uplink"),
        pytest.param(f"http://{TARGET_B}/", answer(OUTSIDE, WAN1, TARGET_B), id="B by the preferred uplink"),
        pytest.param(f"http://[{TARGET_6}]/", answer(OUTSIDE, WAN1_6, TARGET_6), id="the same with IPv6"),
        pytest.param(f"http://{ONLY_WAN1}/", answer(OUTSIDE, WAN1, ONLY_WAN1), id="what only wan1 has"),
        pytest.param(f"http://[{ONLY_WAN1_6}]/", answer(OUTSIDE, WAN1_6, ONLY_WAN1_6), id="the same with IPv6, wan1"),
        pytest.param(f"http://{ONLY_WAN2}/", {}, id="what only wan2 has, which the routes do not lead to"),
        pytest.param(f"http://{CLIENT}/", answer(INSIDE, PROXY, CLIENT), id="the inside"),
        pytest.param(f"http://[{CLIENT6}]/", answer(INSIDE, PROXY6, CLIENT6), id="the inside with IPv6"),
        pytest.param("http://www.example/", answer(OUTSIDE, WAN1, TARGET_A), id="a name of the outside"),
        pytest.param("http://six.example/", answer(OUTSIDE, WAN1_6, TARGET_6), id="a name that has IPv6 only"),
        pytest.param("http://corp.example/", answer(OUTSIDE, WAN1, TARGET_A), id="the name both sides have, outside"),
    ],
)
def test_from_the_gateway(networks: Lab, url: str, expected: dict[str, str]) -> None:
    assert fetch(networks, GATEWAY, url) == expected


@pytest.mark.parametrize(
    ("target", "source"),
    [
        pytest.param(TARGET_A, WAN2, id="IPv4"),
        pytest.param(f"[{TARGET_6}]", WAN2_6, id="IPv6"),
        pytest.param(ONLY_WAN2, WAN2, id="what only wan2 has"),
        pytest.param(f"[{ONLY_WAN2_6}]", WAN2_6, id="what only wan2 has, IPv6"),
    ],
)
def test_by_the_other_uplink_the_other_outside_answers(networks: Lab, target: str, source: str) -> None:
    expected = answer(OUTSIDE2, source, target.strip("[]"))
    assert fetch(networks, GATEWAY, f"http://{target}/", "--interface", "wan2") == expected


@pytest.mark.parametrize(
    ("host", "target"),
    [
        pytest.param(INSIDE, TARGET_A, id="from inside out"),
        pytest.param(INSIDE, f"[{TARGET_6}]", id="from inside out with IPv6"),
        pytest.param(INSIDE, ROUTER1, id="from inside to the next hop of the gateway"),
        pytest.param(OUTSIDE, CLIENT, id="from outside in"),
        pytest.param(OUTSIDE2, f"[{CLIENT6}]", id="from outside in with IPv6"),
        pytest.param(OUTSIDE, WAN2, id="from one outside to the other uplink"),
    ],
)
def test_there_is_no_path_without_the_gateway(networks: Lab, host: str, target: str) -> None:
    assert fetch(networks, host, f"http://{target}/") == {}


@pytest.mark.parametrize(
    ("route", "target"),
    [pytest.param("10.1.0.0/24", CLIENT, id="IPv4"), pytest.param("fd00:1::/64", f"[{CLIENT6}]", id="IPv6")],
)
def test_the_gateway_forwards_nothing(own_networks: Lab, route: str, target: str) -> None:
    """Even an outside that takes it for a router gets nothing through: not one packet reaches the inside."""
    via = WAN1_6 if ":" in route else WAN1
    assert own_networks.run(OUTSIDE, "ip", "route", "add", route, "via", via).returncode == 0
    with (
        capture(own_networks.spaces[GATEWAY], "wan1") as arriving,
        capture(own_networks.spaces[INSIDE], "eth0") as seen,
    ):
        assert fetch(own_networks, OUTSIDE, f"http://{target}/", "--max-time", "0.5") == {}
    assert arriving.packets(destination=target.strip("[]"), port=80)
    assert seen.packets(port=80) == []


@pytest.mark.parametrize(
    ("host", "address"),
    [
        pytest.param(INSIDE, INSIDE_WEB, id="inside it is the inside's own"),
        pytest.param(OUTSIDE, TARGET_A, id="outside it is public"),
    ],
)
def test_a_name_of_both_sides_depends_on_who_asks(networks: Lab, host: str, address: str) -> None:
    assert networks.run(host, "getent", "ahostsv4", "corp.example").stdout.split()[0] == address


@pytest.mark.parametrize(
    ("host", "name", "names"),
    [
        pytest.param(INSIDE, CLIENT, "client.corp.example", id="inside the inside's addresses have their names"),
        pytest.param(OUTSIDE, CLIENT, "wrong.example", id="outside they have wrong ones"),
        pytest.param(INSIDE, CLIENT6, "client.corp.example", id="the same with IPv6, inside"),
        pytest.param(OUTSIDE, CLIENT6, "wrong.example", id="the same with IPv6, outside"),
        pytest.param(INSIDE, "printer.lan", "printer.lan", id="a domain that only the inside has"),
        pytest.param(OUTSIDE, "printer.lan", "", id="it is nowhere outside"),
        pytest.param(OUTSIDE, "intranet.corp.example", "", id="nor is an inside name of a domain of both"),
        pytest.param(INSIDE, "shop.corp.example", "", id="and the other way round"),
        pytest.param(OUTSIDE, "shop.corp.example", "shop.corp.example", id="a name that only the outside has"),
    ],
)
def test_names_of_one_side_are_strange_to_the_other(networks: Lab, host: str, name: str, names: str) -> None:
    assert networks.run(host, "getent", "hosts", name).stdout.split()[1:] == names.split()


def test_the_inside_may_ask_the_gateway_instead() -> None:
    changed = {host.name: dict(host.files)["resolv.conf"] for host in SPLIT_DNS.hosts}
    before = {host.name: dict(host.files)["resolv.conf"] for host in TWO_NETWORKS.hosts}
    assert changed == {**before, INSIDE: f"nameserver {PROXY}\nnameserver {PROXY6}\n"}


def test_name_servers_are_strangers_to_one_another(networks: Lab) -> None:
    servers = {host: networks.run(host, "cat", "/etc/resolv.conf").stdout for host in (INSIDE, GATEWAY)}
    assert servers == {INSIDE: f"nameserver {INSIDE_NAMES}\n", GATEWAY: f"nameserver {OUTSIDE_NAMES}\n"}
    assert networks.run(INSIDE, "getent", "ahostsv4", "www.example").returncode != 0


def test_echo_greets_and_echoes(networks: Lab) -> None:
    with networks.spaces[GATEWAY].inside():
        connection = socket.create_connection((TARGET_B, 7), 2)
    with connection, connection.makefile("rwb") as stream:
        assert json.loads(stream.readline()) == answer(OUTSIDE, WAN1, TARGET_B)
        stream.write(b"again\n")
        stream.flush()
        assert stream.readline() == b"again\n"


@pytest.mark.parametrize("count", [0, 1, 65537])
def test_bulk_has_the_length_that_was_asked_for(networks: Lab, count: int) -> None:
    url = f"http://{TARGET_A}/bytes?n={count}"
    done = networks.run(GATEWAY, "curl", "--silent", "--output", "/dev/null", "--write-out", "%{size_download}", url)
    assert done.stdout == str(count)


# --- cables and cards

A = f"http://{TARGET_A}/"


def flags(made: Lab, card: str) -> set[str]:
    shown = made.run(GATEWAY, "ip", "-o", "link", "show", card).stdout
    return set(shown.partition("<")[2].partition(">")[0].split(","))


def addresses(made: Lab, card: str) -> list[str]:
    lines = made.run(GATEWAY, "ip", "-o", "addr", "show", "dev", card, "scope", "global").stdout.splitlines()
    return [line.split()[3] for line in lines]


def test_a_pulled_cable_takes_the_carrier_and_nothing_else(own_networks: Lab) -> None:
    own_networks.pull("wan1")
    assert eventually(lambda: "NO-CARRIER" in flags(own_networks, "wan1"))
    assert {"UP"} <= flags(own_networks, "wan1")
    assert addresses(own_networks, "wan1") == [f"{WAN1}/24", f"{WAN1_6}/64"]
    assert fetch(own_networks, GATEWAY, A, "--interface", "wan1", "--max-time", "0.3") == {}
    assert fetch(own_networks, GATEWAY, A, "--interface", "wan2")["host"] == OUTSIDE2
    own_networks.restore("wan1")
    assert eventually(lambda: "LOWER_UP" in flags(own_networks, "wan1"))
    for target in (TARGET_A, f"[{TARGET_6}]"):
        assert fetch(own_networks, GATEWAY, f"http://{target}/")["host"] == OUTSIDE


@pytest.mark.parametrize("target", [TARGET_A, f"[{TARGET_6}]"])
def test_a_mute_outside_keeps_the_link_but_answers_nothing(own_networks: Lab, target: str) -> None:
    own_networks.mute("wan1")
    with capture(own_networks.spaces[GATEWAY], "wan1") as seen:
        assert fetch(own_networks, GATEWAY, f"http://{target}/", "--max-time", "0.3") == {}
    assert "LOWER_UP" in flags(own_networks, "wan1")
    assert seen.packets(destination=target.strip("[]"), outgoing=True)
    assert [packet for packet in seen.packets(outgoing=False) if packet.protocol != "icmp6"] == []
    own_networks.unmute("wan1")
    assert fetch(own_networks, GATEWAY, f"http://{target}/")["host"] == OUTSIDE


def test_an_address_is_replaced_as_by_dhcp(own_networks: Lab) -> None:
    own_networks.replace_address("wan1", f"{WAN1}/24", "192.0.2.77/24")
    assert addresses(own_networks, "wan1") == ["192.0.2.77/24", f"{WAN1_6}/64"]
    assert fetch(own_networks, GATEWAY, A) == answer(OUTSIDE, "192.0.2.77", TARGET_A)
    own_networks.replace_address("wan1", f"{WAN1_6}/64", "2001:db8:1::77/64")
    assert fetch(own_networks, GATEWAY, f"http://[{TARGET_6}]/")["source"] == "2001:db8:1::77"


def test_a_card_goes_and_comes_back(own_networks: Lab) -> None:
    before = own_networks.run(GATEWAY, "ip", "route").stdout.splitlines()
    own_networks.remove_card("wan1")
    assert own_networks.run(GATEWAY, "ip", "link", "show", "wan1").returncode != 0
    assert fetch(own_networks, GATEWAY, A) == answer(OUTSIDE2, WAN2, TARGET_A)
    own_networks.insert_card("wan1")
    assert own_networks.run(GATEWAY, "ip", "route").stdout.splitlines() == before
    assert fetch(own_networks, GATEWAY, A) == answer(OUTSIDE, WAN1, TARGET_A)


def test_routes_that_went_with_a_card_set_down_come_again(own_networks: Lab) -> None:
    for state in ("down", "up"):
        assert own_networks.run(GATEWAY, "ip", "link", "set", "wan1", state).returncode == 0
    assert fetch(own_networks, GATEWAY, A)["host"] == OUTSIDE2
    own_networks.set_routes("wan1")
    assert eventually(lambda: fetch(own_networks, GATEWAY, A).get("host") == OUTSIDE)


@pytest.mark.parametrize("card", ["eth0", "wan3"])
def test_a_card_that_the_gateway_does_not_have_is_refused(networks: Lab, card: str) -> None:
    with pytest.raises(LookupError, match=f"no cable in {card} of gateway"):
        networks.pull(card)


# --- captures


def seen_by(made: Lab, card: str, act: Callable[[], object]) -> Capture:
    with capture(made.spaces[GATEWAY], card) as seen:
        act()
    return seen


def test_a_capture_sees_both_directions_and_its_own_card_only(networks: Lab) -> None:
    with capture(networks.spaces[GATEWAY], "wan1") as one, capture(networks.spaces[GATEWAY], "wan2") as two:
        assert fetch(networks, GATEWAY, A)
        first = one.packets(port=80)[:2]
    port = first[0].source_port
    assert first == [
        Packet(True, WAN1, TARGET_A, "tcp", port, 80, "S"),
        Packet(False, TARGET_A, WAN1, "tcp", 80, port, "SA"),
    ]
    assert two.packets(port=80) == []


def test_a_capture_sees_names_asked_for(networks: Lab) -> None:
    seen = seen_by(networks, "wan1", lambda: fetch(networks, GATEWAY, "http://six.example/"))
    assert seen.packets(destination=OUTSIDE_NAMES, protocol="udp", port=53, outgoing=True)
    assert {packet.flags for packet in seen.packets(destination=TARGET_6, outgoing=True)} >= {"S", "PA"}


def test_a_capture_misses_nothing_of_a_crowd(networks: Lab) -> None:
    def knock() -> None:
        for _ in range(50):
            with networks.spaces[GATEWAY].inside(), socket.create_connection((TARGET_A, 80), 15):
                pass

    def crowd() -> None:
        threads = [threading.Thread(target=knock) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    seen = seen_by(networks, "wan1", crowd)
    assert len([packet for packet in seen.packets(destination=TARGET_A, port=80) if packet.flags == "S"]) == 200


def test_a_capture_that_is_full_answers_nothing(networks: Lab) -> None:
    with capture(networks.spaces[GATEWAY], "wan1", most=3) as seen:
        assert fetch(networks, GATEWAY, A)
    with pytest.raises(AssertionError, match="lost"):
        seen.packets()


def test_a_capture_keeps_what_is_wanted(networks: Lab) -> None:
    with capture(networks.spaces[GATEWAY], "wan1", wanted=lambda packet: packet.flags == "S", most=3) as seen:
        assert fetch(networks, GATEWAY, A)
    assert [packet.destination for packet in seen.packets()] == [TARGET_A]


def test_a_capture_outlives_its_card(own_networks: Lab) -> None:
    with capture(own_networks.spaces[GATEWAY], "wan1") as seen:
        assert fetch(own_networks, GATEWAY, A)
        own_networks.remove_card("wan1")
        assert seen.packets(port=80)
    assert seen.packets(port=80)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            "4500001c000000004011000001020304050607080035c00000080000",
            Packet(False, "1.2.3.4", "5.6.7.8", "udp", 53, 49152),
            id="UDP",
        ),
        pytest.param(
            "46000020000000004011000001020304050607080101010100350036" + "00080000",
            Packet(False, "1.2.3.4", "5.6.7.8", "udp", 53, 54),
            id="a header with options",
        ),
        pytest.param(
            "4500001c000000014011000001020304050607080035c00000080000",
            Packet(False, "1.2.3.4", "5.6.7.8", "udp"),
            id="a later fragment",
        ),
        pytest.param(
            "450000140000000040fd00000102030405060708", Packet(False, "1.2.3.4", "5.6.7.8", "253"), id="another"
        ),
        pytest.param(
            "60000000001000ff" + f"{1:032x}{2:032x}" + "1100000000000000" + "0035003600080000",
            Packet(False, "::1", "::2", "udp", 53, 54),
            id="IPv6 with an extension",
        ),
        pytest.param(
            "6000000000102cff" + f"{1:032x}{2:032x}" + "1100000100000000" + "0035003600080000",
            Packet(False, "::1", "::2", "udp", 53, 54),
            id="a first fragment of IPv6",
        ),
        pytest.param(
            "6000000000102cff" + f"{1:032x}{2:032x}" + "1100000800000000" + "0035003600080000",
            Packet(False, "::1", "::2", "udp"),
            id="a later fragment of IPv6",
        ),
        pytest.param("", None, id="nothing"),
        pytest.param("4500001c", None, id="a header cut short"),
        pytest.param("0001080006040001", None, id="ARP"),
    ],
)
def test_packets_are_read(data: str, expected: Packet | None) -> None:
    assert parse(bytes.fromhex(data), outgoing=False) == expected


# --- the data


def test_every_cable_ends_in_a_card() -> None:
    for cable in TWO_NETWORKS.cables:
        for end in cable:
            assert TWO_NETWORKS.host(end.host).card(end.card)
            assert cable.other(cable.other(end)) == end


def test_no_two_cards_have_one_address() -> None:
    held = [a for host in TWO_NETWORKS.hosts for card in host.cards for a in card.addresses]
    assert len(held) == len(set(held))


@pytest.mark.parametrize("host", ["elsewhere", ""])
def test_a_host_that_is_not_there_is_refused(host: str) -> None:
    with pytest.raises(KeyError):
        TWO_NETWORKS.host(host)
