"""The lab built of network namespaces, and what one does to its cables and cards while something runs in it."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping

from tests.support.lab.kernel import Kernel, kernel
from tests.support.lab.topology import GATEWAY, TWO_NETWORKS, Cable, End, Host, Topology
from tests.support.netns import Namespace, namespace
from tests.support.waiting import eventually


class Lab:
    """The hosts that stand, by name; cards are those of the gateway, as every cable has an end there."""

    def __init__(self, topology: Topology, spaces: Mapping[str, Namespace]) -> None:
        self.topology = topology
        self.spaces = spaces

    def run(self, host: str, *command: str, within: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host to its end, with its output as text. Raises subprocess.TimeoutExpired."""
        prefixed = [*self.spaces[host].prefix, *command]
        return subprocess.run(prefixed, capture_output=True, text=True, timeout=within, check=False)

    # --- cables

    def pull(self, card: str) -> None:
        """Pull the cable out at its far end: the gateway loses the carrier, and keeps card, addresses and routes."""
        self._far(card, "down")

    def restore(self, card: str) -> None:
        """Put the cable back."""
        self._far(card, "up")

    def _far(self, card: str, state: str) -> None:
        far = self.far(card)
        with kernel(self.spaces[far.host]) as there:
            there.switch(far.card, state)

    def mute(self, card: str) -> None:
        """Let whatever the far host would send vanish: link and neighbour stay, so that only a probe can notice."""
        with kernel(self.spaces[self.far(card).host]) as there:
            there.mute()

    def unmute(self, card: str) -> None:
        """Let the far host answer again."""
        with kernel(self.spaces[self.far(card).host]) as there:
            there.unmute()

    # --- cards of the gateway

    def replace_address(self, card: str, old: str, new: str) -> None:
        """Change an address as a DHCP client does: the new one comes, the old one goes, the default route is set again.

        Both are written with the length of their prefix, and lie in one network.
        """
        with self._gateway() as here:
            here.add_address(card, new)
            here.remove_address(card, old)
            self._set_routes(here, card)

    def remove_card(self, card: str) -> None:
        """Take a card out of the gateway, as if it had never been."""
        with self._gateway() as here:
            here.remove(card)

    def insert_card(self, card: str) -> None:
        """Put a card that was taken out back in, with cable, addresses and routes as at the beginning."""
        self._plug(self.topology.cable(End(GATEWAY, card)))
        self.set_routes(card)

    def set_routes(self, card: str) -> None:
        """Set the gateway's default routes by this card again: those that went when the card was set down."""
        with self._gateway() as here:
            self._set_routes(here, card)

    def far(self, card: str) -> End:
        """What the cable in a card of the gateway leads to. Raises LookupError when there is no such card."""
        end = End(GATEWAY, card)
        return self.topology.cable(end).other(end)

    def _gateway(self) -> contextlib.AbstractContextManager[Kernel]:
        return kernel(self.spaces[GATEWAY])

    def _set_routes(self, here: Kernel, card: str | None = None, host: str = GATEWAY) -> None:
        for route in self.topology.host(host).routes:
            if card in (None, route.card):
                here.set_route(route)

    # --- building

    def connect(self) -> None:
        """Lay every cable and set every route of hosts that have none yet; done when every link is there."""
        for cable in self.topology.cables:
            self._plug(cable)
        for name, space in self.spaces.items():
            with kernel(space) as here:
                self._set_routes(here, host=name)

    def _plug(self, cable: Cable) -> None:
        left, right = cable
        with kernel(self.spaces[left.host]) as here, kernel(self.spaces[right.host]) as there:
            here.plug(left.card, self.spaces[right.host], right.card)
            here.set_up(self.topology.host(left.host).card(left.card))
            there.set_up(self.topology.host(right.host).card(right.card))
            linked = eventually(lambda: here.linked(left.card) and there.linked(right.card))
            assert linked, f"no link between {left} and {right}"


@contextlib.contextmanager
def lab(topology: Topology = TWO_NETWORKS) -> Iterator[Lab]:
    """Every host and cable of a topology; whatever happens inside, all of it is removed, with the processes in it."""
    with contextlib.ExitStack() as stack:
        spaces = {host.name: stack.enter_context(_host(host)) for host in topology.hosts}
        made = Lab(topology, spaces)
        made.connect()
        yield made


@contextlib.contextmanager
def _host(host: Host) -> Iterator[Namespace]:
    with namespace(dict(host.files), host.name) as space:
        for name, value in host.sysctls:
            space.sysctl(name, value)
        # addresses of the loopback belong to a card that is there already
        with kernel(space) as here:
            for address in host.loopback:
                here.add_address("lo", address)
        yield space
