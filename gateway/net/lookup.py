"""Name look-ups through the host's own resolver, off the data path: a bounded pool of threads runs getaddrinfo(3).

Only canonical names come here (`gateway.address.canonical_name`), so that the C library has nothing to reinterpret.
Identical questions that are out together are asked once.

The worker sets ``LOCALDOMAIN`` empty in its environment (resolver(5)), so that the search list of resolv.conf(5) never
turns a name into another one than the rules saw. A dot at the end would do that too, but hides names of /etc/hosts.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from gateway.address import Address, Name

THREADS = 128
"""A dead name server holds each thread for its time-out; others' names must still find one."""

STACK_BYTES = 512 * 1024
"""Enough for the C library's resolver, and a tenth of what a thread gets otherwise."""

MAX_OUTSTANDING = 1024


class LookupFailed(Exception):
    """The name has no address that could be learnt; the message says why."""


def system_lookup(name: Name) -> tuple[Address, ...]:
    """The addresses of a name by the C library, in its order (RFC 6724). Blocks. Raises LookupFailed."""
    try:
        # Bytes, as text would pass through an IDNA codec that folds other alphabets into ASCII.
        answers = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise LookupFailed(error.strerror) from None
    except OSError as error:
        raise LookupFailed(str(error)) from None
    found = []
    for family, _, _, _, sockaddr in answers:
        packed = socket.inet_pton(family, str(sockaddr[0]).partition("%")[0])
        found.append(Address.from_packed(packed))
    return tuple(dict.fromkeys(found))


class Lookups:
    """The look-ups of one worker that are under way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        resolve: Callable[[Name], tuple[Address, ...]] = system_lookup,
        threads: int = THREADS,
    ) -> None:
        """``seconds`` bounds each wait; ``resolve`` blocks and runs in one of so many threads."""
        self._loop = loop
        self._seconds = seconds
        self._resolve = resolve
        threading.stack_size(STACK_BYTES)
        self._threads = ThreadPoolExecutor(threads, "lookup")
        self._outstanding: dict[Name, asyncio.Future[tuple[Address, ...]]] = {}

    async def addresses(self, name: Name) -> tuple[Address, ...]:
        """The addresses of a name. Raises LookupFailed, also when it takes too long or too many are out."""
        future = self._outstanding.get(name)
        if future is None:
            if len(self._outstanding) >= MAX_OUTSTANDING:
                raise LookupFailed("too many look-ups are under way")
            future = self._loop.run_in_executor(self._threads, self._resolve, name)
            self._outstanding[name] = future
            future.add_done_callback(lambda done: self._forget(name, done))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            raise LookupFailed("the name server did not answer in time") from None

    def _forget(self, name: Name, done: "asyncio.Future[tuple[Address, ...]]") -> None:
        del self._outstanding[name]
        if not done.cancelled():
            done.exception()  # each waiter got it; a question that all gave up must not warn

    def close(self) -> None:
        """Start no more; threads that still wait end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
