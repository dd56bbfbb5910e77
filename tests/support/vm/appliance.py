"""The appliance between the two networks of the lab: its disk in a virtual machine, a seed, a shell from the inside.

It knows what the seed and the addresses are, and nothing of what runs on the machine.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from tests.support.lab.build import Lab
from tests.support.lab.servers import serving
from tests.support.lab.topology import (
    GATEWAY,
    INSIDE,
    OUTSIDE_NAMES,
    OUTSIDE_NAMES6,
    PROXY,
    TWO_NETWORKS,
    Topology,
)
from tests.support.vm.accelerator import Accelerator
from tests.support.vm.gateway import VirtualGateway
from tests.support.vm.kernel import kernel
from tests.support.vm.machine import Hardware, Vm, virtual_machine
from tests.support.vm.networks import ADDRESSES, cards, switched_lab
from tests.support.vm.secureshell import Shell, new_key, shell
from tests.support.vm.seed import seed_disk, seed_toml
from tests.support.waiting import eventually

ADMIN: Final = "admin"
HOSTNAME: Final = "gw1"
ONE_UPLINK: Final[Mapping[str, str]] = MappingProxyType({"eth1": "inside", "wan1": "outside"})
#: seconds from power to login; the upper limit, not what it takes
BOOT: Final = 1200.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a test wants of it."""

    disk: Path
    #: the texts beside seed.toml; None: there is no disk with a seed
    files: Mapping[str, str] | None = field(default_factory=dict)
    #: another seed.toml than the right one, by the line of the administrator's key
    seed: Callable[[str], str] | None = None
    #: for the kernel, which is started without the boot loader then; by that line, too
    arguments: Callable[[str], Sequence[str]] | None = None
    #: the lab's names of the gateway's cards, and its own
    names: Mapping[str, str] = field(default_factory=lambda: ONE_UPLINK)
    #: of the disk, in GiB; None: as it was built
    size: int | None = None
    uefi: bool = False


class Appliance(NamedTuple):
    """One that has power."""

    lab: Lab
    vm: Vm
    shell: Shell
    machines: VirtualGateway

    def boot(self) -> str:
        """Which boot this is, a word that no other has; empty while nobody can log in."""
        if not self.shell.greets():
            return ""
        return self.shell.run("cat", "/proc/sys/kernel/random/boot_id").output.strip()

    def up(self, since: str = "", within: float = BOOT) -> None:
        """Wait until one can log in, and it is another boot than ``since``. Fails with what its console says."""

        def found() -> str:
            return boot if self.vm.runs() and (boot := self.boot()) != since else ""

        up = eventually(lambda: found() or not self.vm.runs(), within=within, every=1)
        assert isinstance(up, str), f"the appliance has no power any more:\n{self.tail()}"
        assert up, f"nobody can log in to the appliance:\n{self.tail()}"

    def rules(self, text: str) -> None:
        """Have it follow these rules, as soon as its daemon listens."""
        assert self.shell.run("sh", "-c", "cat >/etc/sockd.conf", text=text).status == 0
        loaded = eventually(lambda: self.shell.run("sockctl", "reload").status == 0, within=BOOT, every=1)
        assert loaded, f"sockd does not load its rules:\n{self.tail()}"

    def reboot(self) -> None:
        """Have it start anew in order, and wait until one can log in."""
        before = self.boot()
        self.shell.run("reboot")
        self.shell.forget()
        self.up(before)

    def power_off(self) -> None:
        """Have it end in order, and wait until it has no power."""
        self.shell.run("poweroff")
        assert self.vm.ended(within=BOOT), self.tail()
        self.shell.forget()

    def cut(self) -> None:
        """Cut the power, switch it on, and wait until one can log in."""
        self.vm.kill()
        self.shell.forget()
        self.vm.start()
        self.up()

    def tail(self) -> str:
        """The end of what its console has said, and qemu itself."""
        return f"{self.vm.console.text()[-6000:]}\n{self.vm.errors()}"

    def wait_for(self, text: str, within: float = BOOT) -> str:
        """The page of its console, once it holds this text. Fails with what the console says."""
        found = eventually(lambda: text in self.vm.console.page(), within=within, every=0.5)
        assert found, f"the console does not show {text!r}:\n{self.tail()}"
        return self.vm.console.page()


def seed_of(key: str, names: Mapping[str, str] = ONE_UPLINK) -> str:
    """The right seed for the lab: addresses and routes of its gateway, and who may log in."""
    gateway = TWO_NETWORKS.host(GATEWAY)
    tables: dict[str, dict[str, object]] = {}
    for card in gateway.cards:
        if card.name in names:
            name = names[card.name]
            tables[name] = {"card": ADDRESSES[name], "addresses": card.addresses}
            if vias := [route.via for route in gateway.routes if route.card == card.name]:
                tables[name]["gateways"] = vias
    return seed_toml(key, tables, hostname=HOSTNAME, dns=[OUTSIDE_NAMES, OUTSIDE_NAMES6])


@contextlib.contextmanager
def appliance(setup: Setup, accelerator: Accelerator, folder: Path) -> Iterator[Appliance]:
    """One that has just been switched on, and the hosts and servers of the lab around it."""
    secret, public = new_key(folder / "key")
    with (
        switched_lab(setup.names) as lab,
        virtual_machine(
            _hardware(setup, lab.topology, public, folder),
            accelerator.options,
            folder / "machine",
            lab.spaces[GATEWAY].prefix,
        ) as vm,
        # they begin while it boots: some wait for a name server, which it will be
        serving(lab, folder / "servers"),
        shell(lab.spaces[INSIDE], ADMIN, PROXY, secret) as admin,
    ):
        yield Appliance(lab, vm, admin, VirtualGateway(lab, vm, admin, setup.names))


def seed_path(folder: Path) -> Path:
    """The disk with the seed of an appliance that has this folder; it may be made anew while there is no power."""
    return folder / "seed.img"


def _hardware(setup: Setup, topology: Topology, key: str, folder: Path) -> Hardware:
    made = Hardware(setup.disk, cards(topology), _seed(setup, key, folder), setup.size, uefi=setup.uefi)
    if setup.arguments is None:
        return made
    return replace(made, kernel=kernel(setup.disk.with_suffix(".raw"), folder, *setup.arguments(key)))


def _seed(setup: Setup, key: str, folder: Path) -> Path | None:
    if setup.files is None:
        return None
    text = seed_of(key, setup.names) if setup.seed is None else setup.seed(key)
    return seed_disk(seed_path(folder), {"seed.toml": text, **setup.files})
