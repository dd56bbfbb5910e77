"""The steps of scenarios, as values: what is done on a host or to a card, and what must come of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Curl:
    """Fetch from a target of the lab, and see who answered and which source address it saw, or that nobody did.

    Repeated until it comes out as wanted, for at most ``within`` seconds; 0 is once.
    """

    at: str
    url: str
    #: ``socks5h://10.1.0.1:1080``; empty: straight
    proxy: str = ""
    #: what the answer must have of ``host``, ``source`` and ``target``; None: no connection, or a refusal
    expect: Mapping[str, str] | None = None
    #: arguments of curl besides
    options: tuple[str, ...] = ()
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command; its status and its output (a regular expression) must be these, ``within`` as for `Curl`."""

    at: str
    command: tuple[str, ...]
    status: int = 0
    output: str = ""
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """Do one of `CHANGES` to a card of the gateway, or to the cable in it."""

    change: str
    card: str


def _change(name: str) -> Callable[[str], Change]:
    return lambda card: Change(name, card)


#: the cable is pulled at its far end, and put back
Pull, Restore = _change("pull"), _change("restore")
#: what the far end would send vanishes, its link stays; and comes again
Mute, Unmute = _change("mute"), _change("unmute")
#: the card itself goes, and comes
Remove, Insert = _change("remove_card"), _change("insert_card")
#: its default routes are set again, as a DHCP client does once it is up
SetRoutes = _change("set_routes")
CHANGES = frozenset({"pull", "restore", "mute", "unmute", "remove_card", "insert_card", "set_routes"})


@dataclass(frozen=True, slots=True)
class Renumber:
    """Change an address of a card of the gateway as a DHCP client does; both with the length of their prefix."""

    card: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Let some time pass; rarely right, as most steps can wait for what they want."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch a card from now on; once more: forget what it has seen."""

    card: str


@dataclass(frozen=True, slots=True)
class Packets:
    """Some packet for this address has left by a watched card, or (``some`` false) not one."""

    card: str
    destination: str
    some: bool = True


def NoPacket(card: str, destination: str) -> Packets:
    """Not one packet for this address has left by a watched card."""
    return Packets(card, destination, some=False)


@dataclass(frozen=True, slots=True)
class Logged:
    """A line of the daemon's log that came since the scenario began holds this regular expression."""

    pattern: str
    within: float = 15.0


Step = Curl | Run | Change | Renumber | Wait | Watch | Packets | Logged
