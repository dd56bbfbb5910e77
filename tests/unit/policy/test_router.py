"""Which line names the ways out, which of them is taken, and the words that say why."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Name
from gateway.config.rules import EgressWord, RouteRule
from gateway.policy.egress import Choice, Egress, Route, Standing, Uplink
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from tests.support.routes import line, route_file, uplink, words
from tests.support.rules import USERS, Users, address

TARGET = address("198.51.100.7")
WAN1 = uplink("wan1", "192.0.2.1", "192.0.2.2", "2001:db8::1", device="eth1")
WAN2 = uplink("wan2", "203.0.113.1", device="eth2")
WAN1_DOWN = uplink("wan1", "192.0.2.1", device="eth1", standing=Standing.DOWN, cause="link is down")
WAN1_SETTLING = uplink(
    "wan1", "192.0.2.1", "2001:db8::1", device="eth1", standing=Standing.SETTLING, cause="it answers again for 3 s"
)
WAN2_SETTLING = uplink("wan2", "203.0.113.1", device="eth2", standing=Standing.SETTLING, cause="link is up for 1 s")
WAN2_DOWN = uplink("wan2", "203.0.113.1", device="eth2", standing=Standing.DOWN, cause="its probes fail")


def router(*lines: RouteRule | str, default: str = "", uplinks: tuple[Uplink, ...] = (WAN1, WAN2)) -> Router:
    table = RouteTable.compile(route_file(*lines), USERS) if lines else None
    made = Router(table, words(default) if default else ())
    made.update(uplinks)
    return made


def choice(ways: str, *uplinks: Uplink, version: int = 4) -> Choice:
    """What is chosen from these ways as line 3 of sockd.route."""
    return router(uplinks=uplinks).choose(Route(words(ways), "sockd.route:3"), version)


class TestWhichLine:
    LINES = (line("wan1 198.51.100.0/24", user="fred"), line("wan2 .example.com"), line("wan1,wan2 198.51.0.0/16"))

    def test_via_comes_before_the_lines(self) -> None:
        found = router(*self.LINES, default="wan1").route(TARGET, None, "fred", ("wan2", "wan1"), "sockd.conf:17")
        assert found == Route(("wan2", "wan1"), "via= of sockd.conf:17", None)

    @pytest.mark.parametrize(
        ("target", "name", "user", "number"),
        [
            pytest.param("198.51.100.7", None, "fred", 1, id="by its user"),
            pytest.param("198.51.100.7", "www.example.com", "", 2, id="by its name"),
            pytest.param("198.51.100.7", None, "", 3, id="by its address"),
        ],
    )
    def test_then_the_first_line_that_is_for_the_destination(
        self, target: str, name: str | None, user: str, number: int
    ) -> None:
        made = router(*self.LINES, default="wan1")
        found = made.route(address(target), None if name is None else Name(name), user, None)
        assert made.table is not None
        rule = made.table.file.rules[number - 1]
        assert found == Route(rule.egress, f"sockd.route:{number}", rule)

    def test_then_the_default(self) -> None:
        elsewhere = address("203.0.113.9")
        wanted = Route(("wan1", address("203.0.113.1")), "[external]", None)
        assert router(*self.LINES, default="wan1,203.0.113.1").route(elsewhere, None, "", None) == wanted
        assert router(default="wan1,203.0.113.1").route(elsewhere, None, "", None) == wanted

    def test_then_none(self) -> None:
        assert router(*self.LINES).route(address("203.0.113.9"), None, "", None) is None
        assert router().route(TARGET, None, "", None) is None

    def test_every_route_is_listed_in_the_order_in_which_they_are_asked(self) -> None:
        made = router(*self.LINES, default="wan1")
        assert [route.origin for route in made.routes] == [
            "sockd.route:1",
            "sockd.route:2",
            "sockd.route:3",
            "[external]",
        ]
        assert router().routes == ()
        asked = made.route(TARGET, None, "fred", None)
        assert made.routes[0] == asked


class TestWay:
    """`Router.way` is what a session asks; it keeps its answers as long as they hold."""

    def test_it_is_the_choice_of_the_route(self) -> None:
        made = router("wan2 198.51.100.0/24", "wan1")
        for target, version in (("198.51.100.7", 4), ("203.0.113.9", 4), ("2001:db8::7", 6)):
            route = made.route(address(target), None, "", None)
            assert route is not None
            assert made.way(address(target), None, "", None) == made.choose(route, version)
        assert made.way(TARGET, None, "", ("wan1",), "sockd.conf:17") == Choice(
            Egress("wan1", "eth1", address("192.0.2.1")), "wan1 by via= of sockd.conf:17"
        )

    def test_without_a_route_there_is_none(self) -> None:
        assert router("wan1 10.0.0.0/8").way(TARGET, None, "", None) is None

    def test_what_is_known_of_the_uplinks_counts_at_once(self) -> None:
        made = router("wan1,wan2")
        found = []
        for uplinks in ((WAN1, WAN2), (WAN1_DOWN, WAN2), (WAN1, WAN2)):
            made.update(uplinks)
            choice = made.way(TARGET, None, "", None)
            assert choice is not None
            assert choice.egress is not None
            found.append(choice.egress.uplink)
        assert found == ["wan1", "wan2", "wan1"]

    def test_a_user_file_that_changes_counts_at_once(self) -> None:
        users = Users({"/etc/ops": ("fred",)})
        lines = route_file(line("wan2", user="/etc/ops"), "wan1")
        made = Router(RouteTable.compile(lines, users), ())
        made.update((WAN1, WAN2))
        reasons = []
        for members in ({"fred"}, set()):
            users.files["/etc/ops"] = frozenset(members)
            choice = made.way(TARGET, None, "fred", None)
            assert choice is not None
            reasons.append(choice.reason)
        assert reasons == ["wan2 by sockd.route:1", "wan1 by sockd.route:2"]


class TestWhatAWordMeans:
    def test_a_name_is_the_uplinks_or_else_its_devices(self) -> None:
        made = router()
        assert made.uplink_of("wan1") is WAN1
        assert made.uplink_of("eth2") is WAN2
        assert made.uplink_of("wan9") is None

    def test_an_uplinks_own_name_counts_before_a_device_of_that_name(self) -> None:
        odd = uplink("eth1", "203.0.113.9", device="eth9")
        for order in ((WAN1, odd), (odd, WAN1)):
            assert router(uplinks=order).uplink_of("eth1") is odd

    def test_an_address_is_the_uplink_that_has_it(self) -> None:
        made = router()
        assert made.uplink_of(address("192.0.2.2")) is WAN1
        assert made.uplink_of(address("203.0.113.1")) is WAN2
        assert made.uplink_of(address("192.0.2.3")) is None

    def test_where_two_claim_the_same_the_first_one_counts(self) -> None:
        twin = uplink("wan3", "192.0.2.1", device="eth1")
        made = router(uplinks=(WAN1, twin))
        assert made.uplink_of("eth1") is WAN1
        assert made.uplink_of(address("192.0.2.1")) is WAN1


class TestTheWayThatIsTaken:
    @pytest.mark.parametrize(
        ("ways", "version", "egress"),
        [
            pytest.param("wan1", 4, "wan1 eth1 192.0.2.1", id="the preferred source of its family"),
            pytest.param("wan1", 6, "wan1 eth1 2001:db8::1", id="and of the other family"),
            pytest.param("eth1", 4, "wan1 eth1 192.0.2.1", id="by its device, under the uplink's name"),
            pytest.param("192.0.2.2", 4, "wan1 eth1 192.0.2.2", id="an address is exactly the source"),
            pytest.param("wan2,wan1", 4, "wan2 eth2 203.0.113.1", id="the first one written, not the first uplink"),
        ],
    )
    def test_the_first_one_that_is_up(self, ways: str, version: int, egress: str) -> None:
        name, device, source = egress.split()
        found = choice(ways, WAN1, WAN2, version=version)
        assert found == Choice(Egress(name, device, address(source)), f"{name} by sockd.route:3")

    @pytest.mark.parametrize(
        ("ways", "uplinks", "version", "reason"),
        [
            pytest.param(
                "wan1,wan2",
                (WAN1_DOWN, WAN2),
                4,
                "wan2 by sockd.route:3, because wan1 is down: link is down",
                id="the next one when the first is down",
            ),
            pytest.param(
                "wan1,wan2",
                (WAN1_SETTLING, WAN2),
                4,
                "wan2 by sockd.route:3, because wan1 is settling: it answers again for 3 s",
                id="one that is up before one that settles",
            ),
            pytest.param(
                "wan2,wan1",
                (WAN1, WAN2),
                6,
                "wan1 by sockd.route:3, because wan2 has no IPv6 address",
                id="one that has a source of the family",
            ),
            pytest.param(
                "192.0.2.1,wan1",
                (WAN1,),
                6,
                "wan1 by sockd.route:3, because 192.0.2.1 is no IPv6 address",
                id="an address serves its own family only",
            ),
            pytest.param(
                "192.0.2.1,wan2",
                (WAN1_DOWN, WAN2),
                4,
                "wan2 by sockd.route:3, because wan1 is down: link is down",
                id="an address of an uplink that is down",
            ),
            pytest.param(
                "wan9,192.0.2.99,wan1,wan2",
                (WAN1_DOWN, WAN2),
                4,
                "wan2 by sockd.route:3, because there is no interface wan9; no interface has the address 192.0.2.99; "
                "wan1 is down: link is down",
                id="all that were passed over are named",
            ),
            pytest.param(
                "wan1,wan2",
                (WAN1_SETTLING, WAN2_DOWN),
                4,
                "wan1 by sockd.route:3",
                id="a settling one, for want of better",
            ),
            pytest.param(
                "wan1,wan2",
                (WAN1_SETTLING, WAN2_SETTLING),
                4,
                "wan1 by sockd.route:3",
                id="the first of those that settle",
            ),
            pytest.param(
                "wan1,wan2",
                (WAN1_DOWN, WAN2_SETTLING),
                4,
                "wan2 by sockd.route:3, because wan1 is down: link is down",
                id="a settling one before one that is down",
            ),
            pytest.param(
                "wan2,wan1",
                (WAN1_SETTLING, WAN2_SETTLING),
                6,
                "wan1 by sockd.route:3, because wan2 has no IPv6 address",
                id="the first settling one that has a source of the family",
            ),
        ],
    )
    def test_else_the_first_usable_one(self, ways: str, uplinks: tuple[Uplink, ...], version: int, reason: str) -> None:
        found = choice(ways, *uplinks, version=version)
        assert found.reason == reason
        assert found.egress is not None
        assert found.egress.uplink == reason.partition(" ")[0]

    @pytest.mark.parametrize(
        ("ways", "uplinks", "version", "why"),
        [
            pytest.param("wan1", (WAN1_DOWN, WAN2), 4, "wan1 is down: link is down", id="down, and another not listed"),
            pytest.param(
                "wan1,wan2", (WAN1_DOWN, WAN2), 6, "wan1 is down: link is down; wan2 has no IPv6 address", id="each why"
            ),
            pytest.param("wan2", (WAN2_SETTLING,), 6, "wan2 has no IPv6 address", id="settling without a source"),
            pytest.param("wan9", (WAN1, WAN2), 4, "there is no interface wan9", id="an unknown name"),
            pytest.param("192.0.2.9", (WAN1,), 4, "no interface has the address 192.0.2.9", id="an unknown address"),
            pytest.param("192.0.2.1", (WAN1,), 6, "192.0.2.1 is no IPv6 address", id="an address of the other family"),
            pytest.param("2001:db8::1", (WAN1,), 4, "2001:db8::1 is no IPv4 address", id="and the other way round"),
            pytest.param("wan1", (), 4, "there is no interface wan1", id="no uplinks at all"),
        ],
    )
    def test_else_none_and_never_one_that_is_not_named(
        self, ways: str, uplinks: tuple[Uplink, ...], version: int, why: str
    ) -> None:
        assert choice(ways, *uplinks, version=version) == Choice(None, f"no usable way out by sockd.route:3: {why}")

    def test_the_reason_names_via_and_the_default_too(self) -> None:
        made = router(default="wan2")
        for via, reason in ((("wan1",), "wan1 by via= of sockd.conf:17"), (None, "wan2 by [external]")):
            route = made.route(TARGET, None, "", via, "sockd.conf:17")
            assert route is not None
            assert made.choose(route, 4).reason == reason


class TestUpdates:
    ROUTE = Route(("wan1", "wan2"), "sockd.route:3")

    def test_before_the_first_one_nothing_can_be_used(self) -> None:
        made = Router(None, ("wan1",))
        assert made.choose(self.ROUTE, 4).egress is None
        assert made.uplinks == ()

    def test_what_was_worked_out_is_forgotten(self) -> None:
        made = router()
        before = made.choose(self.ROUTE, 4)
        assert made.choose(self.ROUTE, 4) is before
        made.update((WAN1_DOWN, WAN2))
        assert made.choose(self.ROUTE, 4).reason == "wan2 by sockd.route:3, because wan1 is down: link is down"
        made.update((WAN1, WAN2))
        assert made.choose(self.ROUTE, 4) == before

    def test_a_new_address_is_the_source_at_once(self) -> None:
        made = router()
        made.choose(self.ROUTE, 4)
        made.update((uplink("wan1", "192.0.2.77", device="eth1"),))
        assert made.choose(self.ROUTE, 4).egress == Egress("wan1", "eth1", address("192.0.2.77"))
        assert made.uplink_of(address("192.0.2.1")) is None

    def test_routes_with_the_same_ways_keep_their_own_reasons(self) -> None:
        made = router()
        for origin in ("sockd.route:3", "sockd.route:4", "[external]"):
            assert made.choose(Route(("wan1",), origin), 4).reason == f"wan1 by {origin}"

    def test_both_versions_are_kept_apart(self) -> None:
        made = router()
        sources = [made.choose(self.ROUTE, version).egress for version in (4, 6, 4)]
        assert [str(egress and egress.source) for egress in sources] == ["192.0.2.1", "2001:db8::1", "192.0.2.1"]


def test_candidates_tell_of_every_way_whether_it_can_be_used_and_what_is_against_it() -> None:
    made = router(uplinks=(WAN1_SETTLING, WAN2_DOWN))
    found = made.candidates(Route(words("wan2,eth1,192.0.2.9"), "sockd.route:3"), 4)
    assert [(one.word, one.uplink, one.usable, one.why) for one in found] == [
        ("wan2", WAN2_DOWN, False, "wan2 is down: its probes fail"),
        ("eth1", WAN1_SETTLING, True, "wan1 is settling: it answers again for 3 s"),
        (address("192.0.2.9"), None, False, "no interface has the address 192.0.2.9"),
    ]
    assert found[1].egress == Egress("wan1", "eth1", address("192.0.2.1"))
    (up,) = router().candidates(Route(("wan2",), "sockd.route:3"), 4)
    assert (up.usable, up.why) == (True, "")


# Against saying the rule again

SOURCES = tuple(map(address, ("192.0.2.1", "203.0.113.1", "2001:db8::1", "2001:db8::2")))
some_words = st.lists(
    st.one_of(st.sampled_from(("wan1", "wan2", "eth1", "eth2", "wan9")), st.sampled_from(SOURCES)),
    min_size=1,
    max_size=4,
    unique=True,
).map(tuple)
some_uplinks = st.tuples(
    *(
        st.builds(
            Uplink,
            st.just(f"wan{number}"),
            st.just(f"eth{number}"),
            st.sampled_from(Standing),
            st.just("so"),
            st.lists(st.sampled_from(SOURCES[number - 1 :: 2]), unique=True).map(tuple),
        )
        for number in (1, 2)
    )
)


@given(some_words, some_uplinks, st.sampled_from((4, 6)))
@settings(max_examples=250, deadline=None)
def test_the_way_is_the_first_by_standing_and_then_by_the_line(
    ways: tuple[EgressWord, ...], uplinks: tuple[Uplink, ...], version: int
) -> None:
    possible = [
        (standing is Standing.SETTLING, place, Egress(name, device, source))
        for place, word in enumerate(ways)
        for name, device, standing, sources in ((u.name, u.device, u.standing, u.sources) for u in uplinks)
        for source in sources
        if standing is not Standing.DOWN and source.version == version and word in (name, device, source)
    ]
    wanted = min(possible, key=lambda one: one[:2])[2] if possible else None
    found = router(uplinks=uplinks).choose(Route(ways, "sockd.route:3"), version)
    assert found.egress == wanted
    assert found.reason.startswith("no usable way out by " if wanted is None else f"{wanted.uplink} by ")


def test_a_way_that_was_worked_out_costs_far_less_than_a_connection() -> None:
    """The budget is a microsecond; ten times that is left to a busy machine."""
    made = router("wan1,wan2")
    route = made.route(TARGET, None, "", None)
    assert route is not None
    best = float("inf")
    for _ in range(15):
        start = time.thread_time()
        for _ in range(1000):
            made.choose(route, 4)
        best = min(best, time.thread_time() - start)
    assert best / 1000 < 10e-6
