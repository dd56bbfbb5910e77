"""Password checks off the data path: one at a time, a bounded number waiting, good ones remembered for a minute.

Hashing a password is meant to be slow. One thread does it, so that a flood of guesses costs other sessions at most
that thread's share of the machine, and a guesser only delays other guessers.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

MAX_WAITING = 64
REMEMBER_SECONDS = 60.0
MAX_REMEMBERED = 4096
REFUSAL_DELAY = 0.5
"""Seconds before a wrong password is answered, so that one connection is one slow guess."""


class PasswordChecks:
    """The password checks of one worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verify: Callable[[bytes, bytes], bool],
        clock: Callable[[], float],
    ) -> None:
        """``verify`` blocks while it hashes; it gets the user and the password."""
        self._loop = loop
        self._verify = verify
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "password")
        self._waiting = 0
        self._key = os.urandom(32)
        self._good: dict[bytes, float] = {}

    async def verify(self, user: bytes, password: bytes) -> bool:
        """Whether this is the user's password. Refuses when too many checks wait."""
        digest = hmac.digest(self._key, len(user).to_bytes(2, "big") + user + password, hashlib.sha256)
        if self._good.get(digest, 0.0) > self._clock():
            return True
        if self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        try:
            accepted = await self._loop.run_in_executor(self._thread, self._verify, user, password)
        finally:
            self._waiting -= 1
        if accepted:
            self._remember(digest)
        else:
            await asyncio.sleep(REFUSAL_DELAY)
        return accepted

    def _remember(self, digest: bytes) -> None:
        if len(self._good) >= MAX_REMEMBERED:
            self._good.clear()
        self._good[digest] = self._clock() + REMEMBER_SECONDS

    def close(self) -> None:
        """Start no more checks."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class NoPasswords:
    """For a gateway without a passwords file: nobody's password is right."""

    async def verify(self, user: bytes, password: bytes) -> bool:  # noqa: ARG002 - the verdict does not depend on it
        """Always False."""
        return False

    def close(self) -> None:
        """Nothing to end."""
