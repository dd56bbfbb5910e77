"""What the processes tell one another: it comes whole, with its descriptors, or the sender is told why not."""

import errno
import os
import resource
import select
import socket
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.daemon.messages import (
    MAX_BYTES,
    MAX_LISTENERS,
    READY,
    ListenAddress,
    Network,
    Orders,
    channel,
    receive_network,
    receive_orders,
    send_network,
    send_orders,
)
from gateway.policy.egress import Standing, Uplink
from tests.support.routes import uplink
from tests.support.rules import address

Channel = tuple[socket.socket, socket.socket]
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


_addresses = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
)
_patterns = st.builds(AddressPattern, st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
_uplinks = st.builds(
    Uplink,
    st.text("abc.-", min_size=1),
    st.text("abcé", min_size=1),
    st.sampled_from(Standing),
    st.text(),
    st.lists(_addresses, max_size=3).map(tuple),
)
_networks = st.builds(
    Network,
    st.lists(_uplinks, max_size=3).map(tuple),
    st.lists(_addresses, max_size=3).map(tuple),
    st.lists(_patterns, max_size=3).map(tuple),
    st.lists(st.builds(ListenAddress, _addresses, st.integers(0, 2**31 - 1)), max_size=3).map(tuple),
)


@settings(max_examples=60)
@given(_networks)
def test_networks_come_as_they_were_sent(network: Network) -> None:
    mine, theirs = channel()
    with mine, theirs:
        send_network(theirs, network)
        assert receive_network(mine) == network


def test_each_message_comes_by_itself_and_in_order(ends: Channel) -> None:
    mine, theirs = ends
    send_network(theirs, SMALL)
    theirs.send(READY)
    send_network(theirs, Network())
    assert [receive_network(mine) for _ in range(3)] == [SMALL, READY, Network()]


def test_nothing_yet_is_no_end(ends: Channel) -> None:
    mine, theirs = ends
    with pytest.raises(BlockingIOError):
        receive_network(mine)
    with pytest.raises(BlockingIOError):
        receive_orders(theirs)


def test_a_child_that_has_gone_is_an_empty_word_and_a_supervisor_that_has_gone_is_none() -> None:
    mine, theirs = channel()
    theirs.close()
    assert receive_network(mine) == b""
    mine.close()
    mine, theirs = channel()
    mine.close()
    assert receive_orders(theirs) is None
    theirs.close()


def test_what_was_said_before_the_end_is_still_heard() -> None:
    mine, theirs = channel()
    send_network(theirs, SMALL)
    theirs.close()
    assert receive_network(mine) == SMALL
    assert receive_network(mine) == b""
    mine.close()


def test_who_speaks_to_one_that_has_gone_is_told(ends: Channel) -> None:
    mine, theirs = ends
    mine.close()
    with pytest.raises(BrokenPipeError):
        send_network(theirs, SMALL)


def until_blocked(send: Callable[[], None]) -> int:
    """How often this could be sent before it would have had to wait."""
    for sent in range(100_000):
        try:
            send()
        except BlockingIOError:
            return sent
    return -1


def test_a_receiver_that_does_not_keep_up_is_told_by_blocking_and_hears_the_next_when_it_has_read(
    ends: Channel,
) -> None:
    mine, theirs = ends
    sent = until_blocked(lambda: send_network(theirs, SMALL))
    assert sent > 0
    for _ in range(sent):
        assert receive_network(mine) == SMALL
    send_network(theirs, Network())
    assert receive_network(mine) == Network()


def sized(count: int) -> Network:
    """A network whose message has exactly so many bytes."""
    empty = len(msgspec.json.encode(Network((uplink("wan1", cause=""),))))
    return Network((uplink("wan1", cause="x" * (count - empty)),))


def test_a_message_of_the_most_bytes_comes_whole_or_not_at_all(ends: Channel) -> None:
    mine, theirs = ends
    network = sized(MAX_BYTES)
    assert len(msgspec.json.encode(network)) == MAX_BYTES
    try:
        send_network(theirs, network)
    except OSError as error:
        assert error.errno == errno.EMSGSIZE  # noqa: PT017 - a kernel that lets nobody send so much
    else:
        assert receive_network(mine) == network


@pytest.mark.parametrize("more", [1, MAX_BYTES])
def test_a_message_that_the_receiver_would_cut_is_not_sent(ends: Channel, more: int) -> None:
    mine, theirs = ends
    network = sized(MAX_BYTES + more)
    with pytest.raises(OSError, match="Message too long"):
        send_network(theirs, network)
    with pytest.raises(OSError, match="Message too long"):
        send_orders(theirs, Orders(network), ())
    with pytest.raises(BlockingIOError):
        receive_network(mine)


# Orders and their sockets


def test_orders_come_with_their_sockets_in_order(ends: Channel) -> None:
    mine, theirs = ends
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    orders = Orders(SMALL, (4, 9, 17))
    send_orders(mine, orders, socks)
    received = receive_orders(theirs)
    assert received is not None
    assert received[0] == orders
    names = []
    for descriptor in received[1]:
        with socket.socket(fileno=descriptor) as sock:
            names.append(sock.getsockname())
    assert names == [sock.getsockname() for sock in socks]
    for sock in socks:
        sock.close()


def test_orders_without_sockets_are_orders_too(ends: Channel) -> None:
    mine, theirs = ends
    send_orders(mine, Orders(SMALL), ())
    assert receive_orders(theirs) == (Orders(SMALL), [])


def test_as_many_sockets_as_are_ever_listened_on_fit_and_what_is_not_received_is_closed(ends: Channel) -> None:
    mine, theirs = ends
    with socket.socket() as sock:
        before = descriptors()
        send_orders(mine, Orders(SMALL, tuple(range(MAX_LISTENERS))), [sock] * MAX_LISTENERS)
        received = receive_orders(theirs)
        assert received is not None
        assert len(received[1]) == MAX_LISTENERS
        for descriptor in received[1]:
            os.close(descriptor)
        with pytest.raises(OSError, match="Invalid argument"):
            send_orders(mine, Orders(SMALL), [sock] * (MAX_LISTENERS + 10))
        send_orders(mine, Orders(SMALL, (1,)), [sock])
        mine.close()
        theirs.close()
        assert descriptors() == before - 2


def test_orders_whose_sockets_do_not_all_fit_are_not_half_received(ends: Channel) -> None:
    mine, theirs = ends
    with socket.socket() as sock:
        send_orders(mine, Orders(SMALL, tuple(range(200))), [sock] * 200)
        before = descriptors()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                receive_orders(theirs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert descriptors() == before
        send_orders(mine, Orders(SMALL), ())
        assert receive_orders(theirs) == (Orders(SMALL), [])


def test_a_worker_that_does_not_keep_up_is_told_by_blocking(ends: Channel) -> None:
    mine, _ = ends
    with socket.socket() as sock:
        assert until_blocked(lambda: send_orders(mine, Orders(SMALL, (1,)), [sock])) > 0


def test_neither_end_is_inherited_or_waits(ends: Channel) -> None:
    for end in ends:
        assert not end.get_inheritable()
        assert not end.getblocking()
    assert select.select(list(ends), [], [], 0) == ([], [], [])
