"""Password checks off the data path: one at a time, few waiting for each client, good ones remembered for a minute.

Hashing a password is meant to be slow. One thread does it, so that a flood of guesses costs other sessions at most
that thread's share of the machine, and a guesser only delays other guessers.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gateway.address import Address

MAX_WAITING_PER_SOURCE = 8
REMEMBER_SECONDS = 60.0
MAX_REMEMBERED = 4096
REFUSAL_DELAY = 0.5
"""Seconds before a wrong password is answered, so that one connection is one slow guess."""


@dataclass(slots=True)
class _Turn:
    """The checks of one source: who has the lock is being checked."""

    lock: asyncio.Lock
    waiting: int = 0


class PasswordChecks:
    """The password checks of one worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verify: Callable[[bytes, bytes], bool],
        clock: Callable[[], float],
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        """``verify`` blocks while it hashes; it gets the user and the password. ``thread`` None: a new one."""
        self._loop = loop
        self._verify = verify
        self._clock = clock
        self._thread = thread or ThreadPoolExecutor(1, "password")
        self._turns: dict[Address, _Turn] = {}
        self._key = os.urandom(32)
        self._good: dict[bytes, float] = {}

    def successor(self, verify: Callable[[bytes, bytes], bool]) -> "PasswordChecks":
        """The same with other passwords, and nothing remembered; who waits here is still answered.

        It has the same thread: the C library keeps the memory of a hash, 16 MiB and more, for each that ever made one.
        """
        return PasswordChecks(self._loop, verify, self._clock, self._thread)

    async def verify(self, user: bytes, password: bytes, source: Address) -> bool:
        """Whether this is the user's password, for a client at ``source``. Refuses when too many of its checks wait."""
        digest = hmac.digest(self._key, len(user).to_bytes(2, "big") + user + password, hashlib.sha256)
        if self._good.get(digest, 0.0) > self._clock():
            return True
        accepted = await self._in_turn(user, password, source)
        if accepted:
            self._remember(digest)
        else:
            await asyncio.sleep(REFUSAL_DELAY)
        return accepted

    async def _in_turn(self, user: bytes, password: bytes, source: Address) -> bool:
        """One check at a time for each source: who guesses only waits for himself."""
        turn = self._turns.setdefault(source, _Turn(asyncio.Lock()))
        if turn.waiting >= MAX_WAITING_PER_SOURCE:
            return False
        turn.waiting += 1
        try:
            async with turn.lock:
                return await self._loop.run_in_executor(self._thread, self._verify, user, password)
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(source, None)

    def _remember(self, digest: bytes) -> None:
        if len(self._good) >= MAX_REMEMBERED:
            self._good.clear()
        self._good[digest] = self._clock() + REMEMBER_SECONDS

    def close(self) -> None:
        """Start no more checks."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class NoPasswords:
    """For a gateway without a passwords file: nobody's password is right."""

    async def verify(self, user: bytes, password: bytes, source: Address) -> bool:  # noqa: ARG002 - never
        """Always False."""
        return False

    def close(self) -> None:
        """Nothing to end."""
