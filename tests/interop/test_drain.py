"""Ending without ending anybody: nobody is accepted any more, and the last session's end is the daemon's."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.control.client import ControlClient, connected
from gateway.control.protocol import ControlError, Drain, Filter, Kill, Reload, Status
from tests.support import proc
from tests.support.crowd import Crowd
from tests.support.daemon import LOOPBACK, Sockd, sockd, write_files
from tests.support.peers import Peer, closed_port, echo
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

QUIET = 2.2
"""Seconds for which nobody must be there before it ends."""


class Drainer:
    """An operator who waits for the end of a drain; a context manager."""

    def __init__(self, daemon: Sockd, timeout: float = 0.0) -> None:
        self.rows: list[int] = []
        #: what ended the answer
        self.done: Any = None
        self.error = ""
        self._sock = connected(str(daemon.folder / "control.sock"), 10)
        self._client = ControlClient(self._sock)
        self._timeout = timeout
        self._thread = threading.Thread(target=self._wait)

    def __enter__(self) -> "Drainer":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._sock.shutdown(socket.SHUT_RDWR)  # a test that has failed waits for nothing
        self._thread.join(30)
        self._client.close()

    def _wait(self) -> None:
        try:
            for row in self._client.rows(Drain(timeout=self._timeout)):
                self.rows.append(row["sessions"])
            self.done = self._client.done
        except ControlError as error:
            self.error = str(error)


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Sockd]:
    """On a port of its own, so that the files can be loaded again."""
    with closed_port() as port:
        pass
    with sockd(tmp_path, workers=2, settings={"internal": {"port": port}}) as running:
        yield running


def opened(daemon: Sockd, target: Peer) -> Wire:
    wire = Wire(daemon.port)
    assert connect5(wire, "127.0.0.1", target.port).code == 0
    return wire


def echoes(wire: Wire) -> bool:
    try:
        wire.send(b"ping")
        return wire.read(4) == b"ping"
    except OSError:
        return False


def is_closed(daemon: Sockd) -> bool:
    try:
        Wire(daemon.port, timeout=2).socket.close()
    except ConnectionRefusedError:
        return True
    return False


def is_draining(daemon: Sockd) -> bool:
    return bool(daemon.control(Status())[1]["draining"])


def test_a_drain_waits_for_the_sessions_reports_them_and_ends_with_status_0(daemon: Sockd, target: Peer) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(opened(daemon, target)) for _ in range(5)]
        drainer = stack.enter_context(Drainer(daemon))
        assert eventually(lambda: is_closed(daemon))
        assert eventually(lambda: 5 in drainer.rows)
        assert is_draining(daemon)
        assert "draining" in proc.public_bytes(daemon.pid).decode(errors="replace")
        for left in (4, 3, 2, 1):
            wires.pop().socket.close()
            assert eventually(lambda wanted=left: drainer.rows[-1] == wanted)  # type: ignore[misc]
            assert all(map(echoes, wires))
        assert daemon.process.poll() is None
        time.sleep(0.2)
        assert daemon.process.poll() is None, "it waits for the last one"
        assert echoes(wires[0])
        wires[0].socket.close()
        assert daemon.process.wait(QUIET + 10) == 0
    assert (drainer.error, drainer.rows[-1], drainer.done) == ("", 0, {"sessions": 0})
    assert "drained -- the last session has ended" in daemon.log()
    assert sum(record["result"] == "connected" for record in daemon.records()) == 5
    assert "shutdown" not in {record["end"] for record in daemon.records()}


def test_a_drain_with_a_timeout_ends_what_is_left(daemon: Sockd, target: Peer) -> None:
    with opened(daemon, target) as wire, Drainer(daemon, timeout=1.5) as drainer:
        assert eventually(lambda: is_closed(daemon))
        assert echoes(wire)
        assert daemon.process.wait(15) == 0
        assert wire.end_of_peer() in ("fin", "reset")
    assert drainer.error == ""
    assert re.search(r"drained -- time is up, 1 session\S* \S+ ended", daemon.log())
    assert [record["end"] for record in daemon.records() if record["result"] == "connected"] == ["shutdown"]


def test_a_timeout_may_be_given_later_and_both_operators_hear_of_the_end(daemon: Sockd, target: Peer) -> None:
    with opened(daemon, target) as wire, Drainer(daemon) as first:
        assert eventually(lambda: 1 in first.rows)
        with Drainer(daemon, timeout=0.5) as second:
            assert daemon.process.wait(15) == 0
        assert wire.end_of_peer() in ("fin", "reset")
    assert (first.error, second.error) == ("", "")


def test_a_drain_of_a_daemon_without_sessions_ends_soon(daemon: Sockd) -> None:
    with Drainer(daemon) as drainer:
        assert daemon.process.wait(QUIET + 10) == 0
    assert (drainer.error, drainer.done) == ("", {"sessions": 0})


def test_a_session_that_has_just_begun_is_waited_for(daemon: Sockd) -> None:
    """The numbers that are looked at are a second old."""
    with Crowd(daemon.port, 20, pace=0.1, newcomers=False) as crowd, Drainer(daemon) as drainer:
        assert eventually(lambda: 20 in drainer.rows)
        assert crowd.goes_on()
        crowd.leave()
    assert crowd.faults == []
    assert daemon.process.wait(QUIET + 10) == 0


def test_other_files_during_a_drain_open_no_port_again(daemon: Sockd, target: Peer) -> None:
    with opened(daemon, target) as wire, Drainer(daemon):
        assert eventually(lambda: is_closed(daemon))
        addresses = ["127.0.0.1", "127.0.0.2"]
        for internal in ({}, {"addresses": addresses}, {"addresses": addresses, "port": daemon.port - 1}):
            settings = {"internal": {"port": daemon.port, **internal}}
            rules = LOOPBACK + f"# {sorted(internal)}\n"
            write_files(daemon.folder, rules, workers=2, settings=settings)
            assert daemon.control(Reload())[1]["changed"]
            assert is_draining(daemon)
            assert daemon.control(Status())[1]["listening"] == []
            assert is_closed(daemon)
        assert echoes(wire)
        daemon.control(Kill(Filter(session="*")))
        assert daemon.process.wait(QUIET + 10) == 0


def test_a_worker_that_dies_during_a_drain_comes_back_without_a_port(daemon: Sockd, target: Peer) -> None:
    with opened(daemon, target) as wire, Drainer(daemon):
        assert eventually(lambda: is_closed(daemon))
        before = daemon.workers
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert wire.end_of_peer() in ("fin", "reset")
        assert eventually(lambda: len(set(daemon.workers) - set(before)) == 2)
        assert is_closed(daemon)
        assert daemon.process.wait(QUIET + 10) == 0


def test_the_operators_own_end_does_not_end_the_drain(daemon: Sockd, target: Peer) -> None:
    with opened(daemon, target) as wire:
        with ControlClient.connect(str(daemon.folder / "control.sock")) as client:
            assert next(client.rows(Drain())) is not None
        assert eventually(lambda: is_closed(daemon))
        assert echoes(wire)
        assert is_draining(daemon)
    assert daemon.process.wait(QUIET + 10) == 0


def test_sockctl_waits_and_tells_how_many_are_left(daemon: Sockd, target: Peer) -> None:
    command = [str(Path(sys.executable).parent / "sockctl"), "drain", "-s", str(daemon.folder / "control.sock")]
    with opened(daemon, target) as wire:
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert asked.stdout is not None
        said = ""
        while "1 session" not in said:
            line = asked.stdout.readline()
            assert line, said
            said += line
        assert echoes(wire)
        wire.socket.close()
        assert daemon.process.wait(QUIET + 10) == 0
        rest, _ = asked.communicate(timeout=10)
    assert asked.returncode == 0, said + rest
