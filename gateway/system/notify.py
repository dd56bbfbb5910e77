"""Telling the service manager how the daemon is: the protocol of sd_notify(3), a datagram of ``KEY=value`` lines.

Without a service manager everything here does nothing. It never waits and never fails: a manager that does not listen
is no reason to serve nobody. What of a state it did not take is sent again with whatever is said next.
"""

import os
import socket
import time
from collections.abc import Callable, MutableMapping

STATUS_BYTES = 2048
"""What is kept of a status text: systemd drops a whole message of more than 4096 bytes (``NOTIFY_BUFFER_MAX``)."""

_STATES = frozenset({"READY", "RELOADING", "STOPPING"})


class Notifier:
    """The way to the service manager that started this process, if one did."""

    def __init__(
        self, address: str = "", watchdog_seconds: float | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """``address`` as NOTIFY_SOCKET has it, empty for none; ``clock`` counts nanoseconds of CLOCK_MONOTONIC."""
        #: how often `watchdog` wants to be called, seconds: half of the manager's patience; None: not at all
        self.watchdog_seconds = watchdog_seconds
        self._address = _socket_name(address)
        self._clock = clock
        self._unsent: dict[str, str] = {}
        # Connected at once, as a process that is confined later may not find the path any more.
        self._sock = self._connected()

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int | None = None) -> "Notifier":
        """What NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; they are removed, as they are not for children.

        ``pid`` is that of this process. sd_watchdog_enabled(3): a watchdog for another process is none of ours.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = _positive(environ.pop("WATCHDOG_USEC", ""))
        owner = environ.pop("WATCHDOG_PID", "")
        watched = microseconds > 0 and (not owner or _positive(owner) == (pid or os.getpid()))
        return cls(address, microseconds / 2e6 if watched else None)

    def ready(self, status: str) -> None:
        """The start, or a reload, is finished; ``status`` is one line for people."""
        self._send({"READY": "1", "STATUS": _line(status)})

    def status(self, text: str) -> None:
        """One line for people, which replaces the last one."""
        self._send({"STATUS": _line(text)})

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. With the time of it, which ``Type=notify-reload`` needs."""
        self._send({"RELOADING": "1", "MONOTONIC_USEC": str(self._clock() // 1000)})

    def stopping(self) -> None:
        """The end has begun."""
        self._send({"STOPPING": "1"})

    def watchdog(self) -> None:
        """A sign of life, if anybody waits for it."""
        if self.watchdog_seconds is not None:
            self._send({"WATCHDOG": "1"})

    def close(self) -> None:
        """Say nothing from now on: for children, who do not speak for the daemon, and for the end."""
        if self._sock is not None:
            self._sock.close()
        self._sock, self._address = None, ""

    def _send(self, fields: dict[str, str]) -> None:
        if not self._address:
            return
        if _STATES & fields.keys():
            # Only the last state is the case: a reload that began and ended meanwhile is not told backwards.
            self._unsent = {key: text for key, text in self._unsent.items() if key == "STATUS"}
        self._unsent |= fields
        message = "\n".join(f"{key}={text}" for key, text in self._unsent.items()).encode()
        if self._sent(message) or self._anew(message):
            self._unsent.clear()

    def _anew(self, message: bytes) -> bool:
        """By a new connection, as after a restart of the manager; whether it went."""
        if self._sock is None:
            self._sock = self._connected()
            return self._sent(message)
        return False

    def _sent(self, message: bytes) -> bool:
        """Whether the manager has it. A connection that is dead is given up."""
        if self._sock is None:
            return False
        try:
            self._sock.send(message)
        except BlockingIOError:
            return False
        except OSError:
            self._sock.close()
            self._sock = None
            return False
        return True

    def _connected(self) -> socket.socket | None:
        if not self._address:
            return None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(self._address)
        except OSError:  # too long a path, too
            sock.close()
            return None
        return sock


def _socket_name(address: str) -> str:
    """As unix(7) wants it, an abstract one with a zero byte; empty for the kinds of addresses that are not for us."""
    if address.startswith("@"):
        return f"\0{address[1:]}"
    return address if address.startswith("/") else ""


def _positive(text: str) -> int:
    """A decimal number; 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() else 0


def _line(text: str) -> str:
    """One line that is never too long and always UTF-8: what can not be seen, such as a line end, becomes a blank."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line.encode()[:STATUS_BYTES].decode(errors="ignore")
