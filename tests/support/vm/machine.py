"""One virtual machine: its hardware as a value, and the qemu that is it while it has power.

Its disk is a throw-away layer over an image, which stays as it is. What it writes outlives reset, power-off and power
cut, as on a real disk, until the end of the block. qemu is ended by its own number whatever happens.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.support.vm.console import Console, keep, listening
from tests.support.vm.qmp import Qmp, commands
from tests.support.waiting import eventually

QEMU = "qemu-system-x86_64"
_FIRMWARE = Path("/usr/share/OVMF")
_UEFI, _UEFI_VARIABLES = _FIRMWARE / "OVMF_CODE_4M.fd", _FIRMWARE / "OVMF_VARS_4M.fd"


class NoMachine(Exception):
    """qemu does not run it; the message is its own."""


class Card(NamedTuple):
    """A network card: its name for qemu, its address, and the tap device that is the far end of its cable."""

    name: str
    address: str
    tap: str


class Kernel(NamedTuple):
    """A kernel and its initramfs, and its arguments."""

    image: Path
    initrd: Path
    arguments: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the machine is made of; ``seed`` is a second disk, which is only read."""

    disk: Path
    cards: tuple[Card, ...] = ()
    seed: Path | None = None
    #: of the disk, in GiB; None: that of the image
    size: int | None = None
    #: MiB
    memory: int = 512
    uefi: bool = False
    #: what it starts; None: what is on the disk
    kernel: Kernel | None = None


class Wiring(NamedTuple):
    """Files and sockets of a machine here."""

    disk: Path
    variables: Path
    serial: Path
    qmp: Path


def missing(*programs: str) -> str:
    """Why no virtual machine can run here, with the way out of it; empty when nothing is known to be missing."""
    if os.geteuid() != 0:
        return "needs root, for the network of a virtual machine; `sudo make test` runs it"
    if lacking := [
        name for name in (QEMU, "qemu-img", "mcopy", "mkfs.vfat", "ssh", "ip", *programs) if shutil.which(name) is None
    ]:
        packages = "qemu-system-x86 qemu-utils dosfstools mtools openssh-client iproute2 nmap"
        return f"needs {', '.join(lacking)}: apt-get install {packages}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun, for the network cards of a virtual machine: modprobe tun"
    return ""


def missing_uefi() -> str:
    """Why no machine can boot by UEFI here; empty when nothing is missing."""
    return (
        "" if _UEFI.exists() and _UEFI_VARIABLES.exists() else "needs UEFI for virtual machines: apt-get install ovmf"
    )


def command(hardware: Hardware, accelerator: Sequence[str], wiring: Wiring) -> list[str]:
    """qemu's command line (qemu(1)): one processor, a screen that nobody sees, lines for the console and for orders.

    The old kind of machine, as its slots take and give cards while it runs.
    """
    return [
        *(QEMU, "-machine", "pc", *accelerator, "-m", str(hardware.memory), "-nodefaults", "-no-user-config"),
        *("-display", "none", "-vga", "std", "-device", "virtio-rng-pci"),
        *_line("serial", wiring.serial, "-serial", "chardev:serial"),
        *_line("qmp", wiring.qmp, "-mon", "chardev=qmp,mode=control"),
        *(_firmware(wiring.variables) if hardware.uefi else ()),
        *(_kernel(hardware.kernel) if hardware.kernel else ()),
        *("-drive", f"if=virtio,format=qcow2,file={wiring.disk}"),
        *(("-drive", f"if=virtio,format=raw,readonly=on,file={hardware.seed}") if hardware.seed else ()),
        *(word for card in hardware.cards for word in _card(card)),
    ]


def _line(name: str, path: Path, *user: str) -> tuple[str, ...]:
    return ("-chardev", f"socket,id={name},path={path}", *user)


def _firmware(variables: Path) -> tuple[str, ...]:
    return (
        *("-drive", f"if=pflash,format=raw,readonly=on,file={_UEFI}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
    )


def _kernel(kernel: Kernel) -> tuple[str, ...]:
    return ("-kernel", str(kernel.image), "-initrd", str(kernel.initrd), "-append", kernel.arguments)


def _card(card: Card) -> tuple[str, ...]:
    """Its far end is no part of it, so that the card can go and come."""
    return (
        *("-netdev", f"tap,id=net-{card.name},ifname={card.tap},script=no,downscript=no"),
        *("-device", ",".join(f"{key}={value}" for key, value in device(card).items())),
    )


def device(card: Card) -> dict[str, str]:
    """A card as the properties of a device of qemu."""
    return {"driver": "virtio-net-pci", "id": card.name, "netdev": f"net-{card.name}", "mac": card.address}


class Vm:
    """A machine, with or without power. All waits are the caller's."""

    def __init__(self, command: Sequence[str], wiring: Wiring, console: Path) -> None:
        self._command = command
        self._wiring = wiring
        self._kept = console
        self._power = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.console: Console
        self.qmp: Qmp

    def start(self) -> None:
        """Switch it on. Raises NoMachine."""
        assert not self.runs(), "the machine runs already"
        self._power.close()
        with contextlib.ExitStack() as stack:
            lines = [stack.enter_context(listening(path)) for path in (self._wiring.serial, self._wiring.qmp)]
            process = stack.enter_context(_process(self._command, self._kept.with_suffix(".errors")))
            serial, orders = (stack.enter_context(self._connected(line, process)) for line in lines)
            thread = keep(serial, self._kept)
            # the far end of the line has to go before the thread ends, that is qemu
            stack.callback(thread.join)
            stack.callback(process.kill)
            self.console = Console(serial, self._kept)
            self.qmp = stack.enter_context(self._orders(orders))
            self._process = process
            self._power = stack.pop_all()

    def _connected(self, listener: socket.socket, process: "subprocess.Popen[bytes]") -> socket.socket:
        """The line to qemu; its path is free again then."""
        listener.settimeout(0.2)
        path = listener.getsockname()

        def accept() -> socket.socket | None:
            with contextlib.suppress(TimeoutError):
                return listener.accept()[0]
            return None

        line = eventually(lambda: accept() if process.poll() is None else _GONE, within=60)
        Path(path).unlink()
        if not isinstance(line, socket.socket):
            raise NoMachine(self.errors())
        line.settimeout(None)
        return line

    @contextlib.contextmanager
    def _orders(self, line: socket.socket) -> Iterator[Qmp]:
        with contextlib.ExitStack() as stack:
            try:
                orders = stack.enter_context(commands(line))
            except ConnectionError:
                raise NoMachine(self.errors()) from None
            yield orders

    @property
    def disk(self) -> Path:
        """Its disk, qcow2; nobody else may write to it while there is power."""
        return self._wiring.disk

    def errors(self) -> str:
        """What qemu itself had to say."""
        return self._kept.with_suffix(".errors").read_text(errors="replace").strip()

    def runs(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Cut the power, from one instruction to the next."""
        self._power.close()

    def reset(self) -> None:
        """Press the button that starts it anew, without a word to what runs on it."""
        self.qmp.do("system_reset")

    def press_power(self) -> None:
        """Press the power button for a moment, as one who wants it to end in order."""
        self.qmp.do("system_powerdown")

    def ended(self, within: float) -> bool:
        """Whether it has no power any more, at the end of so many seconds at most."""
        return eventually(lambda: not self.runs(), within=within, every=0.1)

    def set_link(self, card: str, up: bool) -> None:
        """Put the cable into a card, or pull it: the machine sees its carrier come or go."""
        self.qmp.do("set_link", name=card, up=up)

    def remove_card(self, card: str) -> None:
        """Take a card out while the machine runs; done when its system has let it go."""
        self.qmp.do("device_del", id=card)
        self.qmp.wait_for("DEVICE_DELETED")

    def insert_card(self, card: Card) -> None:
        """Put a card that was taken out back in."""
        self.qmp.do("device_add", **device(card))

    def screen(self, picture: Path) -> None:
        """Write what the screen shows, as a portable pixmap."""
        self.qmp.do("screendump", filename=str(picture))


_GONE = object()


@contextlib.contextmanager
def _process(command: Sequence[str], errors: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of its own session, which is ended and waited for."""
    with (
        errors.open("ab") as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def virtual_machine(
    hardware: Hardware, accelerator: Sequence[str], folder: Path, prefix: Sequence[str] = ()
) -> Iterator[Vm]:
    """A machine that has been switched on; ``folder`` is for its files, and made.

    ``prefix`` runs a command where its tap devices are. The console's text stays in the file ``console`` of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # names of sockets are short (unix(7)), folders of tests are not
    with tempfile.TemporaryDirectory(prefix="vm-") as lines, contextlib.ExitStack() as stack:
        wiring = Wiring(folder / "disk.qcow2", folder / "variables.fd", Path(lines, "serial"), Path(lines, "qmp"))
        _layer(hardware, wiring.disk)
        if hardware.uefi:
            shutil.copyfile(_UEFI_VARIABLES, wiring.variables)
        made = Vm([*prefix, *command(hardware, accelerator, wiring)], wiring, folder / "console")
        stack.callback(made.kill)
        made.start()
        yield made


def _layer(hardware: Hardware, disk: Path) -> None:
    size = (f"{hardware.size}G",) if hardware.size else ()
    image = hardware.disk.resolve()
    kind = "qcow2" if image.suffix == ".qcow2" else "raw"
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(image), str(disk), *size]
    subprocess.run(made, check=True, stdin=subprocess.DEVNULL)
