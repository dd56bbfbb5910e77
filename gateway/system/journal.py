"""The daemon's two logs as one process has them: classic lines and JSON records, gathered and written together.

That is done a few times a second, so that a line costs the data path no system call. Where they go is `sinks`, in which
form `dress`, what becomes of a slow or dead target `outlet`, and of one that breaks `alarm`.
"""

import os
import time
from collections.abc import Callable, Collection
from typing import Protocol

from msgspec import Struct

from gateway.config.settings import FACILITIES, LOG_CLASSES
from gateway.session.record import Record, json_lines
from gateway.system.alarm import Alarm, Losses
from gateway.system.dress import ERROR, NOTICE, Dress, FileDress, JournaldDress, Mark, SyslogDress, visible
from gateway.system.outlet import QUEUE_BYTES, Outlet
from gateway.system.repeats import Repeats
from gateway.system.sinks import SYSLOG_SOCKET, FileSink, JournaldSink, Sink, SyslogSink, open_sink

__all__ = ["FLUSH_SECONDS", "QUEUE_BYTES", "REPEAT_SECONDS", "FileSink", "Journal", "Sink", "SyslogSink", "open_sink"]

FLUSH_SECONDS = 0.05
REPEAT_SECONDS = 30.0
"""How long lines that go on repeating may be counted before their number is written."""

RECORDS_PART = 256
"""Records that are encoded at once, for the same reason as `gateway.system.dress.PART`."""

Schedule = Callable[[float, Callable[[], None]], object]


class Write(Protocol):
    """How a session's line is written down, and its record if it ends with the line."""

    def __call__(self, text: str, record: Record | None = None) -> None:
        """As `gateway.session.ports.Journal`."""


class Journal:
    """Both logs of one process. Lines and records are only gathered here; `flush` writes them."""

    #: `gateway.session.ports.Journal`. What is not wanted is not even gathered; what is to be done for a line differs
    #: with the moment, so look them up for each call
    connected: Callable[[str], None]
    terminated: Write
    denied: Write
    failed: Write
    record: Callable[[Struct], None]

    def __init__(
        self,
        classic: Sink | None,
        records: Sink | None,
        facility: int = FACILITIES["daemon"],
        wall: Callable[[], float] = time.time,
        *,
        classes: Collection[str] = LOG_CLASSES,
        alarm: Callable[[str], None] | None = None,
        syslog: str = SYSLOG_SOCKET,
    ) -> None:
        """Until `attach` every line is written at once. ``wall`` gives seconds since the epoch.

        ``classes`` out of `LOG_CLASSES` are the lines of sessions that are written. That the classic log can not be
        written is said to the socket ``syslog``, and by ``alarm``. To be made before the processes are forked.
        """
        self._wall = wall
        self._facility = facility
        self._alarm = alarm
        self._last_resort = SyslogSink(syslog)
        self._sink = classic
        self._dress = self._dress_of(classic)
        self._classic_alarm = Alarm(_name_of(classic), self._say_elsewhere, wall)
        self._json_alarm = Alarm(_name_of(records), self._say, wall)
        self._classic = None if classic is None else Outlet(classic, self._split, self._loss_line, self._classic_alarm)
        self._json = None if records is None else Outlet(records, _split, _lost_records, self._json_alarm)
        self._tail: Outlet | None = None
        #: text still to be dressed with the time of its writing, and whether that is asked for already
        self._lines: list[str] = []
        self._scheduled = False
        self._schedule: Schedule | None = None
        #: by their places in it, the lines that are more than a session's text
        self._marks: dict[int, Mark] = {}
        self._repeats = Repeats()
        self._repeats_due = False
        self._records: list[Struct] = []
        self._classes = frozenset(classes)
        self._choose()
        self._second = 0
        self._stamp = ""
        self._now = ""
        #: the time for which that is true
        self._since = self._until = 0.0

    def choose(self, classes: Collection[str]) -> None:
        """From now on write the lines of sessions that are of these classes, out of `LOG_CLASSES`, and no others."""
        self._classes = frozenset(classes)
        self._choose()

    def _choose(self) -> None:
        """Put in place what has to be done for a line and a record now, and no more; most lines only are appended."""
        keeps_records = self._json is not None or self._tail is not None
        write: Write = self._note_both if keeps_records else self._note
        if isinstance(self._sink, JournaldSink):
            write = self._note_marked
        unwanted: Write = self._note_record if keeps_records else _nothing
        wanted = frozenset() if self._sink is None else self._classes
        self.connected = _nothing
        if "connected" in wanted:
            self.connected = self._lines.append if self._scheduled else self._note
        self.terminated = write if "connected" in wanted else unwanted
        self.denied = write if "denied" in wanted else unwanted
        self.failed = write if "resource" in wanted else unwanted
        self.record = self._keep if keeps_records else _ignore

    def attach(self, schedule: Schedule) -> None:
        """From now on gather lines, and write them by ``schedule(seconds, function)``.

        To be called in the new process after a fork: what waits there is its parent's to write.
        """
        for outlet in (self._classic, self._json):
            if outlet is not None:
                outlet.forget()
        for alarm in (self._classic_alarm, self._json_alarm):
            alarm.settle()
        self._lines.clear()
        self._marks.clear()
        self._repeats.forget()
        self._repeats_due = False
        self._records.clear()
        self._dress = self._dress_of(self._sink)
        self._scheduled = False
        self._schedule = schedule
        self.tail(None)

    # What is written down

    def line(self, text: str, level: int = NOTICE) -> None:
        """A line about the daemon itself."""
        if self._classic is not None:
            self._marks[len(self._lines)] = Mark(level)
            self._note(text)

    def trouble(self, text: str) -> None:
        """A line of the error class; of several lines one is made."""
        self.line("; ".join(text.splitlines()), ERROR)

    def _note(self, text: str, record: Record | None = None) -> None:  # noqa: ARG002
        self._lines.append(text)
        if not self._scheduled:
            self._soon()

    def _note_both(self, text: str, record: Record | None = None) -> None:
        self._lines.append(text)
        if record is not None:
            self._records.append(record)
        if not self._scheduled:
            self._soon()

    def _note_marked(self, text: str, record: Record | None = None) -> None:
        if record is not None:
            self._marks[len(self._lines)] = Mark(NOTICE, record)
            self.record(record)
        self._note(text)

    def _note_record(self, text: str, record: Record | None = None) -> None:  # noqa: ARG002
        if record is not None:
            self._keep(record)

    def _keep(self, record: Struct) -> None:
        self._records.append(record)
        if not self._scheduled:
            self._soon()

    def timestamp(self) -> str:
        """Now, as RFC 3339 in UTC with milliseconds."""
        now = self._wall()
        if not self._since <= now < self._until:
            millisecond = int(now * 1000)
            self._since, self._until = now, (millisecond + 1) / 1000
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._now = f"{self._stamp}.{rest:03d}Z"
        return self._now

    # Targets

    def reopen(self, classic: int | None, records: int | None) -> None:
        """Go on in these files, opened with `gateway.system.sinks.LOG_FLAGS`; None for a target that is no file.

        The descriptors are the journal's from now on. Raises OSError.
        """
        for outlet, fd in ((self._classic, classic), (self._json, records)):
            if fd is None:
                continue
            if outlet is None:
                os.close(fd)
            else:
                outlet.reopen(fd)

    def tail(self, sink: Sink | None) -> None:
        """Give this one the records too, for as long as it is set; what it does not take is lost as elsewhere."""
        self._tail = None if sink is None else Outlet(sink, _split, _lost_records, Losses())
        self._choose()

    @property
    def lost(self) -> int:
        """Lines and records that this process has lost since its start."""
        return self._classic_alarm.lost + self._json_alarm.lost

    @property
    def lost_by_all(self) -> int:
        """Those that all processes of the daemon have lost since the first one's start."""
        return self._classic_alarm.lost_by_all + self._json_alarm.lost_by_all

    # Writing

    def flush(self) -> None:
        """Write everything that waits, also how often the last line came; what is not taken is tried again later."""
        self._write(closing=True)

    def _soon(self) -> None:
        if self._schedule is not None:
            self._scheduled = True
            self._choose()
            self._schedule(FLUSH_SECONDS, self._turn)
        elif self._lines or self._records:
            self._turn()

    def _turn(self) -> None:
        self._write(closing=False)

    def _say_repeats(self) -> None:
        self._repeats_due = False
        self._write(closing=True)

    def _write(self, *, closing: bool) -> None:
        lines, self._lines = self._lines, []
        marks, self._marks = self._marks, {}
        self._scheduled = False
        self._choose()
        done = self._write_lines(lines, marks, closing)
        if not self._write_records() or not done:
            self._soon()

    def _write_lines(self, lines: list[str], marks: dict[int, Mark], closing: bool) -> bool:
        if self._classic is None:
            return True
        folded, kept = self._repeats.fold(visible(lines), marks)
        if closing:
            folded = [*folded, *self._repeats.close()]
        elif self._repeats.count and not self._repeats_due and self._schedule is not None:
            self._repeats_due = True
            self._schedule(REPEAT_SECONDS, self._say_repeats)
        return self._classic.flush(self._dress.blocks(folded, kept))

    def _write_records(self) -> bool:
        records, self._records = self._records, []
        starts = range(0, len(records), RECORDS_PART)
        blocks = [json_lines(records[start : start + RECORDS_PART]) for start in starts]
        done = self._json is None or self._json.flush(blocks)
        return (self._tail is None or self._tail.flush(blocks)) and done

    # Words

    def _dress_of(self, sink: Sink | None) -> Dress:
        if isinstance(sink, SyslogSink):
            return SyslogDress(self._wall, self._facility)
        return JournaldDress(self._facility) if isinstance(sink, JournaldSink) else FileDress(self._wall)

    def _split(self, block: bytes) -> list[bytes]:
        return self._dress.split(block)

    def _loss_line(self, lost: int) -> bytes:
        return b"".join(self._dress.blocks([f"{lost} lines were lost"], {}))

    def _say(self, text: str, is_error: bool) -> None:
        """About the JSON log: in the classic one, if that can be written."""
        if self._classic is None or self._classic_alarm.is_on:
            self._say_elsewhere(text, is_error)
        else:
            self.line(text, ERROR if is_error else NOTICE)

    def _say_elsewhere(self, text: str, is_error: bool) -> None:
        mark = Mark(ERROR if is_error else NOTICE)
        for message in SyslogDress(self._wall, self._facility).blocks([text], {0: mark}):
            self._last_resort.put(message)
        self._last_resort.close()
        if self._alarm is not None:
            try:
                self._alarm(text)
            except OSError:
                pass  # it was the last that could be tried


def _nothing(text: str, record: Record | None = None) -> None:
    """Nobody wants it."""


def _ignore(record: Struct) -> None:
    """Nobody wants it."""


def _name_of(sink: Sink | None) -> str:
    return sink.name if isinstance(sink, FileSink) else "the log"


def _split(block: bytes) -> list[bytes]:
    return block.splitlines(True)


def _lost_records(lost: int) -> bytes:
    return b'{"lost":%d}\n' % lost
