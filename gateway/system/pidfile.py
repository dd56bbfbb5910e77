"""A pid file that can not be stale: the process that runs holds a lock on it.

A number that was left over after ``kill -9`` is therefore no obstacle; an empty file, or one that nobody has locked,
means that no daemon runs, as gateway/boot/sockd.init reads it.
"""

import fcntl
import os
import stat

from gateway.errors import StartError

_TRIES = 10
"""How often the file is opened anew because a daemon that ended took it away meanwhile."""


class PidFile:
    """Opened and locked before detaching, so that a second daemon is refused on the caller's terminal."""

    def __init__(self, path: str) -> None:
        """Raises StartError when the file can not be made, a running daemon holds it, or it is somebody else's."""
        self._path = os.path.abspath(path)  # the daemon changes its folder
        for _ in range(_TRIES):
            self.fd = _opened(path)
            try:
                _check(path, self.fd)
                _lock(path, self.fd)
                if self._is_in_place():
                    return
            except StartError:
                os.close(self.fd)
                raise
            os.close(self.fd)
        raise StartError(f"{path}: the pid file vanishes again and again; something else removes it")

    def write(self) -> None:
        """Note this process's number."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, b"%d\n" % os.getpid(), 0)

    def remove(self) -> None:
        """At the end of the daemon: empty the file, and take it away if that is still allowed.

        A daemon that gave up root can write to what it holds open, but not remove it from a folder of root's.
        """
        try:
            os.ftruncate(self.fd, 0)
            if self._is_in_place():
                os.unlink(self._path)
        except OSError:
            pass
        os.close(self.fd)

    def _is_in_place(self) -> bool:
        """Whether the path still leads to what was locked: else another daemon could lock another file there."""
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self.fd))
        except FileNotFoundError:
            return False


def _opened(path: str) -> int:
    try:
        # Neither follow what somebody laid into a shared folder, nor wait for the other side of a FIFO.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise StartError(f"{path}: cannot open the pid file: {error.strerror}") from None


def _check(path: str, fd: int) -> None:
    """Whoever owns the file could write another process's number into it, which a boot script would end as root."""
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        raise StartError(f"{path}: no pid file: not an ordinary file, or one with a second name; remove it")
    if facts.st_uid not in (0, os.geteuid()):
        raise StartError(f"{path}: the pid file belongs to user {facts.st_uid}; remove it")


def _lock(path: str, fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        raise StartError(f"{path}: sockd is running already, as process {holder or 'unknown'}") from None
    except OSError as error:
        raise StartError(f"{path}: cannot lock the pid file: {error.strerror}") from None
