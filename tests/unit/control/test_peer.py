"""Who is at the other end: as the kernel says it, whatever the peer became afterwards; and who may ask."""

import os
import socket
from collections.abc import Iterator

import pytest

from gateway.control.peer import Gate, Peer, allowed_peers, peer_of
from tests.unit.control.driver import as_root, in_child

STRANGER = 54321
TEAM = 54322


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that every user may connect to: it has a name that the kernel chose, and no file (unix(7))."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")
        sock.listen()
        yield sock


def seen(listener: socket.socket, user: int, group: int, groups: tuple[int, ...]) -> Peer:
    """What is seen of a child that became this and connected."""

    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(listener.getsockname())

    assert in_child(connect, user, group, groups) == 0
    accepted, _ = listener.accept()
    with accepted:
        return peer_of(accepted)


def test_both_ends_of_a_pair_see_this_process() -> None:
    left, right = socket.socketpair()
    with left, right:
        peer = peer_of(left)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())


@as_root
@pytest.mark.parametrize(
    "groups",
    [
        pytest.param((), id="a peer without supplementary groups"),
        pytest.param((TEAM,), id="a peer with one"),
        pytest.param(tuple(range(60000, 60256)), id="as many as Python's own getsockopt can show"),
        pytest.param(tuple(range(60000, 61000)), id="more than that"),
    ],
)
def test_a_peer_that_became_somebody_is_seen_with_all_its_groups(
    listener: socket.socket, groups: tuple[int, ...]
) -> None:
    peer = seen(listener, STRANGER, STRANGER + 1, groups)
    assert (peer.uid, peer.gid, peer.groups) == (STRANGER, STRANGER + 1, frozenset(groups))


@as_root
def test_the_gate_knows_a_real_member_from_a_real_stranger(listener: socket.socket) -> None:
    gate = allowed_peers(0, TEAM)
    assert gate(seen(listener, STRANGER, STRANGER, (1, TEAM)))
    assert not gate(seen(listener, STRANGER, STRANGER, (1, TEAM + 1)))


def test_a_socket_without_a_peer_is_nobodys_who_may() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        peer = peer_of(sock)
    assert peer == Peer(0, 0xFFFF_FFFF, 0xFFFF_FFFF, frozenset())
    assert not allowed_peers(0, 0)(peer)


def test_of_a_closed_socket_nothing_can_be_said() -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        peer_of(sock)


@pytest.mark.parametrize(
    ("peer", "enters"),
    [
        pytest.param(Peer(1, 0, 0, frozenset()), True, id="root may"),
        pytest.param(Peer(1, 7, 99, frozenset()), True, id="the owner may"),
        pytest.param(Peer(1, 8, 50, frozenset()), True, id="whose main group it is may"),
        pytest.param(Peer(1, 8, 99, frozenset({3, 50})), True, id="a member may"),
        pytest.param(Peer(1, 8, 99, frozenset({3, 51})), False, id="a member of another group may not"),
        pytest.param(Peer(1, 8, 0, frozenset({0})), False, id="the group root is not root"),
        pytest.param(Peer(1, 50, 7, frozenset({7})), False, id="numbers of users and groups are not mixed up"),
    ],
)
def test_the_gate(peer: Peer, enters: bool) -> None:
    assert Gate(7, 50, "")(peer) is enters


def test_without_a_group_only_root_and_the_owner_may() -> None:
    gate = allowed_peers(7777777, None)
    assert not gate(Peer(1, 8, 0, frozenset({0, 1})))
    assert gate(Peer(1, 7777777, 9, frozenset()))


@pytest.mark.parametrize(
    ("owner", "group", "needs"),
    [
        pytest.param(0, None, "root", id="root alone"),
        pytest.param(0, 0, "root or group root", id="root and a group by name"),
        pytest.param(7777777, 7777778, "root or user 7777777 or group 7777778", id="numbers without names"),
        pytest.param(1, None, "root or user daemon", id="the daemon's own user by name"),
    ],
)
def test_what_it_takes_is_said_in_words(owner: int, group: int | None, needs: str) -> None:
    assert allowed_peers(owner, group).needs == needs
