"""Who is at the other end of a Unix socket, by what the kernel noted when it connected, and who of them may ask."""

import ctypes
import errno
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple

from gateway.control.client import group_name

SO_PEERGROUPS = 59
"""asm-generic/socket.h; the supplementary groups of the peer, since Linux 4.13."""

MAX_GROUPS = 1 << 16
"""NGROUPS_MAX (limits.h)."""

_CREDENTIALS = struct.Struct("iII")
_GROUP_BYTES = 4


class Peer(NamedTuple):
    """The process that connected, as it was then."""

    pid: int
    uid: int
    gid: int
    #: the supplementary ones
    groups: frozenset[int]


def peer_of(sock: socket.socket) -> Peer:
    """The peer of a connected Unix socket (SO_PEERCRED and SO_PEERGROUPS, unix(7)). Raises OSError."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid, gid, _groups(sock))


def _groups(sock: socket.socket) -> frozenset[int]:
    """Python's getsockopt() takes 1024 bytes at most, which 256 groups fill; directories give users more."""
    groups = (ctypes.c_uint32 * MAX_GROUPS)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_PEERGROUPS, groups, ctypes.byref(size)) < 0:
        number = ctypes.get_errno()
        if number == errno.ENODATA:  # there is no peer
            return frozenset()
        raise OSError(number, os.strerror(number))
    return frozenset(groups[: size.value // _GROUP_BYTES])


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets root, one user and the members of a group in."""

    owner: int
    group: int | None
    #: these in words: "root or group adm"
    needs: str

    def __call__(self, peer: Peer) -> bool:
        """Whether this peer is one of them."""
        return peer.uid in (0, self.owner) or (
            self.group is not None and (peer.gid == self.group or self.group in peer.groups)
        )


def allowed_peers(owner: int, group: int | None) -> Gate:
    """Root, the daemon's own user, and the members of the group, if there is one; all by number.

    To be made before the daemon shuts itself in: the names for the messages are looked up now.
    """
    others = [f"user {_user_name(owner)}"] if owner else []
    if group is not None:
        others.append(f"group {group_name(group)}")
    return Gate(owner, group, " or ".join(("root", *others)))


def _user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
