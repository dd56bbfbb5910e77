"""Notices that something about links, addresses, routes or rules changed, of both families; not what.

The reader then reads the whole state anew, so that messages that were lost, merged or came in an unlucky order make no
difference. What we change ourselves wakes it as well: the reader must find nothing left to do then, and it will, as
`gateway.netlink.diff.steps` is empty for what is right already.
"""

import errno
import socket

_LINK = 0x1
_ADDRESS4, _ROUTE4, _RULE4 = 0x10, 0x40, 0x80
_ADDRESS6, _ROUTE6, _RULE6 = 0x100, 0x400, 1 << 19 - 1
_NEXTHOP = 1 << 32 - 1
"""Multicast groups of rtnetlink(7) as bits; a changed nexthop object (ip-nexthop(8)) changes the routes that use it."""

_GROUPS = _LINK | _ADDRESS4 | _ROUTE4 | _RULE4 | _ADDRESS6 | _ROUTE6 | _RULE6 | _NEXTHOP
_FROM_PORT, _FROM_KERNEL = 0, 0
_MOST = 10_000
"""Messages read at once: a flood must not keep the reader from its other work; what is left wakes it again."""


class Watch:
    """A socket that becomes readable when something has changed; a context manager. Raises OSError."""

    def __init__(self) -> None:
        kinds = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kinds, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((_FROM_PORT, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For epoll and its kind."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take all notices; whether there was one.

        Lost ones (ENOBUFS, netlink(7)) count as one, and so does any other failure: whoever reads the kernel then
        either finds that nothing has changed, or hears what is wrong in a place that can say so.
        """
        changed = False
        for _ in range(_MOST):
            try:
                self._socket.recv(1)  # the rest of the message is dropped with it
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return True
            changed = True
        return changed

    def close(self) -> None:
        """Watch no more."""
        self._socket.close()
