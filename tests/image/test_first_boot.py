"""The appliance's first boots: by UEFI, under the other init, without a seed, with a wrong one, and after a reset."""

import subprocess
from pathlib import Path

import pytest

from tests.support.diskimage import image
from tests.support.lab.scenario import play
from tests.support.lab.servers import needs_lab
from tests.support.lab.steps import Curl
from tests.support.lab.topology import INSIDE, OUTSIDE, PROXY, TARGET_A, TARGET_B, WAN1
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.appliance import BOOT, Appliance, Setup, appliance, seed_of
from tests.support.vm.gateway import adapted
from tests.support.vm.machine import missing, missing_uefi
from tests.support.vm.settings import PROXY_URL, gateway_files

LACKING = missing()
pytestmark = [pytest.mark.full, needs_lab, pytest.mark.skipif(bool(LACKING), reason=LACKING)]


def serves(made: Appliance, target: str = TARGET_A) -> None:
    """An inside client fetches through it."""
    by_outside = {"host": OUTSIDE, "source": WAN1}
    play(made.machines, adapted([Curl(INSIDE, f"http://{target}/", PROXY_URL, by_outside, within=60)]))


@pytest.mark.skipif(bool(missing_uefi()), reason=missing_uefi())
def test_it_boots_by_uefi(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    with appliance(Setup(disk, files=gateway_files(), uefi=True), accelerator, tmp_path) as made:
        made.up()
        assert made.shell.run("test", "-d", "/sys/firmware/efi").status == 0
        serves(made)


def test_it_boots_under_sysvinit(accelerator: Accelerator, tmp_path: Path) -> None:
    with appliance(Setup(image("sysvinit"), files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        assert made.shell.run("cat", "/proc/1/comm").output == "init\n"
        serves(made)  # ssh is there before it
        assert made.shell.run("service", "sockd", "status").status == 0
        made.wait_for("sockd: worker")
        made.reboot()
        serves(made)
        # Debian has a script for nftables there, which would begin by forgetting ours
        assert made.shell.run("nft", "list", "table", "inet", "gateway_filter").status == 0


def test_without_a_seed_it_says_what_to_do_and_lets_nobody_in(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    with appliance(Setup(disk, files=None), accelerator, tmp_path) as made:
        made.wait_for("Next: give it a seed")
        page = made.wait_for("sockd: gateway")
        assert "Next: give it a seed" in page
        assert not made.shell.greets()


def test_a_wrong_seed_is_told_by_its_line_and_changes_nothing(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    wrong = seed_of("ssh-ed25519 AAAA").replace(f"{PROXY}/24", f"{PROXY}/240")
    number = 1 + wrong.splitlines().index(next(line for line in wrong.splitlines() if "/240" in line))
    with appliance(Setup(disk, files=gateway_files(), seed=lambda _: wrong), accelerator, tmp_path) as made:
        page = made.wait_for(f"seed.toml:{number}: addresses: '{PROXY}/240'")
        assert "seed.toml:1: admin-keys" in page, "all mistakes are told at once"
        assert f"{PROXY}/24 " not in page
        assert not made.shell.greets()


def test_settings_that_sockd_refuses_are_refused_whole(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    files = {**gateway_files(), "sockd.conf": "permit ALL ALL\npermitt ALL ALL\n"}
    with appliance(Setup(disk, files=files), accelerator, tmp_path) as made:
        page = made.wait_for("sockd.conf:2")
        assert f"{PROXY}/24 " not in page
        assert not made.shell.greets()


def test_its_power_button_ends_it_in_order_and_starts_it(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        made.vm.press_power()
        assert made.vm.ended(within=BOOT), made.tail()
        assert "Power down" in made.tail()
        made.shell.forget()
        made.vm.start()
        made.up()
        serves(made)


def test_the_reset_button_loses_nothing_that_it_needs(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        before = made.boot()
        made.vm.reset()
        made.shell.forget()
        made.up(before)
        serves(made)


def test_a_state_partition_that_has_lost_its_beginning_is_repaired(
    disk: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        made.rules(f"permit ALL {TARGET_B}/32\n")
        start = 512 * int(made.shell.run("cat", "/sys/class/block/vda4/start").output)
        made.power_off()
        wiped = ["qemu-io", "-f", "qcow2", "-c", f"write -P 0 {start} 4k", str(made.vm.disk)]
        subprocess.run(wiped, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        made.vm.start()
        made.up()
        serves(made, TARGET_B)
        assert made.shell.run("findmnt", "--noheadings", "--output", "FSTYPE", "/state").output == "ext4\n"


def test_a_factory_reset_makes_it_new(disk: Path, accelerator: Accelerator, tmp_path: Path) -> None:
    with appliance(Setup(disk, files=gateway_files()), accelerator, tmp_path) as made:
        made.up()
        (key,) = made.shell.sh("cat /etc/ssh/ssh_host_ed25519_key.pub").output.splitlines()
        made.rules(f"permit ALL {TARGET_B}/32\n")
        assert made.shell.run("touch", "/home/admin/mine").status == 0
        made.reboot()
        assert made.shell.run("test", "-e", "/home/admin/mine").status == 0
        assert made.shell.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").output == f"{key}\n"
        serves(made, TARGET_B)
        assert made.shell.run("touch", "/state/factory-reset").status == 0
        made.reboot()
        assert made.shell.run("test", "-e", "/home/admin/mine").status == 1
        assert made.shell.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").output != f"{key}\n"
        serves(made)
