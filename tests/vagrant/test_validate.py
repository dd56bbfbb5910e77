"""The Vagrantfile without any machine: Vagrant understands it, and it says what the inventory says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.roles import load
from tests.vagrant.greeting import LASTING, SHOWS, TOP, tasks

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "ansible" / "inventory" / "lab.yml"


def machines() -> dict[str, dict[str, str]]:
    """Of the table in the Vagrantfile: name -> network -> address, the networks in the order of the cards."""
    rows = re.findall(r'\{ name: "(\w+)", memory: \d+, cards: \{(.+?)\} \}', (ROOT / "Vagrantfile").read_text())
    return {name: dict(re.findall(r'"(\w+)" => "([\d.]+)"', cards)) for name, cards in rows}


def groups() -> dict[str, dict[str, dict[str, object]]]:
    """Of the inventory: group -> hosts and vars."""
    found: dict[str, dict[str, dict[str, object]]] = load(INVENTORY)["all"]["children"]
    return found


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="needs Vagrant: apt-get install vagrant vagrant-libvirt")
def test_vagrant_finds_nothing_wrong(tmp_path: Path) -> None:
    folders = {"HOME": str(tmp_path), "VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path)}
    environment = {**os.environ, **folders, "VAGRANT_CWD": str(ROOT), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    done = subprocess.run(
        ["vagrant", "validate"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vagrantfile validated successfully." in done.stdout


def test_the_machines_are_those_of_the_inventory() -> None:
    hosts = [host for group in groups().values() for host in group["hosts"]]
    assert sorted(machines()) == sorted(hosts) == ["gateway", "inside", "outside"]


def test_the_cards_of_the_gateway_are_those_of_the_table() -> None:
    variables = groups()["gateways"]["vars"]
    # Vagrant's own card is eth0
    cards = {network: f"eth{number}" for number, network in enumerate(machines()["gateway"], 1)}
    assert variables["gateway_inside_interface"] == cards["inside"]
    assert variables["gateway_uplinks"] == [cards["outside"]]


def test_the_next_hop_of_the_uplink_is_the_outside() -> None:
    settings = str(groups()["gateways"]["vars"]["gateway_settings"])
    assert f'gateways = ["{machines()["outside"]["outside"]}"]' in settings


def test_each_side_has_its_part() -> None:
    parts = {
        host: group["vars"]["lab_part"] for group in groups().values() for host in group["hosts"] if host != "gateway"
    }
    assert parts == {"inside": "inside", "outside": "outside"}


def test_each_network_has_its_sides_once() -> None:
    addresses = [address for cards in machines().values() for address in cards.values()]
    assert len(set(addresses)) == len(addresses)
    assert [name for name, cards in machines().items() if "inside" in cards] == ["gateway", "inside"]
    assert [name for name, cards in machines().items() if "outside" in cards] == ["gateway", "outside"]


def test_everything_to_try_is_tried() -> None:
    assert {task.typed for task in tasks()} == {*SHOWS, LASTING, TOP}


def test_what_is_to_try_fits_a_line_of_the_terminal() -> None:
    assert [task.typed for task in tasks() if len(task.typed) > 85] == []
