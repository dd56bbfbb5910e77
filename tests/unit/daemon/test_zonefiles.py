"""`gateway.daemon.zonefiles`: the files that zones name, and zones on a host that has these interfaces."""

from pathlib import Path

import pytest

from gateway.config.settings import examine_settings, parse_settings
from gateway.daemon.host import ThisHost
from gateway.daemon.zonefiles import load_zones, zone_doubts
from gateway.dns.zones import Zones
from gateway.errors import ConfigError
from gateway.netlink.model import KernelState
from tests.support.rules import address
from tests.unit.daemon.hosts import HOST

GATEWAY = '[internal]\ninterface = "eth1"\n[external]\ninterface = ["wan1", "wan2"]\n'
CORP = '[[resolver.zone]]\nname = "corp.example"\nservers = ["10.1.0.53"]\n'
ROOT = '[[resolver.zone]]\nname = "."\nservers = ["192.0.2.53"]\n'


def loaded(text: str, folder: Path, kernel: KernelState = HOST) -> Zones | None:
    path = str(folder / "gateway.toml")
    return load_zones(parse_settings(text, path), path, text, kernel, ThisHost())


def faults_of(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text, folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def doubts_of(text: str) -> list[str]:
    doubts = zone_doubts(parse_settings(text, "gateway.toml"), "gateway.toml", text, HOST)
    return [str(doubt).removeprefix("gateway.toml:") for doubt in doubts]


def test_without_zones_there_is_no_resolver(tmp_path: Path) -> None:
    assert loaded(GATEWAY, tmp_path) is None


def test_files_are_read_and_the_inside_may_ask(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.1.0.9 printer\n")
    (tmp_path / "resolv.conf").write_text("nameserver 10.1.0.53\nnameserver 10.1.0.54\n")
    text = f'{GATEWAY}[resolver]\nhosts = "hosts"\n[[resolver.zone]]\nname = "corp.example"\nhosts = "hosts"\n'
    found = loaded(f'{text}servers = ["{tmp_path}/resolv.conf"]\n', tmp_path)
    assert found is not None
    assert [str(server) for server in found.zones[0].servers] == ["10.1.0.53", "10.1.0.54"]
    assert len(found.zones[0].local) == 1
    assert found.view_of(address("10.1.0.200")) is not None
    assert found.view_of(address("fd00::1")) is not None
    assert found.view_of(address("10.2.0.1")) is None
    assert found.view_of(address("192.0.2.1")) is None


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("10.1.0.9\n10.1.0.9 a..b\n")
    (tmp_path / "resolv.conf").write_text("search x\n")
    text = f'{GATEWAY}[resolver]\nhosts = "hosts"\n{CORP}hosts = "none"\ninterface = "192.0.2.10"\n{ROOT}'
    text = text.replace("192.0.2.53", f"{tmp_path}/resolv.conf")
    assert faults_of(text, tmp_path) == [
        'gateway.toml:11: resolver.zone "corp.example".interface: 192.0.2.10 is an address of wan1, a way to the '
        "outside, and would let inside names out",
        "hosts:1: there is no name after the address 10.1.0.9",
        "hosts:2: 'a..b' is no host name: a host name has an empty label",
        "none: cannot read: No such file or directory",
        "resolv.conf: there is no nameserver line in it",
    ]


@pytest.mark.parametrize("way", ["192.0.2.10", "2001:db8:1::10", "198.51.100.10"])
def test_an_address_of_an_uplink_is_no_way_for_a_private_zone(tmp_path: Path, way: str) -> None:
    (fault,) = faults_of(f'{GATEWAY}{CORP}interface = "{way}"\n', tmp_path)
    assert f"{way} is an address of wan" in fault
    assert loaded(f'{GATEWAY}{CORP}interface = "{way}"\nprivate = false\n', tmp_path) is not None
    assert loaded(f'{GATEWAY}{CORP}interface = "10.1.0.1"\n', tmp_path) is not None


def test_an_uplink_that_is_called_otherwise_is_an_uplink(tmp_path: Path) -> None:
    text = f'[internal]\ninterface = "eth1"\n[uplinks.a]\ninterface = "wan2"\n{CORP}interface = "198.51.100.10"\n'
    assert len(faults_of(text, tmp_path)) == 1


def test_zones_that_are_refused_already_are_left_alone(tmp_path: Path) -> None:
    text = '[[resolver.zone]]\nname = "a b"\nhosts = "none"\n'
    settings, _ = examine_settings(text, "gateway.toml")
    assert settings is not None
    assert load_zones(settings, str(tmp_path), text, HOST, ThisHost()) is None


def test_a_way_that_is_not_there_now_is_a_doubt() -> None:
    text = f'{GATEWAY}{CORP}interface = ["eth1", "eth9", "10.1.0.1", "10.9.9.9"]\n{ROOT}interface = ["wan2", "vpn"]\n'
    where = '8: warning: resolver.zone "corp.example".interface'
    after = "now; what is asked by it fails until it appears"
    assert doubts_of(text) == [
        f"{where}: there is no interface eth9 {after}",
        f"{where}: no interface has the address 10.9.9.9 {after}",
        f'12: warning: resolver.zone ".".interface: there is no interface vpn {after}',
    ]
    assert len(doubts_of(f'{text}[uplinks.vpn]\ninterface = "tun0"\n')) == 2


@pytest.mark.parametrize(
    ("resolver", "server", "is_itself"),
    [
        pytest.param("", "10.1.0.1", True, id="an address of the inside"),
        pytest.param("", "10.1.0.1 5353", False, id="another port"),
        pytest.param("", "192.0.2.10", False, id="an address of the outside"),
        pytest.param("port = 5353", "fd00::1 5353", True, id="the port that is written"),
        pytest.param("port = 5353", "10.1.0.1", False, id="the usual port, which is another"),
        pytest.param('addresses = ["127.0.0.1"]', "127.0.0.1", True, id="an address that is written"),
        pytest.param('addresses = ["127.0.0.1"]', "10.1.0.1", False, id="one that is not, then"),
        pytest.param('addresses = ["0.0.0.0"]', "192.0.2.10", True, id="every address"),
        pytest.param('addresses = ["0.0.0.0"]', "2001:db8:1::10", False, id="every address of the other family"),
    ],
)
def test_a_name_server_that_is_the_resolver_itself_is_a_doubt(resolver: str, server: str, is_itself: bool) -> None:
    text = f'{GATEWAY}[resolver]\n{resolver}\n[[resolver.zone]]\nname = "."\nservers = ["{server}"]\n'
    expected = f'9: warning: resolver.zone ".".servers: {server} is this resolver itself, which would ask in a circle'
    assert doubts_of(text) == ([expected] if is_itself else [])


def test_a_server_by_tls_is_another_one() -> None:
    text = f'{GATEWAY}[resolver]\nport = 853\n[[resolver.zone]]\nname = "."\nservers = ["10.1.0.1 853"]\n'
    assert len(doubts_of(text)) == 1
    assert doubts_of(f'{text}tls = "a.example"\n') == []
