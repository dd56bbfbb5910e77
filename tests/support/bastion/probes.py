"""Which ports of a machine answer, TCP, seen from a host: whoever refuses has answered, too."""

import errno
import select
import socket
import time
from collections.abc import Iterable
from itertools import islice

from tests.support.netns import Namespace

OPEN, REFUSED = "open", "refused"
_AT_ONCE = 600
_ANSWERS = {0: OPEN, errno.ECONNREFUSED: REFUSED}


def answering(space: Namespace, address: str, ports: Iterable[int], patience: float = 0.5) -> dict[int, str]:
    """What ports of an address answer to a namespace, and how: `OPEN` or `REFUSED`; who is silent is not in it.

    ``patience`` is how many seconds each may stay silent.
    """
    found: dict[int, str] = {}
    left = iter(ports)
    while some := list(islice(left, _AT_ONCE)):
        found |= _ask(space, address, some, patience)
    return found


def _ask(space: Namespace, address: str, ports: Iterable[int], patience: float) -> dict[int, str]:
    found: dict[int, str] = {}
    poll = select.poll()
    waiting: dict[int, tuple[socket.socket, int]] = {}
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with space.inside():
            for port in ports:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                waiting[sock.fileno()] = sock, port
                sock.connect_ex((address, port))
                poll.register(sock, select.POLLOUT)
        deadline = time.monotonic() + patience
        while (rest := deadline - time.monotonic()) > 0 and len(found) < len(waiting):
            for descriptor, _ in poll.poll(rest * 1000):
                poll.unregister(descriptor)
                sock, port = waiting[descriptor]
                said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                found[port] = _ANSWERS.get(said, errno.errorcode.get(said, str(said)))
    finally:
        for sock, _ in waiting.values():
            sock.close()
    return found
