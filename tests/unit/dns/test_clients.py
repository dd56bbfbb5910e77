"""Who may ask, how fast, and who is remembered."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from gateway.address import Address
from gateway.dns import clients
from gateway.dns.clients import UNLIMITED, Client, Clients
from gateway.dns.zones import View, Zones
from tests.support.rules import address, host

NOW = 1000.0


class StandIn:
    """As much of `Zones` as clients need: networks in order, each with its view."""

    def __init__(self, views: Mapping[str, str]) -> None:
        self.views = [(cast(Any, host(network)), view) for network, view in views.items()]
        self.asked = 0

    def view_of(self, client: Address) -> View | None:
        self.asked += 1
        return next((cast(View, view) for network, view in self.views if network.covers(*client)), None)


def zones(**views: str) -> StandIn:
    """From view=network."""
    return StandIn({network: view for view, network in views.items()})


INSIDE = {"staff": "10.1.0.0/16", "all": "10.0.0.0/8", "link": "fe80::/10", "six": "2001:db8::/32"}


def made(rate: float = 0, outstanding: int = 256, world: StandIn | None = None) -> Clients:
    return Clients(cast(Zones, world or zones(**INSIDE)), rate, outstanding)


def client(of: Clients, text: str, now: float = NOW) -> Client:
    found = of.of(address(text).packed, now)
    assert found is not None
    return found


def view_of(found: Client) -> str:
    """The stand-in's views are only their names."""
    return cast(str, found.view)


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        ("text", "view"),
        [
            pytest.param("10.1.0.5", "staff", id="one of the first network"),
            pytest.param("10.2.0.5", "all", id="one of the next"),
            pytest.param("2001:db8::5", "six", id="by IPv6"),
            pytest.param("fe80::5", "link", id="by a link-local address"),
            pytest.param("11.0.0.1", None, id="a stranger"),
            pytest.param("2001:db9::", None, id="a stranger by IPv6"),
            pytest.param("0.0.0.0", None, id="nobody"),
        ],
    )
    def test_by_its_address(self, text: str, view: str | None) -> None:
        of = made()
        found = of.of(address(text).packed, NOW)
        assert (None if found is None else view_of(found)) == view
        assert len(of.known) == (view is not None)

    def test_a_client_has_what_is_known_of_it(self) -> None:
        found = client(made(), "10.1.0.5")
        assert (found.packed, found.address) == (b"\x0a\x01\x00\x05", address("10.1.0.5"))
        assert (found.outstanding, found.tokens, found.refilled) == (0, UNLIMITED, NOW)

    def test_it_is_the_same_one_the_next_time(self) -> None:
        world = zones(**INSIDE)
        of = made(world=world)
        first = client(of, "10.1.0.5")
        assert client(of, "10.1.0.5", NOW + 9) is first
        assert world.asked == 1
        assert of.known[first.packed] is first

    def test_a_mapped_address_is_the_ipv4_client(self) -> None:
        of = made()
        assert client(of, "::ffff:10.1.0.5") is client(of, "10.1.0.5")
        assert list(of.known) == [b"\x0a\x01\x00\x05"]
        assert of.of(address("::ffff:11.0.0.1").packed, NOW) is None

    def test_an_address_that_only_looks_mapped_is_not(self) -> None:
        of = made(world=zones(all="10.0.0.0/8"))
        assert of.of(address("::ffff:0:10.1.0.5").packed, NOW) is None
        assert of.of(address("::10.1.0.5").packed, NOW) is None
        assert of.of(address("2001:db8::ffff:10.1.0.5").packed, NOW) is None


class TestRate:
    def asked(self, of: Clients, found: Client, times: int, now: float) -> int:
        return sum(of.admits(found, now) for _ in range(times))

    def test_so_many_questions_a_second(self) -> None:
        of = made(rate=5)
        found = client(of, "10.0.0.1")
        assert self.asked(of, found, 20, NOW) == 5
        assert self.asked(of, found, 20, NOW + 0.99) == 0
        assert self.asked(of, found, 20, NOW + 1.0) == 5
        assert self.asked(of, found, 20, NOW + 1.99) == 0

    def test_what_is_not_used_is_not_saved(self) -> None:
        of = made(rate=5)
        found = client(of, "10.0.0.1")
        assert self.asked(of, found, 20, NOW) == 5
        assert self.asked(of, found, 20, NOW + 3600) == 5

    def test_each_client_has_its_own(self) -> None:
        of = made(rate=2)
        assert self.asked(of, client(of, "10.0.0.1"), 5, NOW) == 2
        assert self.asked(of, client(of, "10.0.0.2"), 5, NOW) == 2

    def test_a_rate_of_less_than_one_is_one(self) -> None:
        of = made(rate=0.1)
        assert self.asked(of, client(of, "10.0.0.1"), 5, NOW) == 1

    def test_without_a_limit_nothing_is_refused(self) -> None:
        of = made(rate=0)
        found = client(of, "10.0.0.1")
        assert self.asked(of, found, 1000, NOW) == 1000
        found.tokens = 1
        assert self.asked(of, found, 1000, NOW) == 1000

    @pytest.mark.parametrize("rate", [1, 2, 5])
    def test_who_counts_down_itself_counts_the_same(self, rate: int) -> None:
        """As the datagrams do it: one decrement a question, and `admits` only for one whose tokens are spent."""
        of = made(rate=rate)
        found = client(of, "10.0.0.1")

        def ask(now: float) -> bool:
            found.tokens -= 1
            return found.tokens >= 0 or of.admits(found, now)

        for second in range(3):
            assert sum(ask(NOW + second) for _ in range(20)) == rate

    def test_the_cap_of_waiting_questions_is_there_for_who_forwards_them(self) -> None:
        assert made(outstanding=7).outstanding == 7


class TestMemory:
    def full(self, monkeypatch: pytest.MonkeyPatch, size: int = 8) -> Clients:
        """Full of 10.0.0.0, 10.0.0.1 and so on; nobody of them has asked since it came."""
        monkeypatch.setattr(clients, "MAX_CLIENTS", size)
        of = made()
        for number in range(size):
            client(of, f"10.0.0.{number}")
        return of

    def known(self, of: Clients) -> set[str]:
        return {str(found.address) for found in of.known.values()}

    def test_one_more_costs_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = self.full(monkeypatch)
        found = client(of, "10.9.9.9")
        assert len(of.known) == 8
        assert of.known[found.packed] is found

    def test_it_stays_bounded_whoever_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = self.full(monkeypatch)
        for number in range(300):
            found = client(of, f"10.1.{number // 256}.{number % 256}")
            of.admits(found, NOW)
            found.outstanding += 1
            assert len(of.known) == 8
            assert all(packed == each.packed for packed, each in of.known.items())

    def test_who_asks_is_not_forgotten_for_those_who_came_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = self.full(monkeypatch)
        regular = client(of, "10.0.0.3")
        for number in range(100):
            of.admits(regular, NOW)
            client(of, f"10.1.0.{number}")
        assert of.known[regular.packed] is regular

    def test_nor_is_one_whose_questions_are_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or the cap on them would begin anew for it."""
        of = self.full(monkeypatch)
        waiting = client(of, "10.0.0.3")
        waiting.outstanding = 1
        for number in range(100):
            client(of, f"10.1.0.{number}")
        assert of.known[waiting.packed] is waiting
        waiting.outstanding = 0
        for number in range(20):
            client(of, f"10.1.1.{number}")
        assert waiting.packed not in of.known

    def test_who_asked_once_is_forgotten_like_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = self.full(monkeypatch)
        once = client(of, "10.0.0.3")
        of.admits(once, NOW)
        for number in range(30):
            client(of, f"10.1.0.{number}")
        assert once.packed not in of.known

    def test_strangers_take_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        of = self.full(monkeypatch)
        before = self.known(of)
        for number in range(50):
            assert of.of(address(f"11.0.0.{number}").packed, NOW) is None
        assert self.known(of) == before


class TestAdopting:
    def test_clients_get_their_new_view_and_keep_what_waits(self) -> None:
        of = made(rate=5)
        dictionary = of.known
        found = client(of, "10.1.0.5")
        found.outstanding = 3
        of.adopt(cast(Zones, zones(guests="10.0.0.0/8")), 2, 9)
        assert of.known is dictionary
        assert client(of, "10.1.0.5") is found
        assert (view_of(found), found.outstanding, of.outstanding) == ("guests", 3, 9)
        assert sum(of.admits(found, NOW) for _ in range(10)) == 2

    def test_who_may_not_ask_any_more_is_forgotten(self) -> None:
        of = made()
        client(of, "10.1.0.5")
        client(of, "2001:db8::5")
        of.adopt(cast(Zones, zones(six="2001:db8::/32")), 0, 256)
        assert of.of(address("10.1.0.5").packed, NOW) is None
        assert [str(found.address) for found in of.known.values()] == ["2001:db8::5"]

    def test_strangers_may_become_clients(self) -> None:
        of = made()
        assert of.of(address("11.0.0.1").packed, NOW) is None
        of.adopt(cast(Zones, zones(all="11.0.0.0/8")), 0, 256)
        assert view_of(client(of, "11.0.0.1")) == "all"

    def test_memory_is_bounded_as_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clients, "MAX_CLIENTS", 4)
        of = made()
        for number in range(10):
            client(of, f"10.0.0.{number}")
        of.adopt(cast(Zones, zones(all="10.0.0.8/29")), 0, 256)
        assert len(of.known) == 2
        of.adopt(cast(Zones, zones(all="10.0.0.0/8")), 0, 256)
        for number in range(10, 30):
            client(of, f"10.0.0.{number}")
            assert len(of.known) == min(number - 7, 4)
