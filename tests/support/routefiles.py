"""Values of `sockd.route` made by hypothesis, and compared without the places where they were written."""

import dataclasses

from hypothesis import strategies as st

from gateway.address import Address
from gateway.config.rules import AddressPattern, EgressWord, HostPattern, RouteFile, RouteRule, UserItem
from tests.support import ways
from tests.support.accessfiles import NOWHERE, hosts, users

PATH = "sockd.route"


def unplaced(file: RouteFile) -> RouteFile:
    """The same file without places and warnings, to compare what two texts say."""
    rules = tuple(dataclasses.replace(rule, place=NOWHERE) for rule in file.rules)
    return dataclasses.replace(file, rules=rules, warnings=())


_ways = st.lists(ways.words, min_size=1, max_size=4, unique=True)


def _usable(written: list[EgressWord], destination: HostPattern, listed: list[UserItem]) -> RouteRule:
    """A line without the addresses that could never reach its destination; some name where none is left."""
    version = None
    if isinstance(destination, AddressPattern):
        mapped = destination.mask >> 32 == 2**96 - 1 and destination.number >> 32 == 0xFFFF
        version = 4 if mapped else destination.version
    left = [way for way in written if not isinstance(way, Address) or version in (None, way.version)]
    return RouteRule(NOWHERE, tuple(left or ["wan1"]), destination, tuple(listed))


rules = st.builds(_usable, _ways, hosts, st.lists(users, max_size=3))
files: st.SearchStrategy[RouteFile] = st.builds(
    RouteFile, path=st.just(PATH), rules=st.lists(rules, max_size=4).map(tuple)
)
