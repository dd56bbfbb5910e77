"""The sessions of one worker: clients are accepted, the commands of their sessions carried out, time limits kept.

`Front` is a client before its relay; `Runner` is what all of them share.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from gateway.address import Endpoint
from gateway.net.dialer import Attempt, dial, dial_any
from gateway.net.lookup import LookupFailed, Lookups
from gateway.net.loop import READ, Deadlines, Handler, Poller
from gateway.net.pipes import PipePool
from gateway.net.relay import Relay, Side
from gateway.net.sockets import endpoint_of
from gateway.session.commands import (
    AskIdent,
    CheckPassword,
    Close,
    Command,
    Dial,
    Log,
    Resolve,
    RunCommand,
    Send,
    StartRelay,
    Write,
)
from gateway.session.record import json_line
from gateway.session.tcp import Context, Session, State

NEGOTIATION_BYTES = 4096
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 18
SWEEP_SECONDS = 1.0

_RESET = select.EPOLLERR | select.EPOLLHUP


class Journal(Protocol):
    """Where a worker writes down what happened."""

    def line(self, text: str) -> None:
        """A classic line."""

    def record(self, line: bytes) -> None:
        """A session's record as a JSON line."""

    def trouble(self, text: str) -> None:
        """Something that the administrator has to know: a resource that ran out, a bug."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, and how many sessions a worker holds at once."""

    handshake: float
    connect: float
    idle: float
    sessions: int


class Verifier(Protocol):
    """Who checks passwords, in a bounded time and off the data path."""

    async def verify(self, user: bytes, password: bytes) -> bool:
        """Whether this is the user's password."""


class Identd(Protocol):
    """Who asks the identd of a client's host."""

    async def ask(self, client: Endpoint, local: Endpoint) -> str | None:
        """The user's name, None when there is no answer."""


class Shell(Protocol):
    """Who runs the commands of ``sockd.conf``."""

    def run(self, command: str) -> None:
        """Start it and return at once."""


class Runner:
    """Everything that the sessions of one worker share, and the sessions themselves."""

    def __init__(
        self,
        poller: Poller,
        context: Context,
        limits: Limits,
        journal: Journal,
        lookups: Lookups,
        verifier: Verifier,
        identd: Identd,
        shell: Shell,
        pipes: PipePool,
    ) -> None:
        self.poller = poller
        self.context = context
        self.limits = limits
        self.journal = journal
        self.lookups = lookups
        self.verifier = verifier
        self.identd = identd
        self.shell = shell
        self.pipes = pipes
        self.handshakes = Deadlines(limits.handshake, context.clock)
        self.dials = Deadlines(limits.connect, context.clock)
        self.lingering = Deadlines(LINGER_SECONDS, context.clock)
        #: connections that hold a place: until their record is written and their socket closed
        self.open = 0
        self.room: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle_step = max(0.05, min(SWEEP_SECONDS * 10, limits.idle / 4))
        self._idle_due = context.clock() + self._idle_step
        shortest = min(limits.handshake, limits.connect, limits.idle, 4 * SWEEP_SECONDS)
        self._step = max(0.02, shortest / 4)
        self._timer = poller.loop.call_later(self._step, self._sweep)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that must talk to others first; held here, so that it can not be collected meanwhile."""
        task = self.poller.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def accept(self, sock: socket.socket, name: Any) -> None:
        """Serve a client that was just accepted; ``name`` is its socket address."""
        sock.setblocking(False)
        Front(self, sock, endpoint_of(name))

    def make_room(self) -> bool:
        """Whether one more client can be served; when all places are taken the slowest handshake loses its own."""
        if self.open < self.limits.sessions:
            return True
        slowest = self.lingering.oldest() or self.handshakes.oldest()
        if not isinstance(slowest, Front):
            return False
        slowest.put_out("put out for a newer client: all places are taken")
        return True

    def left(self) -> None:
        """A connection gave its place back."""
        self.open -= 1
        self.room()

    def relay_ended(self, relay: Relay, end: str) -> None:
        """A relay is over: write it down and free its place."""
        for command in relay.session.ended(relay.client.count, relay.target.count, end):
            if isinstance(command, Log):
                self.journal.line(command.line)
            elif isinstance(command, Write):
                self.journal.record(json_line(command.record))
        self.left()

    def _sweep(self) -> None:
        self._timer = self.poller.loop.call_later(self._step, self._sweep)
        for front in (*self.handshakes.expired(), *self.dials.expired()):
            assert isinstance(front, Front)
            front.timed_out()
        for front in self.lingering.expired():
            assert isinstance(front, Front)
            front.close()
        now = self.context.clock()
        if now >= self._idle_due:
            self._idle_due = now + self._idle_step
            for relay in self._relays():
                if relay.rest(now) >= self.limits.idle:
                    relay.cut("idle")

    def _relays(self) -> list[Relay]:
        handlers = tuple(self.poller.handlers.values())
        return [side.relay for side in handlers if isinstance(side, Side) and side is side.relay.client]

    def failed(self, handler: Handler, error: Exception) -> None:
        """A bug in the handling of one session: that session ends, all others go on."""
        self.journal.trouble(f"internal error in a session: {type(error).__name__}: {error}")
        if isinstance(handler, Side):
            handler.relay.cut("internal error")
        elif isinstance(handler, Front):
            handler.put_out("internal error")
        elif isinstance(handler, Attempt) and isinstance(handler.client, Front):
            handler.client.put_out("internal error")

    def close(self, why: str) -> None:
        """End every session, write their records, and stop."""
        self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        for relay in self._relays():
            relay.cut(why)
        for deadlines in (self.handshakes, self.dials, self.lingering):
            for front in deadlines:
                assert isinstance(front, Front)
                front.put_out(why)
        self.lookups.close()
        self.poller.close()
        self.pipes.close()


class Front:
    """A client from its acceptance to its relay, or to its refusal."""

    __slots__ = ("_drained", "_lingers", "_open", "_runner", "_session", "_sock", "_target", "_unread", "_waiting")

    def __init__(self, runner: Runner, sock: socket.socket, client: Endpoint) -> None:
        self._runner = runner
        self._sock = sock
        self._session = Session(runner.context, client)
        #: what the session waits for, so that it can be cancelled
        self._waiting: Attempt | asyncio.Task[None] | None = None
        #: the connected outgoing socket and its events, for as long as nobody else has them
        self._target: tuple[socket.socket, int] | None = None
        #: whether the kernel holds bytes, or the end, of the client that nobody has read
        self._unread = False
        self._lingers = False
        self._drained = 0
        self._open = True
        runner.open += 1
        runner.handshakes.add(self)
        runner.poller.add(sock.fileno(), self, READ)

    # Events

    def ready(self, events: int) -> None:
        """The client sent something, ended, or reset."""
        if not self._open:
            return
        if self._lingers:
            self._drain()
        elif events & _RESET:
            self.put_out("reset by the client")
        elif self._session.state is State.NEGOTIATING:
            self._read(events)
        else:
            self._unread = True

    def _read(self, events: int) -> None:
        """Read while the session wants more; what comes after its request stays in the kernel for the relay."""
        self._unread = True
        while self._unread and self._session.state is State.NEGOTIATING:
            try:
                data = self._sock.recv(NEGOTIATION_BYTES)
            except BlockingIOError:
                self._unread = False
                return
            except OSError:
                self.put_out("reset by the client")
                return
            # A short read has emptied the socket, unless an end of file waits behind it.
            if len(data) < NEGOTIATION_BYTES and not events & select.EPOLLRDHUP:
                self._unread = False
            self._carry_out(self._session.received(data))

    def dial_succeeded(self, sock: socket.socket, events: int) -> None:
        """The target is there: answer, and relay."""
        self._waiting = None
        try:
            local, remote = endpoint_of(sock.getsockname()), endpoint_of(sock.getpeername())
        except OSError as error:
            self._runner.poller.close_later(sock)
            self.dial_failed(error.errno or 0, "connect()")
            return
        self._target = (sock, events)
        self._carry_out(self._session.connected(local, remote))

    def dial_failed(self, number: int, call: str) -> None:
        """No endpoint answered."""
        self._waiting = None
        self._carry_out(self._session.connect_failed(number, call))

    def timed_out(self) -> None:
        """The time limit of the present state is over."""
        self._cancel()
        self._carry_out(self._session.timed_out())

    def put_out(self, why: str) -> None:
        """End before the relay began, without a word to the client."""
        if self._open:
            self._cancel()
            self._carry_out(self._session.abandoned(why))
            self.close()

    # Commands

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            _CARRY_OUT[type(command)](self, command)

    def _send(self, command: Send) -> None:
        try:
            sent = self._sock.send(command.data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reset shows itself at the next read
        if sent < len(command.data):
            # The answers of a whole dialogue are a few hundred bytes: no honest client's window is closed to them.
            self._sock.shutdown(socket.SHUT_RDWR)

    def _check_password(self, command: CheckPassword) -> None:
        self._wait_for(self._verify(command))

    async def _verify(self, command: CheckPassword) -> None:
        accepted = await self._runner.verifier.verify(command.user, command.password)
        self._carry_out(self._session.password_checked(accepted))
        if self._session.state is State.NEGOTIATING:
            self._read(select.EPOLLRDHUP)

    def _ask_ident(self, command: AskIdent) -> None:
        self._establishing()
        self._wait_for(self._identify(command))

    async def _identify(self, command: AskIdent) -> None:
        local = endpoint_of(self._sock.getsockname())
        user = await self._runner.identd.ask(self._session.client, local)
        self._carry_out(self._session.ident_answered(user, command.endpoints))

    def _resolve(self, command: Resolve) -> None:
        self._establishing()
        self._wait_for(self._look_up(command))

    async def _look_up(self, command: Resolve) -> None:
        try:
            addresses = await self._runner.lookups.addresses(command.name)
        except LookupFailed as error:
            self._carry_out(self._session.lookup_failed(str(error)))
        else:
            self._carry_out(self._session.resolved(addresses))

    def _dial(self, command: Dial) -> None:
        self._establishing()
        poller = self._runner.poller
        if len(command.endpoints) == 1:
            self._waiting = dial(poller, self, command.endpoints[0])
        else:
            self._waiting = self._spawn(dial_any(poller, self, command.endpoints))

    def _start_relay(self, command: StartRelay) -> None:
        assert self._target is not None
        target, events = self._target
        runner = self._runner
        self._target = None
        self._open = False
        runner.dials.discard(self)
        relay = Relay(runner, self._session, self._sock, target, runner.context.clock())
        relay.start(command.early, self._unread, events)

    def _run_command(self, command: RunCommand) -> None:
        self._runner.shell.run(command.command)

    def _log(self, command: Log) -> None:
        self._runner.journal.line(command.line)

    def _write(self, command: Write) -> None:
        self._runner.journal.record(json_line(command.record))

    def _linger(self, _command: Close) -> None:
        """Close only when the client has: closing over unread bytes would reset the connection and lose the answer."""
        self._lingers = True
        self._stop_clocks()
        self._runner.lingering.add(self)
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
        else:
            self._drain()

    # Their parts

    def _establishing(self) -> None:
        """From here on it is not the client that is waited for; the time of `Limits.connect` begins once."""
        runner = self._runner
        if self in runner.handshakes:
            runner.handshakes.discard(self)
            runner.dials.add(self)

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        self._waiting = self._spawn(work)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._runner.spawn(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # a bug costs its own session, never the worker
            self._runner.failed(self, error)

    def _cancel(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _drain(self) -> None:
        while self._drained < LINGER_BYTES:
            try:
                data = self._sock.recv(NEGOTIATION_BYTES)
            except BlockingIOError:
                return
            except OSError:
                break
            if not data:
                break
            self._drained += len(data)
        self.close()

    def _stop_clocks(self) -> None:
        runner = self._runner
        runner.handshakes.discard(self)
        runner.dials.discard(self)
        runner.lingering.discard(self)

    def close(self) -> None:
        """Close the socket and give the place back."""
        if self._open:
            self._open = False
            self._stop_clocks()
            self._runner.poller.close_later(self._sock)
            self._runner.left()


_CARRY_OUT: Mapping[type, Callable[[Front, Any], None]] = MappingProxyType(
    {
        Send: Front._send,
        CheckPassword: Front._check_password,
        AskIdent: Front._ask_ident,
        Resolve: Front._resolve,
        Dial: Front._dial,
        StartRelay: Front._start_relay,
        RunCommand: Front._run_command,
        Log: Front._log,
        Write: Front._write,
        Close: Front._linger,
    }
)
