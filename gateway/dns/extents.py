"""Which zone a name belongs to: exactly one, in each view; knows names only, and nothing of what zones say.

The longest suffix wins, and what a zone excludes belongs to the next larger one. A built-in zone gives way to one of
the administrator with the same or a longer name, and to a larger one that is private, unless it is fixed.

Some clients do not see every private zone. For them its names are those of a larger private zone, or of nobody: a
built-in zone stands in for it, so that a public one does not get them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from gateway.dns.names import ROOT, is_below, parents
from gateway.dns.special import Special

_Owner = TypeVar("_Owner")


class Extent(NamedTuple):
    """The names of a zone of the administrator: those at and below its apexes, without its exclusions."""

    #: its name, and the reverse zones of its networks
    apexes: tuple[bytes, ...]
    exclusions: tuple[bytes, ...]
    private: bool

    def covers(self, name: bytes) -> bool:
        """Whether the name may be this zone's; it is another one's if that has a longer apex."""
        return any(is_below(name, apex) for apex in self.apexes) and not self.excludes(name)

    def excludes(self, name: bytes) -> bool:
        """Whether the name is left to the next larger zone."""
        return any(is_below(name, excluded) for excluded in self.exclusions)


class Clash(NamedTuple):
    """Two zones with one apex; the second has no use for it."""

    apex: bytes
    first: int
    second: int


def clashes(extents: Mapping[int, Extent]) -> Iterator[Clash]:
    """The apexes that are written more than once."""
    owners: dict[bytes, int] = {}
    for number, extent in extents.items():
        for apex in extent.apexes:
            first = owners.setdefault(apex, number)
            if first != number:
                yield Clash(apex, first, number)


def stand_ins(extents: Collection[Extent], names: Collection[bytes]) -> Iterator[Special]:
    """The built-in zones for those who do not see some private zone; ``names`` have one already.

    What each of the zones with one apex excludes is no inside name.
    """
    zones: dict[bytes, list[Extent]] = {}
    for extent in extents:
        for apex in extent.apexes if extent.private else ():
            zones.setdefault(apex, []).append(extent)
    for apex in (apex for apex in zones if apex not in names):
        these = zones[apex]
        exclusions = dict.fromkeys(name for one in these for name in one.exclusions)
        common = (name for name in exclusions if all(one.excludes(name) for one in these))
        yield Special(apex, stands_in=True, exclusions=tuple(common))


def boundaries(extents: Mapping[int, Extent], specials: Sequence[Special]) -> dict[bytes, int]:
    """Names at which another zone begins, and whose they and those below them are, up to the next boundary.

    A zone of the administrator goes by its number in ``extents``, a built-in one by ``-1 - number``. One of the
    built-in ones is the root, so that every name has a zone.
    """
    apexes = {apex: number for number, extent in extents.items() for apex in extent.apexes}
    built_in = {
        special.name: -1 - index
        for index, special in enumerate(specials)
        if not (special.stands_in and special.name in apexes)
    }
    excluding: tuple[Extent | Special, ...] = (*extents.values(), *specials)
    borders = {*apexes, *built_in, *(name for zone in excluding for name in zone.exclusions)}

    def owner(name: bytes) -> int:
        here = next(one for one in parents(name) if one in built_in and not specials[-1 - built_in[one]].excludes(name))
        for parent in parents(name):
            number = apexes.get(parent)
            if number is not None and not extents[number].excludes(name):
                special = specials[-1 - built_in[here]]
                wins = is_below(parent, here) or (extents[number].private and not special.fixed)
                return number if wins else built_in[here]
        return built_in[here]

    return {border: owner(border) for border in borders}


def owner_of(name: bytes, table: Mapping[bytes, _Owner]) -> _Owner:
    """Whose the name is, by the table of `boundaries`."""
    while True:
        found = table.get(name)
        if found is not None:
            return found
        name = name[name[0] + 1 :] if name != ROOT else ROOT
