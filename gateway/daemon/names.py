"""A worker's look-ups: the resolver is asked, so that sessions see the names that the inside's clients see.

Only canonical names come here (`gateway.address.canonical_name`). Whatever the resolver does not answer in time has
failed: there is nobody else to be asked.
"""

import asyncio
import itertools
import socket
from collections import Counter

from gateway.address import Address, Name
from gateway.config.rules import EgressWord
from gateway.daemon.messages import LookedUp, LookUp, close_all, is_address, receive, send
from gateway.net.lookup import MAX_OUTSTANDING, LookupFailed

SHARE = MAX_OUTSTANDING // 2
"""Of one client address at most, so that its dead names do not stop the others' look-ups."""


class ResolverLookups:
    """The look-ups of one worker that are under way; in the place of `gateway.net.lookup.Lookups`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, seconds: float) -> None:
        """``sock`` leads to the resolver; ``seconds`` bounds each wait."""
        self.seconds = seconds
        self._loop = loop
        self._sock = sock
        self._number = itertools.count(1).__next__
        self._waiting: dict[int, asyncio.Future[LookedUp]] = {}
        self._by_source: Counter[Address] = Counter()
        loop.add_reader(sock, self._hear)

    async def addresses(self, name: Name, source: Address, ways: tuple[EgressWord, ...] = ()) -> tuple[Address, ...]:
        """The addresses of a name, for a client at ``source`` whose session leaves by one of these ways.

        Raises LookupFailed, also when it takes too long, or too many are under way: in all, or asked by this source.
        """
        if len(self._waiting) >= MAX_OUTSTANDING:
            raise LookupFailed("too many look-ups are under way")
        if self._by_source[source] >= SHARE:
            raise LookupFailed("too many look-ups of this client are under way")
        number = self._number()
        answer = self._waiting[number] = self._loop.create_future()
        self._by_source[source] += 1
        try:
            send(self._sock, LookUp(number, name, source, ways))
            async with asyncio.timeout(self.seconds):
                found: LookedUp = await answer
        except TimeoutError:
            raise LookupFailed("the resolver did not answer in time") from None
        except OSError as error:
            raise LookupFailed(f"the resolver can not be asked: {error.strerror}") from None
        finally:
            del self._waiting[number]
            self._release(source)
        if not found.addresses:
            raise LookupFailed(found.why or "the name has no address")
        return found.addresses

    def _release(self, source: Address) -> None:
        self._by_source[source] -= 1
        if not self._by_source[source]:
            del self._by_source[source]

    def _hear(self) -> None:
        try:
            received = receive(self._sock)
        except OSError:
            return  # nothing yet, or no message: whoever waits for it waits in vain, for a bounded time
        if received is None:
            self._loop.remove_reader(self._sock)
            return
        close_all(received.descriptors)
        message = received.message
        answer = self._waiting.get(message.number) if isinstance(message, LookedUp) else None
        if answer is not None and not answer.done() and all(map(is_address, message.addresses)):
            answer.set_result(message)

    def close(self) -> None:
        """Ask no more."""
        self._loop.remove_reader(self._sock)
