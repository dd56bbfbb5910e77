"""The daemon's logs: gathered, never blocking, and what is lost is counted and said."""

import contextlib
import errno
import fcntl
import json
import os
import re
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.errors import StartError
from gateway.session.record import Record, Result, json_lines
from gateway.system.journal import FLUSH_SECONDS, QUEUE_BYTES, FileSink, Journal, Sink, SyslogSink, open_sink

#: 2026-01-02 03:04:05.678 UTC
NOW = 1767323045.678
HEAD = f"2026-01-02T03:04:05Z sockd[{os.getpid()}]: "
SYSLOG = rf"<(\d+)>[A-Z][a-z]{{2}} [ 123]\d \d\d:\d\d:\d\d sockd\[{os.getpid()}\]: (.*)"


def record(number: int = 1) -> Record:
    return Record(
        "2026-01-02T03:04:05.678Z", f"t-{number:x}", "10.1.2.3:40000", "socks4", "connect", "fred", "none",
        "203.0.113.9", "203.0.113.9", 80, "192.0.2.254:40001", None, None,
        "sockd.conf:1", None, "permitted by sockd.conf:1",
        Result.CONNECTED, 1, 2, 0.5, "the client closed",
    )  # fmt: skip


class FakeSink:
    """Takes lines, refuses them, or is broken, as it is told."""

    chunk = 1 << 16

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.takes = True
        self.broken: OSError | None = None
        self.asked = 0

    def put(self, line: bytes) -> bool:
        """As `Sink`."""
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        if self.takes:
            self.taken.append(line)
        return self.takes

    @property
    def lines(self) -> list[str]:
        """The texts of the lines, without their heads."""
        return [line.split("]: ", 1)[1] for line in b"".join(self.taken).decode().splitlines()]


class Schedule:
    """Keeps what was asked for later."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, function: Callable[[], None]) -> None:
        self.waiting.append((seconds, function))

    def pass_time(self) -> None:
        """All of it happens now."""
        waiting, self.waiting = self.waiting, []
        for _, function in waiting:
            function()


class Desk:
    """A journal with a schedule, as a worker has it."""

    def __init__(self, classic: Sink | None = None, records: Sink | None = None) -> None:
        self.journal = Journal(classic, records, wall=lambda: NOW)
        self.schedule = Schedule()
        self.journal.attach(self.schedule)


# Words


def test_a_line_of_a_file() -> None:
    sink = FakeSink()
    Journal(sink, None, wall=lambda: NOW).line("refused -- Connect")
    assert sink.taken == [f"{HEAD}refused -- Connect\n".encode()]


@pytest.mark.parametrize(
    ("number", "stamp"),
    [
        pytest.param(NOW, "2026-01-02T03:04:05.678Z", id="some time"),
        pytest.param(1e9, "2001-09-09T01:46:40.000Z", id="a whole second"),
        pytest.param(1e9 + 0.9996, "2001-09-09T01:46:40.999Z", id="rounded down"),
    ],
)
def test_the_timestamp(number: float, stamp: str) -> None:
    assert Journal(None, None, wall=lambda: number).timestamp() == stamp


def test_the_timestamp_goes_with_the_clock() -> None:
    moments = iter((NOW, NOW, NOW + 0.001, NOW + 1.5, NOW - 10))
    journal = Journal(None, None, wall=lambda: next(moments))
    seconds = [journal.timestamp()[17:] for _ in range(5)]
    assert seconds == ["05.678Z", "05.678Z", "05.679Z", "07.178Z", "55.678Z"]


def test_lines_and_timestamps_of_one_second_agree() -> None:
    moments = [NOW]
    sink = FakeSink()
    journal = Journal(sink, None, wall=lambda: moments[0])
    for later in (0.0, 0.1, 1.0, 1.0, 59.0):
        moments[0] += later
        journal.line("x")
        assert sink.taken[-1].decode().startswith(journal.timestamp()[:19])


# Gathering


def test_before_it_is_attached_every_line_is_written_at_once() -> None:
    classic, records = FakeSink(), FakeSink()
    journal = Journal(classic, records, wall=lambda: NOW)
    journal.line("one")
    journal.trouble("two")
    journal.record(record())
    assert classic.lines == ["one", "two"]
    assert records.taken == [json_lines([record()])]


def test_afterwards_lines_are_gathered_and_written_together() -> None:
    classic, records = FakeSink(), FakeSink()
    desk = Desk(classic, records)
    for number in range(100):
        desk.journal.line(f"line {number}")
        desk.journal.record(record(number))
    assert classic.asked == records.asked == 0
    assert [seconds for seconds, _ in desk.schedule.waiting] == [FLUSH_SECONDS]
    desk.schedule.pass_time()
    assert classic.asked == records.asked == 1
    assert classic.lines == [f"line {number}" for number in range(100)]
    assert [json.loads(line)["session"] for line in records.taken[0].splitlines()] == [f"t-{n:x}" for n in range(100)]
    assert desk.schedule.waiting == []


def test_the_next_line_is_scheduled_again() -> None:
    desk = Desk(sink := FakeSink())
    for number in range(3):
        desk.journal.line(f"{number}")
        desk.schedule.pass_time()
    assert sink.lines == ["0", "1", "2"]


def test_without_targets_nothing_happens() -> None:
    desk = Desk()
    desk.journal.line("x")
    desk.journal.record(record())
    desk.schedule.pass_time()
    desk.journal.flush()
    assert desk.schedule.waiting == []


# Targets that do not take lines


def test_what_is_not_taken_waits_and_is_tried_again_in_order() -> None:
    desk = Desk(sink := FakeSink())
    sink.takes = False
    desk.journal.line("one")
    desk.schedule.pass_time()
    desk.journal.line("two")
    desk.schedule.pass_time()
    assert desk.schedule.waiting, "tried again later"
    sink.takes = True
    desk.schedule.pass_time()
    assert sink.lines == ["one", "two"]
    assert desk.schedule.waiting == []


def test_without_a_schedule_the_next_line_brings_what_waits() -> None:
    sink = FakeSink()
    journal = Journal(sink, None, wall=lambda: NOW)
    sink.takes = False
    journal.line("one")
    sink.takes = True
    journal.line("two")
    assert sink.lines == ["one", "two"]


def test_what_waits_is_bounded_and_the_loss_is_counted_and_said() -> None:
    desk = Desk(sink := FakeSink())
    sink.takes = False
    size = 1000
    total = 3 * QUEUE_BYTES // size
    for _ in range(3):
        for _ in range(total // 3):
            desk.journal.line("x" * size)
        desk.schedule.pass_time()
    sink.takes = True
    desk.schedule.pass_time()
    first, *rest = sink.lines
    lost = int(first.removesuffix(" lines were lost"))
    assert lost + len(rest) == 3 * (total // 3)
    assert QUEUE_BYTES - 2 * size < len(rest) * (size + len(HEAD) + 1) <= QUEUE_BYTES
    desk.journal.line("and on")
    desk.schedule.pass_time()
    assert sink.lines[-1] == "and on"


def test_a_broken_target_loses_lines_says_how_many_and_is_used_again() -> None:
    desk = Desk(sink := FakeSink())
    sink.broken = OSError(errno.ENOSPC, "No space left on device")
    for _ in range(3):
        desk.journal.line("x")
        desk.schedule.pass_time()
    sink.broken = None
    desk.journal.line("space again")
    desk.schedule.pass_time()
    assert sink.lines == ["3 lines were lost", "space again"]


def test_lost_records_are_counted_each() -> None:
    desk = Desk(None, sink := FakeSink())
    sink.broken = OSError(errno.ENOSPC, "No space left on device")
    for number in range(5):
        desk.journal.record(record(number))
    desk.schedule.pass_time()
    sink.broken = None
    desk.journal.record(record(9))
    desk.schedule.pass_time()
    said = [json.loads(line) for line in b"".join(sink.taken).splitlines()]
    assert said[0] == {"lost": 5}
    assert said[1]["session"] == "t-9"


def test_one_target_does_not_hold_up_the_other() -> None:
    classic, records = FakeSink(), FakeSink()
    desk = Desk(classic, records)
    classic.takes = False
    for number in range(3):
        desk.journal.line("x")
        desk.journal.record(record(number))
        desk.schedule.pass_time()
    assert len(b"".join(records.taken).splitlines()) == 3


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
    stderr = open_sink("stderr")
    assert isinstance(stderr, FileSink)


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
journal = Journal(FileSink(fd), None, wall=lambda: 1767323045.678)
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


# The host's syslog


class Syslogd:
    """The other end of /dev/log."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._sock: socket.socket | None = None

    def start(self) -> None:
        """Listen, as after a boot."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._sock.setblocking(False)

    def stop(self) -> None:
        """Be gone."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            os.unlink(self.path)

    def read(self) -> list[tuple[int, str]]:
        """Priority and text of what came."""
        assert self._sock is not None
        found: list[tuple[int, str]] = []
        while True:
            try:
                line = self._sock.recv(1 << 16).decode()
            except BlockingIOError:
                return found
            parts = re.fullmatch(SYSLOG, line)
            assert parts, line
            found.append((int(parts[1]), parts[2]))


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


def hang_up(syslogd: Syslogd, sink: SyslogSink) -> None:
    """A sink lives as long as its process; it lets its socket go when nobody listens."""
    syslogd.stop()
    assert not sink.put(b"x")


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


# Processes


def test_a_line_that_waits_is_not_written_by_every_child_too(tmp_path: Path) -> None:
    """The supervisor's lines may wait while it makes workers; each has a copy of the queue."""
    out = tmp_path / "out"
    sink = FakeSink()
    journal = Journal(sink, None, wall=lambda: NOW)
    sink.takes = False
    journal.line("of the parent")
    child = os.fork()
    if not child:
        status = 1
        try:
            sink.takes = True
            later: list[Callable[[], None]] = []
            journal.attach(lambda _seconds, function: later.append(function))
            journal.line("of the child")
            journal.flush()
            out.write_bytes(b"".join(sink.taken))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [line.split("]: ", 1)[1] for line in out.read_text().splitlines()] == ["of the child"]
    assert f"sockd[{child}]" in out.read_text(), "a line names the process that wrote it"
