"""Sets of addresses as networks: what some networks hold and others, within them, do not; pure.

A rule of ip-rule(8) knows no longest prefix: the first one that matches counts. Where a longer prefix has to win, the
broader network is told in the pieces that are left of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.address import Address
from gateway.netlink.model import WIDTH, Prefix


def cover(networks: Iterable[Prefix], holes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest networks for the addresses whose longest prefix is one of ``networks``; in order of the addresses.

    One that is both is a hole. None of the networks may be "everything", and none of the answers is.
    """
    wanted = dict.fromkeys(networks, True)
    marks = {**wanted, **dict.fromkeys(within(holes, wanted), False)}
    return tuple(piece for version in WIDTH for piece in _pieces(_everything(version), False, _of(version, marks)))


_Marks = Sequence[tuple[Prefix, bool]]
"""Networks, and whether what they hold is wanted."""


def _of(version: int, marks: Mapping[Prefix, bool]) -> _Marks:
    return [(network, is_in) for network, is_in in marks.items() if network.address.version == version]


def _everything(version: int) -> Prefix:
    return Prefix(Address(version, 0), 0)


def _pieces(space: Prefix, is_in: bool, marks: _Marks) -> Sequence[Prefix]:
    """``is_in``: what the longest prefix around this space says; ``marks`` are its own and those inside of it."""
    is_in = dict(marks).get(space, is_in)
    inner = [mark for mark in marks if mark[0] != space]
    if all(inner_is_in == is_in for _, inner_is_in in inner):
        return [space] if is_in else []
    halves = _halves(space)
    found = [piece for half in halves for piece in _pieces(half, is_in, _inside(half, inner))]
    return [space] if found == halves and space.length else found


def _inside(space: Prefix, marks: _Marks) -> _Marks:
    return [mark for mark in marks if space.holds(mark[0].address)]


def _halves(space: Prefix) -> list[Prefix]:
    version, number = space.address
    middle = 1 << (WIDTH[version] - space.length - 1)
    return [Prefix(Address(version, first), space.length + 1) for first in (number, number | middle)]


def within(networks: Iterable[Prefix], others: Iterable[Prefix]) -> Iterator[Prefix]:
    """Those of the networks that one of the others holds whole; there can be many networks, so no pairs are tried."""
    known = frozenset(others)
    lengths = sorted({other.length for other in known})
    for network in networks:
        if any(Prefix.around(network.address, length) in known for length in lengths if length <= network.length):
            yield network


def broadest(networks: Sequence[Prefix], most: int, first: Iterable[Prefix] = ()) -> tuple[Prefix, ...]:
    """Of each family at most so many: those that hold one of ``first``, then the broadest, then by address."""
    around = {Prefix.around(other.address, length) for other in first for length in range(other.length + 1)}
    ordered = sorted(networks, key=lambda network: (network not in around, network.length, network.address))
    return tuple(kept for version in WIDTH for kept in _versions(ordered, version)[:most])


def _versions(networks: Iterable[Prefix], version: int) -> list[Prefix]:
    return [network for network in networks if network.address.version == version]
