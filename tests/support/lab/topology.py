"""The two-network lab as data: hosts, their cards and addresses, the cables between them, their routes.

Nothing here knows how it is built; namespaces are one way, virtual machines would be another.
"""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

INSIDE, GATEWAY, OUTSIDE, OUTSIDE2 = "inside", "gateway", "outside", "outside2"

CLIENT, CLIENT6 = "10.1.0.2", "fd00:1::2"
SECOND_CLIENT, SECOND_CLIENT6 = "10.1.0.3", "fd00:1::3"
INSIDE_NAMES, INSIDE_NAMES6 = "10.1.0.53", "fd00:1::53"
#: what ``corp.example`` is for the inside
INSIDE_WEB = "10.1.0.80"
#: an inside domain that the world does not know
LAN = "lan"
#: how many addresses ``many.example`` has outside, and ``many.corp.example`` inside
MANY = 120
#: the gateway's addresses on the inside and on its uplinks
PROXY, PROXY6 = "10.1.0.1", "fd00:1::1"
WAN1, WAN1_6, WAN2, WAN2_6 = "192.0.2.10", "2001:db8:1::10", "198.51.100.10", "2001:db8:2::10"
#: the next hops: ``outside`` and ``outside2`` themselves
ROUTER1, ROUTER1_6, ROUTER2, ROUTER2_6 = "192.0.2.1", "2001:db8:1::1", "198.51.100.1", "2001:db8:2::1"

#: targets that are reached by either uplink, as each outside has them
TARGET_A, TARGET_B, TARGET_6 = "203.0.113.10", "203.0.113.20", "2001:db8:ff::10"
#: targets that only one outside has
ONLY_WAN1, ONLY_WAN1_6 = "203.0.113.31", "2001:db8:ff::31"
ONLY_WAN2, ONLY_WAN2_6 = "203.0.113.32", "2001:db8:ff::32"
#: the public name server, by either uplink too
OUTSIDE_NAMES, OUTSIDE_NAMES6 = "203.0.113.53", "2001:db8:ff::53"

EVERYWHERE, EVERYWHERE6 = "0.0.0.0/0", "::/0"


class Route(NamedTuple):
    """A route of the main table; the lower metric is preferred."""

    destination: str
    via: str
    card: str
    metric: int


class Card(NamedTuple):
    """A network card, and its addresses with the lengths of their prefixes; of each family the preferred one first."""

    name: str
    addresses: tuple[str, ...]


class End(NamedTuple):
    """Where a cable ends."""

    host: str
    card: str


class Cable(NamedTuple):
    """A cable between two cards."""

    left: End
    right: End

    def other(self, end: End) -> End:
        """The far end, seen from this one."""
        return self.right if end == self.left else self.left


class NameServer(NamedTuple):
    """A name server: the addresses that it listens on, and its zones in master file format (RFC 1035 §5)."""

    addresses: tuple[str, ...]
    zones: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Host:
    """A host; ``sysctls`` are names under /proc/sys/net and values, ``files`` names and texts under /etc."""

    name: str
    cards: tuple[Card, ...]
    sysctls: tuple[tuple[str, str], ...]
    #: addresses of its loopback, which a packet for them may reach by any card
    loopback: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    #: whether web and echo targets listen on all its addresses
    targets: bool = True
    names: NameServer | None = None

    def card(self, name: str) -> Card:
        """The card of this name. Raises KeyError."""
        return {card.name: card for card in self.cards}[name]


@dataclass(frozen=True, slots=True)
class Topology:
    """All hosts and cables."""

    hosts: tuple[Host, ...]
    cables: tuple[Cable, ...]
    _by_name: MappingProxyType[str, Host] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", MappingProxyType({host.name: host for host in self.hosts}))

    def host(self, name: str) -> Host:
        """The host of this name. Raises KeyError."""
        return self._by_name[name]

    def cable(self, end: End) -> Cable:
        """The cable in this card. Raises LookupError."""
        for cable in self.cables:
            if end in cable:
                return cable
        raise LookupError(f"no cable in {end.card} of {end.host}")


# Names and values under /proc/sys/net. A new namespace may have those of the host, so each is said. New addresses serve
# at once (accept_dad), stay when their link goes (keep_addr_on_down) and do not go with an older one of their network
# (promote_secondaries).
_COMMON = (
    ("accept_dad", "ipv6", "0"),
    ("accept_ra", "ipv6", "0"),
    ("disable_ipv6", "ipv6", "0"),
    ("keep_addr_on_down", "ipv6", "1"),
    ("promote_secondaries", "ipv4", "1"),
)


def _sysctls(*, forwarding: int, rp_filter: int) -> tuple[tuple[str, str], ...]:
    values = (*_COMMON, ("rp_filter", "ipv4", str(rp_filter)))
    return (
        *((f"{family}/conf/{which}/{name}", value) for which in ("all", "default") for name, family, value in values),
        ("ipv4/ip_forward", str(forwarding)),
        ("ipv6/conf/all/forwarding", str(forwarding)),
    )


# as Debian has it: replies may come by another way than the kernel's own route to their sender
_NO_ROUTER = _sysctls(forwarding=0, rp_filter=2)
# says at once where it knows no way, and answers ARP even while it is mute
_ROUTER = _sysctls(forwarding=1, rp_filter=0)


def _etc(*servers: str) -> tuple[tuple[str, str], ...]:
    return (
        ("resolv.conf", "".join(f"nameserver {server}\n" for server in servers)),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("nsswitch.conf", "hosts: files dns\nservices: files\n"),
    )


_ZONE = """\
$TTL 60
@      SOA   ns hostmaster 1 3600 600 86400 60
       NS    ns
"""

# It says that what is nowhere does not exist, as the real one does: to whoever asks outside for a name of the inside.
_ROOT_ZONE = """\
$TTL 60
.             SOA   ns.example. hostmaster.example. 1 3600 600 86400 60
              NS    ns.example.
"""

_REVERSE_ZONE = """\
$TTL 60
@      SOA   ns.example. hostmaster.example. 1 3600 600 86400 60
       NS    ns.example.
"""


def _many(name: str, network: str) -> str:
    """A name with more addresses than a datagram holds."""
    return "".join(f"{name}     A     {network}.{number}\n" for number in range(1, MANY + 1))


_PUBLIC_ZONES = (
    (
        ".",
        f"""{_ROOT_ZONE}\
ns.example.   A     {OUTSIDE_NAMES}
ns.example.   AAAA  {OUTSIDE_NAMES6}
example.      NS    ns.example.
""",
    ),
    (
        "example",
        f"""{_ZONE}\
ns     A     {OUTSIDE_NAMES}
ns     AAAA  {OUTSIDE_NAMES6}
www    A     {TARGET_A}
both   A     {TARGET_A}
both   AAAA  {TARGET_6}
six    AAAA  {TARGET_6}
b      A     {TARGET_B}
one    A     {ONLY_WAN1}
one    AAAA  {ONLY_WAN1_6}
two    A     {ONLY_WAN2}
two    AAAA  {ONLY_WAN2_6}
inner  A     {INSIDE_WEB}
{_many("many", "198.18.0")}""",
    ),
    (
        "corp.example",
        f"""{_ZONE}\
ns     A     {OUTSIDE_NAMES}
@      A     {TARGET_A}
www    A     {TARGET_B}
shop   A     {TARGET_B}
""",
    ),
    ("113.0.203.in-addr.arpa", f"{_REVERSE_ZONE}10     PTR   www.example.\n20     PTR   b.example.\n"),
    # nobody outside has a right to these: who asks here for an address of the inside gets a wrong name
    ("10.in-addr.arpa", f"{_REVERSE_ZONE}*      PTR   wrong.example.\n"),
    ("d.f.ip6.arpa", f"{_REVERSE_ZONE}*      PTR   wrong.example.\n"),
)

_INSIDE_ZONES = (
    (
        "corp.example",
        f"""{_ZONE}\
ns       A     {INSIDE_NAMES}
ns       AAAA  {INSIDE_NAMES6}
@        A     {INSIDE_WEB}
www      A     {INSIDE_WEB}
intranet A     {INSIDE_WEB}
client   A     {CLIENT}
client   AAAA  {CLIENT6}
second   A     {SECOND_CLIENT}
partner  CNAME www.example.
{_many("many", "10.1.1")}""",
    ),
    (LAN, f"{_ZONE}ns       A     {INSIDE_NAMES}\nprinter  A     {SECOND_CLIENT}\n"),
    (
        "10.in-addr.arpa",
        f"""{_REVERSE_ZONE}\
2.0.1    PTR   client.corp.example.
3.0.1    PTR   second.corp.example.
80.0.1   PTR   intranet.corp.example.
""",
    ),
    (
        "0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa",
        f"{_REVERSE_ZONE}2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR client.corp.example.\n",
    ),
)

_EVERYWHERE_OUTSIDE = (TARGET_A, TARGET_B, TARGET_6, OUTSIDE_NAMES, OUTSIDE_NAMES6)


def _outside(name: str, card: Card, *only: str) -> Host:
    addresses = tuple(address.partition("/")[0] for address in card.addresses)
    return Host(
        name,
        cards=(card,),
        sysctls=_ROUTER,
        loopback=(*_EVERYWHERE_OUTSIDE, *only),
        files=_etc(OUTSIDE_NAMES),
        names=NameServer((OUTSIDE_NAMES, OUTSIDE_NAMES6, *addresses), _PUBLIC_ZONES),
    )


TWO_NETWORKS = Topology(
    hosts=(
        Host(
            INSIDE,
            cards=(
                Card(
                    "eth0",
                    (
                        f"{CLIENT}/24",
                        f"{SECOND_CLIENT}/24",
                        f"{INSIDE_NAMES}/24",
                        f"{INSIDE_WEB}/24",
                        f"{CLIENT6}/64",
                        f"{SECOND_CLIENT6}/64",
                        f"{INSIDE_NAMES6}/64",
                    ),
                ),
            ),
            sysctls=_NO_ROUTER,
            files=_etc(INSIDE_NAMES),
            names=NameServer((INSIDE_NAMES, INSIDE_NAMES6), _INSIDE_ZONES),
        ),
        Host(
            GATEWAY,
            cards=(
                Card("eth1", (f"{PROXY}/24", f"{PROXY6}/64")),
                Card("wan1", (f"{WAN1}/24", f"{WAN1_6}/64")),
                Card("wan2", (f"{WAN2}/24", f"{WAN2_6}/64")),
            ),
            sysctls=_NO_ROUTER,
            routes=(
                Route(EVERYWHERE, ROUTER1, "wan1", 100),
                Route(EVERYWHERE6, ROUTER1_6, "wan1", 100),
                Route(EVERYWHERE, ROUTER2, "wan2", 200),
                Route(EVERYWHERE6, ROUTER2_6, "wan2", 200),
            ),
            files=_etc(OUTSIDE_NAMES),
            targets=False,
        ),
        _outside(OUTSIDE, Card("eth0", (f"{ROUTER1}/24", f"{ROUTER1_6}/64")), ONLY_WAN1, ONLY_WAN1_6),
        _outside(OUTSIDE2, Card("eth0", (f"{ROUTER2}/24", f"{ROUTER2_6}/64")), ONLY_WAN2, ONLY_WAN2_6),
    ),
    cables=(
        Cable(End(INSIDE, "eth0"), End(GATEWAY, "eth1")),
        Cable(End(GATEWAY, "wan1"), End(OUTSIDE, "eth0")),
        Cable(End(GATEWAY, "wan2"), End(OUTSIDE2, "eth0")),
    ),
)
"""The lab of the tests and of ``make lab``."""


def asking_gateway(topology: Topology) -> Topology:
    """The same, but the inside's own programs ask the gateway for names."""
    files = (("resolv.conf", f"nameserver {PROXY}\nnameserver {PROXY6}\n"), *_etc()[1:])
    changed = replace(topology.host(INSIDE), files=files)
    return replace(topology, hosts=tuple(changed if host.name == INSIDE else host for host in topology.hosts))


SPLIT_DNS = asking_gateway(TWO_NETWORKS)
"""The lab as it is when the gateway's resolver runs."""
