"""The first process: starts everybody, starts them again when they die, has the files loaded anew, ends all in order.

No client byte ever reaches it, and once all is open it has no privilege any more. The listening sockets stay open
here, so that what waits in their queues is served by the next worker when one has died. What the watcher says of the
networks goes from here to every worker. It is one plain loop: whatever it does must not wait for anybody.
"""

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
from gateway.daemon import messages, resolver, warden, worker
from gateway.daemon.adoption import Chosen
from gateway.daemon.children import Child, Children, born
from gateway.daemon.configuration import Configuration, naming_files
from gateway.daemon.counters import Block, Counter, DnsBlock, DnsCounter, Slots, total
from gateway.daemon.crew import Crew
from gateway.daemon.doors import Doors
from gateway.daemon.draining import Draining
from gateway.daemon.gathering import Gathering, Gatherings
from gateway.daemon.helper import run_helper
from gateway.daemon.host import folders
from gateway.daemon.messages import Message, Orders, send
from gateway.daemon.network import network_of
from gateway.daemon.operations import ANSWER_SECONDS, Operations, Ruling, rfc3339
from gateway.daemon.pairs import Pairs
from gateway.daemon.rates import DnsRates, Rates
from gateway.daemon.reloading import MAX_NOTES, Reloading, slots_of
from gateway.daemon.reports import confinement_troubles, process_row, server_troubles, uplink_rows, zone_rows
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
ENDING = "sockd is being ended"
RETRY_SECONDS = 1.0
"""How long a worker that does not keep up, or an address that can not be listened on yet, is left in peace."""

TICK_SECONDS = 1.0
"""How often it looks at what no event tells: titles, time limits, rates."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(frozen=True, slots=True)
class Start:
    """What the daemon is started with."""

    configuration: Configuration
    doors: Doors
    journal: Journal
    #: None: it is not root, and stays who it is
    account: Account | None
    #: that of the command line; None: that of the settings
    ident: IdentLevel | None
    workers: int
    #: 0: no [resolver] is written
    resolvers: int
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
        self._doors = start.doors
        self._journal = journal = start.journal
        slots = Slots()
        self.ruling = Ruling(configuration, slots_of(slots, configuration), 0, rfc3339(time.time()))
        self._began = self.ruling.loaded
        self.network = network_of(configuration.settings, configuration.kernel, ())
        self.board = tuple(Block() for _ in range(start.workers))
        self.dns_board = tuple(DnsBlock() for _ in range(start.resolvers))
        self._rates = Rates(self.board)
        self._dns_rates = DnsRates(self.dns_board)
        self._births = 0
        #: workers that have not got the last orders, and the numbers of the sockets that each worker has
        self._behind: set[str] = set()
        self._given: dict[str, tuple[int, ...]] = {}
        self._faults: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._waker, self._wakes = socket.socketpair()
        for end in (self._waker, self._wakes):
            end.setblocking(False)
        self._watcher = Child("watcher", self._live_as_watcher)
        self._helper = Child("helper", self._live_as_helper)
        numbers = range(1, start.workers + 1)
        self._workers = [Child(f"worker {number}", partial(self._live_as_worker, number)) for number in numbers]
        self._resolvers = [
            Child(_resolver_name(index, start.resolvers), partial(self._live_as_resolver, index))
            for index in range(start.resolvers)
        ]
        self._zones: dict[str, tuple[protocol.ZoneRow, ...]] = {}
        #: by which workers ask for commands, and for names
        self._wishes = Pairs(child.name for child in self._workers)
        self._lookups = Pairs(child.name for child in self._workers if self._resolvers)
        children = Children(journal, (self._watcher, self._helper, *self._resolvers, *self._workers), self._forsake)
        self._crew = Crew(children, journal, self._attend, self._leave, self)
        self._seat = Seat(self._fork_warden, 2 if start.privileged else 1, self._attend, self._leave, journal.trouble)
        self._tailing = Tailing(self._attend, self._leave, self._start_tail, partial(self._tell_workers, messages.Tail))
        self._draining = Draining(lambda: total(self.board, Counter.SESSIONS), journal.line)
        self._reloading = Reloading(
            self, self._crew, self._seat, self._doors, slots, journal, self._watcher, configuration.settings
        )
        self._operations = Operations(self)
        self._server: Server | None = None
        self._scrapes: MetricsServer | None = None
        self._confinement: Confinement | None = None
        self._reloads: list[tuple[bool, Reply | None]] = []
        self._refused = ""
        self._next_tick = self._next_sign = 0.0
        self._words = ""
        self._title = Title("gateway", live=configuration.settings.sockd.titles)

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
                and self._start(self._resolvers)
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
        children = self._crew.children
        children.stop(self._workers)
        children.stop(self._resolvers)
        self._crew.tell(self._watcher, messages.End())
        children.stop([self._watcher, self._helper])
        if self.ruling.configuration.settings.external.remove_at_exit and self._start_values.routes:
            for fault in self._seat.clear():
                self._journal.trouble(fault)
        self._seat.end()
        self._tailing.end()
        self._draining.end()
        for _, reply in self._reloads:
            if reply is not None:
                reply.error(ENDING)
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
        texts, settings = found.texts, found.settings
        naming = {path: texts.files[path].encode() for path in naming_files(settings) if path in texts.files}
        logs = frozenset(filter(None, file_targets(settings.log)))
        post = warden.Post(texts.path, texts.files[texts.path].encode(), naming, frozenset(texts.files), logs)

        def live() -> None:
            other.close()
            self._crew.children.forsake()
            self._close_pairs()
            self._keep_block(None)
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
        for listeners, takes_datagrams in zip(self._doors.all, (False, True, False), strict=True):
            listeners.opener = partial(self._opened_by_warden, takes_datagrams)
        for text in confinement_troubles("this host", self._confinement):
            self._journal.trouble(text)
        return True

    def _opened_by_warden(
        self, takes_datagrams: bool, endpoint: Endpoint, backlog: int, shared: bool, device: str, scope: int
    ) -> socket.socket:
        wanted = messages.Listen(
            endpoint.address, endpoint.port, backlog, shared, device, scope, "udp" if takes_datagrams else "tcp"
        )
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
                self._crew.start(child)
            except OSError as error:
                raise StartError(f"{child.name} can not be started: {error.strerror}") from None
        return self._wait(lambda: self._crew.ready.issuperset(child.name for child in some))

    def _wait(self, is_done: Callable[[], bool]) -> bool:
        """False when a signal to end came first. Raises StartError."""
        deadline = time.monotonic() + START_SECONDS
        while not is_done():
            self._turn(min(RETRY_SECONDS, max(0.0, deadline - time.monotonic())))
            self._order_all()
            if self._is_ending():
                return False
            if time.monotonic() >= deadline or self._crew.bury() or self._seat.is_empty:
                raise StartError("a process did not start; its reason is in the lines above, or in the log")
        return True

    # The life of a child, in its own process

    def _live_as_watcher(self, channel: socket.socket) -> None:
        self._close_pairs()
        self._keep_block(None)
        run_watcher(self.ruling.configuration, self._journal, channel, self.network, self._start_values.routes)

    def _live_as_helper(self, channel: socket.socket) -> None:
        self._keep_block(None)
        self._lookups.close()
        wishes = self._wishes.of_server()
        run_helper(self.ruling.configuration, self.ruling.number, self._journal, channel, wishes)

    def _live_as_resolver(self, index: int, channel: socket.socket) -> None:
        start, ruling = self._start_values, self.ruling
        block = self.dns_board[index]
        self._keep_block(block)
        self._wishes.close()
        lookups = self._lookups.of_server(lambda name: self._resolver_of(name) == index)
        post = resolver.Post(self._resolvers[index].name, block, lookups, start.descriptors)
        chosen = Chosen(ruling.number, ruling.configuration, ruling.slots)
        resolver.run_resolver(chosen, self.network, self._journal, post, channel)

    def _resolver_of(self, worker: str) -> int:
        """The index of the resolver that a worker asks."""
        names = [child.name for child in self._workers]
        return names.index(worker) % len(self._resolvers)

    def _close_pairs(self) -> None:
        self._wishes.close()
        self._lookups.close()

    def _live_as_worker(self, number: int, channel: socket.socket) -> None:
        start, ruling = self._start_values, self.ruling
        block = self.board[number - 1]
        self._keep_block(block)
        wishes = self._wishes.of_worker(f"worker {number}")
        lookups = self._lookups.of_worker(f"worker {number}") if self._resolvers else None
        prefix = f"{int(time.time()):x}-{self._births}"
        post = worker.Post(number, start.ident, start.descriptors, prefix, block, wishes, lookups)
        worker.run_worker(Chosen(ruling.number, ruling.configuration, ruling.slots), self._journal, post, channel)

    def _keep_block(self, own: Block | DnsBlock | None) -> None:
        """The numbers of others are not for a process to write."""
        blocks: tuple[Block | DnsBlock, ...] = (*self.board, *self.dns_board)
        for block in blocks:
            if block is not own:
                block.close()

    def _forsake(self) -> None:
        """In a new process: nothing open that is the supervisor's alone."""
        start = self._start_values
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._waker.close()
        self._doors.close()
        self._reloading.forsake()
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

    def _watch(self) -> bool:
        """One turn; whether it is time to end."""
        self._turn(self._patience())
        self._tend()
        if self._is_ending() or self._draining.is_over():
            return True
        self._heed()
        if self._reloads:
            self._reload()
        return False

    def turn(self, patience: float) -> None:
        """See `gateway.daemon.reloading.Daemon`."""
        self._turn(patience)
        self._tend()
        if self._is_ending() or self._draining.is_due:
            raise StartError(ENDING)
        self._heed()

    def _tend(self) -> None:
        """See to the dead and the missing."""
        # A signal that went to the whole group is here when a death that it caused is seen.
        self._crew.bury(self._is_ending)
        if self._is_ending():
            return
        self._crew.restart()
        self._seat.refill()
        if self._doors.incomplete:
            self._listen_anew()
        self._order_all()

    def _heed(self) -> None:
        """Do what signals ask for."""
        received, self._signals = self._signals, []
        if signal.SIGUSR1 in received:
            self._reopen()
        if signal.SIGHUP in received:
            self.reload_soon(False, None)

    def _patience(self) -> float:
        due = self._crew.children.until_due()
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
        if self._doors.revive():
            self.listening_changed(is_said=False)
        self._rates.look(time.monotonic())
        self._dns_rates.look(time.monotonic())
        words = gateway_words(self._rates.totals(), self.network.uplinks, draining=self._draining.is_on)
        if words != self._words:
            self._words = words
            self._title.show(words)
            self._start_values.notifier.status(words)
        self._draining.tick(settled=not self._behind)

    def _hear(self) -> None:
        """Signals arrived: each is a byte (signal.set_wakeup_fd)."""
        try:
            self._signals += self._wakes.recv(4096)
        except BlockingIOError:
            pass

    def _is_ending(self) -> bool:
        self._hear()
        return bool(_ENDING.intersection(self._signals))

    # What is heard of children: `gateway.daemon.crew.Listener`

    def born(self, child: Child) -> None:
        """A child was started."""
        self._births += 1
        if child in self._workers or child in self._resolvers:
            self._given.pop(child.name, None)
            self._behind.add(child.name)
            self._order_all()
        if child in self._workers and self._tailing.is_on:
            self._start_tail_of(child)

    def died(self, child: Child) -> None:
        """A child is no more."""
        if child in self._resolvers:
            self._zones.pop(child.name, None)
            self.dns_board[self._resolvers.index(child)].clear_gauges()
        if child in self._workers:
            self.board[self._workers.index(child)].clear_gauges()
            self._renew(self._wishes, child, self._helper)
            if self._resolvers:
                self._renew(self._lookups, child, self._resolvers[self._resolver_of(child.name)])

    def _renew(self, pairs: Pairs, dead: Child, server: Child) -> None:
        """The next worker does not get the answers of the one that died."""
        try:
            end = pairs.renew(dead.name)
        except OSError:
            return  # the next one has what this one left
        serve = messages.Serve(dead.name)
        # One that is just being born has the old pair from its birth, too, and hears of it by and by.
        if server.channel is not None:
            self._crew.insist(server, serve, [end.fileno()])  # the next one has all sockets from its birth

    def said(self, child: Child, message: Any) -> None:
        """The watcher has news, or wants something changed. Raises ValueError."""
        match message:
            case messages.Networks():
                messages.check(message.network)
                self.network = message.network
                self._listen_anew()
                self._behind.update(child.name for child in (*self._workers, *self._resolvers))
            case messages.Apply():
                self._seat.apply(message.changes, partial(self._crew.tell, child))
            case messages.Zones():
                self._zones[child.name] = message.rows

    # What workers are told

    @property
    def gatherings(self) -> Gatherings:
        """The questions that are under way."""
        return self._crew.gatherings

    def ask_workers(self, message: Callable[[int], Message], over: Callable[[Gathering], None]) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        self._crew.ask(self._workers, message, ANSWER_SECONDS, over)

    def ask_resolvers(
        self, message: Callable[[int], Message], over: Callable[[Gathering], None], *, any_one: bool = False
    ) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        asked = [child for child in self._resolvers if child.name in self._crew.ready]
        self._crew.ask(asked[:1] if any_one else asked, message, ANSWER_SECONDS, over)

    def _tell_workers(self, make: Callable[[], Message]) -> None:
        for child in self._workers:
            self._crew.tell(child, make())

    def takers(self) -> tuple[Child, ...]:
        """See `gateway.daemon.reloading.Daemon`."""
        return (self._helper, *self._resolvers, *self._workers)

    @property
    def accepts(self) -> bool:
        """See `gateway.daemon.reloading.Daemon`."""
        return not self._draining.is_on

    def _listen_anew(self) -> None:
        if self._doors.adjust(self.network, accepts=self.accepts):
            self.listening_changed(is_said=True)

    def listening_changed(self, *, is_said: bool) -> None:
        """See `gateway.daemon.reloading.Daemon`."""
        self._behind.update(child.name for child in (*self._workers, *self._resolvers))
        if is_said:
            where = ", ".join(map(str, self._doors.sessions.endpoints)) or "nothing"
            self._journal.line(f"listening on {where}{_for_names(self._doors.datagrams.endpoints)}")

    def _order_all(self) -> None:
        """Tell the workers and resolvers that have not heard it what is the case now."""
        doors = self._doors
        self._order_some(self._workers, doors.sessions.numbers, doors.sessions.of_worker)
        self._order_some(self._resolvers, doors.dns_numbers, doors.of_resolver)

    def _order_some(
        self, children: Sequence[Child], numbers: tuple[int, ...], sockets: Callable[[int], list[socket.socket]]
    ) -> None:
        for index, child in enumerate(children):
            if child.name in self._behind and child.channel is not None:
                known = self._given.get(child.name) == numbers
                if self._order(child, child.channel, numbers, None if known else sockets(index)):
                    self._behind.discard(child.name)

    def _order(
        self, child: Child, channel: socket.socket, numbers: tuple[int, ...], sockets: list[socket.socket] | None
    ) -> bool:
        """Whether it has heard it, or has gone. Sockets go with it only if they are others than it has."""
        given = None if sockets is None else numbers
        try:
            send(channel, Orders(self.network, given), [sock.fileno() for sock in sockets or ()])
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
        for child in self._crew.children.all:
            self._crew.tell(child, message, descriptors)
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

    def _reload(self) -> None:
        """All who asked for it until now get the same."""
        asked, self._reloads = self._reloads, []
        replies = [reply for _, reply in asked if reply is not None]
        self._start_values.notifier.reloading()
        try:
            done = self._reloading.run(recheck=any(recheck for recheck, _ in asked))
        except Exception as error:  # whatever it was, the old files go on
            why = str(error) if isinstance(error, GatewayError) else f"internal error: {type(error).__name__}: {error}"
            first, *rest = why.splitlines()
            self._refused = f"the last reload was refused at {rfc3339(time.time())}: {first}"
            for line in (first, *rest[: MAX_NOTES - 1]):
                self._journal.trouble(f"reload refused: {line}")
            for reply in replies:
                reply.error(why)
        else:
            self._refused = ""
            for reply in replies:
                reply.done(done)
        self._start_values.notifier.ready(f"configuration {self.ruling.configuration.texts.digest[:12]}")

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
            draining=self._draining.is_on,
            listening=tuple(map(str, self._doors.sessions.endpoints)),
            listening_dns=tuple(map(str, self._doors.datagrams.endpoints)),
            resolver=self._dns_rates.totals() if self._resolvers else None,
            zones=zone_rows(self._zones.values()),
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
        for child in self._crew.children.all:
            worker_at = self._workers.index(child) if child in self._workers else None
            sessions = 0 if worker_at is None else self.board[worker_at][Counter.SESSIONS]
            yield process_row(child.name, child.pid, child.confinement, child.restarts, sessions)

    def _troubles(self) -> Iterator[str]:
        if self._seat.is_empty:
            yield "no warden is left: ports are not opened, routing is not kept, files are not read anew; restart sockd"
        if self._refused:
            yield self._refused
        yield from self._doors.failures
        for uplink in self.network.uplinks:
            if uplink.standing is Standing.DOWN:
                yield f"uplink {uplink.name} is down: {uplink.cause}"
        yield from server_troubles(zone_rows(self._zones.values()))
        yield from confinement_troubles("this host", self._confinement)
        for child in self._crew.children.all:
            if not child.pid:
                yield f"{child.name} does not run"
        of_others = total(self.board, Counter.LOST) + total(self.dns_board, DnsCounter.LOST)
        lost = of_others + self._journal.lost
        if lost:
            yield f"{lost} log lines were lost since the start"

    # No more clients

    def drain(self, timeout: float, reply: Reply) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        if self.accepts:
            self._doors.sessions.close()
            self._behind.update(child.name for child in self._workers)
        self._draining.begin(timeout, reply)

    # Records for who looks on

    def tail(self, request: protocol.Tail, reply: Reply) -> None:
        """See `gateway.daemon.operations.Gateway`."""
        self._tailing.add(request, reply)

    def _start_tail(self) -> None:
        for child in self._workers:
            self._start_tail_of(child)

    def _start_tail_of(self, child: Child) -> None:
        try:
            with self._tailing.open() as theirs:
                self._crew.tell(child, messages.Tail(), [theirs.fileno()])
        except OSError as error:
            self._journal.trouble(f"the records of {child.name} can not be shown: {error.strerror}")


def _resolver_name(index: int, count: int) -> str:
    return "resolver" if count == 1 else f"resolver {index + 1}"


def _for_names(endpoints: Sequence[Endpoint]) -> str:
    """Where names are asked for, behind where clients connect."""
    return f"; for names on {', '.join(map(str, endpoints))}" if endpoints else ""


def _noted(_number: int, _frame: object) -> None:
    """The number is in the wake-up pipe already; this only keeps the signal from its default."""
