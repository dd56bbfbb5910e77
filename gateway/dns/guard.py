"""The guard against DNS rebinding: addresses that a name of an outside zone must not have (field-cases D15, S9).

Whoever runs the name server of an outside name chooses its address. If that is one of the inside, of the gateway itself
or of the client's own host, a web page from outside reaches what only the inside should. IPv4 addresses count inside
IPv6 ones too. Names that are meant to be so are the administrator's exceptions.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from gateway.address import Address, embedded_ipv4
from gateway.config.rules import AddressPattern
from gateway.dns.answer import Answer
from gateway.dns.constants import AAAA, HTTPS, SVCB, A
from gateway.dns.message import Malformed, Names
from gateway.dns.names import ROOT, parents
from gateway.policy.destination import Guard as HostGuard
from gateway.policy.destination import Zone
from gateway.policy.pattern import VERSIONS, bits_of, normal
from gateway.policy.tables import AddressTable


def _zone(phrase: str, version: int, number: int, length: int) -> Zone:
    bits = bits_of(version)
    return Zone(phrase, phrase, AddressPattern(version, number, (1 << bits) - (1 << (bits - length))))


PRIVATE = (
    _zone("a private address", 4, 0x0A00_0000, 8),  # RFC 1918 §3
    _zone("a private address", 4, 0xAC10_0000, 12),
    _zone("a private address", 4, 0xC0A8_0000, 16),
    _zone("a shared address of a provider's inside", 4, 0x6440_0000, 10),  # RFC 6598 §7
    _zone("a private address", 6, 0xFC << 120, 7),  # RFC 4193 §3.1
    _zone("a private address", 6, 0xFEC0 << 112, 10),  # site-local, RFC 3879
)
"""What is nobody's in particular, but never outside."""

INSIDE = "an inside address"


class Guard:
    """What it refuses is the same for each name; two of the same networks and addresses are equal."""

    __slots__ = ("_subject", "_table4", "_table6", "_zones")

    def __init__(self, inside: Sequence[AddressPattern], own: Collection[Address]) -> None:
        """``inside``: the networks of the inside; ``own``: every address of this host."""
        self._subject = (frozenset(inside), frozenset(own))
        zones = _zones(inside, own)
        # The first zone has the highest bit, so that bit_length() finds it; as `GuardTable` does it.
        self._zones = tuple(reversed(zones))
        coded = [(zone.pattern, 1 << bit) for bit, zone in enumerate(self._zones)]
        self._table4, self._table6 = (
            AddressTable.build((pattern, bit) for pattern, bit in coded if pattern.version == version)
            for version in VERSIONS
        )

    def beyond(self, other: "Guard") -> Callable[[bytes], bool] | None:
        """Whether the records of an answer may have an address that this refuses and ``other`` did not; None: none can.

        What this gives is told by bytes, quickly and rather too often: an address looks the same within another one.
        """
        inside, own = self._subject
        inside_before, own_before = other._subject
        if inside - inside_before:
            return lambda _body: True
        new = [address.packed for address in own - own_before]
        new += [bytes(octet ^ 0xFF for octet in packed) for packed in new]  # as Teredo has them (RFC 4380 §4)
        return (lambda body: any(packed in body for packed in new)) if new else None

    def __eq__(self, other: object) -> bool:
        """Whether it refuses the same."""
        return isinstance(other, Guard) and self._subject == other._subject

    def __hash__(self) -> int:
        """Of what makes it equal."""
        return hash(self._subject)

    def refused(self, address: bytes) -> str | None:
        """Why an address, 4 bytes or 16, must not be given: ``10.0.0.9 is an inside address``. None: it may be."""
        number = int.from_bytes(address, "big")
        if len(address) == 4:
            bits = self._table4.at(number)
            return f"{Address(4, number)} is {self._phrase(bits)}" if bits else None
        bits = self._table6.at(number)
        found = Address(6, number)
        return f"{found} is {self._phrase(bits)}" if bits else self._wrapped(found)

    def _wrapped(self, address: Address) -> str | None:
        """Why the IPv4 address that this one leads to must not be given, if it leads to one."""
        inner = embedded_ipv4(address)
        if inner is None:
            return None
        bits = self._table4.at(inner.number)
        return f"{address} leads to {inner}, which is {self._phrase(bits)}" if bits else None

    def _phrase(self, bits: int) -> str:
        return self._zones[bits.bit_length() - 1].phrase


def _zones(inside: Sequence[AddressPattern], own: Collection[Address]) -> tuple[Zone, ...]:
    """Everything that is refused, what gives an address its name first."""
    patterns = (normal(pattern) for pattern in inside)
    return (
        *HostGuard(frozenset(own)).zones(),
        *(Zone(INSIDE, INSIDE, pattern) for pattern in patterns if isinstance(pattern, AddressPattern)),
        *PRIVATE,
    )


def allowed(name: bytes, exceptions: Collection[bytes]) -> bool:
    """Whether a name is one of the exceptions or below one; all are wire names. Quickest with a set of exceptions."""
    return bool(exceptions) and any(parent in exceptions for parent in parents(name))


def addresses(answer: Answer) -> list[bytes]:
    """The addresses of an answer's hosts, 4 bytes or 16 each, and those that hints of services have (RFC 9460 §7.3)."""
    body, found = answer.body, list[bytes]()
    names = Names(body, ROOT)
    for place in answer.ttls[: answer.records]:
        kind = int.from_bytes(body[place - 4 : place - 2], "big")
        if kind in _WITH_ADDRESSES:
            begin = place + 6  # behind the TTL and the length
            with suppress(Malformed, IndexError):  # it was looked into when it came
                names.check(kind, begin, begin + int.from_bytes(body[place + 4 : begin], "big"), found)
    return found


_WITH_ADDRESSES = frozenset({A, AAAA, SVCB, HTTPS})
