"""A look-up from a name, or an address, to the entry of a host: which servers are asked what, and what follows from it.

Written as a generator of groups of exchanges that run side by side; who runs them waits in its own manner
(`gateway.client.rgethostbyname`, `gateway.client.aio`). Which servers may hear a name is not decided here
(`gateway.client.environment`).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.address import Address, Endpoint, Name, canonical_host, canonical_name, parse_address, plain
from gateway.client.environment import NameServers
from gateway.client.exchange import Heard, Limits, Question, Step, ask
from gateway.client.reading import Said, host_text
from gateway.client.results import HostEntry, HostNotFound, NoData, TryAgain
from gateway.config.fields import quoted
from gateway.dns.constants import AAAA, NXDOMAIN, PTR, A
from gateway.dns.names import reverse_name, wire_name
from gateway.errors import BadName

MAX_CHAIN = 8
"""Questions for one host: aliases may lead from one server's names to another's so often."""

LOCALHOST = "localhost"
_LOOPBACK = (Address(4, 0x7F00_0001), Address(6, 1))

Plan = Generator[tuple[Step[Heard], ...], Sequence[Heard], HostEntry]
_Part = Generator[tuple[Step[Heard], ...], Sequence[Heard], list[Said]]


class Patience(NamedTuple):
    """How long name servers are waited for.

    ``seconds``: for each answer of the first round; twice as long in the second, and so on, and as long once more by
    TCP. ``attempts``: rounds, in each of which every server is asked that did not answer. ``total``: seconds for
    everything.
    """

    seconds: float = 2.0
    attempts: int = 2
    total: float = 30.0


class Means(NamedTuple):
    """From outside: a monotonic clock in seconds, and ``bits(n)``, n bits that nobody can guess."""

    clock: Callable[[], float]
    bits: Callable[[int], int]


@dataclass(slots=True)
class _Course:
    """One look-up while it runs."""

    servers: NameServers
    patience: Patience
    means: Means
    deadline: float
    said: list[str] = field(default_factory=list)
    #: the aliases so far, and after them the name that is asked for
    names: list[bytes] = field(default_factory=list)
    is_certain: bool = True
    exists: bool = False

    def limits(self, attempt: int) -> Limits:
        now = self.means.clock()
        seconds = self.patience.seconds * 2**attempt
        return Limits(min(now + seconds, self.deadline), min(now + 2 * seconds, self.deadline))

    def is_over(self) -> bool:
        """Whether nobody is to be asked any more, which is noted then."""
        if self.means.clock() < self.deadline:
            return False
        self.is_certain = False
        self.said.append(f"given up after {self.patience.total:g} seconds")
        return True

    def note(self, server: Endpoint, fact: str) -> None:
        line = f"{_server_text(server)} {fact}"
        if line not in self.said:
            self.said.append(line)


def by_name(text: str, servers: NameServers, patience: Patience, means: Means) -> Plan:
    """The entry of the host with this name.

    An address gives itself, and ``localhost`` the loopback (RFC 6761 §6.3); nobody is asked about them. Raises BadName,
    HostNotFound, TryAgain.
    """
    host = canonical_host(text.encode("utf-8", "replace"))
    if isinstance(host, Address):
        return HostEntry(str(host), (), (host,))
    name = servers.completed(host, text.endswith("."))
    if name == LOCALHOST or name.endswith("." + LOCALHOST):
        return HostEntry(name, (), _LOOPBACK)
    course = _course(servers, patience, means, wire_name(name))
    found = yield from _pursue(course, (A, AAAA), name)
    addresses = tuple(dict.fromkeys(address for said in found for address in said.addresses))
    official, *aliases = reversed(course.names)
    return HostEntry(host_text(official), tuple(map(host_text, reversed(aliases))), addresses)


def by_address(given: Address | str, servers: NameServers, patience: Patience, means: Means) -> Plan:
    """The entry of the host with this address: its names, and that address. An IPv4-mapped one counts as IPv4.

    Names that are none of a host (RFC 1123 §2.1) are left out. Raises BadName for what is no address, HostNotFound,
    TryAgain.
    """
    read = parse_address(given) if isinstance(given, str) else given
    if read is None:
        raise BadName(f"{quoted(str(given))} is no address, as 192.0.2.1 or 2001:db8::1 is")
    address = plain(read)
    if address in _LOOPBACK:
        return HostEntry(LOCALHOST, (), (address,))
    course = _course(servers, patience, means, reverse_name(address))
    found = yield from _pursue(course, (PTR,), str(address))
    names = tuple(dict.fromkeys(name for said in found for pointer in said.names if (name := _host_name(pointer))))
    if not names:
        raise NoData(f"{address} has no name that is one of a host", tuple(course.said))
    return HostEntry(names[0], names[1:], (address,))


def _course(servers: NameServers, patience: Patience, means: Means, name: bytes) -> _Course:
    return _Course(servers, patience, means, means.clock() + patience.total, names=[name])


def _pursue(course: _Course, types: tuple[int, ...], subject: str) -> _Part:
    """The answers that hold what was looked for; the course's names have grown by the aliases on the way."""
    for _ in range(MAX_CHAIN):
        found = yield from _round_after_round(course, types)
        if not found:
            raise _failure(course, subject)
        leading = next((said for said in found if said.addresses or said.names), found[0])
        course.names += leading.chain
        if leading.addresses or leading.names:
            return found
        if len(set(course.names)) < len(course.names):
            break
        course.is_certain, course.exists = True, False
    raise TryAgain(f"{subject}: its aliases lead in a circle or too far", (_path(course),))


def _round_after_round(course: _Course, types: tuple[int, ...]) -> _Part:
    """The answers about the last name of the course from the first servers that know something; [] if none does."""
    rounds = course.servers.rounds(course.names[-1])
    if not any(rounds):
        course.is_certain = False
        course.said.append("no name server may be asked about it")
    for group in rounds:
        found = yield from _group(course, types, group)
        if found:
            return found
    return []


def _group(course: _Course, types: tuple[int, ...], group: tuple[Endpoint, ...]) -> _Part:
    """The same of servers that are equal: the first who answers decides, even that there is nothing."""
    silent = list(group)
    for attempt in range(course.patience.attempts):
        for server in tuple(silent):
            if course.is_over():
                return []
            heard = yield _exchanges(course, types, server, attempt)
            found = [said for one in heard if (said := one.said) is not None and _leads_on(said)]
            if found:
                return found
            if _is_denied(course, heard):
                return []
            if all(one.said is not None for one in heard):
                silent.remove(server)
    course.is_certain = False
    return []


def _exchanges(course: _Course, types: tuple[int, ...], server: Endpoint, attempt: int) -> tuple[Step[Heard], ...]:
    """One question for each type, to be asked side by side."""
    trusted, limits = _trust(course.servers, server), course.limits(attempt)
    return tuple(ask(Question(course.names[-1], kind, trusted), server, limits, course.means.bits) for kind in types)


def _leads_on(said: Said) -> bool:
    return not said.why and bool(said.addresses or said.names or said.target)


def _trust(servers: NameServers, server: Endpoint) -> Callable[[bytes], bool]:
    """An inside server may speak for any name, one of the outside for none of the inside (field-cases D2)."""
    return (lambda _: True) if server in servers.inside else (lambda name: not servers.owns(name))


def _is_denied(course: _Course, heard: Sequence[Heard]) -> bool:
    """Whether this server says for certain that there is nothing; what it said is noted."""
    faults = [fault or (said.why if said is not None else "") for _, said, fault in heard]
    server = heard[0].server
    for fault in filter(None, faults):
        course.note(server, fault)
    if any(faults):
        return False
    exists = any(said is not None and said.rcode != NXDOMAIN for _, said, _ in heard)
    course.exists = course.exists or exists
    course.note(server, "knows the name, but nothing of this kind" if exists else "says that there is no such name")
    return True


def _failure(course: _Course, subject: str) -> HostNotFound | TryAgain:
    said = tuple(course.said)
    fact = subject if len(course.names) == 1 else f"{subject} ({_path(course)})"
    if not course.is_certain:
        return TryAgain(fact, said)
    return (NoData if course.exists else HostNotFound)(fact, said)


def _path(course: _Course) -> str:
    return "an alias: " + " -> ".join(map(host_text, course.names))


def _host_name(pointer: bytes) -> Name | None:
    try:
        return canonical_name(host_text(pointer))
    except BadName:
        return None


def _server_text(server: Endpoint) -> str:
    return str(server.address) if server.port == 53 else str(server)
