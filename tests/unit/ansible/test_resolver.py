"""Role resolver: the part of the settings that it hands over, as the daemon's own reader understands it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import QueryLog, ResolverSettings, ServerAddress, Settings, ZoneSettings, parse_settings
from gateway.errors import ConfigError
from tests.support.roles import defaults, options, render

CARDS = [
    {"ifname": "eth1", "addr_info": [{"local": "10.1.0.1", "prefixlen": 24}, {"local": "fd00:1::1", "prefixlen": 64}]},
    {"ifname": "wan1", "addr_info": [{"local": "192.0.2.10", "prefixlen": 24}]},
]
BASE: dict[str, Any] = {
    "gateway_inside_interface": "eth1",
    "gateway_running": True,
    "gateway_options": {},
    "resolver_cards": {"stdout": json.dumps(CARDS)},
    "resolver_zones": [{"name": ".", "servers": ["/etc/resolv.conf"]}],
}


def text(**given: Any) -> str:
    return render("resolver", "resolver.toml.j2", **{**BASE, **given})


def settings(**given: Any) -> Settings:
    head = '[internal]\ninterface = "eth1"\n[external]\ninterface = "wan1"\n'
    return parse_settings(head + text(**given), "/etc/gateway.toml")


def test_defaults_are_those_of_the_daemon() -> None:
    made = settings().resolver
    assert made == ResolverSettings(zone=made.zone)


def test_every_key_of_the_resolver_has_a_variable() -> None:
    assert {f"resolver_{name}" for name in ResolverSettings.__struct_fields__ if name != "zone"} <= set(
        defaults("resolver")
    )


def test_zones_may_have_every_key_that_the_daemon_knows_and_no_other() -> None:
    assert set(options("resolver")["resolver_zones"]["options"]) == set(ZoneSettings.__struct_fields__)


def test_a_zone_arrives_with_all_its_keys() -> None:
    full = {
        "name": "corp.example",
        "networks": ["10.0.0.0/8"],
        "servers": ["10.0.0.53", "fd00::53 5353"],
        "tls": "dns.corp.example",
        "interface": ["vpn0", "vpn1"],
        "exclude": ["www.corp.example"],
        "clients": ["10.1.0.0/24"],
        "hosts": "/etc/hosts.inside",
        "records": ['note TXT "a \\"b\\""', "printer A 10.0.0.9"],
        "private": True,
        "stale": False,
        "allow": [],
        "min_ttl": 5,
        "max_ttl": 600,
        "negative_ttl": 7,
    }
    assert set(full) == set(ZoneSettings.__struct_fields__)
    zone, _ = settings(resolver_zones=[full, {"name": ".", "servers": ["192.0.2.53"]}]).resolver.zone
    assert [str(server) for server in zone.servers] == ["10.0.0.53", "fd00::53 5353"]
    assert (zone.interface, zone.records) == (("vpn0", "vpn1"), tuple(full["records"]))  # type: ignore[arg-type]
    assert (zone.private, zone.stale, zone.min_ttl, zone.max_ttl, zone.negative_ttl) == (True, False, 5, 600, 7)


def test_a_key_that_there_is_not_is_refused_by_the_daemon_too() -> None:
    with pytest.raises(ConfigError, match="server"):
        settings(resolver_zones=[{"name": ".", "server": ["192.0.2.53"]}])


def test_the_other_variables_arrive() -> None:
    made = settings(
        resolver_domain="corp.example",
        resolver_clients=["10.1.0.0/24"],
        resolver_addresses=["10.1.0.1"],
        resolver_port=5353,
        resolver_workers=2,
        resolver_cache=5000,
        resolver_rate=10,
        resolver_outstanding=20,
        resolver_hosts="/etc/hosts.inside",
        resolver_log="all",
    ).resolver
    assert (made.domain, made.port, made.workers, made.cache) == ("corp.example", 5353, 2, 5000)
    assert (made.rate, made.outstanding, made.hosts, made.log) == (10, 20, "/etc/hosts.inside", QueryLog.ALL)
    assert (len(made.addresses), len(made.clients)) == (1, 1)


class TestTheHostItself:
    """With resolver_host."""

    def test_it_is_answered_at_loopback_and_the_inside_stays(self) -> None:
        made = settings(resolver_host=True).resolver
        assert list(map(str, made.addresses)) == ["10.1.0.1", "fd00:1::1", "127.0.0.1"]
        assert len(made.clients) == 3

    def test_the_zones_ask_the_servers_that_were_there_before(self) -> None:
        zones = [{"name": ".", "servers": ["/etc/resolv.conf", "192.0.2.53"]}]
        (zone,) = settings(resolver_host=True, resolver_zones=zones).resolver.zone
        assert zone.servers[0] == "/etc/resolv.conf.uplinks"
        assert isinstance(zone.servers[1], ServerAddress)
        (zone,) = settings(resolver_host=False, resolver_zones=zones).resolver.zone
        assert zone.servers[0] == "/etc/resolv.conf"

    def test_networks_that_are_written_count_for_the_inside(self) -> None:
        made = settings(resolver_host=True, gateway_options={"internal": {"networks": ["10.0.0.0/8"]}}).resolver
        assert len(made.clients) == 2
        made = settings(resolver_host=True, resolver_addresses=["10.1.0.7"], resolver_clients=["10.9.0.0/16"]).resolver
        assert list(map(str, made.addresses)) == ["10.1.0.7", "127.0.0.1"]

    def test_its_resolv_conf_names_nobody_else(self) -> None:
        made = render("resolver", "resolv.conf.j2", **{**BASE, "resolver_domain": "corp.example"})
        assert [line for line in made.splitlines() if not line.startswith("#")] == [
            "nameserver 127.0.0.1",
            "search corp.example",
        ]

    def test_what_the_dhcp_client_hears_goes_where_the_zones_read_it(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        hook = render("resolver", "dhclient.j2", **{**BASE, "resolver_host_kept": str(kept)})
        assert "/usr/sbin/sockctl reload" in hook
        (tmp_path / "hook").write_text(hook.replace("/usr/sbin/sockctl", "false"))

        def heard(given: str, then: str = "make_resolv_conf") -> list[str]:
            program = f"set -eu; {given}; . {tmp_path}/hook; {then}"
            subprocess.run(["sh", "-c", program], check=True)
            return [line.removeprefix("nameserver ") for line in kept.read_text().splitlines()]

        one, two = ["192.0.2.1", "192.0.2.2"], ["198.51.100.1"]
        assert heard(f"interface=wan1 new_domain_name_servers='{' '.join(one)}'") == one
        # the other family of that card, and another card
        assert heard("interface=wan1 new_dhcp6_name_servers=2001:db8::53") == [*one, "2001:db8::53"]
        assert heard("interface=wan2 new_domain_name_servers='198.51.100.1 192.0.2.1'") == [
            *one,
            "2001:db8::53",
            *two,
        ]
        assert heard("interface=wan1 new_routers=192.0.2.1") == [*one, "2001:db8::53", *two]
        # a lease that ends takes its servers along; the last one leaves them
        assert heard("interface=wan1 reason=EXPIRE", ":") == ["2001:db8::53", *two, "192.0.2.1"]
        assert heard("interface=wan2 reason=RELEASE", ":") == ["2001:db8::53"]
        assert heard("interface=wan1 reason=EXPIRE6", ":") == ["2001:db8::53"]
        # what sockd would not take, or would ask itself by
        assert heard("interface=wan1 new_domain_name_servers='0.0.0.0 127.0.0.1'") == ["2001:db8::53"]
        assert heard("interface=wan1 new_domain_name_servers='0.0.0.0 192.0.2.9'") == ["192.0.2.9"]
        heard("interface=wan1 reason=EXPIRE", ":")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["hook", "kept"]

    def test_a_lease_that_says_the_same_again_loads_nothing(self, tmp_path: Path) -> None:
        kept, loads = tmp_path / "kept", tmp_path / "loads"
        hook = render("resolver", "dhclient.j2", **{**BASE, "resolver_host_kept": str(kept)})
        (tmp_path / "sockctl").write_text(f"#!/bin/sh\necho $1 >>{loads}\n")
        (tmp_path / "sockctl").chmod(0o755)
        (tmp_path / "hook").write_text(hook.replace("/usr/sbin/sockctl", f"{tmp_path}/sockctl"))
        for server in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"):
            lease = f"interface=wan1 new_domain_name_servers={server}"
            subprocess.run(["sh", "-euc", f"{lease}; . {tmp_path}/hook; make_resolv_conf"], check=True)
        assert loads.read_text().split() == ["reload", "reload"]

    @pytest.mark.parametrize("no", [False, "false", "no"])
    def test_a_text_that_means_no_is_no(self, no: object) -> None:
        assert settings(resolver_host=no).resolver.addresses == ()
        assert (
            settings(resolver_zones=[{"name": ".", "servers": ["192.0.2.53"], "stale": no}]).resolver.zone[0].stale
            is False
        )
