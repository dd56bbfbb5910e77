"""A name server that lies as a test tells it, in a process of its own, which may live in a network namespace.

Its zone is a plain table (`Zone`), and what it does to its answers is a list of rules, made with `on` of the habits in
`tests.support.lying.habits` and `tests.support.lying.tricks`. It remembers every question that it heard, so that a test
can say what was asked, from where, and what never was.
"""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dns.message

from tests.support.lying.message import ECS
from tests.support.lying.sending import Rule
from tests.support.lying.serving import Orders, Start
from tests.support.lying.zone import TTL, Honesty, Zone
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
"""Seconds for a process to start, and to carry out an order."""


class Heard(NamedTuple):
    """A question as it came. ``time`` is monotonic, and that of this machine; ``name`` is in lower case, without a dot
    at its end, and ``type`` text; both are empty for what is no question.
    """

    time: float
    #: ``udp``, ``tcp`` or ``tls``
    transport: str
    source: str
    port: int
    data: bytes
    name: str
    type: str
    #: the name that a TLS client said it wants (RFC 6066 §3)
    server_name: str

    @property
    def id(self) -> int:
        """The id of the message."""
        return int.from_bytes(self.data[:2], "big")

    @property
    def spelled(self) -> str:
        """The name in the letters in which it was asked for."""
        return self.message.question[0].name.to_text(omit_final_dot=True)

    @property
    def message(self) -> dns.message.Message:
        """The whole message. Raises DNSException."""
        return dns.message.from_wire(self.data)

    @property
    def has_ecs(self) -> bool:
        """Whether it says where the client is (RFC 7871)."""
        return any(int(option.otype) == ECS for option in self.message.options)


class LyingServer:
    """A server of a zone; a context manager.

    ``addresses`` all have the same ``port``, for UDP and TCP; 0 is a free one, 53 is usual in a namespace. ``apexes``
    are the names whose SOA records negative answers have. ``prefix`` runs a command elsewhere (`Namespace.prefix`).
    With ``certificate`` (of its chain and its key, files) it speaks TLS too, on ``tls_port``.
    """

    def __init__(
        self,
        zone: Zone,
        *rules: Rule,
        addresses: Sequence[str] = ("127.0.0.1",),
        port: int = 0,
        apexes: Sequence[str] = ("",),
        ttl: int = TTL,
        negative_ttl: int = TTL,
        prefix: Sequence[str] = (),
        has_tcp: bool = True,
        certificate: tuple[Path, Path] | None = None,
        tls_port: int = 0,
    ) -> None:
        self.addresses = tuple(addresses)
        self.port, self.tls_port = port, tls_port
        self._prefix = tuple(prefix)
        self._honesty = Honesty(zone, tuple(apexes), ttl, negative_ttl)
        self._rules = rules
        files = tuple(map(str, certificate)) if certificate else ()
        self._start = Start(self.addresses, port, has_tcp, tls_port if certificate else None, *files)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._heard: list[Heard] = []
        self._done = 0
        self._asked = 0
        self._said: dict[str, Any] = {}
        self._faults: list[str] = []

    def __enter__(self) -> "LyingServer":
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "tests.support.lying"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._said, self._done, self._asked = {}, 0, 0
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self._write(self._start, Orders(self._honesty, self._rules))
            eventually(lambda: self._said or not self._runs(), within=PATIENCE)
            assert "ready" in self._said, f"the lying server does not serve: {self._said.get('failed', 'it ended')}"
        except BaseException:
            self._end()
            raise
        self.port, self.tls_port = self._said["ready"]["port"], self._said["ready"]["tls_port"]
        # it is the same one when it comes again after it was gone
        tls_port = self.tls_port if self._start.tls_port is not None else None
        self._start = Start(**{**_fields(self._start), "port": self.port, "tls_port": tls_port})
        return self

    def __exit__(self, *_: object) -> None:
        """End it: its ports are closed then. It can be entered again, and is then on the same ports.

        Raises AssertionError when it failed at something, such as data of the zone that can not be written.
        """
        self._end()
        assert not self._faults, "\n".join(self._faults)

    def _end(self) -> None:
        process, reader = self._process, self._reader
        assert process is not None
        assert reader is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        reader.join()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()

    def obey(self, *rules: Rule) -> None:
        """Other rules from now on, whose counting begins at 0; none: it is honest. They are in effect on return."""
        self._rules = rules
        self._order(Orders(self._honesty, rules))

    def serve(self, zone: Zone) -> None:
        """Another zone, with the rules as they are, counting from 0 again. It is in effect on return."""
        self._honesty = Honesty(zone, self._honesty.apexes, self._honesty.ttl, self._honesty.negative_ttl)
        self.obey(*self._rules)

    def heard(self, name: str = "", type: str = "") -> list[Heard]:
        """The questions so far, all that had come to this host before the call; of this name and type if they say."""
        if self._runs():
            self._order(None)
        return [one for one in self._heard if name in ("", one.name) and type in ("", one.type)]

    def forget(self) -> None:
        """Begin to remember anew."""
        self.heard()
        self._heard.clear()

    def _order(self, orders: Orders | None) -> None:
        self._asked += 1
        self._write(orders)
        assert eventually(lambda: self._done >= self._asked, within=PATIENCE, every=0.001), "it does not obey"

    def _write(self, *what: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"".join(map(pickle.dumps, what)))
        self._process.stdin.flush()

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "heard" in said:
                fields = {**said["heard"], "data": bytes.fromhex(said["heard"]["data"])}
                self._heard.append(Heard(**fields))
            elif "done" in said:
                self._done += 1
            elif "fault" in said:
                self._faults.append(said["fault"])
            else:
                self._said = said


def _fields(start: Start) -> dict[str, Any]:
    return {name: getattr(start, name) for name in start.__slots__}
