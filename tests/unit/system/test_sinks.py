"""Where lines go: files that fill up and are rotated, pipes nobody reads, syslogd and journald that come and go."""

import contextlib
import fcntl
import os
import re
import resource
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.settings import LogSettings
from gateway.errors import StartError
from gateway.system.journal import Journal
from gateway.system.sinks import (
    LOG_FLAGS,
    LOG_MODE,
    SYSLOG_BYTES,
    FileSink,
    JournaldSink,
    SyslogSink,
    Targets,
    file_targets,
    open_sink,
)
from tests.support.logs import HEAD, NOW, Desk, Journald, Syslogd, hang_up, record

# Real files and pipes


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "sockd.log"
    path.write_text("before\n")
    sink = open_sink(str(path))
    assert isinstance(sink, FileSink)
    Journal(sink, None, wall=lambda: NOW).line("after")
    assert path.read_text() == f"before\n{HEAD}after\n"
    os.close(sink.fd)


def test_a_new_file_is_not_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "sockd.log"
    before = os.umask(0)
    try:
        sink = open_sink(str(path))
    finally:
        os.umask(before)
    assert isinstance(sink, FileSink)
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
    assert not os.get_inheritable(sink.fd)
    os.close(sink.fd)


def test_the_names_of_targets() -> None:
    assert open_sink("none") is None
    assert isinstance(open_sink("syslog"), SyslogSink)
    assert isinstance(open_sink("journald"), JournaldSink)
    for word in ("stderr", "stdout"):
        sink = open_sink(word)
        assert isinstance(sink, FileSink)
        assert sink.name == word


@pytest.mark.parametrize(
    ("classic", "records", "expected"),
    [
        pytest.param("syslog", "none", (None, None), id="words"),
        pytest.param("journald", "stdout", (None, None), id="other words"),
        pytest.param("/a", "stderr", ("/a", None), id="the classic log"),
        pytest.param("none", "/b", (None, "/b"), id="the records"),
        pytest.param("/a", "/b", ("/a", "/b"), id="both"),
    ],
)
def test_the_files_among_the_targets(classic: str, records: str, expected: tuple[str | None, str | None]) -> None:
    assert file_targets(LogSettings(classic=classic, json=records)) == Targets(*expected)


def test_a_target_that_can_not_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StartError) as caught:
        open_sink(str(tmp_path / "missing" / "log"))
    assert str(caught.value) == f"{tmp_path}/missing/log: cannot open the log: No such file or directory"
    with pytest.raises(StartError, match="Is a directory"):
        open_sink(str(tmp_path))


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    desk = Desk(FileSink(fd))
    for _ in range(3):
        desk.journal.line("x")
        desk.schedule.pass_time()
    os.close(fd)


FILLS_UP = """
import os, resource, sys
from gateway.system.journal import FileSink, Journal
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
journal = Journal(FileSink(fd), None, wall=lambda: 1767323045.678, syslog="/nonexistent/log")
later = []
journal.attach(lambda seconds, function: later.append(function))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(40):
    journal.line(f"line {number:04d}")
journal.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.line("space again")
journal.flush()
"""


def test_a_disk_that_fills_up_within_a_flush_leaves_whole_lines_and_a_true_count(tmp_path: Path) -> None:
    """A regular file takes a part of what is written when the space ends within it (write(2))."""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", FILLS_UP, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = path.read_text().splitlines()
    assert texts[-1].endswith("]: space again")
    whole = [line for line in texts if re.fullmatch(r"2026-01-02T03:04:05Z sockd\[\d+\]: line \d{4}", line)]
    lost = [int(found[1]) for line in texts if (found := re.search(r"(\d+) lines were lost", line))]
    assert len(whole) + sum(lost) == 40
    torn = [line for line in texts if line.count("2026-01-02T") > 1]
    assert torn == [], "a line was glued to the rest of a torn one"


class SmallPipe:
    """A pipe of the smallest size; what is read from it, and a sink that writes to it."""

    def __init__(self, capacity: int = 4096) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, capacity)
        os.set_blocking(self.reader, False)
        self.sink = FileSink(self.writer)

    def read(self) -> bytes:
        """Everything that is in it now."""
        data = b""
        try:
            while piece := os.read(self.reader, 1 << 16):
                data += piece
        except BlockingIOError:
            pass
        return data

    def close(self) -> None:
        """Both ends."""
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[SmallPipe]:
    made = SmallPipe()
    yield made
    made.close()


def test_a_full_pipe_never_blocks_and_loses_nothing_that_fits_the_queue(pipe: SmallPipe) -> None:
    desk = Desk(pipe.sink)
    written = [f"line {number:04d} {'x' * 200}" for number in range(200)]
    started = time.monotonic()
    for index, text in enumerate(written):
        desk.journal.line(text)
        if index % 20 == 19:
            desk.schedule.pass_time()
    assert time.monotonic() - started < 5, "the data path waited for a reader"
    seen = b""
    for _ in range(1000):
        seen += pipe.read()
        if not desk.schedule.waiting:
            break
        desk.schedule.pass_time()
    seen += pipe.read()
    assert [line.split("]: ", 1)[1] for line in seen.decode().splitlines()] == written


def test_what_a_pipe_does_not_take_is_delivered_or_counted(pipe: SmallPipe) -> None:
    desk = Desk(pipe.sink)
    for number in range(500):
        desk.journal.line(f"line {number:04d} {'x' * 100}")
    desk.schedule.pass_time()
    seen = b""
    for _ in range(2000):
        seen += pipe.read()
        if not desk.schedule.waiting:
            break
        desk.schedule.pass_time()
    desk.journal.line("the last one")
    for _ in range(3):
        desk.schedule.pass_time()
        seen += pipe.read()
    texts = seen.decode().splitlines()
    whole = [line for line in texts if re.fullmatch(re.escape(HEAD) + r"line \d{4} x{100}", line)]
    lost = [int(found[1]) for line in texts if (found := re.search(r"(\d+) lines were lost", line))]
    assert len(whole) + sum(lost) == 500
    assert texts[-1].endswith("]: the last one")


def test_a_reader_that_is_slow_but_reads_does_not_slow_the_data_path_down(pipe: SmallPipe) -> None:
    stopped = threading.Event()

    def read_slowly() -> None:
        while not stopped.wait(0.2):
            with contextlib.suppress(BlockingIOError):
                os.read(pipe.reader, 4096)

    thread = threading.Thread(target=read_slowly, daemon=True)
    thread.start()
    desk = Desk(pipe.sink)
    for _ in range(400):
        desk.journal.line("x" * 200)
    started = time.monotonic()
    desk.schedule.pass_time()
    took = time.monotonic() - started
    stopped.set()
    thread.join()
    assert took < 2, "to wait for the reader takes four seconds"


class AlwaysWritable:
    """A poll(2) whose answer is out of date: another process has filled the pipe meanwhile."""

    def register(self, fd: int, _events: int = 0) -> None:
        self._fd = fd

    def poll(self, _timeout: float = 0) -> list[tuple[int, int]]:
        return [(self._fd, select.POLLOUT)]


def test_a_pipe_that_another_process_has_just_filled_never_blocks(
    pipe: SmallPipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers share their standard error; between the look and the writing each other one may write."""
    monkeypatch.setattr(select, "poll", AlwaysWritable)
    sink = FileSink(pipe.writer)
    assert sink.put(b"x" * 4096)
    thread = threading.Thread(target=sink.put, args=(b"y" * 100,), daemon=True)
    thread.start()
    thread.join(5)
    blocked = thread.is_alive()
    pipe.read()
    thread.join()
    assert not blocked


def test_a_pipe_whose_reader_is_gone_costs_lines_only() -> None:
    reader, writer = os.pipe()
    desk = Desk(FileSink(writer))
    os.close(reader)
    for _ in range(3):
        desk.journal.line("x")
        desk.schedule.pass_time()
    os.close(writer)


ANOTHERS = """
import os, sys
from gateway.system.journal import FileSink, Journal
reader, writer = os.pipe()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
Journal(FileSink(writer), None, wall=lambda: 1767323045.678).line("seen")
sys.stdout.write(os.read(reader, 1000).decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; run it as root")
def test_a_pipe_that_another_user_made_can_be_written_to() -> None:
    """``sudo -u gateway sockd -d 2>&1 | tee log``, and most containers: what is open can not be opened again."""
    done = subprocess.run([sys.executable, "-c", ANOTHERS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("]: seen\n")


def test_a_socket_is_written_to_by_a_descriptor_of_the_sinks_own() -> None:
    """Whoever gave it may close it, before and after the sink is closed."""
    reader, writer = socket.socketpair()
    with reader:
        with writer:
            sink = FileSink(writer.fileno())
        assert sink.put(b"x\n")
        assert reader.recv(10) == b"x\n"
        sink.close()
        assert reader.recv(10) == b"", "nobody has the other end any more"


# Files that are opened again


class Rotated:
    """A log file that is moved away; a sink that has it open."""

    def __init__(self, folder: Path) -> None:
        self.path, self.old = folder / "log", folder / "log.1"
        self.sink = FileSink(self._open(), str(self.path))

    def _open(self) -> int:
        return os.open(self.path, LOG_FLAGS, LOG_MODE)

    def rotate(self) -> int:
        """As logrotate(8) and then the daemon do it; what `FileSink.reopen` returns."""
        self.path.rename(self.old)
        return self.sink.reopen(self._open())


@pytest.fixture
def rotated(tmp_path: Path) -> Iterator[Rotated]:
    made = Rotated(tmp_path)
    yield made
    made.sink.close()


class Limit:
    """The size that files may have, as a full disk that is no disk: what does not fit is not written (EFBIG)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def __enter__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def test_after_reopening_lines_go_to_the_new_file_by_the_same_descriptor(rotated: Rotated) -> None:
    before, fd = len(os.listdir("/proc/self/fd")), rotated.sink.fd
    assert rotated.sink.put(b"old\n")
    assert rotated.rotate() == 0
    assert rotated.sink.put(b"new\n")
    assert (rotated.old.read_bytes(), rotated.path.read_bytes()) == (b"old\n", b"new\n")
    assert (rotated.sink.fd, len(os.listdir("/proc/self/fd"))) == (fd, before)
    assert not os.get_inheritable(fd)


def test_a_line_that_was_half_written_is_finished_in_the_old_file_if_it_can_be(rotated: Rotated) -> None:
    with Limit(6):
        assert rotated.sink.put(b"one\ntwo\nthree\n")
    assert rotated.path.read_bytes() == b"one\ntw"
    assert rotated.rotate() == 0
    rotated.sink.put(b"new\n")
    assert (rotated.old.read_bytes(), rotated.path.read_bytes()) == (b"one\ntwo\nthree\n", b"new\n")


@pytest.mark.parametrize(
    ("size", "lost", "old", "new"),
    [
        pytest.param(3, 1, b"one", b"two\nthree\nnew\n", id="all but its end"),
        pytest.param(4, 0, b"one\n", b"two\nthree\nnew\n", id="exactly a line"),
        pytest.param(5, 1, b"one\nt", b"three\nnew\n", id="one byte of the next"),
        pytest.param(13, 1, b"one\ntwo\nthree", b"new\n", id="all but the last end"),
    ],
)
def test_a_line_that_can_not_be_finished_is_lost_and_the_whole_ones_after_it_are_not(
    rotated: Rotated, size: int, lost: int, old: bytes, new: bytes
) -> None:
    with Limit(size):
        assert rotated.sink.put(b"one\ntwo\nthree\n")
        assert rotated.rotate() == lost
    assert rotated.sink.put(b"new\n")
    assert (rotated.old.read_bytes(), rotated.path.read_bytes()) == (old, new)


def test_a_rest_of_which_the_old_file_takes_a_part_again_is_torn_where_it_ends_now(rotated: Rotated) -> None:
    with Limit(5):
        assert rotated.sink.put(b"one\ntwo\nthree\nfour\n")
    with Limit(10):
        assert rotated.rotate() == 1
    rotated.sink.put(b"new\n")
    assert (rotated.old.read_bytes(), rotated.path.read_bytes()) == (b"one\ntwo\nth", b"four\nnew\n")


def test_a_pipe_has_nothing_to_be_opened_again(pipe: SmallPipe, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", LOG_FLAGS, LOG_MODE)
    assert pipe.sink.reopen(fd) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert pipe.sink.put(b"x\n")
    assert pipe.read() == b"x\n"


def test_a_descriptor_that_can_not_be_used_leaves_everything_as_it_was(rotated: Rotated) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        rotated.sink.reopen(1 << 20)
    assert rotated.sink.put(b"on\n")
    assert rotated.path.read_bytes() == b"on\n"


@pytest.fixture
def syslogd(tmp_path: Path) -> Iterator[Syslogd]:
    made = Syslogd(tmp_path / "log")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def desk(syslogd: Syslogd) -> Iterator[Desk]:
    sink = SyslogSink(syslogd.path)
    yield Desk(sink)
    hang_up(syslogd, sink)


# The host's syslog


def test_each_line_is_a_datagram_of_its_class(syslogd: Syslogd, desk: Desk) -> None:
    desk.journal.line("refused -- Connect")
    desk.journal.trouble("Unable to open userfile (/etc/x)")
    desk.schedule.pass_time()
    assert syslogd.read() == [(29, "refused -- Connect"), (27, "Unable to open userfile (/etc/x)")]


def test_an_error_that_a_fork_finds_waiting_leaves_no_mark_on_the_lines_of_the_child(
    syslogd: Syslogd, desk: Desk
) -> None:
    desk.journal.trouble("of the parent")
    desk.journal.attach(desk.schedule)
    desk.journal.line("of the child")
    desk.journal.trouble("an error of the child")
    desk.schedule.pass_time()
    assert syslogd.read() == [(29, "of the child"), (27, "an error of the child")]


@pytest.mark.parametrize(("facility", "priority"), [(0, 5), (3, 29), (16, 133), (23, 189)])
def test_the_facility(syslogd: Syslogd, facility: int, priority: int) -> None:
    sink = SyslogSink(syslogd.path)
    Journal(sink, None, facility, wall=lambda: NOW).line("x")
    assert syslogd.read() == [(priority, "x")]
    hang_up(syslogd, sink)


def test_a_restarted_syslogd_gets_every_line(syslogd: Syslogd, desk: Desk) -> None:
    desk.journal.line("before")
    desk.schedule.pass_time()
    assert syslogd.read() == [(29, "before")]
    syslogd.stop()
    for number in range(3):
        desk.journal.line(f"meanwhile {number}")
        desk.schedule.pass_time()
    syslogd.start()
    desk.schedule.pass_time()
    desk.schedule.pass_time()
    assert syslogd.read() == [(29, f"meanwhile {number}") for number in range(3)]


def test_a_host_without_syslogd_costs_nothing_but_lines(tmp_path: Path) -> None:
    desk = Desk(SyslogSink(str(tmp_path / "nothing")))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        desk.journal.line("x")
        desk.schedule.pass_time()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_syslogd_that_does_not_read_never_blocks_and_gets_it_later(syslogd: Syslogd, desk: Desk) -> None:
    started = time.monotonic()
    for number in range(2000):
        desk.journal.line(f"{number}")
    desk.schedule.pass_time()
    assert time.monotonic() - started < 5
    seen = []
    for _ in range(2000):
        seen += syslogd.read()
        if not desk.schedule.waiting:
            break
        desk.schedule.pass_time()
    seen += syslogd.read()
    assert [text for _, text in seen] == [f"{number}" for number in range(2000)]


def test_a_message_that_no_datagram_holds_is_cut(syslogd: Syslogd, desk: Desk) -> None:
    desk.journal.line("x" * 500_000)
    desk.journal.line("next")
    desk.schedule.pass_time()
    (_, long), (_, short) = syslogd.read()
    assert SYSLOG_BYTES - 100 < len(long) < SYSLOG_BYTES
    assert short == "next"


# The host's journald


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    made = Journald(tmp_path / "socket")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def structured(journald: Journald) -> Iterator[Desk]:
    sink = JournaldSink(journald.path)
    yield Desk(sink)
    hang_up(journald, sink)


def test_a_line_is_an_entry_with_its_fields(journald: Journald, structured: Desk) -> None:
    structured.journal.line("ready")
    structured.journal.trouble("wan1 is down")
    structured.schedule.pass_time()
    common = {"SYSLOG_FACILITY": "3", "SYSLOG_IDENTIFIER": "sockd", "SYSLOG_PID": str(os.getpid())}
    assert journald.read() == [
        {"MESSAGE": "ready", "PRIORITY": "5"} | common,
        {"MESSAGE": "wan1 is down", "PRIORITY": "3"} | common,
    ]


def test_the_line_that_ends_a_session_carries_its_record(journald: Journald, structured: Desk) -> None:
    structured.journal.connected("connected -- M")
    structured.journal.terminated("terminated -- M", record(7))
    structured.schedule.pass_time()
    first, last = journald.read()
    assert not any(name.startswith("SOCKD_") for name in first)
    assert {name: value for name, value in last.items() if name.startswith("SOCKD_")} == {
        "SOCKD_TIME": "2026-01-02T03:04:05.678Z",
        "SOCKD_SESSION": "t-7",
        "SOCKD_CLIENT": "10.1.2.3:40000",
        "SOCKD_PROTOCOL": "socks4",
        "SOCKD_COMMAND": "connect",
        "SOCKD_USER": "fred",
        "SOCKD_AUTH": "none",
        "SOCKD_HOST": "203.0.113.9",
        "SOCKD_ADDRESS": "203.0.113.9",
        "SOCKD_PORT": "80",
        "SOCKD_EGRESS": "192.0.2.254:40001",
        "SOCKD_RULE": "sockd.conf:1",
        "SOCKD_REASON": "permitted by sockd.conf:1",
        "SOCKD_RESULT": "connected",
        "SOCKD_SENT": "1",
        "SOCKD_RECEIVED": "2",
        "SOCKD_SECONDS": "0.5",
        "SOCKD_END": "the client closed",
    }


@pytest.mark.parametrize("size", [1000, 500_000])
def test_an_entry_of_any_size_arrives(journald: Journald, structured: Desk, size: int) -> None:
    """What no datagram holds comes as a sealed file in memory."""
    before = len(os.listdir("/proc/self/fd"))
    structured.journal.line("x" * size)
    structured.journal.line("next")
    structured.schedule.pass_time()
    assert [entry["MESSAGE"] for entry in journald.read()] == ["x" * size, "next"]
    assert len(os.listdir("/proc/self/fd")) == before + 1, "the socket, and nothing besides"


def test_a_restarted_journald_gets_every_line(journald: Journald, structured: Desk) -> None:
    structured.journal.line("before")
    structured.schedule.pass_time()
    journald.read()
    journald.stop()
    for number in range(3):
        structured.journal.line(f"meanwhile {number}")
        structured.schedule.pass_time()
    journald.start()
    structured.schedule.pass_time()
    structured.schedule.pass_time()
    assert [entry["MESSAGE"] for entry in journald.read()] == [f"meanwhile {number}" for number in range(3)]


def test_a_journald_that_does_not_read_never_blocks_and_gets_it_later(journald: Journald, structured: Desk) -> None:
    for number in range(2000):
        structured.journal.line(f"{number}")
    structured.schedule.pass_time()
    seen = []
    for _ in range(2000):
        seen += journald.read()
        if not structured.schedule.waiting:
            break
        structured.schedule.pass_time()
    assert [entry["MESSAGE"] for entry in seen] == [f"{number}" for number in range(2000)]
