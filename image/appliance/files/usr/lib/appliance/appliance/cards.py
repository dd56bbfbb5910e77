"""Network cards: which there are, which one a seed means, and what must be renamed so that it has its name.

A card is known by its hardware address for ever after, so that another order of the bus does not turn the gateway
round. Renaming is a plan here; who has the right carries it out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_COUNTED = re.compile(r"eth(\d+)")


@dataclass(frozen=True, slots=True)
class Nic:
    """A card as the kernel has it now; ``mac`` in lower case."""

    name: str
    mac: str
    index: int

    def __str__(self) -> str:
        """As a message names it."""
        return f"{self.name} ({self.mac})"


def present(net: Path) -> tuple[Nic, ...]:
    """All cards of this machine in the kernel's order, without virtual ones; ``net`` is /sys/class/net."""
    found = []
    for folder in net.iterdir():
        try:
            if (folder / "device").exists():
                index = int((folder / "ifindex").read_text())
                found.append(Nic(folder.name, (folder / "address").read_text().strip().lower(), index))
        except OSError:
            continue  # it was taken out meanwhile
    return tuple(sorted(found, key=lambda nic: nic.index))


def find(wanted: str, nics: Sequence[Nic]) -> Nic | None:
    """The card with this address, or this name; ``eth1`` is the second one even when the cards are renamed already."""
    for nic in nics:
        if wanted in (nic.mac, nic.name):
            return nic
    counted = _COUNTED.fullmatch(wanted)
    return nics[int(counted[1])] if counted and int(counted[1]) < len(nics) else None


def renames(pins: Mapping[str, str], nics: Sequence[Nic]) -> tuple[tuple[str, str], ...]:
    """(old name, new name), in this order, so that each card of ``pins``, name -> address, has its name.

    Who has a name that is another's gets out of the way first, by a name that nobody wants.
    """
    wanted = {mac: name for name, mac in pins.items()}
    away, home = [], []
    for nic in nics:
        name = wanted.get(nic.mac, nic.name if nic.name not in pins else f"card{nic.index}")
        if name == nic.name:
            continue
        old = nic.name
        if old in pins:
            old = f"card{nic.index}"
            away.append((nic.name, old))
        if old != name:
            home.append((old, name))
    return (*away, *home)


def lacking(pins: Mapping[str, str], nics: Sequence[Nic]) -> tuple[str, ...]:
    """A line for each pinned card that is not in this machine."""
    there = {nic.mac for nic in nics}
    return tuple(
        f"the card {name}, {mac}, is not in this machine; it has {', '.join(map(str, nics)) or 'none'}"
        for name, mac in pins.items()
        if mac not in there
    )
