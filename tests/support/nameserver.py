"""A small name server on a real UDP socket, whose answers a test writes as a table (RFC 1035 §4).

It can do what an ordinary server does not: answer differently each time, late, or with addresses that no honest zone
holds. Every TTL is 0. It remembers all questions, so a test can say what was never asked.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

Records = Sequence[str]
Zone = Mapping[str, Mapping[str, Records | Callable[[int], Records]]]
"""name -> type (``A``, ``AAAA``, ``CNAME``) -> data, or a function of how often the question came before."""

_TYPES = {1: "A", 5: "CNAME", 28: "AAAA"}
_CODES = {name: code for code, name in _TYPES.items()}
_RESPONSE, _NO_NAME = 0x8580, 3


class NameServer:
    """Answers from one zone table; a context manager. Names that it does not hold do not exist (RCODE 3)."""

    def __init__(self, zone: Zone, host: str, port: int = 53, delays: Mapping[str, float] | None = None) -> None:
        self.zone = zone
        self.delays = delays or {}
        self.questions: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self._socket.settimeout(0.1)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "NameServer":
        self._start(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def asked(self, name: str) -> bool:
        """Whether anything was asked about this name."""
        return any(question == name for question, _ in self.questions)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                query, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self._start(self._answer, query, client)

    def _answer(self, query: bytes, client: tuple[str, int]) -> None:
        name, kind, question = _question(query)
        with self._lock:
            before = self.questions.count((name, kind))
            self.questions.append((name, kind))
        late = self.delays.get(name, 0)
        if late:
            self._over.wait(late)
        answers = self._look_up(name, kind, before)
        code = 0 if name in self.zone else _NO_NAME
        head = query[:2] + b"".join(n.to_bytes(2, "big") for n in (_RESPONSE | code, 1, len(answers), 0, 0))
        try:
            self._socket.sendto(head + question + b"".join(answers), client)
        except OSError:
            return

    def _look_up(self, name: str, kind: str, before: int) -> list[bytes]:
        """The records of a name, behind the aliases that lead to them."""
        held = self.zone.get(name, {})
        if "CNAME" in held and kind != "CNAME":
            (target,) = _values(held["CNAME"], before)
            return [_record(name, "CNAME", target), *self._look_up(target, kind, before)]
        return [_record(name, kind, value) for value in _values(held.get(kind, ()), before)]


def _values(records: Records | Callable[[int], Records], before: int) -> Records:
    return records(before) if callable(records) else records


def _question(query: bytes) -> tuple[str, str, bytes]:
    """The name in lower case, the type, and the question's bytes exactly as they came."""
    labels = []
    at = 12
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("latin-1").lower())
        at += size + 1
    end = at + 5
    return ".".join(labels), _TYPES.get(int.from_bytes(query[at + 1 : at + 3], "big"), "other"), query[12:end]


def _record(name: str, kind: str, value: str) -> bytes:
    data = _name(value) if kind == "CNAME" else ipaddress.ip_address(value).packed
    fields = (_CODES[kind].to_bytes(2, "big"), b"\0\1", bytes(4), len(data).to_bytes(2, "big"))
    return _name(name) + b"".join(fields) + data


def _name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def alternating(*turns: Records) -> Callable[[int], Records]:
    """One list of records after the other, over and over: a rebinding server."""
    return lambda before: turns[before % len(turns)]
