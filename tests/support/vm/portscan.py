"""Which ports of an address answer, by nmap(1); asked from a host of the lab."""

import xml.etree.ElementTree as Xml
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.lab.build import Lab

#: without a name, a ping before or many repetitions; in pieces that a machine which is interpreted can swallow
_OPTIONS = ("-n", "-Pn", "--max-retries", "2", "--max-rate", "1000", "-oX", "-")


@dataclass(frozen=True, slots=True)
class Ports:
    """The states of ports in nmap's words: those that are listed, and how many others there are of each state."""

    listed: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)

    def having(self, state: str) -> set[str]:
        """Ports of this state that are listed, as in ``tcp/22``."""
        return {port for port, has in self.listed.items() if has == state}

    def states(self) -> set[str]:
        """Every state that some port has."""
        return {*self.listed.values(), *self.others}


def parse(text: str) -> Ports:
    """What nmap says of one address, in its XML. Raises ValueError when it says nothing of any port."""
    ports = Xml.fromstring(text).find("host/ports")
    if ports is None:
        raise ValueError(f"nmap looked at no port: {text[-500:]}")
    listed = {
        f"{port.get('protocol')}/{port.get('portid')}": state.get("state", "")
        for port in ports.findall("port")
        if (state := port.find("state")) is not None
    }
    others = {extra.get("state", ""): int(extra.get("count", "0")) for extra in ports.findall("extraports")}
    return Ports(listed, others)


def scan(lab: Lab, host: str, address: str, *options: str, within: float = 1800.0) -> Ports:
    """Look at an address of either family from a host; ``options`` say which ports, and how."""
    family = ("-6",) if ":" in address else ()
    done = lab.run(host, "nmap", *_OPTIONS, *family, *options, address, within=within)
    assert done.returncode == 0, f"nmap: {done.stdout[-500:]} {done.stderr}"
    return parse(done.stdout)
