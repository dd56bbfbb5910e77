"""Other files in the real daemon: all processes take them, or none does, whatever state they are in just then."""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Drain, Filter, Reload, Sessions, Status, encode_request
from gateway.daemon.reloading import MAX_NOTES
from tests.support import proc
from tests.support.daemon import LOOPBACK, Sockd, sockd, write_files
from tests.support.peers import Peer
from tests.support.rawsocks import Wire, read_reply4, socks4
from tests.support.waiting import eventually

DENY = "deny ALL ALL\n"
_INT = struct.Struct("i")

#: the kernel deals clients out to the workers by chance; of so many, each of two workers has some
CROWD = 40


def echo(connection: socket.socket) -> bytes | None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    return None


@pytest.fixture
def target() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


def is_served(daemon: Sockd, target: Peer) -> bool:
    with Wire(daemon.port) as wire:
        wire.send(socks4("127.0.0.1", target.port))
        if read_reply4(wire).code != 90:
            return False
        wire.send(b"ping")
        return wire.read(4) == b"ping"


def verdicts(daemon: Sockd, target: Peer) -> set[bool]:
    """Whether each of a crowd is served."""
    return {is_served(daemon, target) for _ in range(CROWD)}


def rules(daemon: Sockd, text: str) -> None:
    (daemon.folder / "sockd.conf").write_text(text)


def operator(daemon: Sockd) -> ControlClient:
    """One who has all the time of the world, and was answered already."""
    client = ControlClient.connect(str(daemon.folder / "control.sock"), 60.0)
    client.ask(Status())
    return client


def reload(daemon: Sockd, *, recheck: bool = False) -> Any:
    """What it answers. Raises ControlError."""
    with operator(daemon) as client:
        return client.ask(Reload(recheck))[1]


def report(daemon: Sockd) -> Any:
    return daemon.control(Status())[1]


def worker(daemon: Sockd, number: int) -> int:
    """The process of a worker; 0: there is none."""
    found = [pid for pid in daemon.workers if proc.name(pid) == f"sockd: worker {number}"]
    return found[0] if found else 0


class Altered:
    """A daemon that does something else, in a child, for as long as a sign is given."""

    def __init__(self, folder: Path, program: str) -> None:
        self._sign, path = folder / "sign", folder / "altered.py"
        self._sign.touch()
        opened = f"sign = os.open({str(self._sign)!r}, os.O_RDONLY)"
        start = "from gateway.cli.sockd import main\nmain(sys.argv[2:])"
        path.write_text(f"import os, socket, sys, time\n{opened}\n{program}\n{start}\n")
        #: a command before ``sockd``
        self.prefix: Sequence[str] = (sys.executable, str(path))

    def begin(self, words: str = "now") -> None:
        self._sign.write_text(words)

    def end(self) -> None:
        self._sign.write_text("")


# Somebody who can not be reached


def ask_and_leave(daemon: Sockd, size: int, times: int) -> None:
    """Operators who ask for sessions and do not wait for the answer."""
    request = encode_request(Sessions(Filter(user="u" * size)))
    for _ in range(times):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(daemon.folder / "control.sock"))
            sock.sendall(request)
    daemon.control(Status())


@pytest.mark.parametrize(
    ("size", "times"),
    [pytest.param(60_000, 12, id="a full channel, or eight questions"), pytest.param(1, 12, id="eight questions")],
)
def test_a_worker_that_is_stopped_and_takes_no_more_questions_keeps_the_old_files_as_all_do(
    tmp_path: Path, target: Peer, size: int, times: int
) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        before, stopped = report(daemon), worker(daemon, 1)
        os.kill(stopped, signal.SIGSTOP)
        ask_and_leave(daemon, size, times)
        rules(daemon, DENY)
        with pytest.raises(ControlError, match=r"worker 1: (owes other answers|can not be reached \(EAGAIN\))"):
            reload(daemon)
        os.kill(stopped, signal.SIGCONT)
        assert report(daemon)["configuration"] == before["configuration"]
        assert "the last reload was refused" in str(report(daemon)["troubles"])
        assert verdicts(daemon, target) == {True}
        assert worker(daemon, 1) == stopped

        def is_done() -> bool:
            with contextlib.suppress(ControlError):
                return bool(reload(daemon)["changed"])
            return False

        assert eventually(is_done)
        assert verdicts(daemon, target) == {False}
        assert worker(daemon, 1) == stopped
        assert report(daemon)["troubles"] == []


CROWDED = """
from gateway.daemon.reloading import Reloading
real = Reloading.run
def run(self, *, recheck):
    taken, room = [], os.fstat(sign).st_size - 1
    try:
        while room >= 0:
            taken.append(os.dup(sign))
    except OSError:
        for _ in range(room):
            os.close(taken.pop())
    try:
        return real(self, recheck=recheck)
    finally:
        for one in taken:
            os.close(one)
Reloading.run = run
"""
"""While a reload is under way the first process has room for so many descriptors as the sign has letters, less one."""


def test_without_descriptors_a_reload_is_refused_or_done_and_nobody_ends(tmp_path: Path, target: Peer) -> None:
    crowded = Altered(tmp_path, CROWDED)
    with sockd(tmp_path, workers=2, prefix=("prlimit", "--nofile=256:256", *crowded.prefix)) as daemon:
        family = proc.tree(daemon.pid)
        outcomes = []
        for room in range(6):
            rules(daemon, LOOPBACK + f"# text {room}\n")
            crowded.begin("x" * (room + 1))
            outcomes.append(outcome(daemon))
            assert proc.tree(daemon.pid) == family
            assert verdicts(daemon, target) == {True}
        assert (outcomes[0], outcomes[-1]) == ("Too many open files", "done")
        assert set(outcomes) == {"Too many open files", "done"}
        crowded.end()
        rules(daemon, DENY)
        reload(daemon)
        assert verdicts(daemon, target) == {False}
        assert proc.tree(daemon.pid) == family


def outcome(daemon: Sockd) -> str:
    """Of a reload."""
    try:
        reload(daemon)
    except ControlError as error:
        return "Too many open files" if "Too many open files" in str(error) else str(error)
    return "done"


def test_reloads_that_are_asked_for_at_once_are_done_as_one(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=2) as daemon, Wire(daemon.port) as wire:
        wire.send(socks4("127.0.0.1", target.port))
        assert read_reply4(wire).code == 90
        rules(daemon, DENY)
        with operator(daemon) as first, operator(daemon) as second, ThreadPoolExecutor() as pool:
            os.kill(daemon.pid, signal.SIGSTOP)
            asked = [pool.submit(first.ask, Reload()), pool.submit(second.ask, Reload(recheck=True))]
            sent = [one._sock.fileno() for one in (first, second)]
            assert eventually(lambda: all(waits_for_reader(fileno) for fileno in sent))
            os.kill(daemon.pid, signal.SIGCONT)
            answers = [one.result(30)[1] for one in asked]
        assert answers[0] == answers[1]
        assert answers[0]["ended"] == 1, "one of them wanted that"
        assert wire.end_of_peer() in ("reset", "fin")
        assert daemon.log().count("reloaded -- ") == 1


def waits_for_reader(fileno: int) -> bool:
    """Whether what was written into a stream is still on its way (unix(7), SIOCOUTQ)."""
    return bool(_INT.unpack(fcntl.ioctl(fileno, termios.TIOCOUTQ, bytes(_INT.size)))[0])


HOLD = """
import gateway.daemon.adoption as adoption
beat = os.open({beat!r}, os.O_WRONLY | os.O_APPEND)
real = adoption.reproduce
def reproduce(*arguments):
    os.write(beat, b"x")
    while os.fstat(sign).st_size:
        time.sleep(0.01)
    return real(*arguments)
adoption.reproduce = reproduce
"""
"""Nobody can read other files before the sign is taken away; whoever would says so by a letter."""


def test_a_worker_that_dies_during_a_reload_is_there_again_before_its_end_and_has_the_new_files_after_it(
    tmp_path: Path, target: Peer
) -> None:
    beat = tmp_path / "beat"
    beat.touch()
    held = Altered(tmp_path, HOLD.format(beat=str(beat)))
    with sockd(tmp_path, workers=2, prefix=held.prefix) as daemon, ThreadPoolExecutor() as pool:
        victim = worker(daemon, 1)
        rules(daemon, DENY)
        held.begin()
        asked = pool.submit(reload, daemon)
        try:
            assert eventually(lambda: len(beat.read_text()) == 3), "helper and workers read the files"
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: worker(daemon, 1) not in (0, victim))
            assert verdicts(daemon, target) == {True}
            assert not asked.done()
        finally:
            held.end()
        assert asked.result(30)["changed"]
        assert eventually(lambda: worker(daemon, 1))
        assert eventually(lambda: not verdicts(daemon, target) - {False})
        assert report(daemon)["troubles"] == []


def test_while_files_are_loaded_again_and_again_the_dead_come_back_and_the_end_is_heard(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=2) as daemon:
        ended = threading.Event()

        def again_and_again() -> None:
            while not ended.is_set():
                with contextlib.suppress(ControlError):
                    reload(daemon)

        threads = [threading.Thread(target=again_and_again) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert eventually(lambda: daemon.log().count("reloaded -- ") > 3)
            victim = worker(daemon, 1)
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda: worker(daemon, 1) not in (0, victim))
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.process.wait(30) == 0
        finally:
            ended.set()
            for thread in threads:
                thread.join()


# What else a reload does, and does not


def test_more_warnings_than_anybody_reads_are_cut(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=1) as daemon:
        rules(daemon, "permit 10.0.0.0/8 ALL\n" * (MAX_NOTES + 1))
        notes = reload(daemon)["notes"]
        assert len(notes) == MAX_NOTES
        assert all("this line never matches" in note for note in notes)
        rules(daemon, "permit 10.0.0.0/8 ALL\n" * (MAX_NOTES + 8))
        notes = reload(daemon)["notes"]
        assert len(notes) == MAX_NOTES + 1
        assert notes[-1] == "and 7 more; sockd -n lists them"
        assert all("this line never matches" in note for note in notes[:-1])
        daemon.wait_log("and 7 more; sockd -n lists them")
        assert daemon.log().count("this line never matches") == 2 * MAX_NOTES


def test_of_more_mistakes_than_anybody_reads_the_first_are_in_the_log(tmp_path: Path) -> None:
    with sockd(tmp_path, workers=1) as daemon:
        rules(daemon, "permt ALL ALL\n" * (MAX_NOTES + 5))
        with pytest.raises(ControlError, match=r"sockd\.conf:55"):
            reload(daemon)
        daemon.wait_log(f"sockd.conf:{MAX_NOTES}:")
        assert daemon.log().count("reload refused: ") == MAX_NOTES


def test_a_reload_while_it_drains_lets_nobody_in_again(tmp_path: Path, target: Peer) -> None:
    with sockd(tmp_path, workers=2) as daemon, Wire(daemon.port) as wire, ThreadPoolExecutor() as pool:
        wire.send(socks4("127.0.0.1", target.port))
        assert read_reply4(wire).code == 90
        drained = pool.submit(daemon.control, Drain(0.0))
        daemon.wait_log("draining -- nobody is accepted any more")
        assert eventually(lambda: is_refused(daemon))
        reload(daemon)
        found = report(daemon)
        assert (found["draining"], found["listening"]) == (True, [])
        assert is_refused(daemon)
        wire.send(b"ping")
        assert wire.read(4) == b"ping"
        wire.socket.close()
        drained.result(30)
        assert daemon.process.wait(30) == 0


def is_refused(daemon: Sockd) -> bool:
    try:
        socket.create_connection(("127.0.0.1", daemon.port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_folder_that_is_a_link_may_lead_elsewhere_from_one_reload_to_the_next(tmp_path: Path, target: Peer) -> None:
    for release in ("r1", "r2"):
        (tmp_path / release).mkdir()
    current = tmp_path / "current"
    current.symlink_to("r1")
    with sockd(current, workers=2) as daemon:
        text = (current / "gateway.toml").read_text()
        (tmp_path / "r2" / "gateway.toml").write_text(text)
        (tmp_path / "r2" / "sockd.conf").write_text(DENY)
        (tmp_path / "next").symlink_to("r2")
        (tmp_path / "next").rename(current)
        daemon.folder = tmp_path / "r1"
        assert reload(daemon)["changed"]
        assert verdicts(daemon, target) == {False}
        (tmp_path / "next").symlink_to("r1")
        (tmp_path / "next").rename(current)
        assert reload(daemon)["changed"]
        assert verdicts(daemon, target) == {True}
        daemon.folder = current


# Commands of the workers that were taken over


SHUT = """
import gateway.daemon.worker as module
beat = os.open({beat!r}, os.O_WRONLY | os.O_APPEND)
real = module.Worker._follow
def follow(self, orders, descriptors):
    real(self, orders, descriptors)
    if self._post.number == 1 and os.fstat(sign).st_size:
        self._post.commands.shutdown(socket.SHUT_RDWR)
        os.write(beat, b"x")
module.Worker._follow = follow
"""
"""The first worker silences itself when it gets orders, and says so by a letter."""


def test_a_worker_that_shuts_its_way_to_the_helper_down_silences_nobody_else(tmp_path: Path, target: Peer) -> None:
    said = tmp_path / "said"
    said.touch()
    said.chmod(0o666)
    beat = tmp_path / "beat"
    beat.touch()
    altered = Altered(tmp_path, SHUT.format(beat=str(beat)))
    line = f"permit 127.0.0.0/8 127.0.0.0/8 : echo %p >> {said}\n"
    with entered_by_all(tmp_path), sockd(tmp_path, line, workers=2, prefix=altered.prefix) as daemon:
        first, second = daemon.workers
        altered.begin()
        reload(daemon)
        assert eventually(beat.read_text)
        assert verdicts(daemon, target) == {True}
        assert eventually(lambda: str(second) in said.read_text().split())
        daemon.wait_log("the helper does not take it: Broken pipe")
        assert str(first) not in said.read_text().split()
        altered.end()
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: worker(daemon, 1) not in (0, first))

        def is_heard() -> bool:
            verdicts(daemon, target)
            return str(worker(daemon, 1)) in said.read_text().split()

        assert eventually(is_heard)


@contextlib.contextmanager
def entered_by_all(folder: Path) -> Iterator[None]:
    """The account of the helper comes to this folder, which only its owner may enter otherwise."""
    closed = [one for one in (folder, *folder.parents) if one.stat().st_uid == os.geteuid() and one != Path("/")]
    modes = {one: one.stat().st_mode & 0o7777 for one in closed if not one.stat().st_mode & 0o001}
    for one, mode in modes.items():
        one.chmod(mode | 0o001)
    try:
        yield
    finally:
        for one, mode in modes.items():
            one.chmod(mode)


# What happens while a reload waits


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[tuple[Sockd, Callable[[], "contextlib.AbstractContextManager[Future[str]]"]]]:
    """A daemon, and how to have a reload that waits for as long as a block takes."""
    beat = folder / "beat"
    beat.touch()
    held = Altered(folder, HOLD.format(beat=str(beat)))

    @contextlib.contextmanager
    def waiting() -> Iterator["Future[str]"]:
        held.begin()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(outcome, daemon)
            try:
                assert eventually(lambda: len(beat.read_text()) == 3), "helper and workers read the files"
                yield future
            finally:
                held.end()

    with sockd(folder, workers=2, prefix=held.prefix) as daemon:
        yield daemon, waiting


def process(daemon: Sockd, name: str) -> Any:
    """How the daemon reports it."""
    return next(one for one in report(daemon)["processes"] if one["name"] == name)


def test_who_is_born_while_a_reload_waits_holds_nothing_of_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with holding(tmp_path) as (daemon, waiting):
        before = process(daemon, "watcher")["pid"]
        write_files(tmp_path, LOOPBACK, workers=2, settings={"internal": {"port": port}})
        with waiting() as future:
            os.kill(before, signal.SIGKILL)
            assert eventually(lambda: process(daemon, "watcher")["pid"] not in (0, before))
            born = process(daemon, "watcher")["pid"]
            listening = socket_inodes(port)
            assert listening
            held = {os.readlink(f"/proc/{born}/fd/{number}") for number in os.listdir(f"/proc/{born}/fd")}
            assert not any("memfd:sockd" in name for name in held)
            assert not held & listening
        assert future.result() == "done"
        with socket.create_connection(("127.0.0.1", port)):
            pass


def socket_inodes(port: int) -> set[str]:
    """Those that listen on a port of 127.0.0.1, as /proc/PID/fd names them (proc_net(5), tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{words[9]}]" for words in lines if words[1].endswith(f":{port:04X}") and words[3] == "0A"}


def test_a_worker_that_is_born_while_a_reload_waits_keeps_its_sessions(tmp_path: Path, target: Peer) -> None:
    with holding(tmp_path) as (daemon, waiting), contextlib.ExitStack() as stack:
        rules(daemon, f"# new\n{LOOPBACK}")
        with waiting() as future:
            before = worker(daemon, 1)
            os.kill(before, signal.SIGKILL)
            assert eventually(lambda: worker(daemon, 1) not in (0, before))
            born = worker(daemon, 1)
            wires = [stack.enter_context(session(daemon, target)) for _ in range(CROWD)]
        assert future.result() == "done"
        assert worker(daemon, 1) == born
        assert all(map(still_served, wires))


def session(daemon: Sockd, target: Peer) -> Wire:
    wire = Wire(daemon.port)
    wire.send(socks4("127.0.0.1", target.port))
    assert read_reply4(wire).code == 90
    return wire


def still_served(wire: Wire) -> bool:
    wire.send(b"ping")
    return wire.read(4) == b"ping"


def test_a_drain_does_not_wait_for_a_reload_that_waits(tmp_path: Path) -> None:
    with holding(tmp_path) as (daemon, waiting):
        with waiting() as future, operator(daemon) as client:
            client.ask(Drain(0.5))
            assert "being ended" in future.result()
            daemon.wait_log("drained -- time is up")
        assert daemon.process.wait(30) == 0
