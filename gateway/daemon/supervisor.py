"""The first process: starts everybody, starts them again when they die, has the files loaded anew, ends all in order.

No client byte ever reaches it, and once all is open it has no privilege any more. The listening sockets stay open
here, so that what waits in their queues is served by the next worker when one has died. What the watcher says of the
networks goes from here to every worker. It is one plain loop: whatever it does must not wait for anybody.
"""

import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway import __version__
from gateway.address import Endpoint
from gateway.config.rules import IdentLevel
from gateway.control import protocol
from gateway.control.http import MetricsServer
from gateway.control.protocol import Report
from gateway.control.server import Gate, Reply, Server
from gateway.daemon import messages, warden, worker
from gateway.daemon.adoption import Chosen, memory_of
from gateway.daemon.children import Child, Children, born
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.counters import Block, Counter, Slots, total
from gateway.daemon.gathering import Gathering, Gatherings
from gateway.daemon.helper import run_helper
from gateway.daemon.host import folders
from gateway.daemon.listeners import Listeners
from gateway.daemon.messages import MAY_SAY, Message, Orders, close_all, receive, send
from gateway.daemon.network import network_of, written_words
from gateway.daemon.operations import ANSWER_SECONDS, Operations, Ruling, rfc3339
from gateway.daemon.rates import Rates
from gateway.daemon.reports import confinement_troubles, process_row, uplink_rows
from gateway.daemon.restart import waiting_for_a_restart
from gateway.daemon.seat import Seat
from gateway.daemon.tailing import Tailing
from gateway.daemon.titles import gateway_words
from gateway.daemon.watcher import run_watcher
from gateway.errors import GatewayError, StartError
from gateway.policy.egress import Standing
from gateway.system.detach import Starting
from gateway.system.journal import Journal
from gateway.system.notify import Notifier
from gateway.system.pidfile import PidFile
from gateway.system.privileges import Account, drop
from gateway.system.reaper import become_reaper
from gateway.system.sandbox import Confinement, Kind, confine
from gateway.system.sinks import file_targets
from gateway.system.title import Title

START_SECONDS = 30.0
LOAD_SECONDS = 60.0
"""How long the others may take to make themselves ready for other files."""

SWAP_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""How long a worker that does not keep up, or an address that can not be listened on yet, is left in peace."""

TICK_SECONDS = 1.0
"""How often it looks at what no event tells: titles, time limits, rates."""

QUIET_SECONDS = 2.2
"""So long nobody must be served before a drained daemon ends: the workers' numbers are a second old."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(frozen=True, slots=True)
class Start:
    """What the daemon is started with."""

    configuration: Configuration
    listeners: Listeners
    journal: Journal
    #: None: it is not root, and stays who it is
    account: Account | None
    #: that of the command line; None: that of the settings
    ident: IdentLevel | None
    workers: int
    descriptors: int
    notifier: Notifier
    #: whether the warden may change the kernel's routing
    routes: bool = False
    #: whether there are privileges to be given up
    privileged: bool = False
    pidfile: PidFile | None = None
    control: socket.socket | None = None
    #: who may use it
    gate: Gate | None = None
    metrics: Sequence[socket.socket] = ()
    #: who waits on the terminal; children do not speak to it
    starting: Starting | None = None


class Supervisor:
    """The processes of one daemon."""

    def __init__(self, start: Start) -> None:
        """Takes over the sockets and the pid file of ``start``; its children close them."""
        configuration = start.configuration
        self._start_values = start
        self._listeners = start.listeners
        self._journal = journal = start.journal
        self._slots = Slots()
        self.ruling = Ruling(configuration, self._slots_of(configuration), 0, rfc3339(time.time()))
        self._began = self.ruling.loaded
        self.network = network_of(configuration.settings, configuration.kernel, ())
        self.board = tuple(Block() for _ in range(start.workers))
        self.gatherings = Gatherings()
        self._rates = Rates(self.board)
        self._births = 0
        self._ready: set[str] = set()
        #: workers that have not got the last orders, and the numbers of the sockets that each worker has
        self._behind: set[str] = set()
        self._given: dict[str, tuple[int, ...]] = {}
        self._faults: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._waker, self._wakes = socket.socketpair()
        self._wishes, self._commands = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._waker, self._wakes, self._wishes, self._commands):
            end.setblocking(False)
        self._watcher = Child("watcher", self._live_as_watcher)
        self._helper = Child("helper", self._live_as_helper)
        numbers = range(1, start.workers + 1)
        self._workers = [Child(f"worker {number}", partial(self._live_as_worker, number)) for number in numbers]
        self._children = Children(journal, (self._watcher, self._helper, *self._workers), self._forsake)
        self._by_name = {child.name: child for child in self._children.all}
        wardens = 2 if start.privileged else 1
        self._seat = Seat(self._fork_warden, wardens, self._attend, self._leave, journal.trouble)
        self._tailing = Tailing(self._attend, self._leave, self._start_tail, partial(self._tell_workers, messages.Tail))
        self._operations = Operations(self)
        self._server: Server | None = None
        self._scrapes: MetricsServer | None = None
        self._confinement: Confinement | None = None
        self._reloads: list[tuple[bool, Reply | None]] = []
        self._refused = ""
        self._drains: list[Reply] = []
        self._drain_until: float | None = None
        self._drained_since: float | None = None
        self._is_draining = False
        self._reported = -1
        self._next_tick = self._next_sign = 0.0
        self._words = ""
        self._title = Title("gateway", live=configuration.settings.sockd.titles)

    def _slots_of(self, configuration: Configuration) -> tuple[int, ...]:
        access = configuration.access
        return self._slots.assign(access, configuration.texts.files[access.path])

    def run(self, announce: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``announce`` is called when every worker serves. Raises StartError."""
        become_reaper()
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _noted)
        self._attend(self._wakes, self._hear)
        try:
            # Workers come last: what the watcher knows of the uplinks is in their first orders.
            if (
                self._start_wardens()
                and self._confine()
                and self._start([self._watcher, self._helper])
                and self._start(self._workers)
            ):
                self._open_doors()
                announce()
            while not self._watch():
                pass
        finally:
            self._start_values.notifier.stopping()
            self._end()

    def _end(self) -> None:
        """Workers first, the wardens last: what is kept in the kernel holds for as long as anybody is served."""
        self._children.stop(self._workers)
        self._tell(self._watcher, messages.End())
        self._children.stop([self._watcher, self._helper])
        if self.ruling.configuration.settings.external.remove_at_exit and self._start_values.routes:
            for fault in self._seat.clear():
                self._journal.trouble(fault)
        self._seat.end()
        self._tailing.end()
        for reply in self._drains:
            reply.done({"sessions": 0})
        if self._server is not None:
            self._server.close()
        if self._scrapes is not None:
            self._scrapes.close()

    # The start

    def _start_wardens(self) -> bool:
        """False when a signal to end came first. Raises StartError."""
        try:
            self._seat.fill()
        except OSError as error:
            raise StartError(f"the warden can not be started: {error.strerror}") from None
        return self._wait(lambda: self._seat.is_ready)

    def _fork_warden(self, channel: socket.socket, other: socket.socket) -> int:
        found = self.ruling.configuration
        files, logs = found.texts.files, file_targets(found.settings.log)
        words = "\n".join(text for path, text in files.items() if path not in found.texts.secret)
        post = warden.Post(frozenset((found.texts.path, *files)), frozenset(filter(None, logs)), words.encode())

        def live() -> None:
            other.close()
            self._children.forsake()
            Title("warden")
            warden.run_warden(post, channel)

        return born("warden", live, self._journal)

    def _confine(self) -> bool:
        """Give up what the start needed; from now on the warden opens what must be opened."""
        drop(self._start_values.account)
        paths = [path for path in file_targets(self.ruling.configuration.settings.log) if path]
        control = self.ruling.configuration.settings.control.socket
        self._confinement = confine(Kind.SUPERVISOR, (), folders(filter(None, (*paths, control))))
        self._seat.may_fork = not self._start_values.privileged
        self._listeners.opener = self._opened_by_warden
        for text in confinement_troubles("this host", self._confinement):
            self._journal.trouble(text)
        return True

    def _opened_by_warden(
        self, endpoint: Endpoint, backlog: int, shared: bool, device: str, scope: int
    ) -> socket.socket:
        wanted = messages.Listen(endpoint.address, endpoint.port, backlog, shared, device, scope)
        return self._seat.listening(wanted)

    def _open_doors(self) -> None:
        """Be there for operators and scrapers."""
        start = self._start_values
        if start.control is not None and start.gate is not None:
            handle, trouble = self._operations.handle, self._journal.trouble
            self._server = Server(start.control, self._selector, start.gate, handle, trouble, time.monotonic)
        if start.metrics:
            self._scrapes = MetricsServer(
                start.metrics, self._selector, self._operations.metrics, time.monotonic, self._journal.trouble
            )

    def _start(self, some: Sequence[Child]) -> bool:
        """Start these and wait for them; False when a signal to end came first. Raises StartError."""
        for child in some:
            try:
                self._children.start(child)
            except OSError as error:
                raise StartError(f"{child.name} can not be started: {error.strerror}") from None
            self._attach(child)
        return self._wait(lambda: self._ready.issuperset(child.name for child in some))

    def _wait(self, is_done: Callable[[], bool]) -> bool:
        """False when a signal to end came first. Raises StartError."""
        deadline = time.monotonic() + START_SECONDS
        while not is_done():
            self._turn(min(RETRY_SECONDS, max(0.0, deadline - time.monotonic())))
            self._order_all()
            if self._is_ending():
                return False
            if time.monotonic() >= deadline or self._children.bury() or self._seat.is_empty:
                raise StartError("a process did not start; its reason is in the lines above, or in the log")
        return True

    # The life of a child, in its own process

    def _live_as_watcher(self, channel: socket.socket) -> None:
        self._commands.close()
        self._wishes.close()
        run_watcher(self.ruling.configuration, self._journal, channel, self.network, self._start_values.routes)

    def _live_as_helper(self, channel: socket.socket) -> None:
        self._wishes.close()
        run_helper(self.ruling.configuration, self.ruling.number, self._journal, channel, self._commands)

    def _live_as_worker(self, number: int, channel: socket.socket) -> None:
        self._commands.close()
        start, ruling = self._start_values, self.ruling
        prefix = f"{int(time.time()):x}-{self._births}"
        post = worker.Post(number, start.ident, start.descriptors, prefix, self.board[number - 1], self._wishes)
        worker.run_worker(Chosen(ruling.number, ruling.configuration, ruling.slots), self._journal, post, channel)

    def _forsake(self) -> None:
        """In a new process: nothing open that is the supervisor's alone."""
        start = self._start_values
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._waker.close()
        self._listeners.close()
        self._seat.forsake()
        for door in (self._server, self._scrapes):
            if door is not None:
                door.forsake()
        for sock in (start.control, *start.metrics):
            if sock is not None:
                sock.close()
        if start.pidfile is not None:
            os.close(start.pidfile.fd)
        if start.starting is not None:
            start.starting.close()

    # Its own work

    def _attend(self, sock: socket.socket, call: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, call)

    def _leave(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0 and sock in self._selector.get_map():
            self._selector.unregister(sock)

    def _attach(self, child: Child) -> None:
        """A child was born."""
        assert child.channel is not None
        self._births += 1
        self._attend(child.channel, partial(self._listen_to, child))
        if child in self._workers:
            self._given.pop(child.name, None)
            self._behind.add(child.name)
            self._order_all()
            if self._tailing.is_on:
                self._start_tail_of(child)

    def _watch(self) -> bool:
        """One turn; whether it is time to end."""
        self._turn(self._patience())
        # A signal that went to the whole group is here when a death that it caused is seen.
        self._bury(self._is_ending)
        if self._is_ending() or self._is_drained():
            return True
        self._heed()
        for child in self._children.restart():
            self._attach(child)
        self._seat.refill()
        if self._listeners.incomplete:
            self._listen_anew()
        self._order_all()
        while self._reloads:
            self._reload_for(*self._reloads.pop(0))
        return False

    def _heed(self) -> None:
        """Do what signals ask for."""
        received, self._signals = self._signals, []
        if signal.SIGUSR1 in received:
            self._reopen()
        if signal.SIGHUP in received:
            self.reload_soon(False, None)

    def _patience(self) -> float:
        due = self._children.until_due()
        tick = max(0.0, self._next_tick - time.monotonic())
        watchdog = self._start_values.notifier.watchdog_seconds
        return min(tick, *(seconds for seconds in (due, watchdog) if seconds is not None), TICK_SECONDS)

    def _turn(self, patience: float) -> None:
        for key, _ in self._selector.select(patience):
            key.data()
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self._tick()
        self._live()

    def _live(self) -> None:
        """A sign of life, as often as the service manager wants one."""
        notifier = self._start_values.notifier
        if notifier.watchdog_seconds is not None and time.monotonic() >= self._next_sign:
            self._next_sign = time.monotonic() + notifier.watchdog_seconds
            notifier.watchdog()

    def _tick(self) -> None:
        self.gatherings.tick()
        for door in (self._server, self._scrapes):
            if door is not None:
                door.tick()
        self._rates.look(time.monotonic())
        words = gateway_words(self._rates.totals(), self.network.uplinks, draining=self._is_draining)
        if words != self._words:
            self._words = words
            self._title.show(words)
            self._start_values.notifier.status(words)
        self._report_drain()

    def _hear(self) -> None:
        """Signals arrived: each is a byte (signal.set_wakeup_fd)."""
        try:
            self._signals += self._wakes.recv(4096)
        except BlockingIOError:
            pass

    def _is_ending(self) -> bool:
        self._hear()
        return bool(_ENDING.intersection(self._signals))

    def _bury(self, ending: Callable[[], bool] = lambda: False) -> None:
        for child in self._children.bury(ending):
            self._forget(child)

    def _forget(self, child: Child) -> None:
        channel = child.channel
        if channel is not None:
            self._leave(channel)
            channel.close()
            child.channel = None
        self._ready.discard(child.name)
        self.gatherings.gone(child.name)
        if child in self._workers:
            self.board[self._workers.index(child)].clear_gauges()

    # What children say

    def _listen_to(self, child: Child) -> None:
        channel = child.channel
        assert channel is not None
        try:
            received = receive(channel)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.EPROTO:
                self._dismiss(child, "says what is no message")
            received = None
        if received is None:
            # It has gone, or is about to, and SIGCHLD follows; or it lets nobody reach it any more.
            self._leave(channel)
            self._children.kill(child)
            return
        close_all(received.descriptors)  # no child passes any
        if isinstance(received.message, MAY_SAY[child.kind]):
            self._take(child, received.message)
        else:
            self._dismiss(child, "says what it may not say")

    def _take(self, child: Child, message: Any) -> None:
        match message:
            case messages.Ready():
                self._ready.add(child.name)
                child.confinement = message.confinement
            case messages.Networks():
                self.network = message.network
                self._listen_anew()
                self._behind.update(worker.name for worker in self._workers)
            case messages.Apply():
                self._seat.apply(message.changes, partial(self._tell, child))
            case messages.Found():
                self._gather(child, message, is_last=message.matched is not None)
            case messages.Loaded() | messages.Swapped() | messages.Killed():
                self._gather(child, message, is_last=True)

    def _gather(self, child: Child, message: Any, *, is_last: bool) -> None:
        if not self.gatherings.add(message.number, child.name, message, is_last=is_last):
            self._dismiss(child, "answers what it was not asked")

    def _dismiss(self, child: Child, why: str) -> None:
        """Whoever does not keep to the rules is replaced."""
        self._journal.trouble(f"{child.name} {why}, and is ended")
        self._children.kill(child)

    # What children are told

    def _tell(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Whether it has got it: who has gone, or does not keep up, has not."""
        if child.channel is None:
            return False
        try:
            send(child.channel, message, descriptors)
        except OSError:
            return False
        return True

    def _tell_workers(self, make: Callable[[], Message]) -> None:
        for child in self._workers:
            self._tell(child, make())

    def ask_workers(self, message: Callable[[int], Message], over: Callable[[Gathering], None]) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        self._ask(self._workers, message, ANSWER_SECONDS, over)

    def _ask(
        self,
        children: Sequence[Child],
        message: Callable[[int], Message],
        seconds: float,
        over: Callable[[Gathering], None] = lambda _: None,
        descriptors: Sequence[int] = (),
    ) -> Gathering:
        """Put a question to those of them that run."""
        asked = [child for child in children if child.channel is not None and child.name in self._ready]
        kind = messages.ANSWERS[type(message(0))]
        number, gathering = self.gatherings.begin((child.name for child in asked), seconds, over, kind)
        for child in asked:
            if not self._tell(child, message(number), descriptors):
                gathering.gone(child.name)
        gathering.settle()
        return gathering

    def _listen_anew(self) -> None:
        if self._is_draining:
            return
        if self.ruling.configuration.settings.internal.interface and self._listeners.adjust(self.network.listen):
            self._say_where()

    def _say_where(self) -> None:
        where = ", ".join(map(str, self._listeners.endpoints)) or "nothing"
        self._journal.line(f"listening on {where}")
        self._behind.update(worker.name for worker in self._workers)

    def _order_all(self) -> None:
        """Tell the workers that have not heard it what is the case now."""
        for index, child in enumerate(self._workers):
            if child.name in self._behind and child.channel is not None and self._order(index, child, child.channel):
                self._behind.discard(child.name)

    def _order(self, index: int, child: Child, channel: socket.socket) -> bool:
        """Whether a worker has heard it, or has gone. Sockets go with it only if they are others than it has."""
        numbers = self._listeners.numbers
        known = self._given.get(child.name) == numbers
        sockets = [] if known else self._listeners.of_worker(index)
        try:
            send(channel, Orders(self.network, None if known else numbers), [sock.fileno() for sock in sockets])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # its successor is told at birth
        except OSError as error:
            fault = f"cannot tell {child.name} what the host's networks are now: {error.strerror}"
            if fault not in self._faults:
                self._faults.add(fault)
                self._journal.trouble(f"{fault}; it is tried again")
            return False
        self._given[child.name] = numbers
        return True

    # Logs opened anew

    def _reopen(self) -> None:
        """SIGUSR1: somebody has moved the log files away."""
        targets = file_targets(self.ruling.configuration.settings.log)
        opened: list[int | None] = []
        for path in targets:
            opened.append(self._appending(path) if path else None)
        descriptors = [descriptor for descriptor in opened if descriptor is not None]
        message = messages.Reopen(*(descriptor is not None for descriptor in opened))
        for child in self._children.all:
            self._tell(child, message, descriptors)
        self._journal.reopen(*opened)  # which owns them from now on
        if descriptors:
            self._journal.line("logs are opened anew")

    def _appending(self, path: str) -> int | None:
        try:
            return self._seat.appending(path)
        except OSError as error:
            self._journal.trouble(f"{path}: cannot open the log anew, the old one goes on: {error.strerror}")
            return None

    # Other files

    def reload_soon(self, recheck: bool, reply: Reply | None) -> None:
        """See `gateway.daemon.operations.Gateway`; ``reply`` None: the log is told."""
        self._reloads.append((recheck, reply))

    def _reload_for(self, recheck: bool, reply: Reply | None) -> None:
        self._start_values.notifier.reloading()
        try:
            done = self._reload(recheck)
        except GatewayError as error:
            self._refused = f"the last reload was refused at {rfc3339(time.time())}: {str(error).splitlines()[0]}"
            for line in str(error).splitlines():
                self._journal.trouble(f"reload refused: {line}")
            if reply is not None:
                reply.error(str(error))
        else:
            self._refused = ""
            if reply is not None:
                reply.done(done)
        self._start_values.notifier.ready(f"configuration {self.ruling.configuration.texts.digest[:12]}")

    def _reload(self, recheck: bool) -> protocol.Reloaded:
        """All files, or none. Raises GatewayError, and then all is as it was."""
        old = self.ruling.configuration
        new = self._loaded(old.texts.path)
        slots = self._slots_of(new)
        # What is opened for the new files is closed again if anybody refuses them.
        internal = new.settings.internal
        network = network_of(new.settings, new.kernel, self.network.uplinks)
        wanted = () if self._is_draining else network.listen
        move = self._listeners.move(internal.port, internal.interface, wanted)
        try:
            prepared = self._prepare(new, slots)
        except GatewayError:
            move.close()
            raise
        self.ruling = Ruling(new, slots, self.ruling.number + 1, rfc3339(time.time()))
        ended = self._swap(recheck, prepared)
        self.network = network
        before = self._listeners.numbers
        self._listeners.complete(move, internal.port)
        self._listeners.adjust(wanted)
        self._behind.update(child.name for child in self._workers)
        if self._listeners.numbers != before:
            self._say_where()
        if _watched(old) != _watched(new):
            self._children.replace(self._watcher)  # the next one begins where it was
        notes = (
            *map(str, new.warnings),
            *waiting_for_a_restart(self._start_values.configuration.settings, new.settings),
        )
        self._journal.choose(new.settings.log.classes)
        changed = new.texts.digest != old.texts.digest
        how = "" if changed else ", as before"
        self._journal.line(f"reloaded -- {len(new.access.rules)} rules, configuration {new.texts.digest[:12]}{how}")
        for note in notes:
            self._journal.line(note)
        return protocol.Reloaded(new.texts.digest, self.ruling.loaded, changed, ended, notes)

    def _loaded(self, path: str) -> Configuration:
        """Read and checked. Raises GatewayError."""
        try:
            return load(path, self._journal.trouble, self._reading)
        except OSError as error:
            raise StartError(f"the files can not be read: {error.strerror}") from None

    def _reading(self, path: str, flags: int) -> int:
        """As `gateway.config.source.Opener`. Raises OSError."""
        try:
            return self._seat.reading(path, flags)
        except PermissionError as error:
            why = "Permission denied; files in a folder that sockd did not know at its start are read at its next one"
            raise PermissionError(error.errno, why) from None

    def _prepare(self, new: Configuration, slots: tuple[int, ...]) -> list[Child]:
        """Everybody makes himself ready; who has. Raises GatewayError."""
        memory = memory_of(new.texts)
        ruling = self.ruling.number + 1
        children = [child for child in (self._helper, *self._workers) if child.name in self._ready]
        try:
            asked = self._ask(
                children,
                lambda number: messages.Load(number, ruling, slots),
                LOAD_SECONDS,
                descriptors=[memory],
            )
            self._await(asked)
        finally:
            os.close(memory)
        faults = sorted({answer.fault for answer in asked.answers if answer.fault})
        if faults:
            raise StartError(f"a process can not load the files: {faults[0]}")
        if asked.missing:
            raise StartError(f"no answer within {LOAD_SECONDS:g} s from {', '.join(sorted(asked.missing))}")
        return children

    def _swap(self, recheck: bool, prepared: Sequence[Child]) -> int:
        """The new files rule everywhere; how many sessions they ended. Who does not take them is replaced."""
        ruling = self.ruling.number
        asked = self._ask(prepared, lambda number: messages.Swap(number, ruling, recheck), SWAP_SECONDS)
        self._await(asked)
        for child in (self._helper, *self._workers):
            if child not in prepared:
                self._children.replace(child)  # born with the old files, and not ready yet when these came
        for name in asked.missing:
            self._dismiss(self._by_name[name], "goes on with the old files")
        return sum(answer.ended for answer in asked.answers)

    def _await(self, gathering: Gathering) -> None:
        """Until it is over; what comes meanwhile is dealt with, but nobody is started anew: he would be behind."""
        while not gathering.is_over:
            self._turn(min(RETRY_SECONDS, gathering.seconds))
            self._bury(self._is_ending)
            gathering.settle()
            if self._is_ending():
                raise StartError("sockd is being ended")

    # What operators see

    def report(self) -> Report:
        """See `gateway.daemon.operations.Gateway`."""
        ruling = self.ruling
        configuration = ruling.configuration
        return Report(
            version=__version__,
            pid=os.getpid(),
            started=self._began,
            loaded=ruling.loaded,
            configuration=configuration.texts.digest,
            path=configuration.texts.path,
            multihomed=configuration.settings.multihomed,
            draining=self._is_draining,
            listening=tuple(map(str, self._listeners.endpoints)),
            totals=self._rates.totals(),
            processes=tuple(self._processes()),
            uplinks=uplink_rows(self.network.uplinks),
            troubles=tuple(self._troubles()),
        )

    def _processes(self) -> Iterator[protocol.Process]:
        yield process_row("gateway", os.getpid(), self._confinement)
        for number, one in enumerate(self._seat.wardens):
            restarts = 0 if number else self._seat.restarts
            yield process_row("warden (spare)" if number else "warden", one.pid, one.confinement, restarts)
        for child in self._children.all:
            worker_at = self._workers.index(child) if child in self._workers else None
            sessions = 0 if worker_at is None else self.board[worker_at][Counter.SESSIONS]
            yield process_row(child.name, child.pid, child.confinement, child.restarts, sessions)

    def _troubles(self) -> Iterator[str]:
        if self._seat.is_empty:
            yield "no warden is left: ports are not opened, routing is not kept, files are not read anew; restart sockd"
        if self._refused:
            yield self._refused
        yield from self._listeners.failures
        for uplink in self.network.uplinks:
            if uplink.standing is Standing.DOWN:
                yield f"uplink {uplink.name} is down: {uplink.cause}"
        yield from confinement_troubles("this host", self._confinement)
        for child in self._children.all:
            if not child.pid:
                yield f"{child.name} does not run"
        lost = total(self.board, Counter.LOST) + self._journal.lost
        if lost:
            yield f"{lost} log lines were lost since the start"

    # No more clients

    def drain(self, timeout: float, reply: Reply) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        self._drains.append(reply)
        until = time.monotonic() + timeout if timeout else None
        self._drain_until = until if self._drain_until is None else self._drain_until
        if not self._is_draining:
            self._is_draining = True
            self._journal.line("draining -- nobody is accepted any more")
            self._listeners.close()
            self._behind.update(child.name for child in self._workers)
        self._reported = -1

    def _report_drain(self) -> None:
        if not self._is_draining:
            return
        sessions = total(self.board, Counter.SESSIONS)
        if sessions or self._behind:
            self._drained_since = None
        elif self._drained_since is None:
            self._drained_since = time.monotonic()
        if sessions != self._reported:
            self._reported = sessions
            for reply in self._drains:
                reply.row({"sessions": sessions})

    def _is_drained(self) -> bool:
        now = time.monotonic()
        if self._drain_until is not None and now >= self._drain_until:
            sessions = total(self.board, Counter.SESSIONS)
            left = "1 session is" if sessions == 1 else f"{sessions} sessions are"
            self._journal.line(f"drained -- time is up, {left} ended")
            return True
        if self._drained_since is not None and now >= self._drained_since + QUIET_SECONDS:
            self._journal.line("drained -- the last session has ended")
            return True
        return False

    # Records for who looks on

    def tail(self, request: protocol.Tail, reply: Reply) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        self._tailing.add(request, reply)

    def _start_tail(self) -> None:
        for child in self._workers:
            self._start_tail_of(child)

    def _start_tail_of(self, child: Child) -> None:
        with self._tailing.open() as theirs:
            self._tell(child, messages.Tail(), [theirs.fileno()])


def _watched(configuration: Configuration) -> object:
    """What the watcher works by."""
    settings = configuration.settings
    words = written_words(settings, configuration.routes, configuration.access) if settings.multihomed else ()
    return settings.internal, settings.external, settings.uplinks, settings.multihomed, words


def _noted(_number: int, _frame: object) -> None:
    """The number is in the wake-up pipe already; this only keeps the signal from its default."""
