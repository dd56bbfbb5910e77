"""`gateway.dns.extents`: exactly one zone for each name."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dns.extents import Clash, Extent, boundaries, clashes, owner_of, stand_ins
from gateway.dns.names import ROOT, is_below, parents, text_name, wire_name
from gateway.dns.special import Special

LOCAL, FIXED, REVERSE, ALL = range(-1, -5, -1)
SPECIALS = (
    Special(wire_name("local")),
    Special(wire_name("localhost"), fixed=True),
    Special(wire_name("10.in-addr.arpa")),
    Special(ROOT),
)


def extent(*apexes: str, exclude: tuple[str, ...] = (), private: bool = True) -> Extent:
    return Extent(tuple(map(wire_name, apexes)), tuple(map(wire_name, exclude)), private)


def owner(name: str, *extents: Extent) -> int:
    return owner_of(wire_name(name), boundaries(dict(enumerate(extents)), SPECIALS))


def test_the_longest_suffix_wins_whatever_the_order() -> None:
    zones = extent("corp.example"), extent(".", private=False), extent("lab.corp.example")
    inside = ("corp.example", "a.corp.example", "lab.corp.example", "a.lab.corp.example")
    assert [owner(name, *zones) for name in inside] == [0, 0, 2, 2]
    assert [owner(name, *zones) for name in ("xcorp.example", "example", ".", "com", "xlab.corp.example")] == [
        1,
        1,
        1,
        1,
        0,
    ]


def test_without_a_zone_the_root_is_built_in() -> None:
    assert owner("com", extent("corp.example")) == ALL
    assert owner("com") == ALL
    assert owner("a.local") == LOCAL


def test_what_is_excluded_belongs_to_the_next_larger_zone_with_all_below() -> None:
    corp = extent("corp.example", exclude=("www.corp.example",))
    public = extent(".", private=False)
    assert owner("www.corp.example", corp, public) == 1
    assert owner("a.www.corp.example", corp, public) == 1
    assert owner("xwww.corp.example", corp, public) == 0
    assert owner("www.corp.example", corp, public, extent("example")) == 2
    assert owner("www.corp.example", corp) == ALL
    assert owner("a.www.corp.example", corp, public, extent("a.www.corp.example")) == 2


def test_what_is_excluded_twice_belongs_to_the_one_after() -> None:
    inner = extent("a.b.example", exclude=("x.a.b.example",))
    middle = extent("b.example", exclude=("a.b.example",))
    outer = extent("example")
    assert owner("x.a.b.example", inner, middle, outer) == 2
    assert owner("y.a.b.example", inner, middle, outer) == 0
    assert owner("a.b.example", middle, outer) == 1


def test_a_built_in_zone_gives_way_to_the_same_name_and_to_longer_ones() -> None:
    public = extent("local", private=False)
    assert owner("a.local", public) == 0
    assert owner("a.local", extent("a.local", private=False)) == 0
    assert owner("b.local", extent("a.local")) == LOCAL
    assert owner("a.localhost", extent("localhost")) == 0
    assert owner("a.localhost", extent("a.localhost")) == 0


def test_a_built_in_zone_gives_way_to_a_larger_one_that_is_private_unless_it_is_fixed() -> None:
    assert owner("a.local", extent(".")) == 0
    assert owner("a.local", extent(".", private=False)) == LOCAL
    assert owner("1.10.in-addr.arpa", extent("arpa")) == 0
    assert owner("1.10.in-addr.arpa", extent("arpa", private=False)) == REVERSE
    assert owner("a.localhost", extent(".")) == FIXED


def test_what_a_private_zone_excludes_of_a_built_in_one_is_not_asked_for_outside() -> None:
    corp = extent("corp.example", "10.in-addr.arpa", exclude=("5.10.in-addr.arpa",))
    public = extent(".", private=False)
    assert owner("1.4.10.in-addr.arpa", corp, public) == 0
    assert owner("1.5.10.in-addr.arpa", corp, public) == REVERSE


def test_an_extent_covers_what_it_does_not_exclude() -> None:
    corp = extent("corp.example", "10.in-addr.arpa", exclude=("www.corp.example",))
    names = ("corp.example", "a.corp.example", "1.10.in-addr.arpa", "www.corp.example", "a.www.corp.example", "example")
    assert [corp.covers(wire_name(name)) for name in names] == [True, True, True, False, False, False]


def test_one_apex_is_one_zones() -> None:
    zones = {3: extent("a.example"), 5: extent("b.example", "10.in-addr.arpa"), 9: extent("10.in-addr.arpa")}
    assert list(clashes(zones)) == [Clash(wire_name("10.in-addr.arpa"), 5, 9)]


_names = st.lists(st.sampled_from("ab"), max_size=4).map(lambda labels: wire_name(".".join([*labels, "local"])))
_any_names = st.one_of(_names, st.just(ROOT), st.just(wire_name("b")))


@st.composite
def _extents(draw: st.DrawFn) -> list[Extent]:
    apexes = draw(st.lists(_any_names, unique=True, max_size=4))
    inside = [
        [name for name in draw(st.lists(_names, max_size=3)) if is_below(name, apex) and name != apex]
        for apex in apexes
    ]
    return [Extent((apex,), tuple(names), draw(st.booleans())) for apex, names in zip(apexes, inside, strict=True)]


@settings(max_examples=300, deadline=None)
@given(_extents(), _any_names)
def test_the_table_says_what_the_rules_say(extents: list[Extent], name: bytes) -> None:
    covering = [number for number, extent in enumerate(extents) if extent.covers(name)]
    built_in = LOCAL if is_below(name, wire_name("local")) else ALL
    expected = built_in
    if covering:
        best = max(covering, key=lambda number: len(extents[number].apexes[0]))
        longer = is_below(extents[best].apexes[0], wire_name("local") if built_in == LOCAL else ROOT)
        expected = best if longer or extents[best].private else built_in
    table = boundaries(dict(enumerate(extents)), SPECIALS)
    assert owner_of(name, table) == expected
    assert all(parent in table or parent != ROOT for parent in parents(name))


def not_seen(name: str, seen: tuple[Extent, ...], hidden: tuple[Extent, ...]) -> str:
    """Whose a name is for clients who see some zones only: the apex of a zone that they see, or that of a built-in."""
    specials = (*SPECIALS, *stand_ins((*seen, *hidden), {special.name for special in SPECIALS}))
    found = owner_of(wire_name(name), boundaries(dict(enumerate(seen)), specials))
    return text_name(seen[found].apexes[0] if found >= 0 else specials[-1 - found].name)


def test_a_private_zone_that_is_not_seen_is_nobodys() -> None:
    public, corp = extent(".", private=False), extent("corp.example", exclude=("www.corp.example",))
    assert not_seen("a.corp.example", (public,), (corp,)) == "corp.example."
    assert not_seen("www.corp.example", (public,), (corp,)) == "."
    assert not_seen("corp.example", (public,), (extent("corp.example", private=False),)) == "."
    assert not_seen("a.corp.example", (public, extent("example")), (corp,)) == "example."
    assert not_seen("a.corp.example", (public, extent("a.corp.example", private=False)), (corp,)) == "a.corp.example."


def test_what_only_some_of_the_zones_of_one_name_exclude_is_nobodys() -> None:
    public, one = extent(".", private=False), extent("a.example", exclude=("x.a.example", "y.b.a.example"))
    other = extent("a.example", exclude=("b.a.example",))
    owners = [not_seen(f"{name}.a.example", (public,), (one, other)) for name in ("x", "b", "y.b", "z")]
    assert owners == ["a.example.", "a.example.", ".", "a.example."]
    assert not_seen("x.a.example", (public, one), (other,)) == ".", "who sees a zone of the name sees its exclusions"


@settings(max_examples=300, deadline=None)
@given(_extents(), _extents(), _any_names)
def test_no_name_of_a_private_zone_that_is_not_seen_gets_to_a_larger_public_one(
    seen: list[Extent], hidden: list[Extent], name: bytes
) -> None:
    specials = (*SPECIALS, *stand_ins((*seen, *hidden), {special.name for special in SPECIALS}))
    number = owner_of(name, boundaries(dict(enumerate(seen)), specials))
    known = {extent.apexes[0] for extent in seen}
    if number >= 0 and not seen[number].private:
        for one in hidden:
            apex = one.apexes[0]
            if one.private and apex != ROOT and apex not in known and one.covers(name):
                assert is_below(seen[number].apexes[0], apex)
