"""The first process: opens what workers need, starts everybody, starts them again when they die, ends them in order.

No client byte ever reaches it. The listening sockets stay open here, so that what waits in their queues is served
by the next worker when one has died. What the warden says of the networks goes from here to every worker.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from gateway.config.rules import IdentLevel
from gateway.daemon.children import Child, Children
from gateway.daemon.configuration import Configuration
from gateway.daemon.listeners import Listeners
from gateway.daemon.messages import END, READY, Network, Orders, receive_network, send_orders
from gateway.daemon.network import network_of
from gateway.daemon.warden import run_warden
from gateway.daemon.worker import run_worker
from gateway.errors import StartError
from gateway.system.journal import Journal
from gateway.system.pidfile import PidFile
from gateway.system.privileges import Account

START_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""How long a worker that does not keep up, or an address that can not be listened on yet, is left in peace."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


class Supervisor:
    """The processes of one daemon."""

    def __init__(
        self,
        configuration: Configuration,
        listeners: Listeners,
        journal: Journal,
        account: Account | None,
        ident: IdentLevel,
        workers: int,
        descriptors: int,
        pidfile: PidFile | None = None,
    ) -> None:
        """``pidfile`` is the supervisor's own: its children close it."""
        self._configuration = configuration
        self._listeners = listeners
        self._journal = journal
        self._account = account
        self._ident = ident
        self._descriptors = descriptors
        self._pidfile = pidfile
        self._network = network_of(configuration.settings, configuration.kernel, ())
        self._births = 0
        self._ready: set[str] = set()
        #: workers that have not got the last orders, and the numbers of the sockets that each worker has
        self._behind: set[str] = set()
        self._given: dict[str, tuple[int, ...]] = {}
        self._faults: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._waker, self._wakes = socket.socketpair()
        for end in (self._waker, self._wakes):
            end.setblocking(False)
        self._warden = Child("warden", self._live_as_warden)
        self._workers = [Child(f"worker {number}", self._live_as_worker) for number in range(1, workers + 1)]
        self._children = Children(journal, (self._warden, *self._workers), self._forsake)

    def run(self, announce: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``announce`` is called when every worker serves. Raises StartError."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _noted)
        self._selector.register(self._wakes, selectors.EVENT_READ, self._hear)
        try:
            # Workers come last: what the warden knows of the uplinks is in their first orders.
            if self._start([self._warden]) and self._start(self._workers):
                announce()
            while not self._watch():
                pass
        finally:
            self._children.stop(self._workers)
            self._end_warden()

    def _end_warden(self) -> None:
        """The last one: what it keeps in the kernel holds for as long as anybody is served."""
        channel = self._warden.channel
        if channel is not None:
            try:
                channel.send(END)
            except OSError:
                pass  # it has gone, or is stopped: then a signal ends it
        self._children.stop([self._warden])

    # The life of a child, in its own process

    def _live_as_warden(self, channel: socket.socket) -> None:
        self._listeners.close()
        run_warden(self._configuration, self._journal, channel, self._network)

    def _live_as_worker(self, channel: socket.socket) -> None:
        prefix = f"{int(time.time()):x}-{self._births}"
        self._listeners.close()
        run_worker(self._configuration, self._journal, self._account, self._ident, self._descriptors, prefix, channel)

    def _forsake(self) -> None:
        """In a new process: signals as they were at first, and nothing open that is the supervisor's alone."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._waker.close()
        if self._pidfile is not None:
            os.close(self._pidfile.fd)

    # Its own work

    def _start(self, some: Sequence[Child]) -> bool:
        """Start these and wait for them; False when a signal to end came first. Raises StartError, OSError."""
        for child in some:
            self._children.start(child)
            self._born(child)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready.issuperset(child.name for child in some):
            self._turn(min(RETRY_SECONDS, max(0.0, deadline - time.monotonic())))
            self._order_all()
            if self._is_ending():
                return False
            if time.monotonic() >= deadline or self._children.bury():
                raise StartError("a process did not start; its reason is in the lines above, or in the log")
        return True

    def _born(self, child: Child) -> None:
        assert child.channel is not None
        self._births += 1
        self._selector.register(child.channel, selectors.EVENT_READ, partial(self._listen_to, child))
        if child is not self._warden:
            self._given.pop(child.name, None)
            self._behind.add(child.name)
            self._order_all()

    def _watch(self) -> bool:
        """One turn; whether it is time to end."""
        self._turn(self._patience())
        # A signal that went to the whole group is here when a death that it caused is seen.
        for child in self._children.bury(self._is_ending):
            self._forget(child)
        if self._is_ending():
            return True
        received, self._signals = self._signals, []
        if signal.SIGHUP in received:
            self._journal.trouble("SIGHUP: this version reads its files at start only; restart it to load them")
        for child in self._children.restart():
            self._born(child)
        if self._listeners.incomplete:
            self._listen_anew()
        self._order_all()
        return False

    def _patience(self) -> float | None:
        due = self._children.until_due()
        if self._behind or self._listeners.incomplete:
            return RETRY_SECONDS if due is None else min(due, RETRY_SECONDS)
        return due

    def _turn(self, patience: float | None) -> None:
        for key, _ in self._selector.select(patience):
            key.data()

    def _hear(self) -> None:
        """Signals arrived: each is a byte (signal.set_wakeup_fd)."""
        try:
            self._signals += self._wakes.recv(4096)
        except BlockingIOError:
            pass

    def _is_ending(self) -> bool:
        self._hear()
        return bool(_ENDING.intersection(self._signals))

    def _listen_to(self, child: Child) -> None:
        channel = child.channel
        assert channel is not None
        try:
            # A worker has clients' bytes in its hands: what it may say is one word.
            message = receive_network(channel) if child is self._warden else channel.recv(len(READY))
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if isinstance(message, Network):
            self._network = message
            self._listen_anew()
            self._behind.update(worker.name for worker in self._workers)
        elif message == READY:
            self._ready.add(child.name)
        else:
            self._selector.unregister(channel)  # it has gone, or is about to: SIGCHLD follows

    def _forget(self, child: Child) -> None:
        channel = child.channel
        if channel is not None:
            if channel in self._selector.get_map():
                self._selector.unregister(channel)
            channel.close()
            child.channel = None

    def _listen_anew(self) -> None:
        if self._configuration.settings.internal.interface and self._listeners.adjust(self._network.listen):
            where = ", ".join(map(str, self._listeners.endpoints)) or "nothing"
            self._journal.line(f"listening on {where}")
            self._behind.update(worker.name for worker in self._workers)

    def _order_all(self) -> None:
        """Tell the workers that have not heard it what is the case now."""
        for index, worker in enumerate(self._workers):
            if (
                worker.name in self._behind
                and worker.channel is not None
                and self._order(index, worker.name, worker.channel)
            ):
                self._behind.discard(worker.name)

    def _order(self, index: int, name: str, channel: socket.socket) -> bool:
        """Whether a worker has heard it, or has gone. Sockets go with it only if they are others than it has."""
        numbers = self._listeners.numbers
        known = self._given.get(name) == numbers
        orders = Orders(self._network, None if known else numbers)
        try:
            send_orders(channel, orders, [] if known else self._listeners.of_worker(index))
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # its successor is told at birth
        except OSError as error:
            fault = f"cannot tell {name} what the host's networks are now: {error.strerror}"
            if fault not in self._faults:
                self._faults.add(fault)
                self._journal.trouble(f"{fault}; it is tried again")
            return False
        self._given[name] = numbers
        return True


def _noted(_number: int, _frame: object) -> None:
    """The number is in the wake-up pipe already; this only keeps the signal from its default."""
