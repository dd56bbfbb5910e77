"""The words of ps(1)."""

import pytest

from gateway.control.protocol import ResolverTotals, Totals
from gateway.daemon.titles import gateway_words, resolver_words, volume, watcher_words
from gateway.policy.egress import Standing, Uplink
from tests.support.rules import address


def uplink(name: str, standing: Standing) -> Uplink:
    return Uplink(name, name, standing, "a reason", (address("192.0.2.1"),), 2)


WAN1, WAN2 = uplink("wan1", Standing.UP), uplink("wan2", Standing.DOWN)


def test_the_supervisors_title() -> None:
    totals = Totals(sessions=14, accepted_per_second=3.14, sent_per_second=120_000, received_per_second=2_040_000)
    words = "14 sessions, 3.1 conn/s, 120 kB/s sent, 2.0 MB/s received"
    assert gateway_words(totals, (), draining=False) == words
    assert gateway_words(totals, (WAN1, WAN2), draining=False) == f"{words}; wan1 up, wan2 down"
    assert gateway_words(totals, (WAN1,), draining=True) == f"{words}; wan1 up; draining"
    assert gateway_words(totals, (), draining=True) == f"{words}; draining"


@pytest.mark.parametrize(("sessions", "words"), [(0, "0 sessions,"), (1, "1 session,"), (2, "2 sessions,")])
def test_one_session_is_no_plural(sessions: int, words: str) -> None:
    assert gateway_words(Totals(sessions=sessions), (), draining=False).startswith(words)


@pytest.mark.parametrize(
    ("uplinks", "words"),
    [
        ((), "single-homed"),
        ((WAN1,), "1 uplink, 1 up"),
        ((WAN2,), "1 uplink, 0 up"),
        ((WAN1, WAN2), "2 uplinks, 1 up"),
    ],
)
def test_the_watchers_title(uplinks: tuple[Uplink, ...], words: str) -> None:
    assert watcher_words(uplinks) == words


@pytest.mark.parametrize(
    ("totals", "down", "words"),
    [
        pytest.param(
            ResolverTotals(queries_per_second=1200.4, hit_rate=0.93, entries=4211),
            ("10.0.0.53", "192.0.2.53"),
            "1,200 q/s, 93% hits, 4,211 names, down: 10.0.0.53 192.0.2.53",
            id="two servers are down",
        ),
        pytest.param(
            ResolverTotals(queries_per_second=0.6, hit_rate=1.0, entries=1),
            (),
            "1 q/s, 100% hits, 1 name",
            id="none is",
        ),
        pytest.param(ResolverTotals(), (), "0 q/s, 0% hits, 0 names", id="nobody has asked yet"),
        pytest.param(
            ResolverTotals(), ("10.0.0.53", "10.0.0.53"), "0 q/s, 0% hits, 0 names, down: 10.0.0.53", id="of two zones"
        ),
    ],
)
def test_a_resolvers_title(totals: ResolverTotals, down: tuple[str, ...], words: str) -> None:
    assert resolver_words(totals, down) == words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.4, "999 B"),
        (999.5, "1.0 kB"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (1051, "1.1 kB"),
        (99_400, "99.4 kB"),
        (99_500, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1e9, "1.0 GB"),
        (1e12, "1.0 TB"),
        (5e15, "5000 TB"),
    ],
)
def test_volumes_have_three_digits_at_most_as_long_as_there_is_a_unit(count: float, text: str) -> None:
    assert volume(count) == text
