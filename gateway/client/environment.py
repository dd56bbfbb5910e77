"""Which name servers there are, and which of them may hear a name: a value made of resolv.conf(5) and SOCKS_NS.

A site that hides its names runs two name servers: one knows the inside, the other what is outside
(``spec/socks4.md`` §7, §15). Names of the inside are asked inside only, whatever happens: a question that goes on to
the other server because the first one is down tells the outside the very name that it shall not know
(``spec/field-cases.md`` §3, point 4). For all other names the outside server comes first and the inside one second, as
C-Kermit restored the list that SOCKS_NS had replaced; that way round the question leaks nothing, as those outside have
heard it already.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.address import Endpoint, Name, canonical_name, parse_address, plain
from gateway.config.fields import BadField, parse_prefix, quoted
from gateway.dns.names import label_count, parents, reverse_zones, wire_name
from gateway.errors import BadName, GatewayError

PORT = 53

MAX_INSIDE = 3
"""Name servers of resolv.conf(5) that count; the C library takes no more."""

NS_VARIABLE = "SOCKS_NS"
DNAME_VARIABLE = "SOCKS_DNAME"

LOOPBACK = "127.0.0.1"
"""The name server of a host whose resolv.conf names none (resolv.conf(5))."""

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)

_PRIVATE_NETWORKS = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8", "0.0.0.0/8",
    "255.255.255.255/32", "fc00::/7", "fe80::/10", "fec0::/10", "::1", "::",
)  # fmt: skip
"""Whose addresses mean nothing outside: RFC 6303 §4 but for documentation, RFC 7793, RFC 4193 §4.4."""

_PRIVATE_NAMES = ("local", "internal", "home.arpa", "localhost", "test", "onion", "invalid", "alt", "resolver.arpa")
"""Domains of which nobody outside knows anything: RFC 6761 §6, RFC 6762, RFC 7686, RFC 8375, RFC 9476, RFC 9462 §6.4.

`gateway.dns.special` has the like for the resolver; it needs other people's packages, which programs should not.
"""


class BadServers(GatewayError):
    """Name servers, zones or a domain that can not be meant; the message says which one and what is wrong."""


@dataclass(frozen=True, slots=True)
class NameServers:
    """Who is asked about names.

    ``inside``: those that know the hidden names, and may know others. ``outside``: those that know everybody else's;
    without any, ``inside`` is asked about all names. ``zones``: the wire names of the inside zones, forward and
    reverse. ``domain``: what a name of one label is completed with; it is an inside zone too, empty: none.
    """

    inside: tuple[Endpoint, ...]
    outside: tuple[Endpoint, ...] = ()
    zones: frozenset[bytes] = frozenset()
    domain: str = ""

    @classmethod
    def of(
        cls, inside: Iterable[str], outside: Iterable[str] = (), zones: Iterable[str] = (), domain: str = ""
    ) -> "NameServers":
        """From text: servers as ``10.0.0.53``, ``10.0.0.53:5353`` or ``[fd00::53]:5353``; zones as ``corp.example`` or,
        for the reverse zones of a network, ``10.0.0.0/8``; ``.`` is everything.

        Private networks and domains that are never public belong to the inside without being named.
        Raises BadServers.
        """
        own = canonical_zone(domain)
        named = (*zones, own) if own else zones
        return cls(
            tuple(parse_server(word) for word in inside),
            tuple(parse_server(word) for word in outside),
            frozenset(zone for word in named for zone in _zones_of(word)),
            own,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], resolv_conf: str, zones: Iterable[str] = ()) -> "NameServers":
        """From SOCKS_NS, SOCKS_DNAME and the text of resolv.conf(5), whose servers are those of the inside.

        SOCKS_NS is the address of an outside name server, or several with commas between them. SOCKS_DNAME is the
        default domain, else the first one of ``search`` or ``domain`` is. All of these domains are inside zones, beside
        ``zones``. Lines of resolv.conf that are not understood are passed over, as the C library does.
        Raises BadServers.
        """
        servers, search = read_resolv_conf(resolv_conf)
        with _blaming(NS_VARIABLE):
            outside = [parse_server(word) for word in environ.get(NS_VARIABLE, "").replace(",", " ").split()]
        with _blaming(DNAME_VARIABLE):
            domain = canonical_zone(environ.get(DNAME_VARIABLE, "").strip())
        zoned = cls.of(servers, (), (*zones, *search), domain or next(iter(search), ""))
        return replace(zoned, outside=tuple(outside))

    def owns(self, name: bytes) -> bool:
        """Whether a wire name belongs to the inside: it is in one of its zones, or has one label or none."""
        if label_count(name) <= 1:
            return True
        return any(parent in self.zones or parent in _PRIVATE_ZONES for parent in parents(name))

    def rounds(self, name: bytes) -> tuple[tuple[Endpoint, ...], ...]:
        """The servers that may hear this name: all of the first tuple are asked before those of the second."""
        if self.owns(name):
            return (self.inside,)
        fallback = tuple(server for server in self.inside if server not in self.outside)
        return tuple(servers for servers in (self.outside, fallback) if servers)

    def completed(self, name: Name, is_absolute: bool) -> Name:
        """The name that is asked for: with the default domain if it has one label and no dot at its end.

        Raises BadName when it gets too long.
        """
        if "." in name or is_absolute or not self.domain or name == "localhost":
            return name
        return canonical_name(f"{name}.{self.domain}")


def parse_server(word: str) -> Endpoint:
    """``10.0.0.53``, ``10.0.0.53:5353``, ``fd00::53`` or ``[fd00::53]:5353``. Raises BadServers."""
    address, port = parse_address(word), PORT
    if address is None:
        host, _, number = word.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        # IPv6 stands in brackets before a port, IPv4 does not.
        address = parse_address(bare) if (":" in bare) is (bare != host) else None
        port = int(number) if _PORT.fullmatch(number) else 0
    if address is None or not 0 < port < 1 << 16:
        raise BadServers(f"{quoted(word)} is no address of a name server, as in 192.0.2.53 or 192.0.2.53:5353")
    return Endpoint(plain(address), port)


def canonical_zone(word: str) -> str:
    """The canonical name of a domain, which may be written with dots around it; "" for "". Raises BadServers."""
    try:
        return canonical_name(word.removeprefix(".")) if word else ""
    except BadName as error:
        raise BadServers(f"{quoted(word)} is no domain: {error}") from None


def read_resolv_conf(text: str) -> tuple[list[str], list[str]]:
    """Its name servers and the domains of the last ``search`` or ``domain`` line (resolv.conf(5)).

    Addresses with a scope, as in ``fe80::1%eth0``, and domains that are none are passed over, and so is ``.``: it says
    that names are looked up as they are, not that every name is one of the inside.
    """
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or line[0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1 and parse_address(words[1]) is not None:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            last = None if words[0] == "search" else 2
            search = [domain for word in words[1:last] if (domain := _domain(word))]
    return servers[:MAX_INSIDE] or [LOOPBACK], search


def _domain(word: str) -> str:
    try:
        return canonical_zone(word)
    except BadServers:
        return ""


def _zones_of(word: str) -> tuple[bytes, ...]:
    if word == ".":
        return (b"\0",)
    try:
        if "/" not in word and parse_address(word) is None:
            return (wire_name(canonical_zone(word or ".")),)
        return reverse_zones(parse_prefix(word)[0])
    except BadField as error:
        raise BadServers(str(error)) from None


@contextlib.contextmanager
def _blaming(variable: str) -> Iterator[None]:
    try:
        yield
    except BadServers as error:
        raise BadServers(f"{variable}: {error}") from None


_PRIVATE_ZONES = frozenset(zone for word in (*_PRIVATE_NETWORKS, *_PRIVATE_NAMES) for zone in _zones_of(word))
"""Of the inside everywhere, named or not."""
