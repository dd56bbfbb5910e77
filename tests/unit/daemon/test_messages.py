"""What the processes tell one another: it comes whole, with its descriptors, or the sender is told why not."""

import errno
import os
import resource
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.control.protocol import Filter, Live, Resolved, ServerRow, ZoneRow
from gateway.daemon import messages
from gateway.daemon.messages import (
    MAX_BYTES,
    MAX_LISTENERS,
    MAY_SAY,
    Change,
    End,
    ListenAddress,
    Load,
    Message,
    Network,
    Networks,
    Number,
    Orders,
    Tail,
    channel,
    close_all,
    receive,
    send,
)
from gateway.netlink.model import KernelRoute, Prefix, RoutingRule
from gateway.policy.command import Substitutions
from gateway.policy.egress import Uplink
from gateway.system.sandbox import Confinement
from tests.support.routes import uplink
from tests.support.rules import address

Channel = tuple[socket.socket, socket.socket]
KINDS = get_args(Message)
SMALL = Network((uplink("wan1", "192.0.2.10", "2001:db8::10"),), (address("192.0.2.10"),))


@pytest.fixture
def ends() -> Iterator[Channel]:
    """The parent's end, and the child's."""
    mine, theirs = channel()
    yield mine, theirs
    mine.close()
    theirs.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def heard(end: socket.socket) -> Any:
    """The next message, which comes without descriptors; None when the other side has gone."""
    received = receive(end)
    if received is None:
        return None
    assert received.descriptors == []
    return received.message


# Every message

_numbers = st.integers(-(2**63), 2**63 - 1)
_addresses = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
)
_patterns = st.builds(AddressPattern, st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
_prefixes = st.builds(Prefix, _addresses, st.integers(0, 128))
_uplinks = st.builds(Uplink, sources=st.lists(_addresses, max_size=3).map(tuple), index=_numbers)
_networks = st.builds(
    Network,
    st.lists(_uplinks, max_size=3).map(tuple),
    st.lists(_addresses, max_size=3).map(tuple),
    st.lists(_patterns, max_size=3).map(tuple),
    st.lists(st.builds(ListenAddress, _addresses, st.integers(0, 2**31 - 1)), max_size=3).map(tuple),
)
_routes = st.builds(
    KernelRoute, destination=_prefixes, gateway=st.none() | _addresses, source=st.none() | _addresses,
    metrics=st.binary(max_size=9), kind=st.sampled_from(["unicast", "multicast", "blackhole"]),
)  # fmt: skip
_rules = st.builds(
    RoutingRule, source=st.none() | _prefixes, destination=st.none() | _prefixes, oif=st.none() | st.text()
)
_verbs = st.sampled_from(["add", "remove"])
_changes = st.builds(Change, _verbs, _routes, st.none()) | st.builds(Change, _verbs, st.none(), _rules)
_seconds = st.floats(allow_nan=False, allow_infinity=False)
_filters = st.builds(Filter, *[st.text(max_size=9)] * len(get_type_hints(Filter)))
_states = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
_counts = st.integers(0, 2**63 - 1)
_lives = st.builds(
    Live, worker=_counts, port=st.none() | _counts, sent=_counts, received=_counts, seconds=_seconds
)  # fmt: skip
_servers = st.builds(ServerRow, milliseconds=st.none() | _seconds)
_zones = st.builds(ZoneRow, servers=st.lists(_servers, max_size=3).map(tuple))
_special: Mapping[object, st.SearchStrategy[Any]] = {
    int: _numbers,
    Number: _counts,
    Number | None: st.none() | _counts,
    Address: _addresses,
    Network: _networks,
    Filter: _filters,
    Confinement: st.builds(Confinement, _states, _states),
    Substitutions: st.builds(Substitutions, ident=st.text()),
    tuple[ZoneRow, ...]: st.lists(_zones, max_size=3).map(tuple),
    Resolved | None: st.none() | st.builds(Resolved, seconds=_seconds),
    tuple[Live, ...]: st.lists(_lives, max_size=3).map(tuple),
    tuple[Change, ...]: st.lists(_changes, max_size=3).map(tuple),
}


def _any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Messages of a kind with whatever its fields can hold."""
    hints = get_type_hints(kind, include_extras=True).items()
    return st.builds(kind, **{name: _special.get(hint, st.from_type(hint)) for name, hint in hints})


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_every_message_comes_as_it_was_sent(kind: type[Any], data: st.DataObject) -> None:
    message = data.draw(_any_of(kind))
    mine, theirs = channel()
    with mine, theirs:
        send(theirs, message)
        assert heard(mine) == message


def test_no_two_messages_can_be_taken_for_one_another() -> None:
    assert {kind.__struct_config__.tag for kind in KINDS} == {kind.__name__ for kind in KINDS}


_garbled = st.builds(
    lambda whole, at, data: whole[: at % (len(whole) + 1)] + data + whole[at % (len(whole) + 1) :],
    st.sampled_from([msgspec.json.encode(one) for one in (Orders(SMALL, (1, 2)), Load(3, 4), End())]),
    st.integers(0, 2000),
    st.binary(min_size=1, max_size=9),
)


@settings(max_examples=200)
@given(st.binary(min_size=1) | _garbled)
def test_any_bytes_are_a_message_or_a_fault_of_ours(data: bytes) -> None:
    mine, theirs = channel()
    with mine, theirs:
        theirs.send(data)
        send(theirs, End())
        try:
            received = receive(mine)
        except OSError as error:
            assert error.errno == errno.EPROTO  # noqa: PT017 - most are none, some are
        else:
            assert received is not None
            assert isinstance(received.message, KINDS)
        assert heard(mine) == End(), "what comes after it is heard"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(b'{"type":"End"', id="cut"),
        pytest.param(b'{"type":"Shutdown"}', id="no message of ours"),
        pytest.param(b'{"type":"Loaded","number":"1"}', id="a number that is a text"),
        pytest.param(b'{"type":"Open","path":"/etc/shadow","way":"write"}', id="no way to open a file"),
        pytest.param(b'{"type":"Loaded","number":1,"fault":"\xff"}', id="no text"),
        pytest.param(b"null", id="nothing"),
    ],
)
def test_what_is_no_message_is_a_fault_and_its_descriptors_are_closed(ends: Channel, data: bytes) -> None:
    mine, theirs = ends
    with socket.socket() as sock:
        before = descriptors()
        socket.send_fds(theirs, [data], [sock.fileno()] * 3)
        with pytest.raises(OSError, match="Protocol error"):
            receive(mine)
        assert descriptors() == before


# Who may say what


@pytest.mark.parametrize("child", MAY_SAY)
def test_a_child_says_that_it_is_ready_answers_and_commands_nobody(child: str) -> None:
    commands = {messages.Orders, messages.Load, messages.Swap, messages.Reopen, messages.Inquire, messages.Kill,
                messages.Tail, messages.Clear, messages.Listen, messages.Open, messages.Spare, messages.Dispatch,
                messages.Serve, messages.Ask, messages.Flush, messages.Dump, messages.End}  # fmt: skip
    assert messages.Ready in MAY_SAY[child]
    assert not commands & set(MAY_SAY[child])


@pytest.mark.parametrize(
    ("kind", "child"),
    [
        pytest.param(messages.Apply, "watcher", id="how the kernel should route"),
        pytest.param(messages.Networks, "watcher", id="the host's networks"),
        pytest.param(messages.Opened, "warden", id="what was opened"),
        pytest.param(messages.Applied, "warden", id="how the kernel routes now"),
        pytest.param(messages.Found, "worker", id="sessions"),
        pytest.param(messages.Zones, "resolver", id="how zones stand"),
        pytest.param(messages.Answered, "resolver", id="what a name is"),
        pytest.param(messages.Dumped, "resolver", id="what the caches hold"),
    ],
)
def test_some_things_are_told_by_one_kind_of_child_only(kind: type[msgspec.Struct], child: str) -> None:
    assert [name for name, may_say in MAY_SAY.items() if kind in may_say] == [child]


@pytest.mark.parametrize("kind", [messages.Run, messages.LookUp, messages.LookedUp])
def test_what_workers_ask_of_others_and_are_answered_never_goes_to_the_supervisor(kind: type[msgspec.Struct]) -> None:
    assert not any(kind in may_say for may_say in MAY_SAY.values())


# One after the other


def test_each_message_comes_by_itself_and_in_order(ends: Channel) -> None:
    mine, theirs = ends
    sent: list[Message] = [Networks(SMALL), End(), Networks(Network())]
    for message in sent:
        send(theirs, message)
    assert [heard(mine) for _ in sent] == sent


def test_nothing_yet_is_no_end(ends: Channel) -> None:
    for end in ends:
        with pytest.raises(BlockingIOError):
            receive(end)


@pytest.mark.parametrize("which", [0, 1])
def test_who_has_gone_is_none_to_the_other_one(which: int) -> None:
    ends = channel()
    ends[which].close()
    assert receive(ends[1 - which]) is None
    ends[1 - which].close()


def test_what_was_said_before_the_end_is_still_heard() -> None:
    mine, theirs = channel()
    send(theirs, Networks(SMALL))
    theirs.close()
    assert heard(mine) == Networks(SMALL)
    assert receive(mine) is None
    mine.close()


def test_who_speaks_to_one_that_has_gone_is_told(ends: Channel) -> None:
    mine, theirs = ends
    mine.close()
    with pytest.raises(BrokenPipeError):
        send(theirs, Networks(SMALL))


def until_blocked(say: Callable[[], None]) -> int:
    """How often this could be sent before it would have had to wait."""
    for sent in range(100_000):
        try:
            say()
        except BlockingIOError:
            return sent
    return -1


def test_a_receiver_that_does_not_keep_up_is_told_by_blocking_and_hears_the_next_when_it_has_read(
    ends: Channel,
) -> None:
    mine, theirs = ends
    sent = until_blocked(lambda: send(theirs, Networks(SMALL)))
    assert sent > 0
    for _ in range(sent):
        assert heard(mine) == Networks(SMALL)
    send(theirs, End())
    assert heard(mine) == End()


def sized(count: int) -> Networks:
    """News whose message has exactly so many bytes."""

    def news(cause: str) -> Networks:
        return Networks(Network((uplink("wan1", cause=cause),)))

    return news("x" * (count - len(msgspec.json.encode(news("")))))


def test_a_message_of_the_most_bytes_comes_whole_or_not_at_all(ends: Channel) -> None:
    mine, theirs = ends
    message = sized(MAX_BYTES)
    assert len(msgspec.json.encode(message)) == MAX_BYTES
    try:
        send(theirs, message)
    except OSError as error:
        assert error.errno == errno.EMSGSIZE  # noqa: PT017 - a kernel that lets nobody send so much
    else:
        assert heard(mine) == message


@pytest.mark.parametrize("more", [1, MAX_BYTES])
def test_a_message_that_the_receiver_would_cut_is_not_sent(ends: Channel, more: int) -> None:
    mine, theirs = ends
    with pytest.raises(OSError, match="Message too long"):
        send(theirs, sized(MAX_BYTES + more))
    with socket.socket() as sock, pytest.raises(OSError, match="Message too long"):
        send(theirs, sized(MAX_BYTES + more), [sock.fileno()])
    with pytest.raises(BlockingIOError):
        receive(mine)


# Descriptors


def test_orders_come_with_their_sockets_in_order(ends: Channel) -> None:
    mine, theirs = ends
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    orders = Orders(SMALL, (4, 9, 17))
    send(mine, orders, [sock.fileno() for sock in socks])
    received = receive(theirs)
    assert received is not None
    assert received.message == orders
    names = []
    for descriptor in received.descriptors:
        with socket.socket(fileno=descriptor) as sock:
            names.append(sock.getsockname())
    assert names == [sock.getsockname() for sock in socks]
    for sock in socks:
        sock.close()


def test_as_many_sockets_as_are_ever_listened_on_fit_and_what_is_not_received_is_closed(ends: Channel) -> None:
    mine, theirs = ends
    with socket.socket() as sock:
        before = descriptors()
        send(mine, Orders(SMALL, tuple(range(MAX_LISTENERS))), [sock.fileno()] * MAX_LISTENERS)
        received = receive(theirs)
        assert received is not None
        assert len(received.descriptors) == MAX_LISTENERS
        close_all(received.descriptors)
        with pytest.raises(OSError, match="Invalid argument"):
            send(mine, Orders(SMALL), [sock.fileno()] * (MAX_LISTENERS + 10))
        send(mine, Orders(SMALL, (1,)), [sock.fileno()])
        mine.close()
        theirs.close()
        assert descriptors() == before - 2


def test_orders_whose_sockets_do_not_all_fit_are_not_half_received(ends: Channel) -> None:
    mine, theirs = ends
    with socket.socket() as sock:
        send(mine, Orders(SMALL, tuple(range(200))), [sock.fileno()] * 200)
        before = descriptors()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                receive(theirs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert descriptors() == before
        send(mine, Orders(SMALL))
        assert heard(theirs) == Orders(SMALL)


def test_a_worker_that_does_not_keep_up_is_told_by_blocking_of_sockets_too(ends: Channel) -> None:
    mine, _ = ends
    with socket.socket() as sock:
        assert until_blocked(lambda: send(mine, Tail(), [sock.fileno()])) > 0


def test_neither_end_is_inherited_or_waits(ends: Channel) -> None:
    for end in ends:
        assert not end.get_inheritable()
        assert not end.getblocking()
    assert select.select(list(ends), [], [], 0) == ([], [], [])


# Numbers and addresses that can not be


@pytest.mark.parametrize(
    "data",
    [
        pytest.param('{"type":"Loaded","number":%s}', id="of a question"),
        pytest.param('{"type":"Found","number":1,"rows":[],"matched":%s}', id="of sessions"),
        pytest.param('{"type":"Killed","number":1,"count":%s}', id="of sessions that were ended"),
        pytest.param('{"type":"Swapped","number":1,"ended":%s}', id="of sessions that new files deny"),
        pytest.param('{"type":"LookedUp","number":%s}', id="of a look-up"),
        pytest.param('{"type":"Flushed","number":1,"count":%s}', id="of answers that were forgotten"),
        pytest.param('{"type":"Dumped","number":1,"rows":[],"matched":%s}', id="of answers in the caches"),
        pytest.param('{"type":"Ready","pid":%s,"confinement":{"seccomp":"","landlock":""}}', id="of a process"),
    ],
)
@pytest.mark.parametrize(
    ("number", "is_heard"),
    [
        pytest.param("0", True, id="0"),
        pytest.param(str(2**63 - 1), True, id="the highest"),
        pytest.param(str(2**63), False, id="one too high"),
        pytest.param("-1", False, id="below 0"),
        pytest.param("9" * 4300, False, id="4300 digits, which int() reads"),
        pytest.param("9" * 4301, False, id="4301 digits, which it does not"),
        pytest.param("1e400", False, id="infinite"),
    ],
)
def test_numbers_that_can_not_be_counted_with_are_no_message(
    ends: Channel, data: str, number: str, is_heard: bool
) -> None:
    mine, theirs = ends
    theirs.send((data % number).encode())
    if is_heard:
        heard(mine)
        return
    with pytest.raises(OSError, match="Protocol error"):
        receive(mine)


def _with(address_: Address) -> Iterator[Any]:
    """Networks that have it at each place where one can be."""
    yield pytest.param(Network(own=(address_,)), id=f"own {tuple(address_)}")
    yield pytest.param(Network(listen=(ListenAddress(address_),)), id=f"listen {tuple(address_)}")
    yield pytest.param(Network((replace(uplink("wan1"), sources=(address_,)),)), id=f"uplink {tuple(address_)}")
    yield pytest.param(Network(inside=(AddressPattern(*address_, 0),)), id=f"network {tuple(address_)}")
    yield pytest.param(Network(inside=(AddressPattern(address_[0], 0, address_[1]),)), id=f"mask {tuple(address_)}")


def _each(*addresses: tuple[int, int]) -> list[Any]:
    return [case for version, number in addresses for case in _with(Address(version, number))]


@pytest.mark.parametrize("network", _each((4, -5), (4, 2**32), (6, -1), (6, 2**128), (5, 1), (0, 0), (4, 2**200)))
def test_addresses_that_are_none_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="an address that is none"):
        messages.check(network)


@pytest.mark.parametrize("network", _each((4, 0), (4, 2**32 - 1), (6, 0), (6, 2**128 - 1)))
def test_addresses_at_the_edges_are_some(network: Network) -> None:
    messages.check(network)
