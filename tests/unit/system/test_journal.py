"""The daemon's two logs: gathered, of the classes that are wanted, never blocking; what is lost is counted and said."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.session.record import json_lines
from gateway.system.journal import FLUSH_SECONDS, QUEUE_BYTES, REPEAT_SECONDS, FileSink, Journal
from gateway.system.sinks import LOG_FLAGS, LOG_MODE, JournaldSink
from tests.support.logs import HEAD, NOW, NOWHERE, Desk, FakeSink, Journald, Syslogd, hang_up, record

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


# Classes


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        pytest.param(["denied", "connected", "resource"], ["connected", "terminated", "denied", "failed"], id="all"),
        pytest.param(["connected"], ["connected", "terminated"], id="connections"),
        pytest.param(["denied"], ["denied"], id="what was denied"),
        pytest.param(["resource"], ["failed"], id="what failed"),
        pytest.param([], [], id="none"),
    ],
)
def test_the_classes_say_which_lines_of_sessions_are_written_and_every_record_is(
    classes: list[str], expected: list[str]
) -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink(), classes=classes)
    journal = desk.journal
    journal.connected("connected")
    journal.terminated("terminated", record(1))
    journal.denied("denied", record(2))
    journal.failed("failed", record(3))
    journal.record(record(4))
    journal.line("ready")
    journal.trouble("trouble")
    desk.schedule.pass_time()
    assert classic.lines == [*expected, "ready", "trouble"]
    assert sessions(records) == ["t-1", "t-2", "t-3", "t-4"]


def sessions(sink: FakeSink) -> list[str]:
    return [json.loads(line)["session"] for line in b"".join(sink.taken).splitlines()]


def test_other_classes_count_from_the_next_line_on() -> None:
    desk = Desk(sink := FakeSink(), classes=["denied"])
    desk.journal.denied("one")
    desk.journal.connected("two")
    desk.journal.choose(["connected"])
    desk.journal.denied("three")
    desk.journal.connected("four")
    desk.schedule.pass_time()
    desk.journal.connected("five")
    desk.schedule.pass_time()
    assert sink.lines == ["one", "four", "five"]


def test_a_line_that_nobody_wants_is_not_even_gathered() -> None:
    desk = Desk(FakeSink(), classes=[])
    desk.journal.connected("x")
    desk.journal.terminated("x", record())
    desk.journal.denied("x")
    desk.journal.record(record())
    assert desk.schedule.waiting == []
    silent = Desk(None, None)
    silent.journal.connected("x")
    silent.journal.line("x")
    assert silent.schedule.waiting == []


def test_lines_of_all_kinds_keep_their_order() -> None:
    """Also those that are noted while a flush is due already, which goes by another way."""
    desk = Desk(sink := FakeSink(), FakeSink())
    for number in range(3):
        desk.journal.connected(f"connected {number}")
        desk.journal.terminated(f"terminated {number}", record())
        desk.journal.line(f"line {number}")
        desk.journal.connected(f"another {number}")
        desk.schedule.pass_time()
    words = ("connected", "terminated", "line", "another")
    assert sink.lines == [f"{word} {number}" for number in range(3) for word in words]


def test_many_lines_and_records_at_once_are_all_written() -> None:
    """They are put together in parts."""
    desk = Desk(classic := FakeSink(), records := FakeSink())
    for number in range(1300):
        desk.journal.terminated(f"{number}", record(number))
    desk.schedule.pass_time()
    assert classic.lines == [f"{number}" for number in range(1300)]
    assert sessions(records) == [f"t-{number:x}" for number in range(1300)]


# Repeated lines


def test_a_line_that_repeats_is_written_once_and_its_number_when_another_comes() -> None:
    desk = Desk(sink := FakeSink())
    for text in ("a", "b", "b", "b", "a", "a", "c"):
        desk.journal.denied(text)
    desk.schedule.pass_time()
    assert sink.lines == ["a", "b", "last line repeated 2 times", "a", "last line repeated 1 time", "c"]


def test_repetitions_are_counted_over_many_flushes() -> None:
    desk = Desk(sink := FakeSink())
    for _ in range(5):
        desk.journal.denied("a")
        desk.schedule.pass_time()
    assert sink.lines == ["a"]
    desk.journal.denied("b")
    desk.schedule.pass_time()
    assert sink.lines == ["a", "last line repeated 4 times", "b"]


def test_while_they_go_on_their_number_is_written_after_a_while_and_counted_anew() -> None:
    desk = Desk(sink := FakeSink())
    for count in (3, 2):
        for _ in range(count):
            desk.journal.denied("a")
            desk.schedule.pass_time()
        assert [seconds for seconds, _ in desk.schedule.waiting] == [REPEAT_SECONDS], "one timer, however many come"
        desk.schedule.pass_time(REPEAT_SECONDS)
    assert sink.lines == ["a", "last line repeated 2 times", "last line repeated 2 times"]
    assert desk.schedule.waiting == []


def test_the_last_flush_says_what_was_counted() -> None:
    desk = Desk(sink := FakeSink())
    for _ in range(3):
        desk.journal.denied("a")
    desk.journal.flush()
    assert sink.lines == ["a", "last line repeated 2 times"]
    desk.schedule.pass_time(REPEAT_SECONDS)
    assert sink.lines == ["a", "last line repeated 2 times"], "not said twice"


def test_what_the_daemon_says_of_itself_is_never_folded_and_ends_a_repetition() -> None:
    desk = Desk(sink := FakeSink())
    for text in ("reloaded", "reloaded"):
        desk.journal.line(text)
    desk.journal.denied("reloaded")
    desk.journal.denied("reloaded")
    desk.journal.trouble("x")
    desk.journal.denied("reloaded")
    desk.schedule.pass_time()
    assert sink.lines == ["reloaded", "reloaded", "reloaded", "last line repeated 1 time", "x", "reloaded"]


def test_records_of_folded_lines_are_each_their_own() -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink())
    for number in range(4):
        desk.journal.denied("refused", record(number))
    desk.journal.flush()
    assert classic.lines == ["refused", "last line repeated 3 times"]
    assert sessions(records) == ["t-0", "t-1", "t-2", "t-3"]


def test_entries_of_journald_with_a_record_are_not_folded(tmp_path: Path) -> None:
    journald = Journald(tmp_path / "socket")
    journald.start()
    sink = JournaldSink(journald.path)
    desk = Desk(sink)
    for number in range(2):
        desk.journal.denied("refused", record(number))
    for _ in range(3):
        desk.journal.failed("no identd")
    desk.journal.flush()
    found = [(entry["MESSAGE"], entry.get("SOCKD_SESSION")) for entry in journald.read()]
    hang_up(journald, sink)
    assert found == [
        ("refused", "t-0"),
        ("refused", "t-1"),
        ("no identd", None),
        ("last line repeated 2 times", None),
    ]


# What no line may hold


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\nb", "a\\x0ab", id="a line end"),
        pytest.param("a\r\x1b[31m\0\x7f", "a\\x0d\\x1b[31m\\x00\\x7f", id="control bytes"),
        pytest.param("a\x85\u2028\u202e", "a\\x85\\u2028\\u202e", id="line ends and directions of Unicode"),
        pytest.param("/etc/caf\udce9", "/etc/caf\\udce9", id="a byte that is no UTF-8"),
        pytest.param('a \\x20 "b" é', 'a \\x20 "b" é', id="what can be seen stays, escapes too"),
    ],
)
def test_a_line_is_one_line_whatever_it_is_given(text: str, shown: str) -> None:
    desk = Desk(sink := FakeSink())
    desk.journal.line(f"before {text}")
    desk.journal.denied(text)
    desk.journal.connected("clean")
    desk.schedule.pass_time()
    assert sink.lines == [f"before {shown}", shown, "clean"]


# Losses, and alarms


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_what_was_lost_is_counted_for_this_process_and_for_all() -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink())
    classic.broken = records.broken = FULL
    for number in range(3):
        desk.journal.terminated(f"x{number}", record(number))
    assert desk.journal.lost == 0
    desk.schedule.pass_time()
    assert (desk.journal.lost, desk.journal.lost_by_all) == (6, 6)
    desk.journal.attach(desk.schedule)
    assert (desk.journal.lost, desk.journal.lost_by_all) == (0, 6), "a new process"


def test_a_full_disk_under_the_records_is_one_line_of_the_classic_log() -> None:
    desk = Desk(classic := FakeSink(), full := FileSink(os.open("/dev/full", LOG_FLAGS), "/var/log/sockd.json"))
    for number in range(5):
        desk.journal.record(record(number))
        desk.schedule.pass_time()
    desk.schedule.pass_time()
    full.close()
    assert classic.lines == [
        "/var/log/sockd.json: No space left on device; what can not be written is lost and counted"
    ]


def test_that_records_can_be_written_again_is_said_with_what_was_lost() -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink())
    records.broken = FULL
    for number in range(5):
        desk.journal.record(record(number))
        desk.schedule.pass_time()
    records.broken = None
    for _ in range(3):
        desk.now += 1.0
        desk.journal.record(record(9))
        desk.schedule.pass_time()
    desk.schedule.pass_time()
    assert classic.lines[1:] == ["the log: can be written again; 5 lines were lost meanwhile"]


def test_a_disk_that_is_full_every_other_moment_is_news_once_in_a_while() -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink())
    for number in range(100):
        records.broken = FULL if number % 2 == 0 else None
        desk.journal.record(record(number))
        desk.schedule.pass_time()
        desk.now += 0.01
    desk.schedule.pass_time()
    assert len(classic.lines) == 1


@pytest.fixture
def syslogd(tmp_path: Path) -> Iterator[Syslogd]:
    made = Syslogd(tmp_path / "syslog")
    made.start()
    yield made
    made.stop()


def test_a_full_disk_under_the_classic_log_is_said_to_syslog_and_by_the_callable(syslogd: Syslogd) -> None:
    said: list[str] = []
    full = FileSink(os.open("/dev/full", LOG_FLAGS), "/var/log/sockd.log")
    desk = Desk(full, alarm=said.append, syslog=syslogd.path)
    for _ in range(5):
        desk.journal.denied("x")
        desk.schedule.pass_time()
    full.close()
    text = "/var/log/sockd.log: No space left on device; what can not be written is lost and counted"
    assert syslogd.read() == [(27, text)]
    assert said == [text]


def test_when_both_logs_are_on_a_full_disk_both_are_said_where_it_can_be_seen(syslogd: Syslogd) -> None:
    desk = Desk(classic := FakeSink(), records := FakeSink(), syslog=syslogd.path)
    classic.broken = records.broken = FULL
    for number in range(3):
        desk.journal.terminated("x", record(number))
        desk.schedule.pass_time()
    assert [priority for priority, _ in syslogd.read()] == [27, 27]


def test_an_alarm_without_a_classic_log_goes_to_syslog(syslogd: Syslogd) -> None:
    desk = Desk(None, records := FakeSink(), syslog=syslogd.path)
    records.broken = FULL
    desk.journal.record(record())
    desk.schedule.pass_time()
    assert len(syslogd.read()) == 1


def test_an_alarm_that_can_not_be_said_anywhere_costs_nothing_else() -> None:
    def broken(_text: str) -> None:
        raise BrokenPipeError

    desk = Desk(sink := FakeSink(), alarm=broken)
    sink.broken = FULL
    desk.journal.line("x")
    desk.schedule.pass_time()
    assert desk.journal.lost == 1


def test_before_it_is_attached_an_alarm_is_said_at_once() -> None:
    classic, records = FakeSink(), FakeSink()
    journal = Journal(classic, records, wall=lambda: NOW, syslog=NOWHERE)
    records.broken = FULL
    journal.record(record())
    assert classic.lines == ["the log: No space left on device; what can not be written is lost and counted"]


# Reopening


def test_reopened_files_get_what_comes_after(tmp_path: Path) -> None:
    paths = [tmp_path / "classic", tmp_path / "json"]
    sinks = [FileSink(opened(path), str(path)) for path in paths]
    desk = Desk(*sinks)
    desk.journal.terminated("old", record(1))
    desk.schedule.pass_time()
    for path in paths:
        path.rename(f"{path}.1")
    desk.journal.reopen(*map(opened, paths))
    desk.journal.terminated("new", record(2))
    desk.schedule.pass_time()
    for sink in sinks:
        sink.close()
    assert paths[0].read_text() == f"{HEAD}new\n"
    assert paths[1].read_bytes() == json_lines([record(2)])


def opened(path: Path) -> int:
    return os.open(path, LOG_FLAGS, LOG_MODE)


def test_targets_that_are_no_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "json"
    sink = FileSink(opened(path), str(path))
    desk = Desk(classic := FakeSink(), sink)
    desk.journal.reopen(None, opened(path))
    desk.journal.terminated("x", record(1))
    desk.schedule.pass_time()
    sink.close()
    assert classic.lines == ["x"]
    assert path.read_bytes() == json_lines([record(1)])


def test_a_descriptor_for_a_target_that_is_none_is_closed(tmp_path: Path) -> None:
    fd = opened(tmp_path / "log")
    Desk(FakeSink(), None).journal.reopen(fd, None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    fd = opened(tmp_path / "log")
    Desk(None, FakeSink()).journal.reopen(None, fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# The operator's look at the records


def test_records_go_to_a_second_reader_for_as_long_as_there_is_one() -> None:
    desk = Desk(FakeSink(), records := FakeSink())
    tail = FakeSink()
    for number, sink in ((1, None), (2, tail), (3, tail), (4, None)):
        desk.journal.tail(sink)
        desk.journal.record(record(number))
        desk.schedule.pass_time()
    assert sessions(records) == ["t-1", "t-2", "t-3", "t-4"]
    assert sessions(tail) == ["t-2", "t-3"]


@pytest.mark.parametrize("classic", [FakeSink(), None])
def test_they_do_also_if_nobody_else_wants_them(classic: FakeSink | None) -> None:
    desk = Desk(classic, None, classes=["denied"])
    desk.journal.record(record(1))
    desk.journal.tail(tail := FakeSink())
    desk.journal.terminated("x", record(2))
    desk.journal.denied("x", record(3))
    desk.schedule.pass_time()
    desk.journal.tail(None)
    desk.journal.record(record(4))
    assert sessions(tail) == ["t-2", "t-3"]
    assert desk.schedule.waiting == []


def test_a_reader_that_does_not_read_or_has_gone_does_not_disturb_the_logs() -> None:
    desk = Desk(None, records := FakeSink())
    tail = FakeSink()
    desk.journal.tail(tail)
    tail.takes = False
    desk.journal.record(record(1))
    desk.schedule.pass_time()
    tail.broken = BrokenPipeError(errno.EPIPE, "Broken pipe")
    desk.journal.record(record(2))
    desk.schedule.pass_time()
    assert sessions(records) == ["t-1", "t-2"]
    assert desk.journal.lost == 0, "the logs have lost nothing"
    assert desk.schedule.waiting == []


def test_a_new_process_has_no_reader_of_its_parent() -> None:
    desk = Desk(None, None)
    desk.journal.tail(tail := FakeSink())
    desk.journal.attach(desk.schedule)
    desk.journal.record(record(1))
    assert desk.schedule.waiting == []
    assert tail.taken == []


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


def test_of_all_processes_one_says_that_a_disk_is_full_and_all_losses_are_known(syslogd: Syslogd) -> None:
    full = FileSink(os.open("/dev/full", LOG_FLAGS), "/var/log/sockd.log")
    journal = Journal(full, None, wall=lambda: NOW, syslog=syslogd.path)
    for _ in range(3):
        child = os.fork()
        if not child:
            try:
                journal.attach(lambda _seconds, _function: None)
                journal.denied("a")
                journal.denied("b")
                journal.flush()
            finally:
                os._exit(journal.lost)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    full.close()
    assert (journal.lost, journal.lost_by_all) == (0, 6)
    assert len(list(syslogd.datagrams())) == 1
