"""A virtual machine in the gateway's place, as `Machines` on which the lab's scenarios are played.

The cards' names in scenarios are those of the lab; `adapted` puts those of the machine in their place.
"""

import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.support.lab.build import Lab
from tests.support.lab.machines import Outcome, Sniffer, Spaces
from tests.support.lab.steps import CHANGES, Curl, Step
from tests.support.lab.topology import GATEWAY, TWO_NETWORKS, Route
from tests.support.vm.machine import Card, Vm
from tests.support.vm.networks import NAMES, cards
from tests.support.vm.secureshell import Shell

_JOURNAL: Final = "journalctl --unit=sockd --output=cat --no-pager --quiet"
#: under sysvinit the words of the daemon go to syslog
_LOG: Final = ("sh", "-c", f"if command -v journalctl >/dev/null; then {_JOURNAL}; else cat /var/log/syslog; fi")
#: of curl(1): the last one counts, and a machine that is interpreted takes its time
_LONGER: Final = ("--max-time", "30")


class VirtualGateway:
    """`Machines` whose gateway is a virtual machine, and whose other hosts are namespaces."""

    def __init__(self, lab: Lab, vm: Vm, shell: Shell, names: Mapping[str, str] = NAMES) -> None:
        self._lab = lab
        self._vm = vm
        self._shell = shell
        self._spaces = Spaces(lab, self.log)
        self._cards: Mapping[str, Card] = {card.name: card for card in cards(lab.topology)}
        routes = TWO_NETWORKS.host(GATEWAY).routes
        self._routes = [route._replace(card=names[route.card]) for route in routes if route.card in names]

    def run(self, host: str, command: Sequence[str], within: float) -> Outcome:
        if host == GATEWAY:
            return self._shell.run(*command, within=within)
        return self._spaces.run(host, command, within)

    def change(self, change: str, card: str) -> None:
        if change not in CHANGES:
            raise ValueError(f"{change!r} is none of {', '.join(sorted(CHANGES))}")
        getattr(self, f"_{change}")(card)

    def renumber(self, card: str, old: str, new: str) -> None:
        # as the lab's own hosts have it: else an address takes the later ones of its network along
        done = self._shell.run("sysctl", "--quiet", "--write", f"net.ipv4.conf.{card}.promote_secondaries=1")
        assert done.status == 0, done.errors
        self._ip("address", "add", new, "dev", card)
        self._ip("address", "del", old, "dev", card)
        self._set_routes(card, ipaddress.ip_interface(new).version)

    def sniff(self, card: str) -> contextlib.AbstractContextManager[Sniffer]:
        return self._spaces.sniff(card)

    def log(self) -> str:
        done = self._shell.run(*_LOG)
        assert done.status == 0, f"the journal can not be read: {done.errors}"
        return done.output

    # --- the changes

    def _pull(self, card: str) -> None:
        self._vm.set_link(card, up=False)

    def _restore(self, card: str) -> None:
        self._vm.set_link(card, up=True)

    def _mute(self, card: str) -> None:
        self._lab.mute(card)

    def _unmute(self, card: str) -> None:
        self._lab.unmute(card)

    def _remove_card(self, card: str) -> None:
        self._vm.remove_card(card)

    def _insert_card(self, card: str) -> None:
        """What the machine does with a new card is its own affair."""
        self._vm.insert_card(self._cards[card])

    def _set_routes(self, card: str, version: int | None = None) -> None:
        for route in self._routes:
            if route.card == card and version in (None, _version(route)):
                way = (route.destination, "via", route.via, "dev", card, "metric", str(route.metric))
                self._ip(f"-{_version(route)}", "route", "replace", *way)

    def _ip(self, *arguments: str) -> None:
        done = self._shell.run("ip", *arguments)
        assert done.status == 0, f"ip {' '.join(arguments)}: {done.errors}"


def _version(route: Route) -> int:
    return ipaddress.ip_network(route.destination).version


def adapted(steps: Sequence[Step], names: Mapping[str, str] = NAMES, patience: float = 6.0) -> list[Step]:
    """The same steps for a machine whose cards have other names, and which takes so many times longer for everything.

    Curl waits longer for an answer that is wanted, and as long as ever for one that must not come.
    """
    return [_adapted(step, names, patience) for step in steps]


def _adapted(step: Step, names: Mapping[str, str], patience: float) -> Step:
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    changed: dict[str, Any] = {name: _in_steps(value, names) for name, value in values.items()}
    if "within" in changed:
        changed["within"] *= patience
    if isinstance(step, Curl) and step.expect is not None:
        changed["options"] = (*changed["options"], *_LONGER)
    return dataclasses.replace(step, **changed)


def _in_steps(value: object, names: Mapping[str, str]) -> object:
    match value:
        case str():
            return renamed(value, names)
        case tuple():
            return tuple(_in_steps(part, names) for part in value)
        case _:
            return value


def renamed(text: str, names: Mapping[str, str] = NAMES) -> str:
    """A text with other names for the cards; a name is a whole word."""
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)
