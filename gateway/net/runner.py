"""The sessions of one worker: clients are accepted, the commands of their sessions carried out, time limits kept.

`Front` is a client before its relay; `Runner` is what all of them share.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.address import Address, Endpoint, Name
from gateway.net.dialer import Attempt, Spare, dial, dial_any
from gateway.net.lookup import LookupFailed, Names
from gateway.net.loop import READ, Handler, Poller, Resumable
from gateway.net.pipes import PipePool
from gateway.net.relay import Relay, Side
from gateway.net.sockets import Socket, address_of, endpoint_of, text_of
from gateway.policy.command import Job
from gateway.policy.egress import Egress, Hop
from gateway.session.context import Context
from gateway.session.tcp import Session, State

NEGOTIATION_BYTES = 4096
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 18
SWEEP_SECONDS = 1.0
BUSY_GRACE = 10.0
"""Seconds that a connection, a look-up or a check may take before its client has to make room for newer ones."""

PUT_OUT = "put out for a newer client: all places are taken"

_RESET = select.EPOLLERR | select.EPOLLHUP
_RDHUP = select.EPOLLRDHUP
_TARGET_SPOKE = select.EPOLLIN | select.EPOLLPRI | _RESET
_NEGOTIATING = State.NEGOTIATING
_DECIDED = frozenset({State.ASKING_IDENT, State.DIALING, State.RELAYING})


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds, and how many sessions a worker holds at once."""

    handshake: float
    connect: float
    idle: float
    sessions: int
    #: attempts of all races beside each session's first
    attempts: int = 64


class Verifier(Protocol):
    """Who checks passwords, in a bounded time and off the data path."""

    async def verify(self, user: bytes, password: bytes, source: Address) -> bool:
        """Whether this is the user's password; no client may hold up those of other addresses."""


class Identd(Protocol):
    """Who asks the identd of a client's host."""

    async def ask(self, client: Endpoint, local: Endpoint) -> str | None:
        """The user's name, None when there is no answer."""


class Shell(Protocol):
    """Who runs the commands of ``sockd.conf``."""

    def run(self, job: Job) -> None:
        """Have it started, and return at once."""

    def close(self) -> None:
        """End what still runs."""


class Trouble(Protocol):
    """Who is told what the administrator has to know."""

    def trouble(self, text: str) -> None:
        """A resource that ran out, or a bug."""


class Running(NamedTuple):
    """A session of now, the bytes of its relay from the client and from the target, and how to end it."""

    session: Session
    sent: int
    received: int
    end: Callable[[str], None]


class Runner:
    """Everything that the sessions of one worker share, and the sessions themselves."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        context: Context,
        limits: Limits,
        log: Trouble,
        lookups: Names,
        verifier: Verifier,
        identd: Identd,
        shell: Shell,
        pipes: PipePool,
    ) -> None:
        self.loop = loop
        self.poller = poller
        poller.failed = self.failed
        self.context = context
        self.limits = limits
        self.log = log
        self.lookups = lookups
        self.verifier = verifier
        self.identd = identd
        self.shell = shell
        self.pipes = pipes
        #: the clients that are waited for, the slowest first; dictionaries, for their order
        self.slow: dict[Front, None] = {}
        #: the clients that wait for a look-up, a password check, an identd or a connection, and since when
        self.busy: dict[Front, float] = {}
        self.spare = Spare(limits.attempts)
        #: connections that hold a place, and all that ever did
        self.open = 0
        self.accepted = 0
        #: who paused for want of a place
        self.waiting: set[Resumable] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._set_pace(limits)
        self._timer = loop.call_later(self._step, self._sweep)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that must talk to others first; held here, so that it can not be collected meanwhile."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def accept(self, sock: Socket, name: Any) -> None:
        """Serve a client that was just accepted; ``name`` is its socket address."""
        Front(self, sock, address_of(name[0]), text_of(name))

    def _set_pace(self, limits: Limits) -> None:
        """How often time limits are looked at."""
        self._idle_step = max(0.05, min(SWEEP_SECONDS * 10, limits.idle / 4))
        self._idle_due = self.context.clock() + self._idle_step
        shortest = min(limits.handshake, limits.connect, limits.idle, 4 * SWEEP_SECONDS)
        self._step = max(0.02, shortest / 4)

    def adopt(self, context: Context, limits: Limits, verifier: Verifier, identd: Identd) -> None:
        """Other rules and limits count from the next request on; sessions that are decided keep theirs."""
        self.context = context
        self.limits = limits
        self.verifier = verifier
        self.identd = identd
        self._set_pace(limits)
        for front in (*self.slow, *self.busy):
            front.adopt(context)

    # Looks at the sessions from outside

    def running(self) -> Iterator[Running]:
        """Every session of now; a client that made no request yet is one too, one that had its refusal is none."""
        yield from self.relaying()
        for front in (*self.slow, *self.busy):
            if front.session.state is not State.ENDED:
                yield Running(front.session, 0, 0, front.put_out)

    def relaying(self) -> Iterator[Running]:
        """Those of them whose relay has begun."""
        for relay in self._relays():
            yield Running(relay.session, relay.client.count, relay.target.count, relay.cut)

    def end(self, some: Iterable[Running], why: str) -> int:
        """End these; how many there were."""
        ends = [running.end for running in some]
        for end in ends:
            self._end(end, why)
        return len(ends)

    def denied_by(self, context: Context) -> Iterator[tuple[Running, str]]:
        """The sessions that other rules would not let be, and why; who was not decided about will meet those rules."""
        for running in self.running():
            if running.session.state in _DECIDED and (reason := running.session.refusal_by(context)):
                yield running, reason

    def make_room(self) -> bool:
        """Whether one more client can be served; when all places are taken the slowest client loses its own.

        Slow is who was accepted first and has not made its request, or has had its refusal. When there is no such
        client, one that waits for us goes: one that has sent its end already, or that has waited for long.
        """
        if self.open < self.limits.sessions:
            return True
        for front in tuple(self.slow):
            # Its request may be here already, unread: then it is we who are slow. Or it has left.
            before = self.open
            front.ready(select.EPOLLIN)
            if self.open < before:
                return True
            if front in self.slow:
                front.put_out(PUT_OUT)
                return True
        long_ago = self.context.clock() - BUSY_GRACE
        for front, since in self.busy.items():
            if front.has_ended or since <= long_ago:
                front.put_out(PUT_OUT)
                return True
        return False

    def left(self) -> None:
        """A connection gave its place back."""
        self.open -= 1
        if self.waiting:
            for listener in tuple(self.waiting):
                listener.resume()

    def relay_ended(self, relay: Relay, end: str) -> None:
        """A relay is over: free its place and write it down."""
        self.left()
        relay.session.ended(relay.client.count, relay.target.count, end)

    def ways_changed(self, usable: Callable[[Egress], bool], is_cut: Callable[[str], bool]) -> None:
        """What is known of the uplinks has changed.

        What is dialled by a lost way is dialled anew, by another if there is one; live sessions end if their way is
        lost and ``is_cut`` says so of their uplink.
        """
        for front in tuple(self.busy):
            try:
                front.ways_changed(usable)
            except Exception as error:  # a bug costs its own session only
                self.failed(front, error)
        for relay in self._relays():
            way = relay.session.way_out
            if way is not None and not usable(way) and is_cut(way.uplink):
                self._end(relay.cut, f"the way out by {way.uplink} is lost")

    def _sweep(self) -> None:
        self._timer = self.loop.call_later(self._step, self._sweep)
        now = self.context.clock()
        for front in [front for front in (*self.slow, *self.busy) if front.due <= now]:
            try:
                front.timed_out()
            except Exception as error:  # a bug costs its own session only
                self.failed(front, error)
        if now >= self._idle_due:
            self._idle_due = now + self._idle_step
            for relay in self._relays():
                if relay.rest(now) >= self.limits.idle:
                    self._end(relay.cut, "idle")

    def _relays(self) -> list[Relay]:
        handlers = tuple(self.poller.handlers.values())
        return [side.relay for side in handlers if isinstance(side, Side) and side is side.relay.client]

    def failed(self, handler: Handler | Resumable, error: Exception) -> None:
        """A bug in the handling of one session: that session ends, all others go on."""
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = "" if where is None else f" at {where.tb_frame.f_code.co_name}:{where.tb_lineno}"
        self.log.trouble(f"internal error in a session: {type(error).__name__}: {error}{place}")
        front = handler.client if isinstance(handler, Attempt) else handler
        if isinstance(handler, Side):
            self._end(handler.relay.cut, "internal error")
        elif isinstance(front, Front):
            self._end(front.put_out, "internal error")
            front.leave()  # if it did not get so far: the descriptors at least are given back

    def _end(self, end: Callable[[str], None], why: str) -> None:
        """End a session; a bug in that costs its own record only."""
        try:
            end(why)
        except Exception as error:
            self.log.trouble(f"internal error at the end of a session: {type(error).__name__}: {error}")

    def close(self, why: str) -> None:
        """End every session, write their records, and stop."""
        self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        ends: list[Callable[[str], None]] = [relay.cut for relay in self._relays()]
        ends += [front.put_out for front in (*self.slow, *self.busy)]
        for end in ends:
            self._end(end, why)
        self.shell.close()
        self.lookups.close()
        self.pipes.close()


class Front:
    """A client from its acceptance to its relay, or to its refusal; the `Actions` of its session."""

    __slots__ = (
        "_drained",
        "_flags",
        "_lingers",
        "_open",
        "_runner",
        "_session",
        "_sock",
        "_source",
        "_target",
        "_unread",
        "_waiting",
        "due",
        "has_ended",
    )

    def __init__(self, runner: Runner, sock: Socket, source: Address, client: str) -> None:
        self._runner = runner
        self._sock = sock
        self._source = source
        self._session = Session(runner.context, self, source, client)
        #: when its patience ends, on the monotonic clock
        self.due = self._session.started + runner.limits.handshake
        #: what the session waits for, so that it can be cancelled
        self._waiting: Attempt | asyncio.Task[None] | None = None
        #: the connected outgoing socket and its events, for as long as nobody else has them
        self._target: tuple[Socket, int] | None = None
        #: whether the kernel may hold bytes, or the end, of the client that nobody has read
        self._unread = False
        self._open = True
        #: whether the client has sent its end
        self.has_ended = False
        self._lingers = False
        self._drained = 0
        self._flags = 0
        runner.open += 1
        runner.accepted += 1
        runner.slow[self] = None
        runner.poller.add(sock.fileno(), self, READ)

    @property
    def session(self) -> Session:
        """Its session."""
        return self._session

    def adopt(self, context: Context) -> None:
        """See `Runner.adopt`."""
        self._session.adopt(context)

    # What happens to it

    def ready(self, events: int) -> None:
        """The client sent something, ended, or reset."""
        if events & _RDHUP:
            self.has_ended = True
        if events & _RESET:
            if self._lingers:
                self.leave()
            else:
                self.put_out("reset by the client")
        elif self._lingers:
            self._drain()
        elif self._session.state is _NEGOTIATING:
            self._read(events)
        else:
            self._unread = True

    def _read(self, events: int) -> None:
        """Read while the session wants more; what comes after its request stays in the kernel for the relay."""
        session = self._session
        self._unread = True
        while self._unread and session.state is _NEGOTIATING:
            try:
                data = self._sock.recv(NEGOTIATION_BYTES)
            except BlockingIOError:
                self._unread = False
                return
            except OSError:
                self.put_out("reset by the client")
                return
            # A short read has emptied the socket, unless an end of file waits behind it.
            if len(data) < NEGOTIATION_BYTES and not events & _RDHUP:
                self._unread = False
            session.received(data)

    def dial_succeeded(self, sock: Socket, remote: Address, events: int) -> None:
        """The target is there: answer, and relay."""
        self._waiting = None
        try:
            name = sock.getsockname()
        except OSError as error:
            self._runner.poller.close_later(sock.fileno(), sock)
            self.dial_failed(error.errno or 0, "getsockname()")
            return
        self._target = (sock, events)
        if events & _TARGET_SPOKE == select.EPOLLIN:
            # The answer leaves in one segment with what the target has said already, which follows at once.
            self._flags = socket.MSG_MORE
        self._session.connected(endpoint_of(name), text_of(name), remote)

    def dial_failed(self, number: int, call: str) -> None:
        """No endpoint answered."""
        self._waiting = None
        self._session.connect_failed(number, call)

    def timed_out(self) -> None:
        """Its patience, or ours, is over."""
        if self._lingers:
            self.leave()
        else:
            self._cancel()
            self._session.timed_out()

    def put_out(self, why: str) -> None:
        """End before the relay began, without a word to the client."""
        if self._open:
            self._cancel()
            self._session.abandoned(why)
            self.leave()

    def leave(self) -> None:
        """Close the sockets and give the place back."""
        runner = self._runner
        if self._open:
            self._open = False
            if self._target is not None:
                target = self._target[0]
                self._target = None
                runner.poller.close_later(target.fileno(), target)
            runner.slow.pop(self, None)
            runner.busy.pop(self, None)
            runner.poller.close_later(self._sock.fileno(), self._sock)
            runner.left()

    # Actions

    def send(self, data: bytes) -> None:
        """Bytes for the client."""
        try:
            sent = self._sock.send(data, self._flags)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reset shows itself at the next read
        if sent < len(data):
            # The answers of a whole dialogue are a few hundred bytes: no honest client's window is closed to them.
            self._sock.shutdown(socket.SHUT_RDWR)

    def check_password(self, user: bytes, password: bytes) -> None:
        """Verify a password in the background."""
        runner = self._runner
        del runner.slow[self]
        runner.busy[self] = runner.context.clock()
        self._wait_for(self._verify(user, password))

    async def _verify(self, user: bytes, password: bytes) -> None:
        runner = self._runner
        accepted = await runner.verifier.verify(user, password, self._source)
        del runner.busy[self]
        runner.slow[self] = None
        self._session.password_checked(accepted)
        if self._session.state is _NEGOTIATING:
            self._read(_RDHUP)

    def ask_ident(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Ask the client's identd in the background."""
        self._establishing()
        self._wait_for(self._identify(endpoints))

    async def _identify(self, endpoints: tuple[Endpoint, ...]) -> None:
        client, local = endpoint_of(self._sock.getpeername()), endpoint_of(self._sock.getsockname())
        self._session.ident_answered(await self._runner.identd.ask(client, local), endpoints)

    def resolve(self, name: Name) -> None:
        """Look a name up in the background."""
        self._establishing()
        self._wait_for(self._look_up(name))

    async def _look_up(self, name: Name) -> None:
        try:
            addresses = await self._runner.lookups.addresses(name, self._source, self._session.lookup_ways())
        except LookupFailed as error:
            self._session.lookup_failed(str(error))
        else:
            self._session.resolved(addresses)

    def dial(self, hops: tuple[Hop, ...]) -> None:
        """Connect; one endpoint needs no task."""
        self._establishing()
        runner = self._runner
        if len(hops) == 1:
            self._waiting = dial(runner.poller, self, hops[0])
        else:
            self._wait_for(dial_any(runner.poller, self, hops, runner.spare))

    def ways_changed(self, usable: Callable[[Egress], bool]) -> None:
        """What is known of the uplinks has changed: do not wait for an answer by one that is lost."""
        if self._session.dials_by_lost_way(usable):
            self._cancel()
            self._session.redial()

    def run_command(self, job: Job) -> None:
        """Start a command of ``sockd.conf``."""
        self._runner.shell.run(job)

    def start_relay(self, early: bytes) -> None:
        """Give both sockets, and the place, to a relay."""
        assert self._target is not None
        target, events = self._target
        runner = self._runner
        self._target = None
        self._open = False
        del runner.busy[self]
        relay = Relay(runner, self._session, self._sock, target, runner.context.clock())
        try:
            relay.start(early, self._unread, events)
        except Exception as error:  # it is the relay's already, and so not for whoever called this
            runner.failed(relay.client, error)

    def close(self) -> None:
        """Close when the client has: closing over unread bytes would reset the connection and lose the answer."""
        self._lingers = True
        self._runner.busy.pop(self, None)
        self._runner.slow[self] = None
        self.due = self._runner.context.clock() + LINGER_SECONDS
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.leave()
        else:
            self._drain()

    # Their parts

    def _establishing(self) -> None:
        """From the request on it is not the client that is waited for: the time of `Limits.connect` begins, once."""
        runner = self._runner
        if self not in runner.busy:
            del runner.slow[self]
            now = runner.busy[self] = runner.context.clock()
            self.due = now + runner.limits.connect

    def _wait_for(self, work: Coroutine[Any, Any, None]) -> None:
        self._waiting = self._runner.spawn(self._guarded(work))

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
        self.leave()
