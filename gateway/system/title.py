"""What ps(1) shows of a process, by setproctitle; the original's FOR_PS (``spec/socks4.md`` §9.3).

The title is written over the arguments and the environment that the process was started with, so that these must be
long enough for it (`make_room`).
"""

import os
import sys

import setproctitle

NAME_BYTES = 15
"""What the kernel keeps of the name of a process (proc(5), ``comm``; TASK_COMM_LEN)."""

ROOM = 1024
"""Bytes that every title has: a host name is 255 at most."""

_FILLER = "SOCKD_TITLE"
"""The variable of the environment that is only there for its length."""

_ARG_START, _ENV_END = 47, 50
"""Fields of /proc/PID/stat, the first being 0 (proc_pid_stat(5))."""


def make_room() -> None:
    """Start the program anew, in this process, if its titles would be cut; call it before anything is opened."""
    if _FILLER in os.environ:
        setproctitle.getproctitle()  # which looks how much room there is, once, and so while the filler is there
        del os.environ[_FILLER]  # no child inherits it
    elif _area() < ROOM:
        os.execve(sys.executable, _command(), {**os.environ, _FILLER: "." * ROOM})


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def _area() -> int:
    """Bytes of the arguments and the environment."""
    try:
        with open("/proc/self/stat") as stat:
            # The name, in parentheses, may hold blanks.
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[_ENV_END - 2]) - int(fields[_ARG_START - 2])
    except (OSError, IndexError, ValueError):
        return ROOM  # without /proc there is nothing to see either


class Title:
    """That of one process: its name, and what it does."""

    def __init__(self, name: str, *, live: bool = True) -> None:
        """``name`` is such as ``worker 2``; ``live``: whether what it does is shown."""
        self._whole = f"sockd: {name}"
        self._short = short_name(name)
        self._live = live
        self._shown = ""
        self._write(self._whole)

    def show(self, doing: str) -> None:
        """What it does now; costs nothing if that is what is shown already."""
        if self._live and doing != self._shown:
            self._shown = doing
            self._write(f"{self._whole}: {doing}")

    def _write(self, title: str) -> None:
        setproctitle.setproctitle(_visible(title))
        setproctitle.setthreadtitle(self._short)  # the other one has cut it


def short_name(name: str) -> str:
    """What ps(1) shows of a process under COMMAND when it shows little; no two workers of 99 look alike."""
    whole = f"sockd: {name}"
    return whole if len(whole) <= NAME_BYTES else f"sockd: {name.replace(' ', '')}"


def _visible(text: str) -> str:
    """Control bytes would act on the terminal of whoever looks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
