"""Steps from any state to any other: they arrive, and open no wrong way in between."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from gateway.netlink.desired import Wanted
from gateway.netlink.diff import Step, steps
from gateway.netlink.model import RoutingRule
from gateway.netlink.regions import within
from tests.unit.netlink.states import Model, route, rule, wishes

WAYS = {rule("-6 5002 oif wan1 lookup 10002"), rule("5003 from 192.0.2.2 lookup 10002")}
ENDS = {
    rule("-6 5008 oif wan1 unreachable"),
    rule("5009 from 192.0.2.2 unreachable"),
    rule("5001 to 10.0.0.0/24 unreachable"),
}
INSIDE = rule("5000 to 10.0.0.0/24 lookup 254 nodefault")
NETWORK = route("192.0.2.0/24", 2, table=10_002)
DEFAULT = route("0.0.0.0/0", 2, "192.0.2.1", table=10_002)
WHOLE = Wanted(frozenset({NETWORK, DEFAULT}), frozenset({*WAYS, *ENDS, INSIDE}))


def passed(model: Model, changes: tuple[Step, ...]) -> Iterator[Wanted]:
    """Every state on the way, the first one included."""
    yield model.has
    for step in changes:
        model.take(step)
        yield model.has


def is_way(item: RoutingRule) -> bool:
    return item.action == "lookup" and item.destination is None


def is_ended(way: RoutingRule, rules: frozenset[RoutingRule]) -> bool:
    if way.version == 4 and way.oif is not None:
        return True  # by the device itself
    selectors = way.version, way.source, way.oif
    return any(
        (end.version, end.source, end.oif) == selectors and end.action == "unreachable" and end.priority > way.priority
        for end in rules
    )


@given(wishes(), wishes())
def test_steps_arrive(before: Wanted, after: Wanted) -> None:
    *_, last = passed(Model(before), steps(before, after))
    assert last == after


@given(wishes(), wishes(), wishes(), st.integers(0, 40))
def test_steps_arrive_from_where_others_were_cut_off(first: Wanted, cut: Wanted, after: Wanted, at: int) -> None:
    *_, left = passed(Model(first), steps(first, cut)[:at])
    *_, last = passed(Model(left), steps(left, after))
    assert last == after


@given(wishes())
def test_nothing_is_done_about_what_is_right(wanted: Wanted) -> None:
    assert steps(wanted, wanted) == ()


@given(wishes(), wishes())
def test_every_way_into_a_table_has_its_end_at_every_moment(before: Wanted, after: Wanted) -> None:
    for moment in passed(Model(before), steps(before, after)):
        assert all(is_ended(way, moment.rules) for way in moment.rules if is_way(way))


@given(wishes(), wishes())
def test_the_inside_is_kept_out_of_tables_as_long_as_ways_lead_there(before: Wanted, after: Wanted) -> None:
    for moment in passed(Model(before), steps(before, after)):
        for held, other in ((before, after), (after, before)):
            if any(is_way(item) for item in moment.rules & (held.rules - other.rules)):
                assert {item for item in held.rules if item.destination is not None} <= moment.rules


@given(wishes(), wishes())
def test_the_inside_is_never_cut_off(before: Wanted, after: Wanted) -> None:
    for moment in passed(Model(before), steps(before, after)):
        for end in moment.rules:
            if end.action == "unreachable" and end.destination is not None and end.oif is None:
                ways = [way.destination for way in moment.rules if way.priority == end.priority - 1]
                assert list(within([end.destination], filter(None, ways)))


@given(wishes(), wishes())
def test_a_table_changes_only_while_no_way_that_comes_or_goes_leads_there(before: Wanted, after: Wanted) -> None:
    model, lasting = Model(before), before.rules & after.rules
    for step in steps(before, after):
        if not isinstance(step.item, RoutingRule):
            assert not [way for way in model.rules - lasting if is_way(way) and way.table == step.item.table]
        model.take(step)


def test_the_first_run_begins_with_what_ends_and_finishes_with_what_leads() -> None:
    done = [step.item for step in steps(Wanted(), WHOLE)]
    assert {step.verb for step in steps(Wanted(), WHOLE)} == {"add"}
    assert done[0] == INSIDE
    assert set(done[1:4]) == ENDS
    assert done[4:6] == [NETWORK, DEFAULT]
    assert set(done[6:]) == WAYS


def test_the_last_run_goes_the_other_way_round() -> None:
    done = [step.item for step in steps(WHOLE, Wanted())]
    assert {step.verb for step in steps(WHOLE, Wanted())} == {"remove"}
    assert set(done[:2]) == WAYS
    assert done[2:4] == [DEFAULT, NETWORK]
    assert set(done[4:7]) == ENDS
    assert done[7] == INSIDE


def test_a_changed_route_goes_before_it_comes() -> None:
    other = route("0.0.0.0/0", 2, "192.0.2.9", table=10_002)
    after = Wanted(frozenset({NETWORK, other}), WHOLE.rules)
    assert steps(WHOLE, after) == (Step("remove", DEFAULT), Step("add", other))


def test_what_is_right_already_is_left_alone_when_something_else_is_not() -> None:
    """After the kernel took the routes away with the interface's address."""
    left = Wanted(frozenset({NETWORK}), WHOLE.rules)
    assert steps(left, WHOLE) == (Step("add", DEFAULT),)
