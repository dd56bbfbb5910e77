"""What a scenario's driver asks of the machines of a lab, and the namespaces of this host as such machines."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tests.support.lab.build import Lab
from tests.support.lab.capture import Capture, capture
from tests.support.lab.steps import CHANGES
from tests.support.lab.topology import GATEWAY


class Outcome(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str


class Sniffer(Protocol):
    """A capture that runs."""

    def count(self, destination: str) -> int:
        """How many packets for this address have left by the card since the capture began."""


class Machines(Protocol):
    """What the driver asks of a lab; cards are those of the gateway."""

    def run(self, host: str, command: Sequence[str], within: float) -> Outcome:
        """Run a command on a host to its end, in at most so many seconds."""

    def change(self, change: str, card: str) -> None:
        """Do one of `CHANGES` to a card or its cable."""

    def renumber(self, card: str, old: str, new: str) -> None:
        """Change an address of a card as a DHCP client does."""

    def sniff(self, card: str) -> contextlib.AbstractContextManager[Sniffer]:
        """Begin to watch a card."""

    def log(self) -> str:
        """The daemon's classic log so far."""


class Spaces:
    """`Machines` that are the namespaces of this host; ``log`` reads the daemon's classic log."""

    def __init__(self, lab: Lab, log: Callable[[], str]) -> None:
        self._lab = lab
        self.log = log

    def run(self, host: str, command: Sequence[str], within: float) -> Outcome:
        done = self._lab.run(host, *command, within=within)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def change(self, change: str, card: str) -> None:
        if change not in CHANGES:
            raise ValueError(f"{change!r} is none of {', '.join(sorted(CHANGES))}")
        getattr(self._lab, change)(card)

    def renumber(self, card: str, old: str, new: str) -> None:
        self._lab.replace_address(card, old, new)

    @contextlib.contextmanager
    def sniff(self, card: str) -> Iterator[Sniffer]:
        with capture(self._lab.spaces[GATEWAY], card) as seen:
            yield _Seen(seen)


class _Seen:
    """A `Sniffer` on a capture of this host."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def count(self, destination: str) -> int:
        return len(self._capture.packets(destination=destination, outgoing=True))
