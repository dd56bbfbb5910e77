"""What is kept, for how long, and what goes when there is no room."""

from struct import Struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.dns.answer import NEVER, Answer
from gateway.dns.cache import CHANCES, SHARD_ANSWERS, STALE_SECONDS, SWEPT, Bounds, Cache, is_negative
from gateway.dns.constants import CNAME, NOERROR, NSEC, NXDOMAIN, REFUSED, SERVFAIL, SOA, A
from gateway.dns.names import ROOT, wire_name

BOUNDS = Bounds(min_ttl=0, max_ttl=86_400, negative_ttl=3600)
NOW = 5000.0
DAY = 86_400

_HEAD = Struct("!HHHIH")


def answer(*records: tuple[int, int], rcode: int = NOERROR, authorities: int = 0, ttl: int | None = None) -> Answer:
    """From (type, TTL) of each record, the last ``authorities`` of them in that section."""
    body, places = b"", []
    for kind, seconds in records:
        places.append(len(body) + 6)
        body += _HEAD.pack(0xC00C, kind, 1, seconds, 4) + b"\x0a\0\0\x09"
    kept = min((seconds for _, seconds in records), default=0) if ttl is None else ttl
    return Answer(rcode, len(records) - authorities, authorities, body, tuple(places), kept)


def address(ttl: int = 300) -> Answer:
    return answer((A, ttl))


def missing(ttl: int = 60) -> Answer:
    return answer((SOA, ttl), rcode=NXDOMAIN, authorities=1)


def ttls(found: Answer) -> list[int]:
    return [int.from_bytes(found.body[place : place + 4], "big") for place in found.ttls]


def key(text: str, kind: int = A, variant: int = 0) -> bytes:
    return wire_name(text) + kind.to_bytes(2, "big") + bytes((variant,))


WWW = key("www.corp.example")


def cache(capacity: int = 100, bounds: Bounds = BOUNDS) -> Cache:
    return Cache(capacity, bounds)


def keys(of: Cache) -> set[bytes]:
    return {found for found, _ in of.entries()}


class TestTime:
    def test_an_answer_is_given_until_its_time_is_over(self) -> None:
        made = cache()
        kept = made.put(WWW, address(300), NOW)
        assert kept is not None
        assert (kept.stored, kept.expires, kept.ttl) == (NOW, NOW + 300, 300)
        assert made.get(WWW, NOW) is kept
        assert made.get(WWW, NOW + 299.9) is kept
        assert made.get(WWW, NOW + 300) is None

    def test_it_is_stale_from_then_on_for_a_day(self) -> None:
        made = cache()
        kept = made.put(WWW, address(300), NOW)
        assert made.stale(WWW, NOW + 299.9) is None
        assert made.stale(WWW, NOW + 300) is kept
        assert made.stale(WWW, NOW + 300 + STALE_SECONDS) is kept
        assert made.stale(WWW, NOW + 300.1 + STALE_SECONDS) is None

    def test_what_was_never_put_is_neither(self) -> None:
        made = cache()
        made.put(WWW, address(), NOW)
        for other in (key("www.corp.example", A, 1), key("www.corp.example", SOA), key("corp.example")):
            assert made.get(other, NOW) is None
            assert made.stale(other, NOW + 400) is None

    @pytest.mark.parametrize(
        ("ttl", "refresh_after"),
        [
            pytest.param(300, 270.0, id="at nine tenths of its time"),
            pytest.param(10, 9.0, id="of the shortest that is worth it"),
            pytest.param(9, NEVER, id="never, if it is over soon anyway"),
        ],
    )
    def test_it_is_to_be_refreshed(self, ttl: int, refresh_after: float) -> None:
        kept = cache().put(WWW, address(ttl), NOW)
        assert kept is not None
        assert kept.refresh_at == NOW + refresh_after


class TestBounds:
    STRICT = Bounds(min_ttl=30, max_ttl=600, negative_ttl=60)

    @pytest.mark.parametrize(
        ("ttl", "kept"),
        [
            pytest.param(1, 30, id="a short one is lengthened"),
            pytest.param(29, 30, id="one just below the least"),
            pytest.param(30, 30, id="the least"),
            pytest.param(600, 600, id="the most"),
            pytest.param(601, 600, id="one just above the most"),
            pytest.param(0x7FFF_FFFF, 600, id="the longest that there is"),
        ],
    )
    def test_of_answers_and_of_their_records(self, ttl: int, kept: int) -> None:
        found = cache(bounds=self.STRICT).put(WWW, address(ttl), NOW)
        assert found is not None
        assert (found.ttl, found.expires, ttls(found)) == (kept, NOW + kept, [kept])

    def test_each_record_is_brought_within_them(self) -> None:
        found = cache(bounds=self.STRICT).put(WWW, answer((CNAME, 7), (A, 300), (A, 9000)), NOW)
        assert found is not None
        assert ttls(found) == [30, 300, 600]
        assert found.ttl == 30
        assert len(found.body) == 3 * 16
        assert isinstance(found.body, bytes)

    def test_what_is_within_stays_as_it_is(self) -> None:
        given_answer = answer((CNAME, 30), (A, 600))
        body = given_answer.body
        found = cache(bounds=self.STRICT).put(WWW, given_answer, NOW)
        assert found is not None
        assert found.body is body

    @pytest.mark.parametrize(("ttl", "kept"), [(5, 5), (60, 60), (61, 60)])
    def test_of_negative_answers_there_is_a_longest_but_no_shortest(self, ttl: int, kept: int) -> None:
        found = cache(bounds=self.STRICT).put(WWW, missing(ttl), NOW)
        assert found is not None
        assert (found.ttl, found.expires, ttls(found)) == (kept, NOW + kept, [kept])

    def test_who_gets_a_negative_answer_keeps_it_no_longer_than_it_counts(self) -> None:
        """The SOA record has its own TTL, and its minimum is what counts (RFC 2308 §5)."""
        found = cache().put(WWW, answer((SOA, 900), (NSEC, 900), rcode=NXDOMAIN, authorities=2, ttl=20), NOW)
        assert found is not None
        assert ttls(found) == [20, 20]

    def test_the_longest_counts_for_negative_answers_too(self) -> None:
        found = cache(bounds=Bounds(0, 40, 3600)).put(WWW, missing(60), NOW)
        assert found is not None
        assert found.ttl == 40

    def test_the_longest_counts_more_than_the_shortest(self) -> None:
        found = cache(bounds=Bounds(600, 60, 3600)).put(WWW, answer((A, 5), (A, 100)), NOW)
        assert found is not None
        assert (found.ttl, ttls(found)) == (60, [60, 60])

    def test_a_longest_of_zero_keeps_nothing(self) -> None:
        assert cache(bounds=Bounds(0, 0, 3600)).put(WWW, address(), NOW) is None
        made = cache(bounds=Bounds(0, 600, 0))
        assert made.put(WWW, missing(), NOW) is None
        assert made.put(WWW, address(), NOW) is not None


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        pytest.param(answer((A, 300)), False, id="an address"),
        pytest.param(answer((SOA, 300)), False, id="an SOA record that was asked for"),
        pytest.param(answer((A, 300), (NSEC, 300), authorities=1), False, id="a proof for a wildcard's answer"),
        pytest.param(answer((SOA, 300), rcode=NXDOMAIN, authorities=1), True, id="no such name"),
        pytest.param(answer((SOA, 300), authorities=1), True, id="no such record"),
        pytest.param(answer(ttl=60), True, id="nothing at all"),
        pytest.param(answer((CNAME, 9), (SOA, 9), authorities=1), True, id="an alias of a name without such a record"),
        pytest.param(answer((CNAME, 9), (NSEC, 9), (SOA, 9), authorities=2), True, id="the same, with a proof before"),
        pytest.param(answer((CNAME, 9), rcode=NXDOMAIN), True, id="an alias of a name that does not exist"),
    ],
)
def test_what_is_negative(said: Answer, wanted: bool) -> None:
    assert is_negative(said) is wanted


class TestNotKept:
    @pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED, 1, 6])
    def test_an_answer_about_the_server_and_not_the_name(self, rcode: int) -> None:
        made = cache()
        old = made.put(WWW, address(), NOW)
        assert made.put(WWW, answer((A, 300), rcode=rcode), NOW + 1) is None
        assert made.get(WWW, NOW + 1) is old

    @pytest.mark.parametrize("said", [address(0), answer(rcode=NXDOMAIN), answer()])
    def test_one_that_may_not_be_kept(self, said: Answer) -> None:
        made = cache(bounds=Bounds(30, 600, 60))
        assert made.put(WWW, said, NOW) is None
        assert len(made) == 0

    @pytest.mark.parametrize("said", [address(0), answer(rcode=NXDOMAIN)])
    def test_but_it_makes_void_what_was_known(self, said: Answer) -> None:
        made = cache()
        made.put(WWW, address(10), NOW)
        assert made.put(WWW, said, NOW + 20) is None
        assert made.get(WWW, NOW + 20) is None
        assert made.stale(WWW, NOW + 20) is None
        assert keys(made) == set()

    def test_nor_is_the_void_stale_just_after_the_start_of_the_clock(self) -> None:
        made = cache()
        made.put(WWW, address(10), 1.0)
        made.put(WWW, answer(rcode=NXDOMAIN), 2.0)
        assert made.stale(WWW, 3.0) is None

    def test_a_cache_of_nothing_keeps_nothing(self) -> None:
        made = cache(0)
        assert made.put(WWW, address(), NOW) is None
        assert len(made) == 0


class TestReplacing:
    def test_a_negative_answer_takes_the_place_of_an_older_address(self) -> None:
        """Field-cases D9: what was known before is not given again, neither fresh nor stale."""
        made = cache()
        old = made.put(WWW, address(3600), NOW)
        new = made.put(WWW, missing(60), NOW + 10)
        assert old is not None
        assert made.get(WWW, NOW + 10) is new
        assert made.stale(WWW, NOW + 70) is new
        assert len(made) == 1

    def test_what_was_made_of_the_old_answer_beforehand_is_over(self) -> None:
        made = cache()
        old = made.put(WWW, address(3600), NOW)
        made.put(WWW, address(3600), NOW + 10)
        assert old is not None
        assert old.expires == NOW + 10

    def test_the_time_of_an_old_one_that_is_over_does_not_begin_anew(self) -> None:
        made = cache()
        old = made.put(WWW, address(5), NOW)
        made.put(WWW, address(3600), NOW + 10)
        assert old is not None
        assert old.expires == NOW + 5

    def test_the_same_answer_put_again_is_as_good_as_new(self) -> None:
        made = cache()
        kept = made.put(WWW, address(60), NOW)
        assert kept is not None
        assert made.put(WWW, kept, NOW + 50) is kept
        assert made.get(WWW, NOW + 109) is kept

    def test_the_new_one_is_as_popular_as_the_old_one(self) -> None:
        made = cache()
        made.put(WWW, address(), NOW)
        made.get(WWW, NOW)
        new = made.put(WWW, address(), NOW + 270)
        assert new is not None
        assert new.used


def filled(capacity: int, ttl: int = 300) -> tuple[Cache, list[bytes]]:
    """A full cache, and its keys in the order in which they came."""
    made = cache(capacity)
    names = [key(f"n{number}.corp.example") for number in range(capacity)]
    for name in names:
        assert made.put(name, address(ttl), NOW) is not None
    return made, names


class TestRoom:
    def test_there_is_room_for_as_many_as_are_wanted(self) -> None:
        made, names = filled(50)
        assert all(made.get(name, NOW) for name in names)
        assert len(made) == 50

    def test_one_more_costs_one(self) -> None:
        made, names = filled(50)
        made.put(WWW, address(), NOW)
        assert len(made) == 50
        assert made.get(WWW, NOW) is not None
        assert sum(made.get(name, NOW) is None for name in names) == 1

    def test_replacing_costs_none(self) -> None:
        made, names = filled(50)
        made.put(names[7], address(), NOW)
        assert keys(made) == set(names)

    def test_one_that_nobody_asked_for_again_goes_first(self) -> None:
        made, names = filled(50)
        for name in names[:20] + names[21:]:
            made.get(name, NOW)
        made.put(WWW, address(), NOW)
        assert keys(made) == {WWW, *names} - {names[20]}

    def test_a_name_in_use_survives_a_flood_of_names_that_are_not(self) -> None:
        made, names = filled(50)
        for number in range(500):
            assert made.get(names[3], NOW) is not None
            made.put(key(f"flood{number}.corp.example"), address(), NOW)
        assert made.get(names[3], NOW) is not None

    def test_a_flood_does_not_turn_over_the_same_place_again_and_again(self) -> None:
        made, _ = filled(50)
        flood = [key(f"flood{number}.corp.example") for number in range(30)]
        for name in flood:
            made.put(name, address(), NOW)
        assert set(flood) <= keys(made)

    @pytest.mark.parametrize(("later", "gone"), [(4.9, 1), (5.0, 5), (10.0, 5)])
    def test_an_old_one_goes_before_a_fresh_one_even_if_it_was_in_use(self, later: float, gone: int) -> None:
        made, names = filled(SWEPT)
        made.put(names[5], address(5), NOW)
        made.get(names[5], NOW)
        made.put(WWW, address(), NOW + later)
        assert keys(made) == {WWW, *names} - {names[gone]}

    def test_an_old_one_far_away_is_found_before_long(self) -> None:
        made, names = filled(1000)
        made.put(names[900], address(5), NOW)
        for number in range(1000 // SWEPT):
            made.put(key(f"new{number}.corp.example"), address(), NOW + 10)
        assert names[900] not in keys(made)

    def test_old_ones_do_not_push_out_fresh_ones(self) -> None:
        """Half of a large cache is too old: as many new ones find room, and all fresh ones stay."""
        made, names = filled(1000)
        fresh = names[::2]
        for name in fresh:
            made.put(name, address(3600), NOW)
        for number in range(500):
            made.put(key(f"new{number}.corp.example"), address(3600), NOW + 1000)
        assert all(made.get(name, NOW + 1000) for name in fresh)
        assert len(made) == 1000

    def test_the_work_for_one_is_bounded_however_many_are_in_use(self) -> None:
        made, names = filled(1000)
        for name in names:
            made.get(name, NOW)
        made.put(WWW, address(), NOW)
        assert sum(not found.used for found_key, found in made.entries() if found_key != WWW) in (CHANCES, CHANCES - 1)
        assert len(made) == 1000

    def test_a_cache_for_one_has_the_last_one(self) -> None:
        made = cache(1)
        for number in range(20):
            name = key(f"n{number}.example")
            kept = made.put(name, address(), NOW)
            assert kept is not None
            assert list(made.entries()) == [(name, kept)]

    def test_a_large_cache_holds_exactly_as_many_as_it_may(self) -> None:
        capacity = 2 * SHARD_ANSWERS + 10
        made = cache(capacity)
        for number in range(capacity):
            assert made.put(number.to_bytes(4, "big"), address(), NOW) is not None
        assert all(made.get(number.to_bytes(4, "big"), NOW) for number in range(capacity))
        for number in range(capacity, capacity + 1000):
            assert made.put(number.to_bytes(4, "big"), address(), NOW) is not None
            assert made.get(number.to_bytes(4, "big"), NOW) is not None
        assert len(made) == capacity == sum(1 for _ in made.entries())


class TestForgetting:
    def made(self) -> Cache:
        made = cache()
        for name in ("corp.example", "www.corp.example", "a.www.corp.example", "xcorp.example", "example"):
            for kind in (A, SOA):
                made.put(key(name, kind), address(), NOW)
        return made

    def test_a_name_of_all_types(self) -> None:
        made = self.made()
        assert made.remove(wire_name("www.corp.example"), below=False) == 2
        assert len(made) == 8
        assert made.get(WWW, NOW) is None
        assert made.get(key("a.www.corp.example"), NOW) is not None

    def test_a_name_and_all_below(self) -> None:
        made = self.made()
        assert made.remove(wire_name("corp.example"), below=True) == 6
        assert keys(made) == {key(name, kind) for name in ("xcorp.example", "example") for kind in (A, SOA)}

    def test_a_name_that_is_not_there(self) -> None:
        made = self.made()
        assert made.remove(wire_name("mail.corp.example"), below=True) == 0
        assert len(made) == 10

    def test_everything(self) -> None:
        made = self.made()
        assert made.clear() == 10
        assert len(made) == 0
        assert keys(made) == set()
        assert made.clear() == 0

    def test_a_large_one_is_forgotten_a_part_after_the_other(self) -> None:
        made, names = filled(3 * SHARD_ANSWERS)
        wanted = names[0][:-3]
        parts = list(made.removing(wanted, below=False))
        assert sorted(parts) == [0, 0, 0, 1]
        parts = []
        for removed in made.removing(ROOT, below=True):
            parts.append(removed)
            assert len(made) == len(names) - 1 - sum(parts)
        assert max(parts) <= SHARD_ANSWERS
        assert len(made) == 0

    def test_what_is_forgotten_is_over_for_whoever_still_holds_it(self) -> None:
        made = cache()
        kept = made.put(WWW, address(), NOW)
        made.clear()
        assert kept is not None
        assert kept.expires < 0

    def test_there_is_room_again_afterwards(self) -> None:
        made, names = filled(50)
        made.remove(names[7][:-3], below=False)
        made.put(WWW, address(), NOW)
        assert keys(made) == {WWW, *names} - {names[7]}
        for number in range(200):
            made.put(key(f"new{number}.corp.example"), address(), NOW)
            assert len(made) == 50
        made.clear()
        for name in names:
            made.put(name, address(), NOW)
        assert keys(made) == set(names)

    def test_entries_may_be_read_while_the_cache_changes(self) -> None:
        made, names = filled(50)
        for found, _ in made.entries():
            made.put(b"x" + found, address(), NOW)
            made.remove(found[:-3], below=False)
        assert not keys(made) & set(names)


def test_what_many_answers_have_alike_is_kept_once() -> None:
    made = cache()
    first, second = address(), address()
    for number, said in enumerate((first, second)):
        said.origin = "10.0.0." + str(53 + 0 * number)  # equal, but not the same object
        made.put(key(f"n{number}.example"), said, NOW)
    assert first.ttls is second.ttls
    assert first.origin is second.origin


# Against a plain model: what was put last under each key, and nothing else, and no more than there is room for.

NAMES = [key(f"n{number}.example") for number in range(12)]

puts = st.tuples(
    st.just("put"), st.sampled_from(NAMES), st.sampled_from([0, 1, 5, 50]), st.sampled_from([NOERROR, NXDOMAIN])
)
gets = st.tuples(st.just("get"), st.sampled_from(NAMES), st.just(0), st.just(0))
removals = st.tuples(st.sampled_from(["remove", "clear"]), st.sampled_from(NAMES), st.just(0), st.just(0))
stories = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 4.0]), st.one_of(puts, puts, gets, gets, removals)), max_size=60
)


class Witness:
    """The model: a dictionary that forgets nothing, and what of the cache must always hold."""

    def __init__(self, capacity: int) -> None:
        self.cache = cache(capacity)
        self.capacity = capacity
        self.said: dict[bytes, Answer] = {}

    def put(self, name: bytes, ttl: int, rcode: int, now: float) -> None:
        before = {found: (said.expires, said.used) for found, said in self.cache.entries()}
        taken = len(self.cache)
        new = missing(ttl) if rcode == NXDOMAIN else address(ttl)
        kept = self.cache.put(name, new, now)
        assert kept is (new if ttl else None)
        self.said.pop(name, None)
        if ttl:
            self.said[name] = new
        gone = before.keys() - keys(self.cache) - {name}
        assert len(gone) <= (1 if name not in before else 0)
        for lost in gone:
            assert taken == self.capacity
            self.may_go(lost, before, now, voids=taken - len(before))

    def may_go(self, lost: bytes, before: dict[bytes, tuple[float, bool]], now: float, voids: int) -> None:
        """In so small a cache the order is exact: an old one, else one that was not in use, else any.

        The void, which nobody gets any more, hold a place too until theirs is needed, and are old ones.
        """
        expires, used = before[lost]
        assert expires <= now or (not voids and all(other > now for other, _ in before.values()))
        assert expires <= now or not used or all(flag for _, flag in before.values())
        del self.said[lost]

    def check(self, now: float) -> None:
        held = dict(self.cache.entries())
        assert held == self.said
        assert len(held) <= len(self.cache) <= self.capacity
        for name in NAMES:
            said = self.said.get(name)
            is_fresh = said is not None and now < said.stored + said.ttl
            was_used = said is not None and said.used
            assert self.cache.get(name, now) is (said if is_fresh else None)
            assert self.cache.stale(name, now) is (None if is_fresh else said)
            if said is not None:
                said.used = was_used

    def step(self, what: str, name: bytes, ttl: int, rcode: int, now: float) -> None:
        if what == "put":
            self.put(name, ttl, rcode, now)
        elif what == "get":
            self.cache.get(name, now)
        elif what == "remove":
            self.cache.remove(name[:-3], below=False)
            self.said.pop(name, None)
        else:
            self.cache.clear()
            self.said.clear()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, SWEPT), stories)
@example(
    2,
    [
        (0.0, ("put", NAMES[0], 1, NOERROR)),
        (0.0, ("put", NAMES[0], 0, NOERROR)),  # void from now on, but its place is taken
        (0.0, ("put", NAMES[2], 1, NOERROR)),
        (4.0, ("put", NAMES[1], 1, NOERROR)),
    ],
)
def test_it_is_a_dictionary_that_forgets(capacity: int, story: list[tuple[float, tuple[str, bytes, int, int]]]) -> None:
    witness = Witness(capacity)
    now = NOW
    for pause, event in story:
        now += pause
        witness.step(*event, now)
        witness.check(now)
