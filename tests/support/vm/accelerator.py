"""What runs a virtual machine here: the processor itself, or a program that interprets it.

That /dev/kvm can be opened, and that qemu starts with it, says nothing: there are hosts where no ordinary kernel gets
anywhere then. So the answer is that of a kernel, which greets on the serial console or does not.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from tests.support.vm.machine import Hardware, NoMachine, virtual_machine
from tests.support.waiting import eventually

_DEVICE = Path("/dev/kvm")
_GREETING = "Linux version"


class Accelerator(NamedTuple):
    """How qemu runs the processor."""

    name: str
    options: tuple[str, ...]


KVM = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host"))
TCG = Accelerator("tcg", ("-accel", "tcg", "-cpu", "max"))


def probe(disk: Path, folder: Path, within: float = 15.0) -> Accelerator:
    """KVM if the kernel on a disk really starts by it in so many seconds, else TCG; ``folder`` is for the attempt."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return TCG
    with contextlib.suppress(NoMachine), virtual_machine(Hardware(disk), KVM.options, folder) as attempt:
        if eventually(lambda: _GREETING in attempt.console.text() or not attempt.runs(), within=within, every=0.1):
            return KVM if attempt.runs() else TCG
    return TCG
