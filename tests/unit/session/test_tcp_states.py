"""The table of states, walked by random events: success follows only a connection, and there is one record; with two
uplinks that come and go, nothing is dialled by one that is lost.

An event that can not happen in a state is a bug of the caller, and is told from a client's doing by AssertionError.
"""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.policy.egress import Egress, Standing, Uplink
from gateway.policy.router import Router
from gateway.policy.routetable import RouteTable
from gateway.session.tcp import TRANSITIONS, Session, State
from tests.support.playbook import (
    BOUND,
    AskedIdent,
    AskedPassword,
    Closed,
    Dialled,
    LookedUp,
    Playbook,
    Relayed,
    Sent,
    endpoint,
)
from tests.support.rawsocks import BIND, greeting, http, password, socks4, socks4a, socks5
from tests.support.routes import route_file, uplink
from tests.support.rules import Users, address

TARGET = "203.0.113.9"
RULES = (
    "permit ALL ALL\n",
    "permit ?=i ALL ALL : own %u\n#NO_IDENTD: no\n#BAD_ID: bad\n",
    "permit ?=I *=fred ALL ALL auth=password\n",
    "deny ALL 198.51.100.0/24 report\ndeny ALL 203.0.113.8/32 : denied %u\npermit ALL ALL\n",
    "deny ALL ALL auth=none\npermit ALL ALL\n",
    "deny ALL ALL\n",
)
ROUTES = (
    ("wan1,wan2 ALL",),
    ("wan2 *=fred ALL", "wan1 203.0.113.0/24"),
    ("192.0.2.10,wan2 203.0.113.9/32", "wan2 .example.com"),
    ("wan9 ALL",),
)
WAN1, WAN2 = uplink("wan1", "192.0.2.10", "2001:db8:1::10"), uplink("wan2", "198.51.100.10")
HOSTS: tuple[tuple[Uplink, ...], ...] = (
    (WAN1, WAN2),
    (uplink("wan1", "192.0.2.10", standing=Standing.DOWN), WAN2),
    (WAN1, uplink("wan2", "198.51.100.10", standing=Standing.SETTLING)),
    (uplink("wan1", "192.0.2.77"), uplink("wan2", standing=Standing.DOWN)),
    (),
)
BASIC = "Proxy-Authorization: Basic ZnJlZDpnZWhlaW0="
MESSAGES = (
    greeting(0), greeting(2), greeting(0, 2), greeting(), greeting(1), password(b"fred", b"geheim"),
    socks5(TARGET, 80), socks5(b"example.com", 80), socks5(b"bad name", 80), socks5(TARGET, 80, BIND),
    socks4(TARGET, 80, b"fred"), socks4("127.0.0.1", 80), socks4a(b"example.com", 80), socks4(TARGET, 80, b"x", BIND),
    http(f"{TARGET}:80"), http("example.com:80", BASIC), b"GET / HTTP/1.1\r\n\r\n", b"\x16", b"",
)  # fmt: skip
GRANTS = (b"\x05\x00\x00\x01\xc0\x00\x02\xfe", b"\x00\x5a", b"HTTP/1.1 200 ")
ADDRESSES = ("203.0.113.9", "203.0.113.8", "198.51.100.1", "127.0.0.1", "2001:db8::9", "::ffff:203.0.113.7")
NUMBERS = (0, 13, 24, 99, 101, 110, 111, 113)


def grants(play: Playbook) -> int:
    """How many answers of success the client got."""
    return sum(entry.data.startswith(GRANTS) for entry in play.notebook.done if isinstance(entry, Sent))


def routed(lines: tuple[str, ...], uplinks: tuple[Uplink, ...]) -> Router:
    """The ways out of a gateway with these lines and uplinks, and no default."""
    router = Router(RouteTable.compile(route_file(*lines), Users()), ())
    router.update(uplinks)
    return router


class Walk(RuleBasedStateMachine):
    """What can happen to a session in the state that it is in, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.play = Playbook()
        self.connected = False
        self.ended_input = False
        self.uplinks: tuple[Uplink, ...] = ()

    @initialize(
        rules=st.sampled_from(RULES),
        passwords=st.booleans(),
        lines=st.none() | st.sampled_from(ROUTES),
        uplinks=st.sampled_from(HOSTS),
    )
    def begin(self, rules: str, passwords: bool, lines: tuple[str, ...] | None, uplinks: tuple[Uplink, ...]) -> None:
        self.uplinks = uplinks
        router = None if lines is None else routed(lines, uplinks)
        self.play = Playbook(rules, passwords=passwords, router=router)

    def is_usable(self, egress: Egress) -> bool:
        """Whether this way out is there now."""
        return any(
            known.name == egress.uplink and known.standing is not Standing.DOWN and egress.source in known.sources
            for known in self.uplinks
        )

    def at(self, *states: State) -> bool:
        return self.play.session.state in states

    @property
    def last(self) -> object:
        return self.play.notebook.done[-1] if self.play.notebook.done else None

    @rule(data=st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=8)))
    @precondition(lambda self: self.at(State.NEGOTIATING) and not self.ended_input)
    def receive(self, data: bytes) -> None:
        self.ended_input = not data
        self.play.session.received(data)

    @rule(accepted=st.booleans())
    @precondition(lambda self: self.at(State.CHECKING_PASSWORD))
    def check(self, accepted: bool) -> None:
        assert isinstance(self.last, AskedPassword)
        self.play.session.password_checked(accepted)

    @rule(found=st.lists(st.sampled_from(ADDRESSES), max_size=4))
    @precondition(lambda self: self.at(State.RESOLVING))
    def resolve(self, found: list[str]) -> None:
        assert isinstance(self.last, LookedUp)
        self.play.session.resolved(list(map(address, found)))

    @rule()
    @precondition(lambda self: self.at(State.RESOLVING))
    def fail_to_resolve(self) -> None:
        self.play.session.lookup_failed("unknown")

    @rule(user=st.sampled_from((None, "fred", "mallory", "")))
    @precondition(lambda self: self.at(State.ASKING_IDENT))
    def identify(self, user: str | None) -> None:
        assert isinstance(self.last, AskedIdent)
        self.play.session.ident_answered(user, self.last.endpoints)

    @rule(data=st.data())
    @precondition(lambda self: self.at(State.DIALING))
    def connect(self, data: st.DataObject) -> None:
        assert isinstance(self.last, Dialled)
        remote = data.draw(st.sampled_from(self.last.endpoints)).address
        self.connected = True
        self.play.session.connected(endpoint(BOUND), BOUND, remote)
        assert isinstance(self.last, Relayed)

    @rule(number=st.sampled_from(NUMBERS))
    @precondition(lambda self: self.at(State.DIALING))
    def fail_to_connect(self, number: int) -> None:
        self.play.session.connect_failed(number)

    @rule(uplinks=st.sampled_from(HOSTS))
    @precondition(lambda self: self.play.router is not None)
    def change_ways(self, uplinks: tuple[Uplink, ...]) -> None:
        """In any state; only what is being dialled can be dialled anew."""
        self.uplinks = uplinks
        session, router = self.play.session, self.play.router
        assert router is not None
        router.update(uplinks)
        if session.dials_by_lost_way(self.is_usable):
            assert session.state is State.DIALING
            session.redial()

    @rule(sent=st.integers(0, 1 << 40), received=st.integers(0, 1 << 40))
    @precondition(lambda self: self.at(State.RELAYING))
    def end(self, sent: int, received: int) -> None:
        self.play.session.ended(sent, received, "the client closed")

    @rule()
    @precondition(lambda self: not self.at(State.RELAYING, State.ENDED))
    def time_out(self) -> None:
        self.play.session.timed_out()

    @rule()
    @precondition(lambda self: not self.at(State.RELAYING))
    def abandon(self) -> None:
        self.play.session.abandoned("reset by the client")

    @invariant()
    def success_follows_only_a_connection(self) -> None:
        assert grants(self.play) == self.connected

    @invariant()
    def there_is_one_record_and_only_at_the_end(self) -> None:
        assert len(self.play.notebook.records) == self.at(State.ENDED)

    @invariant()
    def nothing_is_dialled_by_a_way_that_is_lost_or_by_none(self) -> None:
        if self.at(State.DIALING) and self.play.router is not None:
            assert isinstance(self.last, Dialled)
            assert self.last.hops
            assert all(hop.egress is not None and self.is_usable(hop.egress) for hop in self.last.hops)

    @invariant()
    def a_record_names_the_uplink_of_a_connection_and_of_nothing_else(self) -> None:
        for record in self.play.notebook.records:
            assert (record.uplink is not None) == (self.connected and self.play.router is not None)
            assert (record.way is None) == (record.uplink is None)

    @invariant()
    def nothing_is_done_for_a_client_after_its_end(self) -> None:
        done = self.play.notebook.done
        closed = [index for index, entry in enumerate(done) if isinstance(entry, Closed)]
        assert len(closed) <= 1
        assert not any(isinstance(entry, (Sent, Dialled, Relayed)) for index in closed for entry in done[index:])
        relayed = [index for index, entry in enumerate(done) if isinstance(entry, Relayed)]
        assert not any(isinstance(entry, (Sent, Dialled, Closed)) for index in relayed for entry in done[index:])

    @invariant()
    def lines_are_lines(self) -> None:
        assert all(line.isascii() and line.isprintable() for line in self.play.notebook.lines)


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=250, stateful_step_count=10, deadline=None)


# The table itself


def test_success_has_one_door() -> None:
    assert [state for state, after in TRANSITIONS.items() if State.RELAYING in after] == [State.DIALING]


def test_nothing_comes_back_from_the_end() -> None:
    assert TRANSITIONS[State.ENDED] == frozenset()
    assert TRANSITIONS[State.RELAYING] == {State.ENDED}
    assert set(TRANSITIONS) == set(State)


# Events out of turn

STARTS: dict[State, tuple[str, bool, tuple[bytes, ...]]] = {
    State.NEGOTIATING: ("permit ALL ALL\n", False, (greeting(0),)),
    State.CHECKING_PASSWORD: ("permit ALL ALL\n", True, (greeting(2), password(b"fred", b"x"))),
    State.RESOLVING: ("permit ALL ALL\n", False, (socks4a(b"example.com", 80),)),
    State.ASKING_IDENT: ("permit ?=i ALL ALL\n", False, (socks4(TARGET, 80),)),
    State.DIALING: ("permit ALL ALL\n", False, (socks4(TARGET, 80),)),
    State.RELAYING: ("permit ALL ALL\n", False, (socks4(TARGET, 80),)),
    State.ENDED: ("deny ALL ALL\n", False, (socks4(TARGET, 80),)),
}
ENDPOINTS = (endpoint("203.0.113.9:80"),)
BY_WAN1 = ("wan1 ALL",)
EVENTS: dict[str, tuple[Callable[[Session], None], frozenset[State]]] = {
    "received": (lambda session: session.received(b"\x05"), frozenset({State.NEGOTIATING})),
    "a right password": (lambda session: session.password_checked(True), frozenset({State.CHECKING_PASSWORD})),
    "a wrong password": (lambda session: session.password_checked(False), frozenset({State.CHECKING_PASSWORD})),
    "resolved": (lambda session: session.resolved([address(TARGET)]), frozenset({State.RESOLVING})),
    "lookup_failed": (lambda session: session.lookup_failed("unknown"), frozenset({State.RESOLVING})),
    "ident_answered": (lambda session: session.ident_answered("", ENDPOINTS), frozenset({State.ASKING_IDENT})),
    "no identd": (lambda session: session.ident_answered(None, ENDPOINTS), frozenset({State.ASKING_IDENT})),
    "connected": (
        lambda session: session.connected(endpoint(BOUND), BOUND, address(TARGET)),
        frozenset({State.DIALING}),
    ),
    "redial": (lambda session: session.redial(), frozenset({State.DIALING})),
    "connect_failed": (lambda session: session.connect_failed(111), frozenset({State.DIALING})),
    "timed_out": (lambda session: session.timed_out(), frozenset(set(State) - {State.RELAYING, State.ENDED})),
    "ended": (lambda session: session.ended(0, 0, "x"), frozenset({State.RELAYING})),
    "abandoned": (lambda session: session.abandoned("x"), frozenset(set(State) - {State.RELAYING})),
}


def brought_to(state: State, router: Router | None = None) -> Playbook:
    rules, passwords, messages = STARTS[state]
    play = Playbook(rules, passwords=passwords, router=router)
    for message in messages:
        play.session.received(message)
    if state is State.RELAYING:
        play.session.connected(endpoint(BOUND), BOUND, play.dialled_endpoints[0].address)
    assert play.session.state is state
    return play


ILLEGAL = [
    pytest.param(state, happen, id=f"{name} while {state.name}")
    for name, (happen, legal) in EVENTS.items()
    for state in State
    if state not in legal
]


@pytest.mark.parametrize(("state", "happen"), ILLEGAL)
def test_an_event_out_of_turn_is_told_by_nothing_but_an_assertion(
    state: State, happen: Callable[[Session], None]
) -> None:
    with contextlib.suppress(AssertionError):
        happen(brought_to(state).session)


@pytest.mark.parametrize(("state", "happen"), ILLEGAL)
def test_an_event_out_of_turn_never_grants_anything(state: State, happen: Callable[[Session], None]) -> None:
    play = brought_to(state)
    granted = grants(play)
    # Which one is the other test's matter.
    with contextlib.suppress(Exception):
        happen(play.session)
    assert grants(play) == granted
    assert len(play.notebook.records) <= 1


@pytest.mark.parametrize("state", [State.NEGOTIATING, State.RESOLVING, State.ASKING_IDENT, State.DIALING])
def test_a_right_password_out_of_turn_proves_nothing(state: State) -> None:
    play = brought_to(state)
    with contextlib.suppress(AssertionError):
        play.session.password_checked(True)
    play.session.abandoned("x")
    (record,) = play.notebook.records
    assert record.auth == "none"


@pytest.mark.parametrize("state", State)
def test_whether_a_way_is_lost_can_be_asked_at_any_time_and_concerns_dials_only(state: State) -> None:
    play = brought_to(state, routed(BY_WAN1, (WAN1, WAN2)))
    before = list(play.notebook.done)
    assert play.session.dials_by_lost_way(lambda _: False) is (state is State.DIALING)
    assert not play.session.dials_by_lost_way(lambda _: True)
    assert play.session.state is state
    assert play.notebook.done == before


@pytest.mark.parametrize("state", State)
def test_on_a_single_homed_server_no_way_is_ever_lost(state: State) -> None:
    assert not brought_to(state).session.dials_by_lost_way(lambda _: False)


def test_dialling_anew_stays_in_its_state_and_sends_nothing() -> None:
    router = routed(("wan1,wan2 ALL",), (WAN1, WAN2))
    play = brought_to(State.DIALING, router)
    for uplinks in ((WAN2,), (WAN1,), (WAN2,)):
        router.update(uplinks)
        play.session.redial()
        assert play.session.state is State.DIALING
    assert grants(play) == 0
    assert play.notebook.sent == b""
    dialled = [entry.hops[0].egress for entry in play.notebook.done if isinstance(entry, Dialled)]
    assert [egress.uplink for egress in dialled if egress is not None] == ["wan1", "wan2", "wan1", "wan2"]


def test_a_failure_or_a_time_limit_after_dialling_anew_ends_it_once() -> None:
    router = routed(("wan1,wan2 ALL",), (WAN1, WAN2))
    for happen in (EVENTS["connect_failed"][0], EVENTS["timed_out"][0], EVENTS["abandoned"][0]):
        router.update((WAN1, WAN2))
        play = brought_to(State.DIALING, router)
        router.update((WAN2,))
        play.session.redial()
        happen(play.session)
        (record,) = play.notebook.records
        assert record.uplink is None
        assert play.session.state is State.ENDED
