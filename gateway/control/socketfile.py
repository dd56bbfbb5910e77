"""The control socket in the file system: made so that at no moment anybody may connect who may not later."""

import os
import socket
import stat

from gateway.control.client import connected, socket_name
from gateway.errors import StartError

BACKLOG = 16
FOLDER_MODE = 0o755
PROBE_SECONDS = 1.0
"""How long whoever holds the path may take to accept; a full queue is an answer, too."""


def listen(path: str, mode: int, group: int | None) -> socket.socket:
    """A non-blocking listening Unix stream socket at ``path``, with these permissions and this group.

    What a dead daemon left there is replaced. The missing folders are made. Raises StartError when a living one
    answers there, when something else is there, and when the host refuses.
    """
    try:
        _make_folder(os.path.dirname(path))
        _clear(path)
        return _listening(path, mode, group)
    except OSError as error:
        raise StartError(f"{path}: cannot make the control socket: {error.strerror or error}") from None


def _make_folder(folder: str) -> None:
    """And those above it, whatever the umask is: the socket has permissions of its own."""
    if folder and not os.path.isdir(folder):
        _make_folder(os.path.dirname(folder))
        os.mkdir(folder)
        os.chmod(folder, FOLDER_MODE)


def _clear(path: str) -> None:
    """Take a stale socket away."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"{path}: is there and is no socket; remove it, or choose another path for the control socket")
    if _answers(path):
        raise StartError(f"{path}: a sockd is running already and answers there")
    os.unlink(path)


def _answers(path: str) -> bool:
    """Whether somebody listens there. Raises OSError when that can not be told."""
    try:
        connected(path, PROBE_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except BlockingIOError:
        return True  # who listens and does not accept, such as a stopped process, has the path all the same
    return True


def _listening(path: str, mode: int, group: int | None) -> socket.socket:
    """Permissions come with the file, by the umask; nobody can connect before the last step."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with socket_name(path) as name:
            _bind(sock, name, mode)
            if group is not None:
                os.chown(name, -1, group, follow_symlinks=False)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, name: str, mode: int) -> None:
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(name)
    finally:
        os.umask(before)
