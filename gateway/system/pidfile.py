"""A pid file that can not be stale: the process that runs holds a lock on it."""

import fcntl
import os

from gateway.errors import StartError


class PidFile:
    """Opened and locked before detaching, so that a second daemon is refused on the caller's terminal."""

    def __init__(self, path: str) -> None:
        """Raises StartError when the file can not be made, or a running daemon holds it."""
        self._path = os.path.abspath(path)  # the daemon changes its folder
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(f"{path}: cannot open the pid file: {error.strerror}") from None
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self.fd, 32).decode("ascii", "replace").strip()
            os.close(self.fd)
            raise StartError(f"{path}: sockd is running already, as process {holder or 'unknown'}") from None

    def write(self) -> None:
        """Note this process's number."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, b"%d\n" % os.getpid(), 0)

    def remove(self) -> None:
        """Take the file away at the end of the daemon."""
        try:
            os.unlink(self._path)
        except OSError:
            pass
        os.close(self.fd)
