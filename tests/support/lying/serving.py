"""The process of a lying server: one loop, its sockets, and the pipes to the test that started it.

Its orders come as pickles on standard input, and it ends with that; what it does is told on standard output, a line of
JSON each: that it is ready and where, that an order is carried out, and every question that it heard.
"""

import asyncio
import contextlib
import errno
import json
import pickle
import socket
import ssl
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dns.exception

from tests.support.lying.habits import cut
from tests.support.lying.message import FORMERR, HEADER, QR, Asked, Message, read
from tests.support.lying.sending import Rule, Send, Sends
from tests.support.lying.zone import Honesty

_MOST = 65535
_ROOM = 4 << 20
_Address = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be served from now on; who counted begins anew."""

    honesty: Honesty
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Where it listens: ``port`` 0 is a free one, the same on all addresses; None: not at all in that way.

    ``certificate`` and ``key`` are files of the TLS server (RFC 7858).
    """

    addresses: tuple[str, ...]
    port: int
    has_tcp: bool = True
    tls_port: int | None = None
    certificate: str = ""
    key: str = ""


@dataclass(slots=True)
class _Connection:
    """A stream: how many questions it brought, and the answers that wait in it."""

    transport: str
    source: _Address
    writer: asyncio.StreamWriter
    server_name: str
    nth: int = 0
    held: list[Send] = field(default_factory=list)


class Serving:
    """Everything that runs."""

    def __init__(self, start: Start, orders: Orders) -> None:
        self._start = start
        self._orders = orders
        self._turns: Counter[tuple[str, str]] = Counter()
        self._fitted: Counter[int] = Counter()
        self._loop = asyncio.get_running_loop()
        self._others: dict[tuple[str, str], socket.socket] = {}
        self._names: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> dict[str, int]:
        """Open every port; returns their numbers."""
        port = self._start.port
        for address in self._start.addresses:
            port = await self._open_both(address, port)
        tls_port = 0
        if self._start.tls_port is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._start.certificate, self._start.key)
            context.sni_callback = self._note_name
            tls_port = self._start.tls_port
            for address in self._start.addresses:
                server = await asyncio.start_server(self._serve_tls, address, tls_port, ssl=context)
                tls_port = server.sockets[0].getsockname()[1]
        return {"port": port, "tls_port": tls_port}

    async def _open_both(self, address: str, port: int) -> int:
        """UDP and TCP of one address on the same port; another one is tried where it was free for UDP only."""
        for _ in range(20):
            datagrams = _bound(address, port)
            chosen = int(datagrams.getsockname()[1])
            try:
                if self._start.has_tcp:
                    await asyncio.start_server(self._serve_tcp, address, chosen)
            except OSError:
                datagrams.close()
                if port:
                    raise
                continue
            self._loop.add_reader(datagrams.fileno(), self._hear, datagrams)
            return chosen
        raise OSError(f"no port of {address} is free for UDP and TCP")

    def obey(self, orders: Orders) -> None:
        """Other orders from now on."""
        self._orders = orders
        self._turns.clear()
        self._fitted.clear()

    # --- datagrams

    def _hear(self, datagrams: socket.socket) -> None:
        """Everything that has come, so that nothing waits once the loop has turned."""
        while True:
            try:
                data, source = datagrams.recvfrom(_MOST)
            except BlockingIOError:
                return
            except OSError:  # an answer of before found a closed port
                continue
            for send in self._answer("udp", data, source, 1, ""):
                if send.what:
                    self._later(send.after, self._send, datagrams, send, source)

    def _later(self, after: float, act: Any, *arguments: Any) -> None:
        if after:
            self._loop.call_later(after, act, *arguments)
        else:
            act(*arguments)

    def _send(self, datagrams: socket.socket, send: Send, source: _Address, attempts: int = 40) -> None:
        try:
            chosen = self._other(datagrams, send.source) if send.source else datagrams
        except OSError as error:
            # a socket of all addresses that somebody has for a moment
            if error.errno != errno.EADDRINUSE or not attempts:
                raise
            self._loop.call_later(0.05, self._send, datagrams, send, source, attempts - 1)
            return
        with contextlib.suppress(OSError):  # who asked may be gone
            chosen.sendto(send.data()[:_MOST], source)

    def _other(self, datagrams: socket.socket, source: str) -> socket.socket:
        """The socket for answers from elsewhere."""
        address, port = datagrams.getsockname()[:2]
        wanted = (address, 0) if source == "port" else (source, port)
        key = (address, source)
        if key not in self._others:
            self._others[key] = _bound(*wanted)
        return self._others[key]

    # --- streams

    def _note_name(self, stream: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._names[id(stream)] = name or ""

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve("tcp", "", reader, writer)

    async def _serve_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = self._names.pop(id(writer.get_extra_info("ssl_object")), "")
        await self._serve("tls", name, reader, writer)

    async def _serve(
        self, transport: str, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = _Connection(transport, writer.get_extra_info("peername"), writer, name)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                connection.nth += 1
                for send in self._answer(transport, data, connection.source, connection.nth, name):
                    self._hold(connection, send)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _hold(self, connection: _Connection, send: Send) -> None:
        """Write an answer, or keep it until there are as many as wait for one another."""
        if not send.hold:
            self._later(send.after, self._begin, connection, send)
            return
        connection.held.append(send)
        if len(connection.held) >= send.hold:
            for late in reversed(connection.held):
                self._later(late.after, self._begin, connection, late)
            connection.held.clear()

    def _begin(self, connection: _Connection, send: Send) -> None:
        if send.piece:
            task = self._loop.create_task(self._dribble(connection, send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            _write(connection, _framed(send))
            self._finish(connection, send)

    async def _dribble(self, connection: _Connection, send: Send) -> None:
        data = _framed(send)
        for at in range(0, len(data), send.piece):
            _write(connection, data[at : at + send.piece])
            await asyncio.sleep(send.pause)
        self._finish(connection, send)

    def _finish(self, connection: _Connection, send: Send) -> None:
        if send.close:
            connection.writer.close()

    # --- answers

    def _answer(self, transport: str, data: bytes, source: _Address, nth: int, server_name: str) -> Sends:
        heard: dict[str, object] = {"time": time.monotonic(), "transport": transport, "data": data.hex()}
        heard |= {"source": source[0], "port": source[1], "server_name": server_name}
        try:
            asked = read(data, transport, nth)
        except (dns.exception.DNSException, IndexError, ValueError):
            tell(heard={**heard, "name": "", "type": ""})
            return _complaint(data)
        tell(heard={**heard, "name": asked.name, "type": asked.type})
        key = (asked.name, asked.type)
        asked = asked._replace(turn=self._turns[key])
        self._turns[key] += 1
        return self._lie(asked, self._orders.honesty.answer(asked))

    def _lie(self, asked: Asked, message: Message) -> Sends:
        sends: Sends = (Send(message),)
        rule = self._rule(asked)
        for habit in rule.habits if rule else ():
            sends = habit(asked, sends)
        return tuple(send._replace(what=_fit(send.what, asked.room)) for send in sends)

    def _rule(self, asked: Asked) -> Rule | None:
        for number, rule in enumerate(self._orders.rules):
            if rule.fits(asked) and not (rule.times and self._fitted[number] >= rule.times):
                self._fitted[number] += 1
                return rule
        return None


def _fit(what: Message | bytes, room: int) -> Message | bytes:
    """A message that is too large for the client goes as one that says so; bytes go as they are."""
    if isinstance(what, bytes) or len(data := what.encode()) <= room:
        return what if isinstance(what, bytes) else data
    return cut(what).encode()


def _complaint(data: bytes) -> Sends:
    if len(data) < HEADER.size:
        return ()
    return (Send(data[:2] + HEADER.pack(0, QR | FORMERR, 0, 0, 0, 0)[2:]),)


def _framed(send: Send) -> bytes:
    data = send.data()
    if not data:
        return b""
    return (len(data) if send.length is None else send.length).to_bytes(2, "big") + data


def _write(connection: _Connection, data: bytes) -> None:
    if data and not connection.writer.is_closing():
        connection.writer.write(data)


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        made.bind((address, port))
    except BaseException:
        made.close()
        raise
    return made


def tell(**what: object) -> None:
    """One line to the test."""
    print(json.dumps(what), flush=True)


def _complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say what went wrong in here, which is the test's mistake or ours."""
    error = context.get("exception")
    tell(fault="".join(traceback.format_exception(error)) if error else context["message"])


def _listen(loop: asyncio.AbstractEventLoop, serving: Serving, over: asyncio.Event) -> None:
    """Orders, until the test has gone. An order without a content only wants to know that all is heard up to now."""

    def carry_out(orders: Orders | None) -> None:
        if orders is not None:
            serving.obey(orders)
        # in the turn after this one, every datagram that was there has been read
        loop.call_soon(lambda: tell(done=True))

    while True:
        try:
            orders = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            break
        loop.call_soon_threadsafe(carry_out, orders)
    loop.call_soon_threadsafe(over.set)


async def _run() -> None:
    start, orders = pickle.load(sys.stdin.buffer), pickle.load(sys.stdin.buffer)
    serving, over = Serving(start, orders), asyncio.Event()
    try:
        tell(ready=await serving.open())
    except OSError as error:
        tell(failed=str(error))
        return
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_complain)
    arguments = (loop, serving, over)
    threading.Thread(target=_listen, args=arguments, daemon=True).start()
    await over.wait()


def main() -> None:
    """Serve until standard input ends."""
    asyncio.run(_run())
