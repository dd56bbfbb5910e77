"""appliance-console: the page on a terminal, until Enter is pressed; then it becomes login(1).

agetty(8) opens the terminal and starts this as root in the place of login. What looks and draws is a child without
rights, a member of the group that sockd answers; root waits for it and does nothing else.
"""

import contextlib
import json
import os
import pwd
import select
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from appliance import report
from appliance.console import Shown, Status, View, cards_of, changes, page, permits, plain, whole
from appliance.programs import ENVIRONMENT, found

USER: Final = "appliance"
LOGIN: Final = "/bin/login"
SECONDS: Final = 3.0
"""From one look to the next."""
SHARE: Final = 20.0
"""sockctl takes one part in so many of the time at most: a small machine has better things to do."""
LONGEST: Final = 60.0
"""Seconds until it is asked again at the latest."""
HURRIED: Final = 2.0
"""In place of SHARE when there was no answer, as at boot."""
PATIENCE: Final = 60.0
"""Seconds that it may take."""
REDRAW: Final = 60.0
"""The kernel and others write on the console too."""
SIZE: Final = (80, 24)
"""Of a serial line, which does not tell."""
SETTINGS: Final = Path("/etc/gateway.toml")
PACKAGERS: Final = frozenset({"dpkg", "apt", "apt-get", "aptitude", "unattended-upgr"})
"""While one of them runs / may be writable; the kernel keeps 15 characters of a name."""
RESTART: Final = Path("/run/reboot-required")
"""Debian's kernel packages leave it here."""
NO_ANSWER: Final = "it does not answer"


class Sockd:
    """What sockd said last. It is asked in the background, and as often as that is cheap."""

    def __init__(self) -> None:
        self._asking: tuple[subprocess.Popen[bytes], IO[bytes], float] | None = None
        self._again = 0.0
        self._last: tuple[Status | None, str] = (None, "")

    def ask(self) -> tuple[Status | None, str]:
        """Its status, or None and why not; None and nothing before the first answer."""
        now = time.monotonic()
        if self._asking is None and now >= self._again:
            answer: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # it outlives this call
            self._asking = (_sockctl(answer), answer, now)
        elif self._asking and (self._asking[0].poll() is not None or now - self._asking[2] > PATIENCE):
            process, answer, started = self._asking
            process.kill()
            process.wait()
            with answer:
                answer.seek(0)
                self._last = understood(answer.read().decode(errors="backslashreplace"))
            self._asking = None
            self._again = now + pause(now - started, self._last[0] is not None)
        return self._last


def pause(took: float, answered: bool) -> float:
    """Seconds from an answer, or its absence, to the next question; ``took`` is how many that one took."""
    return min(LONGEST, took * (SHARE if answered else HURRIED))


def _sockctl(answer: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["sockctl", "status", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
    )


def understood(answer: str) -> tuple[Status | None, str]:
    """What ``sockctl status --json`` printed, or None and its last line."""
    try:
        status = json.loads(answer)
        if isinstance(status, dict):
            return status, ""
    except (ValueError, RecursionError):
        pass
    return None, next((line for line in reversed(answer.splitlines()) if line.strip()), NO_ANSWER)


def look(sockd: Sockd, version: str) -> View:
    """One look at this machine."""
    status, why = sockd.ask()
    volatile = ""
    with contextlib.suppress(OSError):
        volatile = "; ".join(report.VOLATILE.read_text(errors="replace").splitlines())
    return View(
        host=socket.gethostname(),
        version=version,
        cards=_cards(),
        titles=tuple(_titles(Path("/proc"))),
        status=status,
        why=why,
        rules=_rules(),
        report=report.read(),
        volatile=volatile,
        writable=_left_writable(),
        restart=RESTART.exists(),
    )


def _cards() -> tuple[Shown, ...]:
    try:
        links = json.loads(found("ip", "-json", "address") or "[]")
    except ValueError:
        return ()
    return cards_of([link for link in links if isinstance(link, dict)])


def _titles(proc: Path) -> Iterator[str]:
    """As ps(1) shows them."""
    for folder in sorted((each for each in proc.iterdir() if each.name.isdecimal()), key=lambda each: int(each.name)):
        with contextlib.suppress(OSError):
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").strip()
            if title.startswith(b"sockd:"):
                yield plain(title)


def _rules() -> int | None:
    try:
        files = tomllib.loads(SETTINGS.read_text()).get("files", {})
        return permits((SETTINGS.parent / files.get("access", "sockd.conf")).read_text())
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None


def writable(mountinfo: str) -> bool:
    """Whether / of an appliance, which has /state, can be written to; by /proc/self/mountinfo, proc(5)."""
    mounts = {}
    for words in (line.split() for line in mountinfo.splitlines()):
        if "-" in words[6:] and len(words) > words.index("-", 6) + 3:
            mounts[words[4]] = (words[5], words[words.index("-", 6) + 3])
    return "/state" in mounts and all("rw" in options.split(",") for options in mounts.get("/", ("",)))


def _changing(proc: Path) -> bool:
    """Whether packages are being changed now."""
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                if (folder / "comm").read_text(errors="replace").strip() in PACKAGERS:
                    return True
    return False


def _left_writable() -> bool:
    with contextlib.suppress(OSError):
        return writable(Path("/proc/self/mountinfo").read_text(errors="replace")) and not _changing(Path("/proc"))
    return False


def show() -> None:
    """Draw until Enter is pressed. Raises EOFError when the terminal has gone."""
    version = found("dpkg-query", "-W", "-f", "${Version}", "multihomed-gateway")
    sockd = Sockd()
    drawn: list[str] = []
    whole_at = 0.0
    with _quiet_keys(sys.stdin.fileno()) as keys:
        while True:
            lines = page(look(sockd, version), *_size())
            now = time.monotonic()
            if now >= whole_at:
                text, whole_at = whole(lines), now + REDRAW
            else:
                text = changes(drawn, lines)
            _write(sys.stdout.fileno(), text.encode())
            drawn = lines
            if _enter(keys, SECONDS):
                _write(sys.stdout.fileno(), b"\x1b[m\x1b[H\x1b[2J")
                return


def _size() -> tuple[int, int]:
    with contextlib.suppress(OSError):
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        if columns and lines:
            return columns - 1, lines  # the last column of some terminals wraps
    return SIZE[0] - 1, SIZE[1]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _enter(keys: int, seconds: float) -> bool:
    """Whether Enter is pressed within so many seconds. Raises EOFError when nobody can press a key any more."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if not select.select([keys], [], [], left)[0]:
            return False
        pressed = os.read(keys, 64)
        if not pressed:
            raise EOFError
        if b"\r" in pressed or b"\n" in pressed:
            return True
    return False


@contextlib.contextmanager
def _quiet_keys(fd: int) -> Iterator[int]:
    """Keys come one by one, are not shown, and none is a signal."""
    before = termios.tcgetattr(fd)
    now = termios.tcgetattr(fd)
    now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(fd, termios.TCSANOW, now)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def become(name: str) -> None:
    """Give up root for this user and its groups, for ever. Raises KeyError or OSError."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def main() -> int:
    """Does not return where Enter was pressed, or where there is no page: login(1) takes its place."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            become(USER)
            show()
            status = 0
        except EOFError:
            status = 2
        except Exception as error:  # whatever it is, there must be a way to log in
            print(f"appliance-console: no page: {error}", flush=True)
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(ended) == 2:
        return 0  # agetty is started again, on a terminal that may be back
    return os.execv(LOGIN, [LOGIN])
