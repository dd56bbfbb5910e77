"""Hot answers: what is sent without being read again, until when, and how many are kept."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.answer import NEVER, Answer
from gateway.dns.constants import NOERROR, NXDOMAIN, A
from gateway.dns.hot import FRESH, GONE, HOT_ENTRIES, WANTED, Hot, hot_of, keep
from gateway.dns.names import wire_name
from gateway.dns.query import Query, build_query, read_query
from gateway.dns.reply import reply

NOW = 1000.25


def record(ttl: int, last: int = 1) -> bytes:
    """An A record of the question's name."""
    return b"\xc0\x0c" + struct.pack("!HHIH4B", A, 1, ttl, 4, 10, 0, 0, last)


def answer(*ttls: int, expires: float = 0, refresh_at: float = NEVER) -> Answer:
    """One record for each TTL; it came at NOW."""
    body = b"".join(record(ttl, number) for number, ttl in enumerate(ttls))
    made = Answer(NOERROR, len(ttls), 0, body, tuple(16 * number + 6 for number in range(len(ttls))), min(ttls))
    made.stored = NOW
    made.expires = expires or NOW + min(ttls)
    made.refresh_at = refresh_at
    return made


def asked(name: str = "www.corp.example", *, edns: bool = True) -> tuple[bytes, Query]:
    """A query and what is read in it."""
    data = build_query(0x1234, wire_name(name), A, variant=0, edns=edns)
    query = read_query(data)
    assert isinstance(query, Query)
    return data, query


def made(found: Answer, now: float = NOW) -> Hot:
    """The hot answer for whoever asks at that time."""
    _, query = asked()
    return hot_of(reply(query, found, found.age(now), query.size), query, found, now)


def as_replied(found: Answer, now: float) -> bytes:
    """What the slow path says at that time, but the id."""
    _, query = asked()
    return reply(query, found, found.age(now), query.size)[2:]


def test_it_is_the_reply_without_its_id() -> None:
    found = answer(300)
    hot = made(found)
    assert hot.rest == as_replied(found, NOW)
    assert hot.size == 2 + len(hot.rest)


@pytest.mark.parametrize("later", [1.0, 1.5, 7.0, 299.5])
def test_renewed_it_is_what_the_slow_path_would_say(later: float) -> None:
    found = answer(300, 400)
    hot = made(found)
    assert hot.renew(NOW + later) == FRESH
    assert hot.rest == as_replied(found, NOW + later)


#: parts of a second that a float has exactly
TIMES = st.integers(0, 64 * 100 - 1).map(lambda number: number / 64)


@given(st.lists(TIMES, min_size=1, max_size=8), st.lists(st.integers(100, 5000), min_size=1, max_size=4))
def test_renewed_at_any_times_it_is_what_the_slow_path_would_say(times: list[float], ttls: list[int]) -> None:
    found = answer(*ttls)
    hot = made(found)
    for later in sorted(times):
        assert hot.renew(NOW + later) == FRESH
        assert hot.rest == as_replied(found, NOW + later)
        assert NOW + later < hot.until <= NOW + later + 1


def test_one_that_was_made_late_goes_on_from_its_age() -> None:
    found = answer(300)
    hot = made(found, NOW + 10.5)
    assert hot.rest == as_replied(found, NOW + 10)
    assert hot.until == NOW + 11
    hot.renew(NOW + 20)
    assert hot.rest == as_replied(found, NOW + 20)


def test_it_stands_until_its_age_is_a_second_more() -> None:
    hot = made(answer(300))
    assert hot.until == NOW + 1
    hot.renew(NOW + 1.75)
    assert hot.until == NOW + 2


def test_no_ttl_goes_below_zero_when_the_zone_keeps_answers_longer() -> None:
    found = answer(5, expires=NOW + 60)
    hot = made(found)
    assert hot.renew(NOW + 30) == FRESH
    assert hot.rest == as_replied(found, NOW + 30)
    assert struct.pack("!I", 0) in hot.rest[-26:]


@pytest.mark.parametrize(("later", "outcome"), [(9.9, FRESH), (10.0, GONE), (11.0, GONE)])
def test_it_ends_with_its_answer(later: float, outcome: int) -> None:
    assert made(answer(10)).renew(NOW + later) == outcome


def test_it_does_not_stand_beyond_the_end_of_its_answer() -> None:
    hot = made(answer(10, expires=NOW + 9.5))
    hot.renew(NOW + 9.25)
    assert hot.until == NOW + 9.5


def test_an_answer_that_was_thrown_away_ends_within_a_second() -> None:
    found = answer(300)
    hot = made(found)
    found.expires = NOW
    assert hot.until <= NOW + 1
    assert hot.renew(hot.until) == GONE


def test_it_says_when_its_answer_should_be_asked_for_anew() -> None:
    found = answer(300, refresh_at=NOW + 270.5)
    hot = made(found)
    assert hot.renew(NOW + 270.25) == FRESH
    assert hot.until == NOW + 270.5
    assert hot.renew(NOW + 270.5) == WANTED
    found.refresh_at = NEVER
    assert hot.renew(NOW + 271) == FRESH


def test_its_answer_counts_as_used_again() -> None:
    found = answer(300)
    hot = made(found)
    assert not found.used
    hot.renew(NOW + 1)
    assert found.used


def test_what_never_expires_never_changes() -> None:
    found = answer(60, expires=NEVER)
    hot = made(found)
    assert hot.until == NEVER
    before = hot.rest
    assert hot.renew(NOW + 1e6) == FRESH
    assert hot.rest == before


def test_a_reply_that_was_cut_grows_old_like_a_whole_one() -> None:
    data, query = asked(edns=False)
    found = answer(*[300] * 40)
    message = reply(query, found, 0, query.size)
    assert 0 < int.from_bytes(message[6:8], "big") < 40
    hot: dict[bytes, Hot] = {}
    keep(hot, data, message, query, found, NOW)
    kept = hot[data[2:]]
    assert kept.renew(NOW + 5) == FRESH
    assert kept.rest == reply(query, found, 5, query.size)[2:]
    assert kept.size == len(message)


def test_a_reply_that_was_cut_to_nothing_has_no_ttls() -> None:
    _, query = asked(edns=False)
    text = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 300, 600) + bytes(600)
    found = Answer(NOERROR, 1, 0, text, (6,), 300)
    found.stored, found.expires = NOW, NOW + 300
    message = reply(query, found, 0, query.size)
    assert len(message) < 100
    hot = hot_of(message, query, found, NOW)
    assert hot.renew(NOW + 5) == FRESH
    assert hot.rest == message[2:]


def test_an_answer_without_records_is_kept_too() -> None:
    found = Answer(NXDOMAIN, 0, 0, b"", (), 60)
    found.stored, found.expires = NOW, NOW + 60
    hot = made(found)
    assert hot.renew(NOW + 59) == FRESH
    assert hot.renew(NOW + 60) == GONE


class TestKeeping:
    def kept(self, hot: dict[bytes, Hot], data: bytes, query: Query) -> None:
        found = answer(300)
        keep(hot, data, reply(query, found, 0, query.size), query, found, NOW)

    def test_the_key_is_the_query_without_its_id(self) -> None:
        hot: dict[bytes, Hot] = {}
        data, query = asked()
        self.kept(hot, data, query)
        assert list(hot) == [data[2:]]

    def test_a_name_with_capital_letters_is_not_kept(self) -> None:
        hot: dict[bytes, Hot] = {}
        data = build_query(1, wire_name("www.corp.example"), A, variant=0, cases=0b100)
        query = read_query(data)
        assert isinstance(query, Query)
        self.kept(hot, data, query)
        assert not hot

    def test_of_too_many_the_oldest_go(self) -> None:
        hot: dict[bytes, Hot] = {}
        data, query = asked()
        for number in range(HOT_ENTRIES):
            self.kept(hot, struct.pack("!HI", 0, number), query)
        assert len(hot) == HOT_ENTRIES
        self.kept(hot, data, query)
        assert 1 + HOT_ENTRIES // 2 < len(hot) < HOT_ENTRIES
        numbers = [struct.unpack("!I", key)[0] for key in hot if key != data[2:]]
        assert all(before + 1 == after for before, after in pairwise(numbers))
        assert numbers[-1] == HOT_ENTRIES - 1
        assert data[2:] in hot
