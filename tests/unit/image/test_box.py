"""The boxes: what a tree is given, and what is in the files of each provider."""

import json
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from image import box
from image.run import NAME, BuildError

GIB = 1 << 30
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"


def test_the_packages_of_the_lab_are_those_of_its_role() -> None:
    assert {"curl", "nsd", "oidentd"} <= set(box.listed("lab_packages_inside"))
    assert {"nginx-light", "nsd", "vsftpd"} <= set(box.listed("lab_packages_outside"))


def test_a_list_that_is_not_there_is_named() -> None:
    with pytest.raises(BuildError, match="no list lab_packages_elsewhere"):
        box.listed("lab_packages_elsewhere")


def test_a_list_ends_where_the_next_variable_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = tmp_path / "main.yml"
    defaults.write_text("lab_one:\n  - a\n  - b\nlab_two:\n  - c\n")
    monkeypatch.setattr(box, "ROLE", defaults)
    assert box.listed("lab_one") == ["a", "b"]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("usr/share/rubygems-integration/all/gems/vagrant-2.3.4/keys", id="where Debian has it"),
        pytest.param("opt/vagrant/embedded/gems/gems/vagrant-2.4.1/keys", id="where its makers' package has it"),
    ],
)
def test_the_key_is_that_of_the_vagrant_that_is_installed(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "vagrant.pub").write_text("ssh-rsa AAAA everybody\n")
    assert box.public_key(tmp_path) == "ssh-rsa AAAA everybody"


def test_without_vagrant_it_is_said_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="apt-get install vagrant"):
        box.public_key(tmp_path)


@pytest.mark.parametrize(("size", "whole"), [(1, 1), (GIB, 1), (GIB + 1, 2), (2 * GIB, 2)])
def test_the_virtual_size_is_never_less_than_the_disk(size: int, whole: int) -> None:
    assert box.metadata(size)["virtual_size"] == whole


def test_the_machine_has_its_disk_on_a_controller_of_its_own() -> None:
    machine = ET.fromstring(box.ovf(2 * GIB, 12345))
    (file,) = machine.iter(f"{OVF}File")
    (disk,) = machine.iter(f"{OVF}Disk")
    assert (file.get(f"{OVF}href"), file.get(f"{OVF}size")) == ("box.vmdk", "12345")
    assert (disk.get(f"{OVF}fileRef"), disk.get(f"{OVF}capacity")) == (file.get(f"{OVF}id"), str(2 * GIB))
    items = {item.findtext(f"{RASD}ResourceType"): item for item in machine.iter(f"{OVF}Item")}
    assert items["17"].findtext(f"{RASD}Parent") == items["5"].findtext(f"{RASD}InstanceID")
    assert items["17"].findtext(f"{RASD}HostResource") == f"/disk/{disk.get(f'{OVF}diskId')}"
    assert items["10"].findtext(f"{RASD}Connection") == "NAT"


def test_both_boxes_have_what_vagrant_looks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raw = tmp_path / "box.raw"
    raw.write_bytes(bytes(4096))
    monkeypatch.setattr("image.disk.convert", lambda raw, target: target.write_bytes(raw.read_bytes()[:100]))
    made = {path.name: path for path in box.pack(raw, tmp_path)}
    assert set(made) == {f"{NAME}-libvirt.box", f"{NAME}-virtualbox.box"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*made, "box.raw"])
    with tarfile.open(made[f"{NAME}-libvirt.box"]) as libvirt:
        assert libvirt.getnames() == ["metadata.json", "Vagrantfile", "box.img"]
        described = libvirt.extractfile("metadata.json")
        assert described is not None
        with described:
            assert json.load(described) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    with tarfile.open(made[f"{NAME}-virtualbox.box"]) as virtualbox:
        assert virtualbox.getnames() == ["metadata.json", "Vagrantfile", "box.ovf", "box.vmdk"]
        words = virtualbox.extractfile("Vagrantfile")
        assert words is not None
        with words:
            assert b"base_mac" in words.read()


def test_a_box_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(raw: Path, target: Path) -> None:
        raise BuildError(f"no {target.suffix} of {raw.name}")

    monkeypatch.setattr("image.disk.convert", refuse)
    with pytest.raises(BuildError, match="no "):
        box.pack(tmp_path / "box.raw", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_gets_a_user_and_its_services_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[str] = []

    def run(command: list[object]) -> str:
        commands.append(" ".join(str(word) for word in command[2:]))
        if "useradd" in command:
            (tmp_path / "home/vagrant").mkdir(parents=True)
        return ""

    monkeypatch.setattr(box, "run", run)
    names = ("inetd", "nginx", "nsd", "oidentd", "sockd", "vsftpd")
    units = ("oidentd.socket", *(f"{name}.service" for name in names))
    for unit in (*units, "ssh.service", "ssh.socket"):
        (tmp_path / "lib/systemd/system" / unit).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib/systemd/system" / unit).touch()
    box.prepare(tmp_path, "ssh-rsa AAAA everybody")
    keys = tmp_path / "home/vagrant/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-rsa AAAA everybody\n"
    assert (keys.stat().st_mode & 0o777, keys.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (tmp_path / "etc/sudoers.d/vagrant").stat().st_mode & 0o777 == 0o440
    (disabled,) = (command for command in commands if command.startswith("systemctl disable"))
    assert set(disabled.split()[2:]) == set(units)
    assert "iface eth0 inet dhcp" in (tmp_path / "etc/network/interfaces").read_text()
