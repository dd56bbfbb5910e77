"""Listening sockets that the service manager opened: sd_listen_fds(3), as in a ``sockd.socket`` beside the service.

It looks only at what a descriptor is; what is done with the sockets, and whether the settings want others, is for the
daemon to say.
"""

import socket
import stat
from collections.abc import MutableMapping
from os import fstat

from gateway.errors import StartError

FIRST = 3
"""SD_LISTEN_FDS_START of systemd/sd-daemon.h: they come after the three standard descriptors."""

_MOST = 4096
_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})


def listening_sockets(environ: MutableMapping[str, str], pid: int, first: int = FIRST) -> list[socket.socket]:
    """The sockets that were passed to the process ``pid``, non-blocking and closed by exec; empty when there are none.

    LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES are removed, as they are not for children. Raises StartError for a
    descriptor that is no listening TCP socket.
    """
    count, owner, names = (environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if not count or owner != str(pid):
        return []
    if not (count.isascii() and count.isdecimal() and int(count) <= _MOST):
        raise StartError(f"LISTEN_FDS={count!r} is no number of sockets; it is set by the service manager only")
    labels = names.split(":") if names else []
    found: list[socket.socket] = []
    try:
        for index in range(int(count)):
            label = f" ({labels[index]!r})" if index < len(labels) else ""
            found.append(_taken(first + index, f"descriptor {first + index}{label} of LISTEN_FDS"))
    except StartError:
        for sock in found:
            sock.close()
        raise
    return found


def _taken(number: int, what: str) -> socket.socket:
    """Raises StartError; the descriptor stays open then, as it was."""
    try:
        is_socket = stat.S_ISSOCK(fstat(number).st_mode)
    except OSError as error:
        raise StartError(f"{what} can not be used: {error.strerror}") from None
    if not is_socket:
        raise StartError(f"{what} is no socket; the unit may hold ListenStream= only")
    sock = socket.socket(fileno=number)
    fault = _fault(sock)
    if fault:
        sock.detach()
        raise StartError(f"{what} {fault}")
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def _fault(sock: socket.socket) -> str:
    """Why nobody could be served by it; empty when it is as it should be."""
    if sock.family not in _FAMILIES:
        return "is neither IPv4 nor IPv6; write ListenStream=ADDRESS:PORT"
    if sock.type != socket.SOCK_STREAM or sock.proto not in (0, socket.IPPROTO_TCP):
        return "is not TCP; write ListenStream=ADDRESS:PORT"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen; the unit must not say Accept=yes"
    return ""
