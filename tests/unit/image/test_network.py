"""The files of the network by a seed, and which card is which."""

import os
import subprocess
from pathlib import Path

import pytest
from appliance import cards, network
from appliance.cards import Nic
from appliance.seed import Seed, parse

ETH0, ETH1, ETH2 = Nic("eth0", "52:54:00:00:00:0a", 2), Nic("eth1", "52:54:00:00:00:0b", 3), Nic("eth2", "02::", 4)

FILES = Path(network.__file__).parents[4]


def seed(outside: str, more: str = "") -> Seed:
    inside = '[inside]\ncard = "eth0"\naddresses = ["10.1.0.1/24", "fd00:1::1/64"]\n'
    return parse(f'{more}\n{inside}[outside]\ncard = "eth1"\n{outside}\n', "seed.toml")


def test_addresses_are_written_for_ifupdown() -> None:
    text = network.interfaces(
        seed('addresses = ["192.0.2.10/24", "2001:db8:1::10/64"]\ngateways = ["192.0.2.1", "fe80::1"]')
    )
    assert text.startswith("# Written by appliance-setup")
    assert text.partition("\n\n")[2] == (
        "auto lo\n"
        "iface lo inet loopback\n"
        "\n"
        "auto inside\n"
        "iface inside inet static\n"
        "    address 10.1.0.1/24\n"
        "    pre-up sysctl -q -e -w net.ipv6.conf.inside.accept_ra=0\n"
        "    up ip -4 route replace 10.1.0.0/24 dev inside src 10.1.0.1 table 108\n"
        "    up ip -4 rule del to 10.1.0.0/24 lookup 108 pref 100 2>/dev/null || true\n"
        "    up ip -4 rule add to 10.1.0.0/24 lookup 108 pref 100\n"
        "    down ip -4 rule del to 10.1.0.0/24 lookup 108 pref 100 || true\n"
        "    down ip -4 route del 10.1.0.0/24 dev inside table 108 || true\n"
        "iface inside inet6 static\n"
        "    address fd00:1::1/64\n"
        "    dad-attempts 0\n"
        "    up ip -6 route replace fd00:1::/64 dev inside table 108\n"
        "    up ip -6 rule del to fd00:1::/64 lookup 108 pref 100 2>/dev/null || true\n"
        "    up ip -6 rule add to fd00:1::/64 lookup 108 pref 100\n"
        "    down ip -6 rule del to fd00:1::/64 lookup 108 pref 100 || true\n"
        "    down ip -6 route del fd00:1::/64 dev inside table 108 || true\n"
        "\n"
        "auto outside\n"
        "iface outside inet static\n"
        "    address 192.0.2.10/24\n"
        "    pre-up sysctl -q -e -w net.ipv6.conf.outside.accept_ra=0\n"
        "    up ip -4 route replace default via 192.0.2.1 dev outside metric 100\n"
        "iface outside inet6 static\n"
        "    address 2001:db8:1::10/64\n"
        "    dad-attempts 0\n"
        "    up ip -6 route replace default via fe80::1 dev outside metric 100\n"
    )


def test_a_gateway_is_written_once_for_several_addresses() -> None:
    text = network.interfaces(seed('addresses = ["192.0.2.10/24", "192.0.2.11/24"]\ngateways = ["192.0.2.1"]'))
    assert text.count("route replace default") == 1
    assert text.count("iface outside inet static") == 2


def test_dhcp_does_not_hold_up_the_boot() -> None:
    text = network.interfaces(seed("dhcp = true"))
    assert "iface outside inet manual\n" in text
    assert "    up dhclient -4 -nw " in text
    assert "iface outside inet6 auto\n" in text


def test_a_second_uplink_comes_after_the_first() -> None:
    more = 'gateways = ["192.0.2.1"]\n[outside2]\ncard = "eth2"\naddresses = ["198.51.100.10/24"]\n'
    text = network.interfaces(seed('addresses = ["192.0.2.10/24"]\n' + more + 'gateways = ["198.51.100.1"]'))
    assert "via 192.0.2.1 dev outside metric 100\n" in text
    assert "via 198.51.100.1 dev outside2 metric 200\n" in text


def test_leases_of_two_uplinks_have_the_metrics_of_written_routes() -> None:
    text = network.interfaces(seed('dhcp = true\n[outside2]\ncard = "eth2"\ndhcp = true'))
    for name, metric in (("outside", 100), ("outside2", 200)):
        line = next(line for line in text.splitlines() if "up dhclient" in line and line.endswith(f" {name}"))
        assert f"-e IF_METRIC={metric} " in line


def test_an_inside_network_is_kept_once_for_several_addresses_and_not_on_every_link() -> None:
    text = network.interfaces(
        parse(
            '[inside]\ncard = "eth0"\naddresses = ["10.1.0.1/24", "10.1.0.2/24", "fe80::1/64"]\n'
            '[outside]\ncard = "eth1"\ndhcp = true\n',
            "seed.toml",
        )
    )
    assert text.count(" rule add ") == 1


HOOK = FILES / "etc/dhcp/dhclient-enter-hooks.d/appliance-lease"


def test_a_lease_gives_no_routes_and_no_names_of_its_own_choice() -> None:
    hostile = {
        "new_rfc3442_classless_static_routes": "25 10 1 0 0 192 0 2 66",
        "new_static_routes": "10.1.0.0 192.0.2.66",
        "new_interface_mtu": "577",
        "new_ntp_servers": "192.0.2.66",
        "new_host_name": "pwned",
        "new_domain_name": "evil.example",
        "new_domain_search": "evil.example",
        "new_broadcast_address": "10.1.0.77",
    }
    honest = {"new_ip_address": "192.0.2.10", "new_routers": "192.0.2.1", "new_domain_name_servers": "192.0.2.53"}
    done = subprocess.run(
        ["sh", "-euc", '. "$1"; set', "sh", str(HOOK)],
        env={**hostile, **honest},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.partition("=")[0] for line in done.stdout.splitlines() if line.startswith("new_")} == set(honest)


def leased(tmp_path: Path, address: str, servers: str) -> tuple[int, str]:
    """What becomes of a lease where 10.1.0.0/24 is the inside: the hook's status, and resolv.conf after it."""
    programs, etc = tmp_path / "bin", tmp_path / "etc"
    for folder in (programs, etc):
        folder.mkdir(exist_ok=True)
    routes = "#!/bin/sh\ncase $* in *' match 10.1.0.'*) echo 10.1.0.0/24 dev inside ;; esac\n"
    for name, text in {"ip": routes, "logger": "#!/bin/sh\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    hook = tmp_path / "hook"
    hook.write_text(HOOK.read_text().replace("/etc/", f"{etc}/"))
    file = etc / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\n")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "interface": "outside",
        "reason": "BOUND",
        "new_ip_address": address,
        "new_domain_name_servers": servers,
    }
    done = subprocess.run(["sh", "-uc", f". {hook}; make_resolv_conf"], env=environment, check=False)
    assert sorted(path.name for path in etc.iterdir()) == ["resolv.conf"]
    return done.returncode, file.read_text()


def test_a_lease_of_an_inside_address_is_declined(tmp_path: Path) -> None:
    assert leased(tmp_path, "10.1.0.50", "192.0.2.53") == (2, "nameserver 127.0.0.1\n")


def test_a_lease_names_no_server_that_is_none_for_sockd(tmp_path: Path) -> None:
    named = "0.0.0.0 127.0.0.1 10.1.0.1 192.0.2.53 192.0.2.54"
    assert leased(tmp_path, "192.0.2.10", named) == (0, "nameserver 192.0.2.53\nnameserver 192.0.2.54\n")
    assert leased(tmp_path, "192.0.2.10", "0.0.0.0") == (0, "nameserver 127.0.0.1\n")


@pytest.mark.parametrize(
    ("reason", "new", "loaded"),
    [("BOUND", "192.0.2.53", 3), ("RENEW", "192.0.2.54", 3), ("RENEW", "192.0.2.53", 0), ("EXPIRE", "", 0)],
)
def test_sockd_is_told_of_new_name_servers_until_it_hears(tmp_path: Path, reason: str, new: str, loaded: int) -> None:
    tries = tmp_path / "tries"
    stubs = {"sockctl": f'echo "$1" >>{tries}; [ $(wc -l <{tries}) -ge 3 ]', "sleep": ":"}
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "reason": reason,
        "new_domain_name_servers": new,
        "old_domain_name_servers": "192.0.2.53",
    }
    hook = FILES / "etc/dhcp/dhclient-exit-hooks.d/appliance-names"
    subprocess.run(["sh", "-euc", f". {hook}; wait"], env=environment, check=True)
    assert (tries.read_text().split() if tries.exists() else []) == ["reload"] * loaded


@pytest.mark.parametrize(
    ("card", "state", "done"),
    [
        ("outside", "lo=lo\noutside=outside\n", ["ifdown --force outside", "ifup outside"]),
        ("outside", "lo=lo\n", []),
        ("outside", None, []),
        ("eth7", "eth7=eth7\n", []),
    ],
)
def test_a_card_that_comes_back_is_set_up_again(tmp_path: Path, card: str, state: str | None, done: list[str]) -> None:
    calls, ifstate = tmp_path / "calls", tmp_path / "ifstate"
    if state is not None:
        ifstate.write_text(state)
    for name in ("ifdown", "ifup"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n')
        (tmp_path / name).chmod(0o755)
    script = (FILES / "usr/sbin/appliance-card").read_text()
    for place, here in {"/run/network/ifstate": str(ifstate), "/run/systemd/system": str(tmp_path / "none")}.items():
        assert place in script
        script = script.replace(place, here)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "INTERFACE": card}
    subprocess.run(["sh", "-c", script + "\nwait\n"], env=environment, check=True)
    assert (calls.read_text().splitlines() if calls.exists() else []) == done


def test_name_servers_are_written_one_a_line() -> None:
    servers = seed("dhcp = true", 'dns = ["203.0.113.53", "2001:db8::53"]').dns
    assert network.resolv_conf(servers).splitlines()[1:] == ["nameserver 203.0.113.53", "nameserver 2001:db8::53"]


def test_without_a_name_server_it_is_this_host_that_is_named() -> None:
    """sockd does not start with a file that names none, and a gateway must, whatever a lease has."""
    assert network.resolv_conf(()).splitlines()[1:] == ["nameserver 127.0.0.1"]


def test_a_card_is_pinned_by_its_address() -> None:
    assert network.link("inside", ETH0.mac).endswith(
        "[Match]\nMACAddress=52:54:00:00:00:0a\nType=ether\n\n[Link]\nName=inside\n"
    )


def test_the_own_name_is_the_first_inside_address() -> None:
    text = network.hosts(seed("dhcp = true", 'hostname = "gw1.corp.example"'))
    assert text.endswith("10.1.0.1 gw1.corp.example gw1\n")


def test_ssh_comes_from_named_networks_only() -> None:
    text = network.ssh_from(seed("dhcp = true", 'ssh-from = ["10.1.0.0/28", "fd00:1::/64"]').ssh_from)
    assert "        ip saddr 10.1.0.0/28 tcp dport 22 accept\n" in text
    assert "        ip6 saddr fd00:1::/64 tcp dport 22 accept\n        tcp dport 22 drop\n" in text


def test_without_networks_the_table_is_taken_away() -> None:
    assert network.ssh_from(()).splitlines()[1:] == ["table inet appliance", "delete table inet appliance"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("52:54:00:00:00:0b", ETH1),
        ("eth0", ETH0),
        ("eth7", None),
        ("wan0", None),
    ],
)
def test_a_card_is_found_by_address_or_name(wanted: str, found: Nic | None) -> None:
    assert cards.find(wanted, (ETH0, ETH1, ETH2)) == found


def test_a_name_of_the_kernel_counts_also_after_the_cards_are_renamed() -> None:
    renamed = (Nic("inside", "02:0a", 2), Nic("outside", "02:0b", 3))
    assert cards.find("eth1", renamed) == renamed[1]


def applied(steps: tuple[tuple[str, str], ...], nics: tuple[Nic, ...]) -> dict[str, str]:
    """name -> address after the renaming, in which no name may be taken twice."""
    names = {nic.name: nic.mac for nic in nics}
    for old, new in steps:
        assert new not in names, f"{new} is taken"
        names[new] = names.pop(old)
    return names


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("eth0", "eth1", "eth2"), id="as the kernel names them"),
        pytest.param(("inside", "outside", "eth2"), id="named already"),
        pytest.param(("outside", "inside", "eth2"), id="the wrong way round"),
        pytest.param(("eth0", "eth1", "inside"), id="another card has the name"),
        pytest.param(("outside", "eth1", "inside"), id="in a ring"),
    ],
)
def test_each_card_gets_its_name_whatever_the_names_are(names: tuple[str, str, str]) -> None:
    nics = tuple(Nic(name, f"02:0{number}", number) for number, name in enumerate(names))
    after = applied(cards.renames({"inside": "02:00", "outside": "02:01"}, nics), nics)
    assert (after["inside"], after["outside"]) == ("02:00", "02:01")
    assert len(after) == 3


def test_cards_that_are_right_are_left_alone() -> None:
    nics = (Nic("inside", "02:0a", 2), Nic("outside", "02:0b", 3))
    assert cards.renames({"inside": "02:0a", "outside": "02:0b"}, nics) == ()


def test_a_card_that_was_taken_out_is_named() -> None:
    assert cards.lacking({"inside": ETH0.mac, "outside": "02:ff"}, (ETH0,)) == (
        "the card outside, 02:ff, is not in this machine; it has eth0 (52:54:00:00:00:0a)",
    )


def test_only_devices_are_cards(tmp_path: Path) -> None:
    for name, index, has_device in (("lo", 1, False), ("eth1", 3, True), ("eth0", 2, True), ("br0", 4, False)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ifindex").write_text(f"{index}\n")
        (tmp_path / name / "address").write_text(f"52:54:00:00:00:0{index}\n")
        if has_device:
            (tmp_path / name / "device").mkdir()
    assert [nic.name for nic in cards.present(tmp_path)] == ["eth0", "eth1"]
