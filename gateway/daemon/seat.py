"""The wardens as the supervisor sees them: one that is asked, and a spare that takes its place.

Once the supervisor has given up its own privileges it can not make a process that has any, so that a warden is there
beforehand to do it. A daemon that was started without privileges has one warden, and makes the next one itself.
"""

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.daemon.messages import (
    Applied,
    Apply,
    Change,
    Clear,
    Dispatch,
    End,
    Listen,
    Message,
    Open,
    Opened,
    Ready,
    Received,
    Spare,
    channel,
    close_all,
    receive,
    send,
)

ANSWER_SECONDS = 5.0
"""How long a warden may take to open something."""

CLEAR_SECONDS = 10.0
APPLY_SECONDS = 10.0
"""How long it may take to change the routing: nobody waits for it, but it must not be left undone."""

END_SECONDS = 1.0
REST_SECONDS = 1.0
"""Between two attempts at having another warden made."""

Done = Callable[[Received], object]


class Waiting(NamedTuple):
    """Somebody who waits for an answer of this kind, and until when at most (time.monotonic)."""

    kind: type[Opened | Applied]
    done: Done
    until: float


@dataclass(eq=False, slots=True)
class Warden:
    """One of them."""

    channel: socket.socket
    #: 0 until it has said so
    pid: int = 0
    confinement: Any = None
    #: who waits for the answers, in the order of the questions
    waiting: deque[Waiting] = field(default_factory=deque)
    #: it owes answers, and there is no other: it is not asked until it has given one
    is_late: bool = False


class Seat:
    """Who is asked for what needs privileges."""

    def __init__(
        self,
        fork: Callable[[socket.socket, socket.socket], int],
        wanted: int,
        watch: Callable[[socket.socket, Callable[[], None]], None],
        forget: Callable[[socket.socket], None],
        trouble: Callable[[str], None],
    ) -> None:
        """``fork`` makes a warden, as long as `may_fork`, which has the first end of a channel and closes the other.

        ``wanted`` is how many there are.

        ``watch`` has a function called when a channel can be read, until ``forget``.
        """
        self._fork = fork
        self._wanted = wanted
        self._watch = watch
        self._forget = forget
        self._trouble = trouble
        self.may_fork = True
        self.wardens: list[Warden] = []
        self.restarts = 0
        self._due = 0.0
        self._ended = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Their processes; the first one is asked."""
        return tuple(warden.pid for warden in self.wardens)

    @property
    def is_empty(self) -> bool:
        """Whether there is none that could be asked."""
        return not self.wardens

    @property
    def _is_late(self) -> bool:
        return bool(self.wardens) and self.wardens[0].is_late

    @property
    def is_ready(self) -> bool:
        """Whether all have said that they are."""
        return len(self.wardens) == self._wanted and all(warden.pid for warden in self.wardens)

    def fill(self) -> None:
        """Have missing ones made. Raises OSError."""
        while len(self.wardens) < self._wanted and not self._ended:
            self._add()

    def refill(self) -> None:
        """The same, at a bounded rate and without raising; to be called now and then. Who hangs is given up."""
        for warden in tuple(self.wardens):
            self._check(warden)
        if len(self.wardens) == self._wanted or self._ended or time.monotonic() < self._due:
            return
        if not self.may_fork and (self.is_empty or self._is_late):
            return
        self._due = time.monotonic() + REST_SECONDS
        try:
            self._add()
            self.restarts += 1
        except OSError as error:
            self._trouble(f"no other warden can be made: {error.strerror}; it is tried again")

    def _check(self, warden: Warden) -> None:
        while warden in self.wardens and warden.waiting and warden.waiting[0].until <= time.monotonic():
            # What it has said meanwhile is heard before.
            if _readable(warden.channel, 0):
                self._hear(warden)
            else:
                self._abandon(warden)

    def _add(self) -> None:
        mine, theirs = channel()
        try:
            warden = Warden(mine)
            # A spare comes from the first one: landlock lets nobody end another one whose confinement is not its own.
            if self.may_fork and self.is_empty:
                warden.pid = self._fork(theirs, mine)
            elif faults := self.ask(Spare(), [theirs.fileno()]).message.faults:
                raise OSError(errno.EIO, "; ".join(faults))
        except OSError:
            theirs.close()
            # Of the last one, which died just when it had made this one, nothing is left but this one.
            if not (self.is_empty and _speaks(mine)):
                mine.close()
                raise
        finally:
            theirs.close()
        self.wardens.append(warden)
        self._watch(mine, lambda: self._hear(warden))

    # Asking

    def ask(self, message: Message, descriptors: Sequence[int] = (), seconds: float = ANSWER_SECONDS) -> Received:
        """A warden's answer, which is waited for. Raises OSError when none gives one."""
        try:
            return self._ask(message, descriptors, seconds)
        except OSError:
            if self.is_empty or self._is_late:
                raise
            return self._ask(message, descriptors, seconds)  # the spare has taken its place

    def _ask(self, message: Message, descriptors: Sequence[int], seconds: float) -> Received:
        answers: list[Received] = []
        if self._is_late:
            raise OSError(errno.ETIMEDOUT, "the warden does not answer")
        try:
            warden = self._post(message, answers.append, descriptors)
        except BlockingIOError:
            self._abandon(self.wardens[0])  # it has not even read what it was asked before
            raise
        until = time.monotonic() + seconds
        while not answers:
            left = until - time.monotonic()
            if left <= 0 or not _readable(warden.channel, left):
                self._abandon(warden)
                raise OSError(errno.ETIMEDOUT, "the warden does not answer")
            self._hear(warden)
        if warden not in self.wardens:
            raise OSError(errno.EPIPE, "the warden has gone")
        return answers[0]

    def apply(self, changes: tuple[Change, ...], done: Callable[[Applied], object]) -> None:
        """Have the kernel's routing changed; ``done`` hears of it later."""
        try:
            self._post(Apply(changes), lambda received: done(received.message))
        except OSError as error:
            done(Applied((f"the warden can not be asked for routing rules: {error.strerror}",)))

    def clear(self) -> tuple[str, ...]:
        """Leave nothing of ours in the kernel's routing; what went wrong."""
        try:
            faults: tuple[str, ...] = self.ask(Clear(), seconds=CLEAR_SECONDS).message.faults
        except OSError as error:
            return (f"routing rules are left behind: {error.strerror}",)
        return faults

    def listening(self, wanted: Listen) -> socket.socket:
        """An open socket. Raises OSError."""
        return socket.socket(fileno=self._opened(wanted))

    def reading(self, path: str, _flags: int = 0) -> int:
        """A descriptor, as `gateway.config.source.Opener`. Raises OSError."""
        return self._opened(Open(path, "read"))

    def appending(self, path: str) -> int:
        """A descriptor of a log file. Raises OSError."""
        return self._opened(Open(path, "append"))

    def _opened(self, wanted: Message) -> int:
        answer, descriptors = self.ask(wanted)
        if isinstance(answer, Opened) and not answer.number and len(descriptors) == 1:
            return descriptors[0]
        close_all(descriptors)
        number = answer.number if isinstance(answer, Opened) and answer.number else errno.EPROTO
        raise OSError(number, os.strerror(number))

    def _post(self, message: Message, done: Done, descriptors: Sequence[int] = ()) -> Warden:
        kind: type[Opened | Applied] = Opened if isinstance(message, Listen | Open) else Applied
        while self.wardens:
            warden = self.wardens[0]
            try:
                send(warden.channel, message, descriptors)
            except (BrokenPipeError, ConnectionResetError):
                self._lose(warden, "has gone")
            else:
                warden.waiting.append(Waiting(kind, done, time.monotonic() + APPLY_SECONDS))
                return warden
        raise OSError(errno.ESRCH, "there is no warden any more; restart sockd")

    # Hearing

    def _hear(self, warden: Warden) -> None:
        try:
            received = receive(warden.channel)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno is not None and error.errno in _NO_ROOM and warden.waiting:
                # What it passed did not fit: that costs this one question, and is no fault of the warden's.
                one = _answered(warden)
                one.done(Received(_no_room(one.kind, error.errno), []))
                return
            received = None
        if received is None:
            self._lose(warden, "has gone")
        elif isinstance(received.message, Ready):
            warden.pid, warden.confinement = received.message.pid, received.message.confinement
        elif warden.waiting and isinstance(received.message, warden.waiting[0].kind):
            _answered(warden).done(received)
        else:
            close_all(received.descriptors)
            self._lose(warden, "said what it may not say")

    def _lose(self, warden: Warden, why: str) -> None:
        if warden not in self.wardens:
            return
        self.wardens.remove(warden)
        self._forget(warden.channel)
        warden.channel.close()
        if not self._ended:
            self._trouble(f"warden (process {warden.pid or 'unknown'}) {why}; {self._outlook()}")
        for waiting in warden.waiting:
            waiting.done(Received(Applied((f"the warden {why}",)), []))

    def _outlook(self) -> str:
        if self.wardens:
            return "its spare takes its place"
        if self.may_fork:
            return "another one is started"
        return "no other is left: ports are not opened, routing is not kept, files are not read anew; restart sockd"

    def _abandon(self, warden: Warden) -> None:
        """It is stopped, or hangs: who has the right to ends it. The last one is kept, since it may go on."""
        if self.wardens == [warden] and not self.may_fork and not self._ended:
            self._be_patient(warden)
            return
        self._lose(warden, "does not answer")
        if self.wardens and warden.pid:
            try:
                self._post(Dispatch(warden.pid), lambda _: None)
            except OSError:
                pass  # what can not be ended ends when its channel does, as soon as it goes on

    def _be_patient(self, warden: Warden) -> None:
        """Those who wait are told that it takes too long; what it answers later is for nobody."""
        if not warden.is_late:
            self._trouble(f"warden (process {warden.pid or 'unknown'}) does not answer, and there is no other")
        warden.is_late = True
        waiting, warden.waiting = warden.waiting, deque()
        for one in waiting:
            warden.waiting.append(Waiting(one.kind, _discard, float("inf")))
            one.done(Received(Applied(("the warden does not answer",)), []))

    # In a child, and at the end

    def forsake(self) -> None:
        """In a new process: hold nothing of this."""
        for warden in self.wardens:
            warden.channel.close()

    def end(self) -> None:
        """No warden is needed any more; of two, one that does not go, as one that is stopped, is ended by the other."""
        self._ended = True
        if len(self.wardens) > 1:
            try:
                self.ask(Dispatch(0), seconds=END_SECONDS)  # nobody has that number: only whether there is an answer
            except OSError:
                pass
        for warden in self.wardens[:0:-1]:
            if not self._leaves(warden):
                self._abandon(warden)
        for warden in tuple(self.wardens):
            self._leaves(warden)
            self._lose(warden, "is not needed")

    def _leaves(self, warden: Warden) -> bool:
        """Whether it goes when it is told to, and soon."""
        until = time.monotonic() + END_SECONDS
        try:
            send(warden.channel, End())
        except OSError:
            pass  # it ends with its channel
        while warden in self.wardens:
            left = until - time.monotonic()
            if left <= 0 or not _readable(warden.channel, left):
                return False
            self._hear(warden)
        return True


_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def _answered(warden: Warden) -> Waiting:
    """Who waited for the answer that has come; a late warden is late until it owes none."""
    warden.is_late = warden.is_late and len(warden.waiting) > 1
    return warden.waiting.popleft()


def _no_room(kind: type[Opened | Applied], number: int) -> Opened | Applied:
    return Opened(number) if kind is Opened else Applied((os.strerror(number),))


def _discard(received: Received) -> None:
    close_all(received.descriptors)


def _speaks(end: socket.socket) -> bool:
    """Whether somebody is at the other end, and soon says so."""
    return _readable(end, END_SECONDS) and bool(end.recv(1, socket.MSG_PEEK))


def _readable(sock: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
