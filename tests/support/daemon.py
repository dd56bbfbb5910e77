"""Starts the real ``sockd`` of this tree with files written for the test, and ends it cleanly.

It goes by what an administrator sees only: files, command line, the ready line, logs, the control socket, signals, exit
status.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.control.client import ControlClient
from gateway.control.protocol import Request
from tests.support import proc
from tests.support.waiting import eventually

PROGRAM = str(Path(sys.executable).parent / "sockd")

LOOPBACK = "permit 127.0.0.0 255.0.0.0 127.0.0.0 255.0.0.0\n"
"""The rule of most tests: loopback may go to loopback, named, since a line for everywhere does not reach it."""

_READY = re.compile(r"^sockd: ready -- (?P<endpoints>.+), \d+ workers?, \d+ rules?(?:; names on .+)?$", re.MULTILINE)
Toml = Mapping[str, Mapping[str, object]]


class Sockd:
    """A running daemon: where it listens, what it wrote, what it holds."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.process = process
        self.endpoints: list[tuple[str, int]] = []
        #: what `stop` wants; a test that kills the daemon says so here
        self.expected_status = 0

    @property
    def pid(self) -> int:
        """The process that was started, the root of the daemon's tree."""
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """The processes that serve clients now, by their names; process numbers may have begun anew between two."""
        found = [pid for pid in proc.tree(self.pid)[1:] if proc.name(pid).startswith("sockd: worker")]
        return sorted(found, key=proc.name)

    @property
    def port(self) -> int:
        """The port of the first listening address."""
        return self.endpoints[0][1]

    def stderr(self) -> str:
        """Everything on standard error so far."""
        return (self.folder / "stderr").read_text(errors="replace")

    def log(self) -> str:
        """The classic log so far."""
        path = self.folder / "sockd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_log(self, pattern: str, within: float = 10.0) -> str:
        """The first line of the classic log that holds this regular expression; fails when none comes in time."""
        found = eventually(lambda: re.search(f"^.*(?:{pattern}).*$", self.log(), re.MULTILINE), within=within)
        assert found, f"no line of the log matches {pattern!r}:\n{_tail(self.log().splitlines())}"
        return found.group()

    def records(self) -> list[dict[str, Any]]:
        """The JSON records so far, whole lines only."""
        path = self.folder / "sockd.json"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_record(self, within: float = 10.0, **wanted: object) -> dict[str, Any]:
        """The last record that has these values; fails when none comes in time."""

        def look() -> list[dict[str, Any]]:
            return [record for record in self.records() if wanted.items() <= record.items()]

        found = eventually(look, within=within)
        assert found, f"no record has {wanted}:\n{_tail(self.records())}"
        return found[-1]

    def control(self, request: Request) -> tuple[list[Any], Any]:
        """What it answers on its control socket: the rows, and what ended them. Raises ControlError."""
        with ControlClient.connect(str(self.folder / "control.sock")) as client:
            return client.ask(request)

    def sockets_at_rest(self) -> int:
        """How many sockets it holds, when that has not changed for a tenth of a second."""
        counts = [proc.descriptors(self.pid)["socket"]]

        def is_steady() -> bool:
            time.sleep(0.1)
            counts.append(proc.descriptors(self.pid)["socket"])
            return counts[-1] == counts[-2]

        assert eventually(is_steady), counts
        return counts[-1]

    def stop(self) -> None:
        """SIGTERM, then check that it ended as it should: its status, no traceback, no process left behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"sockd did not end within 30 s of SIGTERM:\n{self.stderr()}") from None
        left = eventually(lambda: not proc.session_members(self.pid))
        self.kill()
        written = self.stderr() + self.log()
        assert "Traceback" not in written, written
        assert status == self.expected_status, f"sockd ended with status {status}:\n{self.stderr()}"
        assert left, "sockd left processes behind"

    def kill(self) -> None:
        """End what is left of the daemon's own session, however it feels about that."""
        for pid in proc.session_members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


def _tail(items: Sequence[object], count: int = 10) -> str:
    return "\n".join(map(str, items[-count:]))


@contextlib.contextmanager
def sockd(
    folder: Path,
    rules: str = LOOPBACK,
    *,
    passwords: Mapping[str, str] | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
    workers: int = 1,
    settings: Toml | None = None,
    routes: str | None = None,
    prefix: Sequence[str] = (),
    descriptors: int | None = None,
) -> Iterator[Sockd]:
    """A daemon that is ready for connections; ended and checked on leaving.

    ``addresses`` empty: ``settings`` say where it listens. ``routes`` is the text of a sockd.route. ``settings`` adds
    to or replaces keys of gateway.toml by section; ``prefix`` is a command that runs another one, such as ``ip netns
    exec NAME``; ``descriptors`` is its RLIMIT_NOFILE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, rules, passwords, addresses, workers, settings or {}, routes)
    limit = ("prlimit", f"--nofile={descriptors}:{descriptors}") if descriptors else ()
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, *limit, PROGRAM, "-d", "-f", str(folder / "gateway.toml")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    daemon = Sockd(folder, process)
    try:
        daemon.endpoints = _wait_ready(daemon)
        yield daemon
    except BaseException:
        daemon.kill()
        raise
    daemon.stop()


def _wait_ready(daemon: Sockd) -> list[tuple[str, int]]:
    eventually(lambda: _READY.search(daemon.stderr()) or daemon.process.poll() is not None, within=30)
    ready = _READY.search(daemon.stderr())
    assert ready, f"sockd did not become ready (status {daemon.process.poll()}):\n{daemon.stderr()}"
    pairs = (endpoint.rpartition(":") for endpoint in ready["endpoints"].split(", "))
    return [(host.strip("[]"), int(port)) for host, _, port in pairs if port.isdecimal()]


def write_files(
    folder: Path,
    rules: str,
    passwords: Mapping[str, str] | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
    workers: int = 1,
    settings: Toml | None = None,
    routes: str | None = None,
) -> Path:
    """Write gateway.toml, sockd.conf and the passwords file into a folder; returns the path of the first."""
    tables: dict[str, dict[str, object]] = {
        "internal": {"port": 0} | ({"addresses": list(addresses)} if addresses else {}),
        "files": {"access": "sockd.conf"},
        "sockd": {"workers": workers},
        "control": {"socket": "control.sock"},
        "log": {"classic": str(folder / "sockd.log"), "json": str(folder / "sockd.json")},
    }
    (folder / "sockd.conf").write_text(rules)
    if passwords is not None:
        tables["files"]["passwords"] = "passwords"
        lines = (password_entry(user, secret) for user, secret in passwords.items())
        (folder / "passwords").write_text("".join(lines))
        (folder / "passwords").chmod(0o600)
    if routes is not None:
        tables["files"]["routes"] = "sockd.route"
        (folder / "sockd.route").write_text(routes)
    for section, values in (settings or {}).items():
        tables.setdefault(section, {}).update(values)
    (folder / "gateway.toml").write_text(_toml(tables))
    return folder / "gateway.toml"


def _toml(tables: Toml) -> str:
    """TOML of plain tables, whose values may be lists of tables."""
    return "".join(
        f"[{section}]\n" + "".join(f"{key} = {_toml_value(value)}\n" for key, value in values.items())
        for section, values in tables.items()
    )


def _toml_value(value: object) -> str:
    """A string, number or list of these is written as JSON writes it; a table on one line is not."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_toml_value(below)}' for key, below in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value)


def password_entry(user: str, secret: str) -> str:
    """A line of the passwords file, made here with the standard library alone."""
    salt = hashlib.sha256(user.encode()).digest()[:16]
    made = hashlib.scrypt(secret.encode(), salt=salt, n=1 << 14, r=8, p=1, maxmem=1 << 26)
    return f"{user}:$scrypt$ln=14,r=8,p=1${_base64(salt)}${_base64(made)}\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def run_sockd(*arguments: str, prefix: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """Run ``sockd`` to its end, within 30 s, and return what it said; for the starts that must not succeed."""
    command = [*prefix, PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done
