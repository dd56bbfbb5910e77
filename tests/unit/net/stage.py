"""The data path on a real loop: a poller, pairs of TCP sockets on loopback, relays between them, and their ends.

A test drives the loop by hand, so nothing happens between two of its steps that it did not ask for. The far ends are
non-blocking sockets that the test reads and writes itself.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, cast

from gateway.address import Address, Endpoint, Name
from gateway.net.listener import Listener
from gateway.net.lookup import Lookups
from gateway.net.loop import READ, READ_WRITE, Handler, PathLoop, Poller, Resumable
from gateway.net.pipes import PipePool
from gateway.net.relay import Relay
from gateway.net.runner import Limits, Runner
from gateway.net.sockets import Socket, endpoint_of, listening
from gateway.policy.access import AccessPolicy
from gateway.policy.command import Job
from gateway.policy.destination import Guard
from gateway.session.context import Context
from gateway.session.record import Record
from gateway.session.tcp import Session
from tests.support.playbook import SERVICES, TIME, Notebook, parsed
from tests.support.rawsocks import LINGER_NONE, socks4
from tests.support.rules import Users, address

Value = TypeVar("Value")


def descriptors() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def tcp_pair(sndbuf: int = 0, rcvbuf: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets, non-blocking; the sizes are of the second one's buffers."""
    with socket.socket() as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    if sndbuf:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in (far, near):
        sock.setblocking(False)
    return far, near


def silent_target(kept: list[socket.socket]) -> Endpoint:
    """A target that never answers, as its queue is full; for as long as the sockets that are added to ``kept`` are."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    kept.append(full)
    for _ in range(2):
        plug = socket.socket()
        plug.setblocking(False)
        plug.connect_ex(full.getsockname())
        kept.append(plug)
    return endpoint_of(full.getsockname())


def bare(sock: socket.socket) -> Socket:
    """The same socket as the data path has it."""
    made = Socket(sock.family, sock.type, sock.proto, sock.detach())
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return made


class Nobody:
    """The handler of a descriptor before somebody takes it over."""

    def ready(self, _events: int) -> None:
        """Not reached in these tests."""


class Stage:
    """A loop and a poller; also the `Owner` of relays."""

    def __init__(self, pipes: int = 8) -> None:
        self.poller = Poller()
        self.loop = PathLoop(self.poller)
        self.failures: list[tuple[Handler | Resumable, Exception]] = []
        self.poller.failed = lambda handler, error: self.failures.append((handler, error))
        self.pipes = PipePool(pipes)
        #: the far ends, which close with the stage
        self.far: list[socket.socket] = []
        #: the ends of the relays, in the words of the record
        self.ends: list[str] = []
        self.counts: list[tuple[int, int]] = []
        #: what else to end before the loop does
        self.closers: list[Callable[[], object]] = []

    def relay_ended(self, relay: Relay, end: str) -> None:
        """As `Owner`."""
        self.ends.append(end)
        self.counts.append((relay.client.count, relay.target.count))

    def close(self) -> None:
        """End the loop, when what was closed is closed on both sides; whatever a handler raised fails the test."""
        for closer in self.closers:
            closer()
        for sock in self.far:
            sock.close()
        self.until(lambda: not self.poller.handlers, within=0.5)
        self.pipes.close()
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        if pending:
            self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.close()
        assert not self.failures, self.failures

    def run(self, work: Awaitable[Value], within: float = 10.0) -> Value:
        """Run this to its end."""
        return self.loop.run_until_complete(asyncio.wait_for(work, within))

    def turns(self, count: int = 3) -> None:
        """Let the loop go round a few times, without waiting for anything."""

        async def spin() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self.loop.run_until_complete(spin())

    def one_round(self) -> None:
        """Let the poller handle what is ready now, once, and nothing else."""
        self.poller.select(0)

    def rest(self, seconds: float = 0.02) -> None:
        """Let the loop run for a while."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def work_at_rest(self, seconds: float = 0.2) -> float:
        """Seconds of processor time that the loop takes while it runs for so long."""
        before = time.process_time()
        self.rest(seconds)
        return time.process_time() - before

    def until(self, look: Callable[[], Value], within: float = 10.0) -> Value:
        """Run the loop until this is true, or the time is over; its last value."""

        async def wait() -> Value:
            deadline = time.monotonic() + within
            while not (value := look()) and time.monotonic() < deadline:
                await asyncio.sleep(0.001)
            return value

        return self.loop.run_until_complete(wait())

    def pair(self, sndbuf: int = 0, rcvbuf: int = 0) -> tuple[socket.socket, socket.socket]:
        """As `tcp_pair`; the first one, the far end, is closed with the stage."""
        far, near = tcp_pair(sndbuf, rcvbuf)
        self.far.append(far)
        return far, near

    def join(
        self, client: socket.socket, target: socket.socket, early: bytes = b"", client_readable: bool = False
    ) -> Relay:
        """A relay between these two, which it owns from now on."""
        relay = Relay(self, cast(Session, None), *self.watched(client, target), time.monotonic())
        relay.start(early, client_readable, 0)
        return relay

    def watched(self, client: socket.socket, target: socket.socket) -> tuple[Socket, Socket]:
        """Both as they are before a relay has them: watched, and their events told to somebody else."""
        ours, theirs = bare(client), bare(target)
        self.poller.add(ours.fileno(), Nobody(), READ)
        self.poller.add(theirs.fileno(), Nobody(), READ_WRITE)
        return ours, theirs

    def line(self, sndbuf: int = 0, rcvbuf: int = 0, early: bytes = b"") -> tuple[socket.socket, socket.socket]:
        """A relay in the middle of two far ends: the client's, and the target's."""
        client, near_client = self.pair(sndbuf, rcvbuf)
        target, near_target = self.pair(sndbuf, rcvbuf)
        self.join(near_client, near_target, early)
        return client, target

    # What the far ends do

    def read(self, sock: socket.socket, count: int, within: float = 10.0) -> bytes:
        """Up to ``count`` bytes; fewer when the peer ended, or nothing more came in time."""
        data = bytearray()
        with contextlib.suppress(TimeoutError):
            self.run(self._gather(sock, count, data), within)
        return bytes(data)

    async def _gather(self, sock: socket.socket, count: int, data: bytearray) -> None:
        while len(data) < count:
            piece = await self.loop.sock_recv(sock, min(1 << 16, count - len(data)))
            if not piece:
                return
            data += piece

    def read_to_end(self, sock: socket.socket, within: float = 10.0) -> bytes:
        """Everything up to the end of file. Raises TimeoutError, ConnectionResetError."""
        data = bytearray()
        self.run(self._gather(sock, 1 << 62, data), within)
        return bytes(data)

    def write(self, sock: socket.socket, data: bytes, within: float = 10.0) -> None:
        """All of it."""
        self.run(self.loop.sock_sendall(sock, data), within)

    def end_of(self, sock: socket.socket, within: float = 10.0) -> str:
        """How the peer ended: ``fin``, ``reset``, ``data`` when it sent something, ``open`` when it did nothing."""
        try:
            return "data" if self.run(self.loop.sock_recv(sock, 1), within) else "fin"
        except ConnectionResetError:
            return "reset"
        except TimeoutError:
            return "open"


def finish(sock: socket.socket) -> None:
    """Send a FIN; reading goes on."""
    sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    sock.close()


class FakeVerifier:
    """Knows some passwords; answers when it is let to."""

    def __init__(self) -> None:
        self.passwords: dict[bytes, bytes] = {}
        self.asked: list[tuple[bytes, bytes]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def verify(self, user: bytes, password: bytes, source: Address) -> bool:  # noqa: ARG002
        """As `Verifier`."""
        self.asked.append((user, password))
        await self.answers.wait()
        return self.passwords.get(user) == password


class FakeIdentd:
    """Says what it was told to say, when it is let to."""

    def __init__(self) -> None:
        self.user: str | None = None
        self.asked: list[tuple[Endpoint, Endpoint]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def ask(self, client: Endpoint, local: Endpoint) -> str | None:
        """As `Identd`."""
        self.asked.append((client, local))
        await self.answers.wait()
        return self.user


class FakeShell:
    """Keeps the commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def run(self, job: Job) -> None:
        """As `Shell`."""
        self.commands.append(job.command)

    def close(self) -> None:
        """As `Shell`."""


class FakeLog:
    """Keeps what the administrator would have to know."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def trouble(self, text: str) -> None:
        """As `Trouble`."""
        self.troubles.append(text)


LOOPBACK = "permit 127.0.0.0/8 127.0.0.0/8\npermit ::1/128 ::1/128\n"


class House(Stage):
    """A whole worker without its process: runner and listener on loopback, everything that blocks is a fake.

    The session's clock stands still unless the test moves ``now``; the runner looks at it every 20 ms.
    """

    def __init__(
        self,
        rules: str = LOOPBACK,
        *,
        sessions: int = 100,
        pipes: int = 8,
        passwords: bool = False,
        host: str = "127.0.0.1",
        notebook: Notebook | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(pipes)
        self.now = 1000.0
        self.notebook = notebook or Notebook()
        self.log = FakeLog()
        self.verifier, self.identd, self.shell = FakeVerifier(), FakeIdentd(), FakeShell()
        #: what each name resolves to; a function is called in the resolver's thread
        self.names: dict[str, Callable[[], tuple[str, ...]]] = {}
        access = parsed(rules)
        context = Context(
            policy=AccessPolicy.compile(access, Guard(), Users()),
            service_names=SERVICES.names,
            journal=self.notebook,
            clock=lambda: self.now,
            timestamp=lambda: TIME,
            minute=lambda: 0,
            new_number=itertools.count(1).__next__,
            prefix="test",
            process="4711",
            passwords=passwords,
            no_identd=access.no_identd,
            bad_id=access.bad_id,
        )
        self.limits = limits or Limits(handshake=0.08, connect=0.4, idle=4.0, sessions=sessions)
        self.lookups = Lookups(self.loop, 1.0, self._resolve)
        self.runner = Runner(
            self.loop, self.poller, context, self.limits, self.log, self.lookups,
            self.verifier, self.identd, self.shell, self.pipes,
        )  # fmt: skip
        self.listening = listening(Endpoint(address(host), 0), 64, shared=False)
        self.listener = Listener(self.poller, self.runner, self.listening)
        self._servers: list[socket.socket] = []

    def _resolve(self, name: Name) -> tuple[Address, ...]:
        return tuple(map(address, self.names[name]()))

    def close(self) -> None:
        """End everything; no internal error may have been said."""
        self.listener.close()
        self.listening.close()
        self.runner.close("shutdown")
        for server in self._servers:
            server.close()
        super().close()
        errors = [text for text in self.log.troubles if text.startswith("internal error")]
        assert not errors, errors

    def client(self, *said: bytes) -> socket.socket:
        """A client that has connected, and said this."""
        sock = socket.create_connection(self.listening.getsockname()[:2])
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in said:
            sock.sendall(data)
        sock.setblocking(False)
        self.far.append(sock)
        return sock

    def server(self, host: str = "127.0.0.1", port: int = 0) -> socket.socket:
        """A target that listens."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, port), family=family)
        server.setblocking(False)
        self._servers.append(server)
        return server

    def called(self, server: socket.socket, within: float = 10.0) -> socket.socket:
        """The next connection that a target gets."""
        sock, _ = self.run(self.loop.sock_accept(server), within)
        self.far.append(sock)
        return sock

    def relayed(self, server: socket.socket) -> tuple[socket.socket, socket.socket]:
        """A client and a target joined by a relay, by SOCKS4."""
        client = self.client(socks4("127.0.0.1", server.getsockname()[1]))
        target = self.called(server)
        assert self.read(client, 8)[:2] == b"\0\x5a"
        return client, target

    def ended(self, count: int = 1, within: float = 10.0) -> list[Record]:
        """The records, when there are so many, or the time is over."""
        self.until(lambda: len(self.notebook.records) >= count, within)
        return self.notebook.records


@contextlib.contextmanager
def staged(pipes: int = 8) -> Iterator[Stage]:
    """A stage that is closed, and checked, on leaving."""
    stage = Stage(pipes)
    with closed_after(stage):
        yield stage


@contextlib.contextmanager
def closed_after(stage: Stage) -> Iterator[None]:
    """Close it on leaving; what its close says counts only if nothing else has failed."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(AssertionError):
            stage.close()
        raise
    stage.close()
