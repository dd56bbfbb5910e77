"""Leaving the terminal, by python-daemon (PEP 3143), and the word that the terminal waits for.

Whoever started the daemon gets its prompt back when the daemon serves, or when it is sure that it will not: a boot
script that goes on, and an exit status that can be believed. What the daemon does meanwhile is not known here.
"""

import os
import sys
from collections.abc import Sequence

import daemon

_READY, _END = b"\n", b"\0"
"""The word is the one byte, or a text and the other."""

TEXT_BYTES = 4000
"""What is kept of a text: less than a pipe takes at once (pipe(7)), so that nobody waits for a reader."""

_SILENT = "it ended before it was ready; its log says why"
_IMPATIENT = "not waited for any longer; it goes on starting in the background"


class Starting:
    """The daemon's end of the pipe to the process that was started on the terminal. The first word counts."""

    def __init__(self, fd: int | None = None) -> None:
        """``fd`` None: nobody waits, as in the foreground."""
        self._fd = fd

    def ready(self) -> None:
        """It serves: the caller ends with status 0."""
        self._say(_READY)

    def failed(self, text: str) -> None:
        """It will not: the caller prints this one line, the program's name before it, and ends with status 1."""
        self._say(text.encode(errors="backslashreplace")[:TEXT_BYTES].replace(_READY, b" ").replace(_END, b" ") + _END)

    def close(self) -> None:
        """For children, who do not speak for the daemon: else a caller would wait for the last of them."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _say(self, word: bytes) -> None:
        if self._fd is not None:
            try:
                os.write(self._fd, word)
            except OSError:
                pass  # the caller did not wait
        self.close()


def detach(keep: Sequence[int]) -> Starting:
    """Go on as a daemon: own session, root folder, /dev/null for the standard descriptors, only ``keep`` left open.

    This returns in the daemon only. The calling process waits until the daemon has spoken, or has ended without a
    word, and ends with the status 0 or 1. The signal handlers stay as they are: the daemon sees to its signals itself.
    """
    hears, speaks = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.close(speaks)
        # No clean-up of Python's: what is open here is the daemon's too, and its business.
        os._exit(_outcome(hears, child))
    daemon.DaemonContext(
        files_preserve=[*keep, speaks], umask=0o022, working_directory="/", detach_process=True, signal_map={}
    ).open()
    return Starting(speaks)


def _outcome(hears: int, child: int) -> int:
    """Wait for the word; the exit status that it means."""
    try:
        word = _word(hears)
        os.waitpid(child, 0)  # it has ended as soon as the daemon is on its own
    except KeyboardInterrupt:
        return _complain(_IMPATIENT)
    if word == _READY:
        return 0
    return _complain(word.removesuffix(_END).decode(errors="replace") if word.endswith(_END) else _SILENT)


def _word(hears: int) -> bytes:
    """Up to the end of the word; what there is of it when the daemon has gone before."""
    word = b""
    while not word.endswith((_READY, _END)):
        part = os.read(hears, TEXT_BYTES)
        if not part:
            break
        word += part
    return word


def _complain(text: str) -> int:
    try:
        os.write(2, f"sockd: {text}\n".encode(errors="replace"))
    except OSError:
        pass  # started without a standard error
    return 1


def fill_standard() -> None:
    """Open /dev/null for what is closed of standard input, output and error.

    Whoever is started with one of them closed, as by ``sockd <&-`` or some boot scripts, would else get its first
    sockets under these numbers, and lose them when it leaves the terminal. To be called before anything is opened.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8", closefd=False))
