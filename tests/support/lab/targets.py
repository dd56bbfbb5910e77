"""``python -m tests.support.lab.targets HOST``: what the hosts of the lab serve, on all their addresses.

Port 80 is a web server: any path answers one line of JSON, ``{"host": ..., "source": ..., "target": ...}``: who
answers, which address it saw and which one was asked for; ``/bytes?n=N`` answers N bytes. Port 7 greets with the same
line and then echoes (RFC 862). It says ``ready`` when both listen, and ends with its standard input.
"""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qs, urlsplit

WEB, ECHO = 80, 7
_CHUNK = bytes(1 << 16)


def line(host: str, connection: socket.socket) -> bytes:
    """What both servers say about a connection."""
    source, target = (_plain(name[0]) for name in (connection.getpeername(), connection.getsockname()))
    return json.dumps({"host": host, "source": source, "target": target}).encode() + b"\n"


def _plain(address: str) -> str:
    """An IPv4 address as itself: a socket of both families has it mapped into IPv6."""
    return address.removeprefix("::ffff:")


class _BothFamilies(ThreadingTCPServer):
    """Listens on every address of the host; a thread a connection."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024
    name = ""

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no error here."""


class _Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _BothFamilies

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/bytes":
            wanted = int(parse_qs(url.query).get("n", ["0"])[0])
            self._answer("application/octet-stream", wanted, _zeros(wanted))
        else:
            body = line(self.server.name, self.connection)
            self._answer("application/json", len(body), iter((body,)))

    def _answer(self, kind: str, length: int, parts: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _CHUNK[:count]
        count -= len(_CHUNK)


class _Echo(BaseRequestHandler):
    server: _BothFamilies

    def handle(self) -> None:
        self.request.sendall(line(self.server.name, self.request))
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


class _WebServer(_BothFamilies, ThreadingHTTPServer):
    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for the host's name
        _BothFamilies.server_bind(self)
        self.server_name, self.server_port = self.name, WEB


def main(host: str) -> None:
    """Serve until standard input ends."""
    threading.stack_size(256 * 1024)
    for kind, port, handler in ((_WebServer, WEB, _Web), (_BothFamilies, ECHO, _Echo)):
        server = kind(("::", port), handler)
        server.name = host
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
