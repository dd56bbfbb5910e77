"""The boxes of the Vagrant lab: the appliance's disk with the lab's packages, and a user that Vagrant knows.

One tree, one disk; each provider gets it in its own format, with the few words of its own beside it. A box is a tar
file (Vagrant's manual, "Box File Format"). What the three machines of the lab are is not known here: the playbooks in
the box make them so.
"""

import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Final

from image import disk, package, tree
from image.run import NAME, ROOT, BuildError, need, run

ROLE: Final = ROOT / "ansible" / "roles" / "lab" / "defaults" / "main.yml"
"""Where the lab's packages and services are listed."""

PACKAGES: Final = ("ansible-core", "rsync")
"""What provisioning needs in the machine itself."""

VARIABLES: Final[Mapping[str, object]] = MappingProxyType({"hardening_firewall": False, "hardening_services": False})
"""For the roles: Vagrant must get in by the first card, and the outside has services that a gateway has no use for. The
lab's own run gives the gateway what the other two do without."""

KEYS: Final = (
    "usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub",
    "opt/vagrant/embedded/gems/**/vagrant-*/keys/vagrant.pub",
)
"""Where the packages of Debian and of Vagrant's makers keep the public half of the key that everybody knows."""

MAC: Final = "0800275a4c01"
"""The first card's address in VirtualBox, which gives each machine another one."""

_GIB: Final = 1 << 30

_FILES: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "etc/network/interfaces": (
            "# The first card is Vagrant's, which adds the others below.\n"
            "source /etc/network/interfaces.d/*\n\n"
            "auto lo\niface lo inet loopback\n\n"
            "allow-hotplug eth0\niface eth0 inet dhcp\n",
            0o644,
        ),
        "etc/sudoers.d/vagrant": ("vagrant ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
        # Ansible refuses to run in another one than UTF-8
        "etc/default/locale": ("LANG=C.UTF-8\n", 0o644),
        # no two machines of a box have the same host keys: the box has none
        "etc/systemd/system/ssh.service.d/host-keys.conf": (
            "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n",
            0o644,
        ),
    }
)
"""Path -> text and mode, in the tree."""

_OVF: Final = Template("""\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US"
  xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References>
    <File ovf:id="file1" ovf:href="box.vmdk" ovf:size="$bytes"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="$capacity"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT"><Description>The card that Vagrant uses</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="$name">
    <Info>A machine of the lab</Info>
    <OperatingSystemSection ovf:id="96">
      <Info>The guest's system</Info>
      <Description>Debian_64</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>$name</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>virtualbox-2.2</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:Caption>1 virtual CPU</rasd:Caption>
        <rasd:ElementName>1 virtual CPU</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>1</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits>
        <rasd:Caption>512 MB of memory</rasd:Caption>
        <rasd:ElementName>512 MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>512</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:Caption>ideController0</rasd:Caption>
        <rasd:ElementName>ideController0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>
        <rasd:ResourceType>5</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:Caption>disk1</rasd:Caption>
        <rasd:ElementName>disk1</rasd:ElementName>
        <rasd:HostResource>/disk/disk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Caption>Ethernet adapter on NAT</rasd:Caption>
        <rasd:Connection>NAT</rasd:Connection>
        <rasd:ElementName>Ethernet adapter on NAT</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>virtio</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
""")
# The controller and the card are those that the kernel for virtual machines has drivers for.

_LIBVIRT: Final = """\
Vagrant.configure("2") do |config|
  config.vm.provider(:libvirt) { |libvirt| libvirt.disk_bus = "virtio" }
end
"""
_VIRTUALBOX: Final = f"""\
Vagrant.configure("2") do |config|
  config.vm.base_mac = "{MAC.upper()}"
  config.vm.provider(:virtualbox) {{ |virtualbox| virtualbox.default_nic_type = "virtio" }}
end
"""


def build(out: Path) -> list[Path]:
    """Make the boxes of libvirt and VirtualBox in this folder, with the Debian package of this tree in them.

    Raises BuildError.
    """
    need("mmdebstrap", "qemu-img")
    key = public_key(Path("/"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="box-", dir=out) as work:
        extra = (*PACKAGES, *listed("lab_packages_inside"), *listed("lab_packages_outside"))
        deb = package.build(Path(work) / "deb")
        made = tree.build(Path(work) / "tree", deb, extra=sorted(set(extra)), playbook_vars=VARIABLES)
        prepare(made, key)
        raw = Path(work) / "box.raw"
        disk.build(made, raw)
        return pack(raw, out)


def public_key(root: Path) -> str:
    """The public key that Vagrant logs in with until it has given a machine a key of its own; ``root`` is usually "/".

    Raises BuildError where Vagrant is not installed.
    """
    for pattern in KEYS:
        for found in sorted(root.glob(pattern)):
            return found.read_text().strip()
    raise BuildError("a box needs the public key of Vagrant, which comes with it; as root: apt-get install vagrant")


def listed(variable: str) -> list[str]:
    """The words of a list in the lab role's defaults. Raises BuildError where there is no such list."""
    found = re.search(rf"^{re.escape(variable)}:\n((?:  - .+\n)+)", ROLE.read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{ROLE.relative_to(ROOT)}: no list {variable}")
    return [line.removeprefix("  - ") for line in found[1].splitlines()]


def prepare(tree: Path, key: str) -> None:
    """Give a tree what Vagrant expects (its manual, "Creating a Base Box"); no service starts before the lab is made.

    Raises BuildError.
    """
    for name, (text, mode) in _FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    run(["chroot", tree, "useradd", "--create-home", "--shell", "/bin/bash", "vagrant"])
    folder = tree / "home/vagrant/.ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text(f"{key}\n")
    (folder / "authorized_keys").chmod(0o600)
    run(["chroot", tree, "chown", "-R", "vagrant:vagrant", "/home/vagrant/.ssh"])
    services = {"sockd", *listed("lab_services_inside"), *listed("lab_services_outside")}
    units = [f"{name}.{kind}" for name in sorted(services) for kind in ("service", "socket")]
    there = [unit for unit in units if (tree / "lib/systemd/system" / unit).exists()]
    run(["chroot", tree, "systemctl", "disable", *there])
    run(["chroot", tree, "systemctl", "enable", "ssh"])


def pack(raw: Path, out: Path) -> list[Path]:
    """Both boxes of a raw disk, in this folder. Raises BuildError."""
    return [_box(kind, fill, raw, out) for kind, fill in sorted(_KINDS.items())]


def metadata(size: int) -> Mapping[str, object]:
    """metadata.json of libvirt's box, for a disk of so many bytes; ``virtual_size`` is whole GiB, rounded up."""
    return {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-size // _GIB)}


def ovf(size: int, file_size: int) -> str:
    """The machine for VirtualBox: its disk has ``size`` bytes, and its file ``file_size`` (DMTF DSP0243)."""
    return _OVF.substitute(name=NAME, capacity=size, bytes=file_size)


def _libvirt(raw: Path, folder: Path) -> Sequence[str]:
    disk.convert(raw, folder / "box.qcow2")
    (folder / "box.qcow2").rename(folder / "box.img")
    (folder / "metadata.json").write_text(json.dumps(metadata(raw.stat().st_size)))
    (folder / "Vagrantfile").write_text(_LIBVIRT)
    return "metadata.json", "Vagrantfile", "box.img"


def _virtualbox(raw: Path, folder: Path) -> Sequence[str]:
    disk.convert(raw, folder / "box.vmdk")
    (folder / "metadata.json").write_text(json.dumps({"provider": "virtualbox"}))
    (folder / "Vagrantfile").write_text(_VIRTUALBOX)
    (folder / "box.ovf").write_text(ovf(raw.stat().st_size, (folder / "box.vmdk").stat().st_size))
    return "metadata.json", "Vagrantfile", "box.ovf", "box.vmdk"


_KINDS: Final[Mapping[str, Callable[[Path, Path], Sequence[str]]]] = MappingProxyType(
    {"libvirt": _libvirt, "virtualbox": _virtualbox}
)
"""How a provider's files are made in a folder; what is returned is in the box, the small ones first."""


def _box(kind: str, fill: Callable[[Path, Path], Sequence[str]], raw: Path, out: Path) -> Path:
    made = out / f"{NAME}-{kind}.box"
    new = made.with_suffix(".new")
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=out))
    try:
        names = fill(raw, folder)
        with tarfile.open(new, "w") as box:
            for name in names:
                box.add(folder / name, arcname=name)
        new.rename(made)
    finally:
        shutil.rmtree(folder)
        new.unlink(missing_ok=True)
    return made
