"""A control socket that answers from a script: what the commands of ``sockctl`` ask is noted, what they hear is told.

It speaks bytes of the protocol by itself, so that a test can also send what no daemon would.
"""

import argparse
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from gateway.control.protocol import (
    VERSION,
    Configured,
    Live,
    Process,
    Report,
    Request,
    Totals,
    UplinkRow,
    decode_request,
)
from gateway.daemon.configuration import load
from gateway.daemon.messages import Network

Script = Callable[[Request], Iterable[dict[str, Any] | bytes]]

HASH = "0123456789abcdef" * 4
LOADED = "2026-01-02T03:04:05.678Z"


def row(value: object) -> dict[str, Any]:
    """A line of an answer with a row."""
    return {"v": VERSION, "row": msgspec.to_builtins(value)}


def done(value: object) -> dict[str, Any]:
    """The last line of an answer."""
    return {"v": VERSION, "done": msgspec.to_builtins(value)}


def error(text: str) -> dict[str, Any]:
    """The last line of a refusal."""
    return {"v": VERSION, "error": text}


class FakeControl:
    """One thread that serves one connection after another; a context manager."""

    def __init__(self, path: Path, script: Script) -> None:
        """``script`` gives the lines that answer a request; after the last of bytes the connection is closed."""
        self.path = path
        self.asked: list[Request] = []
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "FakeControl":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        self.path.unlink()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                for line in stream:
                    try:
                        if not self._answer(connection, decode_request(line)):
                            break
                    except OSError:
                        break  # whoever asked has gone

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        """Whether the connection goes on."""
        self.asked.append(request)
        answer: dict[str, Any] | bytes = b""
        for answer in self._script(request):
            connection.sendall(answer if isinstance(answer, bytes) else msgspec.json.encode(answer) + b"\n")
        return isinstance(answer, dict)


class Ran:
    """What a command did."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        self.status, self.output, self.errors = status, output, errors

    @property
    def lines(self) -> list[str]:
        """Of the output, blanks in a row as one."""
        return [" ".join(line.split()) for line in self.output.splitlines()]


def run(module: ModuleType, capsys: Any, *words: str) -> Ran:
    """A command of gateway.cli, with its own command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.add_arguments(parser)
    status = module.run(parser.parse_args(words))
    return Ran(status, *capsys.readouterr())


def live(session: str = "a1-1", **fields: Any) -> Live:
    """A session of fred's."""
    base = Live(
        session, 1, "relaying", "10.1.2.3:40000", "socks5", "connect", "fred", "www.example.com", "203.0.113.7", 443,
        "192.0.2.10:50000", "wan1", "sockd.conf:17", 1536, 20 * 1024 * 1024, 8054.0,
    )  # fmt: skip
    return msgspec.structs.replace(base, **fields)


def report(**fields: Any) -> Report:
    """A daemon in order."""
    base = Report(
        version="9.9",
        pid=812,
        started=LOADED,
        loaded=LOADED,
        configuration=HASH,
        path="/etc/gateway.toml",
        multihomed=True,
        draining=False,
        listening=("10.1.0.1:1080", "[fd00::1]:1080"),
        totals=Totals(14, 131072, 10231, 9800, 300, 100, 20, 11, 1536, 1 << 30, 0, 3.25, 2048.0, 0.0),
        processes=(
            Process("supervisor", 812, 65534, (), (), True, "on", "ABI 2"),
            Process("warden", 813, 0, (), ("CAP_NET_ADMIN", "CAP_NET_RAW"), True, "on", "off: kernel too old", 1),
            Process("worker 1", 0, 65534, (), (), True, "on", "ABI 2", 3, 14),
        ),
        uplinks=(UplinkRow("wan1", "eth0", "up", ("192.0.2.10",), "link is up"),),
    )
    return msgspec.structs.replace(base, **fields)


def configured(path: Path, network: Network) -> Configured:
    """What a daemon has that loaded these settings now, and knows this of its host; passwords left out."""
    texts = load(str(path), print).texts
    files = {name: text for name, text in texts.files.items() if name not in texts.secret}
    return Configured(str(path), HASH, LOADED, files, msgspec.to_builtins(network), texts.groups)


@contextlib.contextmanager
def daemon_of(path: Path, network: Network) -> Iterator[FakeControl]:
    """A daemon that loaded these settings and answers beside them, whatever becomes of the files."""
    answer = configured(path, network)
    with FakeControl(path.parent / "control.sock", lambda _: [done(answer)]) as fake:
        yield fake
