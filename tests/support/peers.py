"""Real servers on the far side of the proxy, each with one habit; threads of the test's own process.

A habit is a function of one accepted socket. What it returns is kept in ``Peer.results``, and who called in
``Peer.callers``, so a test can also say that nobody did.
"""

import contextlib
import functools
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.rawsocks import LINGER_NONE
from tests.support.stream import blocks, digest_of, pieces_of
from tests.support.waiting import eventually

Habit = Callable[[socket.socket], bytes | None]


def has_ipv6() -> bool:
    """Whether this host has the IPv6 loopback address; some containers do not."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Peer:
    """A listening TCP server; a context manager. Leaving it ends every connection and waits for the threads."""

    def __init__(self, habit: Habit, host: str = "127.0.0.1", port: int = 0, backlog: int = 512) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=backlog)
        self.host, self.port = self.listener.getsockname()[:2]
        self.callers: list[tuple[str, int]] = []
        self.results: list[bytes] = []
        self._habit = habit
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Peer":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self.listener.close()

    def result(self, within: float = 15.0) -> bytes:
        """What the first connection's habit returned, when it has ended; empty if it never did."""
        return eventually(lambda: b"".join(self.results[:1]), within=within)

    def called(self) -> bool:
        """Whether anybody has connected up to now: a connection of our own queues behind all that came before it."""
        with socket.create_connection((self.host, self.port), 5) as probe:
            own = probe.getsockname()[:2]
            assert eventually(lambda: own in self.callers, every=0.001), "this server does not accept any more"
        self.callers.remove(own)
        return bool(self.callers)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, caller = self.listener.accept()
            except OSError:
                return
            self.callers.append(caller[:2])
            with self._lock:
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            result = self._habit(connection)
            if result is not None:
                self.results.append(result)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


# --- habits --------------------------------------------------------------------------------------------------------


def echo(connection: socket.socket) -> None:
    """Send back whatever comes, until the caller's FIN."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def one_kib(connection: socket.socket) -> None:
    """Send 1 KiB without being asked, and close."""
    connection.sendall(b"k" * 1024)


def answer_after_fin(connection: socket.socket) -> None:
    """Say nothing until the caller's FIN; then send back all that came before it."""
    data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    time.sleep(0.05)
    connection.sendall(data)


def fin_then_listen(connection: socket.socket) -> bytes:
    """Say hello, send FIN at once, and go on listening: the half-close of the other direction."""
    connection.sendall(b"hello")
    connection.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def collect(connection: socket.socket) -> bytes:
    """Only listen, until the caller's FIN."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def silent(connection: socket.socket) -> None:
    """Send nothing and wait for the caller to go."""
    while connection.recv(1 << 16):
        pass


def reset_on_data(connection: socket.socket) -> None:
    """Wait for the first bytes, then close with RST."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)


def how_it_ends(connection: socket.socket) -> bytes:
    """Tell whether the caller ended by FIN or by RST."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        return b"reset"
    return b"fin"


def flood(seed: int, size: int) -> Habit:
    """Send ``size`` bytes of a stream as fast as the caller takes them, then FIN."""

    def habit(connection: socket.socket) -> None:
        for block in blocks(seed, size):
            connection.sendall(block)

    return habit


def stuck(until: threading.Event) -> Habit:
    """Take nothing at all, and stay, until the event."""

    def habit(_connection: socket.socket) -> None:
        until.wait(30)

    return habit


def pour(connection: socket.socket) -> None:
    """Send zeros until nobody has taken any for 0.3 s."""
    connection.settimeout(0.3)
    try:
        while True:
            connection.sendall(bytes(1 << 18))
    except TimeoutError:
        return


def pour_and_reset(connection: socket.socket) -> None:
    """Send as long as the caller's side takes any, then close with RST."""
    pour(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)


def slow_reader(pause: float, piece: int = 1 << 16) -> Habit:
    """Take one piece each ``pause`` seconds, with a small receive buffer; return the checksum of all of it."""

    def read(_: int, connection: socket.socket) -> bytes:
        time.sleep(pause)
        return connection.recv(piece)

    def habit(connection: socket.socket) -> bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        return digest_of(pieces_of(functools.partial(read, connection=connection))).encode()

    return habit


def flood_and_collect(seed: int, size: int) -> Habit:
    """Send a stream and take another at the same time; return the checksum of what came."""

    def habit(connection: socket.socket) -> bytes:
        sender = threading.Thread(target=flood(seed, size), args=(connection,))
        sender.start()
        digest = digest_of(pieces_of(connection.recv))
        sender.join()
        return digest.encode()

    return habit


# --- targets that do not answer ------------------------------------------------------------------------------------


@contextlib.contextmanager
def closed_port(host: str = "127.0.0.1") -> Iterator[int]:
    """A port where nobody listens and that nobody else gets: bound, never listening, so a connect is refused."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        holder.bind((host, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def full_backlog(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that lets a connect hang: its accept queue is full, so the kernel drops further SYNs (listen(2))."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((host, 0), backlog=0))
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.05)
        yield address[1]


# --- a web server --------------------------------------------------------------------------------------------------


class _Pages(BaseHTTPRequestHandler):
    """``GET /SEED/SIZE``: that stream. ``PUT``: the answer is the checksum of what came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, seed, size = self.path.split("/")
        self._head(int(size))
        for block in blocks(int(seed), int(size)):
            self.wfile.write(block)

    def do_PUT(self) -> None:
        total = hashlib.sha256()
        for piece in self._body():
            total.update(piece)
        answer = total.hexdigest().encode()
        self._head(len(answer))
        self.wfile.write(answer)

    def _body(self) -> Iterator[bytes]:
        """The chunks of a chunked body (RFC 9112 §7.1), or a body of known length."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: object) -> None:
        """A client that goes away is not this server's mistake; the test looks at its own end."""


@contextlib.contextmanager
def web_server(host: str = "127.0.0.1") -> Iterator[str]:
    """A web server for real clients; yields its base address ``http://127.0.0.1:PORT``."""
    with _Quiet((host, 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()
        thread.join(5)
