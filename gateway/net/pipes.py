"""Kernel pipes for splice(2), kept in a pool: each is 1 MiB, and making one costs three system calls."""

import fcntl
import os

PIPE_BYTES = 1 << 20


class Pipe:
    """One pipe; ``level`` is how many bytes are in it."""

    __slots__ = ("level", "reader", "writer")

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.level = 0
        try:
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            # An unprivileged user's pipes may hold fs.pipe-user-pages-soft pages in all; beyond that the size stays.
            pass

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """At most ``limit`` pipes in use or at rest; who gets None copies through user space instead."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._made = 0
        self._idle: list[Pipe] = []

    def take(self) -> Pipe | None:
        """An empty pipe, or None when the limit is reached or no descriptor is to be had."""
        if self._idle:
            return self._idle.pop()
        if self._made >= self._limit:
            return None
        try:
            pipe = Pipe()
        except OSError:
            return None
        self._made += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Return a pipe; one that still holds bytes is closed, so that nobody else's session can get them."""
        if pipe.level:
            self._made -= 1
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close the pipes at rest."""
        for pipe in self._idle:
            pipe.close()
        self._made -= len(self._idle)
        self._idle.clear()
