"""The sockets by which workers ask another process for something: a pair each, so that a bad one costs its own only."""

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple


class _Pair(NamedTuple):
    worker: socket.socket
    server: socket.socket


class Pairs:
    """All pairs, as the supervisor keeps them for those who are born next."""

    def __init__(self, names: Iterable[str]) -> None:
        """The names of the workers. Raises OSError."""
        self._pairs = {name: _new() for name in names}

    def renew(self, name: str) -> socket.socket:
        """Another pair for the next worker of that name; the server's end. Raises OSError: then the old one stays."""
        new = _new()
        _close(self._pairs[name])
        self._pairs[name] = new
        return new.server

    def of_worker(self, name: str) -> socket.socket:
        """In the process of a worker: its end. All others are closed."""
        mine = self._pairs.pop(name)
        mine.server.close()
        self.close()
        return mine.worker

    def of_server(self, serves: Callable[[str], bool] = lambda _name: True) -> Mapping[str, socket.socket]:
        """In the process that is asked: its ends, by the names of the workers that it serves. All others are closed."""
        for name, pair in tuple(self._pairs.items()):
            pair.worker.close()
            if not serves(name):
                pair.server.close()
                del self._pairs[name]
        return {name: pair.server for name, pair in self._pairs.items()}

    def close(self) -> None:
        """In a process that has nothing to do with them."""
        for pair in self._pairs.values():
            _close(pair)
        self._pairs.clear()


def _new() -> _Pair:
    pair = _Pair(*socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    for end in pair:
        end.setblocking(False)
    return pair


def _close(pair: _Pair) -> None:
    for end in pair:
        end.close()
