"""Other ways to set an appliance up: an uplink by DHCP, arguments of the kernel, and a second seed."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.image.test_first_boot import serves
from tests.support.lab.servers import needs_lab
from tests.support.lab.topology import (
    CLIENT,
    INSIDE,
    OUTSIDE,
    OUTSIDE_NAMES,
    PROXY,
    PROXY6,
    ROUTER1,
    TARGET_A,
    TARGET_B,
    WAN1,
)
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.appliance import ADMIN, BOOT, HOSTNAME, ONE_UPLINK, Setup, appliance, seed_of, seed_path
from tests.support.vm.dhcp import LACKING as NO_DHCP
from tests.support.vm.dhcp import Lease, dhcp_server
from tests.support.vm.gateway import VirtualGateway
from tests.support.vm.machine import missing
from tests.support.vm.networks import ADDRESSES
from tests.support.vm.secureshell import LOST, new_key, shell
from tests.support.vm.seed import seed_disk, seed_toml
from tests.support.vm.settings import RULES, gateway_files
from tests.support.waiting import eventually

LACKING = missing()
pytestmark = [pytest.mark.full, needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING)]
INSIDE_CARD: Mapping[str, object] = {"card": ADDRESSES["inside"], "addresses": [f"{PROXY}/24", f"{PROXY6}/64"]}


def by_dhcp(key: str) -> str:
    cards: Mapping[str, Mapping[str, object]] = {
        "inside": INSIDE_CARD,
        "outside": {"card": ADDRESSES["outside"], "dhcp": True},
    }
    return seed_toml(key, cards, hostname=HOSTNAME)


@pytest.mark.skipif(bool(NO_DHCP), reason=NO_DHCP)
def test_an_uplink_has_its_address_by_dhcp_and_the_server_takes_nothing_of_the_inside(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    routes = (f"{CLIENT}/32", "10.1.0.0/25")
    # dnsmasq would put its own address in the place of 0.0.0.0
    names = f"127.0.0.1,{PROXY},{OUTSIDE_NAMES}"
    lease = Lease(ADDRESSES["outside"], f"{WAN1}/24", ROUTER1, names, routes, broadcast=CLIENT)
    # the settings are those of the image, whose resolver asks whom the lease names
    with (
        appliance(Setup(disk, files={"sockd.conf": RULES}, seed=by_dhcp), accelerator, tmp_path) as made,
        dhcp_server(made.lab.spaces[OUTSIDE], "eth0", lease, tmp_path / "dhcp") as leases,
    ):
        made.up()
        leased = eventually(lambda: leases.exists() and WAN1 in leases.read_text(), within=BOOT, every=1)
        assert leased, made.tail()
        serves(made)
        serves(made, "www.example")
        assert "dev inside" in made.shell.run("ip", "route", "get", CLIENT).output
        assert "via" not in made.shell.run("ip", "-o", "route", "show", "table", "all", "root", "10.0.0.0/8").output
        assert made.shell.run("cat", "/etc/resolv.conf").output == f"nameserver {OUTSIDE_NAMES}\n"
        assert made.shell.run("hostname").output == f"{HOSTNAME}\n"
        made.reboot()
        serves(made)
        serves(made, "www.example")


def test_arguments_of_the_kernel_are_a_seed(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    def arguments(key: str) -> tuple[str, ...]:
        return (
            f"appliance.inside={ADDRESSES['inside']},{PROXY}/24,{PROXY6}/64",
            f"appliance.outside={ADDRESSES['outside']},{WAN1}/24,via={ROUTER1}",
            f"appliance.key={':'.join(key.split()[:2])}",
            "appliance.hostname=netbooted",
            f"appliance.dns={OUTSIDE_NAMES}",
        )

    with appliance(Setup(disk, files=None, arguments=arguments), accelerator, tmp_path) as made:
        made.up()
        assert made.shell.run("hostname").output == "netbooted\n"
        # the settings that the image has let nobody through
        made.rules(f"permit ALL {TARGET_A}/32\n")
        serves(made)
        # carried out once: the same arguments come at each boot
        assert made.shell.run("hostnamectl", "set-hostname", "renamed").status == 0
        made.reboot()
        assert made.shell.run("hostname").output == "renamed\n"
        serves(made)


def test_another_seed_is_carried_out_as_a_whole_and_the_settings_of_sockd_stay(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        rule = f"permit ALL {TARGET_B}/32\n"
        made.rules(rule)
        made.power_off()
        secret, public = new_key(tmp_path / "another")
        text = seed_of(public).replace(HOSTNAME, "gw2")
        seed_disk(seed_path(tmp_path), {"seed.toml": text})
        made.vm.start()
        assert eventually(made.shell.greets, within=BOOT, every=1), made.tail()
        assert made.shell.run("true").status == LOST, "the key of the first seed opens still"
        with shell(made.lab.spaces[INSIDE], ADMIN, PROXY, secret) as admin:
            assert admin.run("hostname").output == "gw2\n"
            assert admin.run("cat", "/etc/sockd.conf").output == rule
            serves(made._replace(machines=VirtualGateway(made.lab, made.vm, admin, ONE_UPLINK)), TARGET_B)
