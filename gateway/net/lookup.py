"""Name look-ups through the host's own resolver, off the data path: a bounded pool of threads runs getaddrinfo(3).

Only canonical names come here (`gateway.address.canonical_name`), so that the C library has nothing to reinterpret.
Identical questions that are out together are asked once.

The worker sets ``LOCALDOMAIN`` empty in its environment (resolver(5)), so that the search list of resolv.conf(5) never
turns a name into another one than the rules saw. A dot at the end would do that too, but hides names of /etc/hosts.
"""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from gateway.address import Address, Name
from gateway.config.rules import EgressWord

THREADS = 128
"""A dead name server holds each thread for its time-out; others' names must still find one."""

STACK_BYTES = 512 * 1024
"""Enough for the C library's resolver, and a tenth of what a thread gets otherwise."""

MAX_OUTSTANDING = 1024

SHARES = 2
"""One client address may have this part of the threads, so that its dead names do not stop the others' look-ups."""


class Names(Protocol):
    """Who looks names up for sessions."""

    #: for one name
    seconds: float

    async def addresses(self, name: Name, source: Address, ways: tuple[EgressWord, ...] = ()) -> tuple[Address, ...]:
        """The addresses of a name, for a client at ``source`` whose session leaves by one of these ways.

        Raises LookupFailed.
        """

    def close(self) -> None:
        """Start no more."""


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


@dataclass(slots=True)
class _Question:
    """One name that was asked for, and how many wait for it."""

    answer: "asyncio.Future[tuple[Address, ...]]"
    waiters: int = 0


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
        self.seconds = seconds
        self._resolve = resolve
        threading.stack_size(STACK_BYTES)
        self._threads = ThreadPoolExecutor(threads, "lookup")
        self._share = max(1, threads // SHARES)
        self._outstanding: dict[Name, _Question] = {}
        self._by_source: Counter[Address] = Counter()

    async def addresses(
        self,
        name: Name,
        source: Address,
        ways: tuple[EgressWord, ...] = (),  # noqa: ARG002 - see `Names`
    ) -> tuple[Address, ...]:
        """The addresses of a name, for a client at ``source``; by which way the C library asks is up to the kernel.

        Raises LookupFailed, also when it takes too long, or too many are under way: in all, or asked by this source.
        """
        question = self._outstanding.get(name) or self._ask(name, source)
        question.waiters += 1
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.shield(question.answer)
        except TimeoutError:
            raise LookupFailed("the name server did not answer in time") from None
        finally:
            question.waiters -= 1
            if not question.waiters:
                # Takes it out of the queue; one that runs already holds its thread until the C library gives up.
                question.answer.cancel()

    def _ask(self, name: Name, source: Address) -> "_Question":
        if len(self._outstanding) >= MAX_OUTSTANDING:
            raise LookupFailed("too many look-ups are under way")
        if self._by_source[source] >= self._share:
            raise LookupFailed("too many look-ups of this client are under way")
        self._by_source[source] += 1
        work = self._threads.submit(self._resolve, name)
        work.add_done_callback(lambda _: self._from_thread(source))
        question = _Question(asyncio.wrap_future(work, loop=self._loop))
        self._outstanding[name] = question
        question.answer.add_done_callback(lambda done: self._forget(name, done))
        return question

    def _from_thread(self, source: Address) -> None:
        try:
            self._loop.call_soon_threadsafe(self._release, source)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    def _release(self, source: Address) -> None:
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]

    def _forget(self, name: Name, done: "asyncio.Future[tuple[Address, ...]]") -> None:
        del self._outstanding[name]
        if not done.cancelled():
            done.exception()  # each waiter got it; a question that all gave up must not warn

    def close(self) -> None:
        """Start no more; threads that still wait end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
