"""Plays the conversations of ``tests/vectors/wire/*.toml`` with a negotiation, each in three ways.

A case is data: what the peer sends (``in``), which event that must make, what we answer, and which bytes that must
give. The ways differ only in how the peer's bytes arrive: message by message, one by one, or all in one segment with
early data behind them. The result has to be the same.

Octets are written as hex, ``41*255`` repeats, and a piece that begins with ``'`` is text; a list is joined.
"""

import enum
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.address import Endpoint, parse_address
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.wire.client import ClientNegotiation
from gateway.wire.constants import Command, Method, Protocol, Reply5
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    Established,
    Listening,
    MethodChosen,
    MethodsOffered,
    Outgoing,
    Refused,
    Reply,
    Request,
)
from gateway.wire.server import ServerNegotiation

VECTORS = Path(__file__).parent.parent / "vectors" / "wire"
EARLY = b"\x00early data\r\n\r\n"

Octets = str | list[str]
Fields = dict[str, Any]


class Way(enum.Enum):
    """How the peer's bytes arrive."""

    WHOLE = "message by message"
    BYTEWISE = "byte by byte"
    ONE_SEGMENT = "in one segment with early data"


class Failure(NamedTuple):
    """The error that a step must end with; ``status`` is that of an HTTP reply."""

    fact: str
    reply: bytes
    status: int | None


class Step(NamedTuple):
    """The peer's step (``received``, ``eof``; ``event`` or ``failure``) or ours (``answer``; ``sent`` or ``local``)."""

    received: bytes = b""
    eof: bool = False
    event: object = NEED_DATA
    failure: Failure | None = None
    answer: Any = None
    sent: bytes = b""
    local: str | None = None


class Case(NamedTuple):
    """One conversation. ``request`` and ``start`` are the client role's."""

    name: str
    clause: str
    role: str
    steps: tuple[Step, ...]
    request: Request | None
    start: bytes

    @property
    def granted(self) -> bool:
        """Whether what follows the conversation is early data."""
        last = self.steps[-1]
        if isinstance(last.event, Request | Established):
            return True
        return last.local is None and isinstance(last.answer, Reply) and last.answer.code is Reply5.SUCCEEDED

    @property
    def ways(self) -> tuple[Way, ...]:
        """A conversation with an end of file has nothing behind it."""
        return (Way.WHOLE, Way.BYTEWISE) if any(step.eof for step in self.steps) else tuple(Way)


def octets(text: Octets) -> bytes:
    """The bytes that a vector writes; see the module's head."""
    if isinstance(text, list):
        return b"".join(map(octets, text))
    if text.startswith("'"):
        return text[1:].encode("latin-1")
    return b"".join(_repeat(*token.partition("*")[::2]) for token in text.split())


def _repeat(digits: str, count: str) -> bytes:
    return bytes.fromhex(digits) * int(count or 1)


def _host(text: Octets) -> Any:
    address = parse_address(text) if isinstance(text, str) else None
    return octets(text) if address is None else address


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    address = parse_address(host.strip("[]"))
    assert address is not None
    return Endpoint(address, int(port))


def _credentials(fields: Fields) -> Credentials:
    return Credentials(octets(fields["user"]), octets(fields["password"]))


def _request(fields: Fields) -> Request:
    return Request(
        Protocol[fields["protocol"]],
        Command[fields["command"]],
        _host(fields["host"]),
        fields["port"],
        octets(fields.get("user", "")),
        _credentials(fields["credentials"]) if "credentials" in fields else None,
    )


def _reply(fields: Fields) -> Reply:
    reply = Reply(Reply5[fields["code"]], reply4=fields.get("reply4"), challenge=fields.get("challenge", False))
    return reply._replace(bound=_endpoint(fields["bound"])) if "bound" in fields else reply


_EVENTS: dict[str, Callable[[Any], object]] = {
    "MethodsOffered": lambda value: MethodsOffered(octets(value)),
    "Credentials": _credentials,
    "Request": _request,
    "Outgoing": lambda value: Outgoing(octets(value)),
    "Listening": lambda value: Listening(_endpoint(value)),
    "Established": lambda value: Established(_endpoint(value)),
    "Refused": lambda value: Refused(Reply5[value["code"]], value["fact"]),
}
_ANSWERS: dict[str, Callable[[Any], object]] = {
    "MethodChosen": lambda value: MethodChosen(Method[value]),
    "CredentialsChecked": CredentialsChecked,
    "Reply": _reply,
}
_WORDS = frozenset({"in", "eof", "error", "reply", "status", "out", "local"})


def _step(fields: Fields) -> Step:
    unknown = fields.keys() - _EVENTS.keys() - _ANSWERS.keys() - _WORDS
    assert not unknown, f"a step has unknown keys: {unknown}"
    for name, build in _ANSWERS.items():
        if name in fields:
            return Step(answer=build(fields[name]), sent=octets(fields.get("out", "")), local=fields.get("local"))
    step = Step(received=octets(fields.get("in", "")), eof=fields.get("eof", False))
    assert step.received or step.eof, "in a step nothing arrives"
    if "error" in fields:
        return step._replace(
            failure=Failure(fields["error"], octets(fields.get("reply", "")), fields.get("status")),
        )
    events = [build(fields[name]) for name, build in _EVENTS.items() if name in fields]
    return step._replace(event=events[0]) if events else step


def _case(fields: Fields, role: str) -> Case:
    return Case(
        fields["name"],
        fields["clause"],
        role,
        tuple(map(_step, fields["talk"])),
        _request(fields["request"]) if "request" in fields else None,
        octets(fields.get("start", "")),
    )


def load_cases(pattern: str) -> list[Any]:
    """The cases of the vector files of this name, one a way, as parameters of a test; the ids are sentences."""
    paths = sorted(VECTORS.glob(pattern))
    assert paths, f"no vector file is named {pattern}"
    documents = [tomllib.loads(path.read_text()) for path in paths]
    cases = [_case(fields, document["role"]) for document in documents for fields in document["case"]]
    return [pytest.param(case, way, id=f"{case.name}, {way.value}") for case in cases for way in case.ways]


def play(case: Case, way: Way) -> None:
    """Play one case in one way; asserts all that it says, and what follows it."""
    peer = _start(case)
    if way is Way.ONE_SEGMENT:
        peer.receive_data(b"".join(step.received for step in case.steps) + EARLY)
    for step in case.steps:
        if step.answer is not None:
            _answer(peer, step)
        else:
            _hear(peer, step, way)
    _check_trailing(peer, case, way)


def _start(case: Case) -> ServerNegotiation | ClientNegotiation:
    if case.role == "server":
        return ServerNegotiation()
    assert case.request is not None
    client = ClientNegotiation(case.request)
    assert client.start() == case.start
    return client


def _answer(peer: ServerNegotiation | ClientNegotiation, step: Step) -> None:
    assert isinstance(peer, ServerNegotiation)
    if step.local is None:
        assert peer.send(step.answer) == step.sent
        return
    with pytest.raises(LocalProtocolError, match=step.local):
        peer.send(step.answer)
    with pytest.raises(LocalProtocolError, match=step.local):
        peer.next_event()


def _hear(peer: ServerNegotiation | ClientNegotiation, step: Step, way: Way) -> None:
    event = failure = None
    try:
        event = _feed(peer, step, way)
    except RemoteProtocolError as error:
        failure = error
    if step.failure is not None:
        assert failure is not None, f"there was no error, but {event}"
        _check_failure(peer, failure, step.failure)
        return
    if failure is not None:
        raise failure
    assert event == step.event
    if way is not Way.ONE_SEGMENT:
        assert peer.next_event() is NEED_DATA


def _feed(peer: ServerNegotiation | ClientNegotiation, step: Step, way: Way) -> object:
    if way is Way.WHOLE:
        peer.receive_data(step.received)
    elif way is Way.BYTEWISE:
        for octet in step.received[:-1]:
            peer.receive_data(bytes((octet,)))
            assert peer.next_event() is NEED_DATA
        peer.receive_data(step.received[-1:])
    if step.eof and step.received:
        if step.event is NEED_DATA:
            assert peer.next_event() is NEED_DATA
        peer.receive_data(b"")
    return peer.next_event()


def _check_failure(peer: ServerNegotiation | ClientNegotiation, error: RemoteProtocolError, wanted: Failure) -> None:
    assert wanted.fact in error.fact
    if wanted.status is None:
        assert error.reply == wanted.reply
    else:
        assert_response(error.reply, wanted.status)
    if isinstance(peer, ServerNegotiation):
        with pytest.raises(LocalProtocolError):
            peer.send(Reply(Reply5.SUCCEEDED))
    with pytest.raises(RemoteProtocolError, match=re.escape(error.fact)) as again:
        peer.next_event()
    assert again.value.reply == b""


def assert_response(reply: bytes, status: int) -> None:
    """A whole HTTP failure: status line, exact length, the close announced, and one line of text."""
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d" % len(body) in fields
    assert b"Connection: close" in fields
    assert body.endswith(b"\n")
    assert body.count(b"\n") == 1


def _check_trailing(peer: ServerNegotiation | ClientNegotiation, case: Case, way: Way) -> None:
    if way is not Way.ONE_SEGMENT and not any(step.eof for step in case.steps):
        assert peer.trailing_data == b""
        peer.receive_data(EARLY[:5])
        peer.receive_data(EARLY[5:])
    followed = case.granted and not any(step.eof for step in case.steps)
    assert peer.trailing_data == (EARLY if followed else b"")
    if not case.granted:
        assert peer.retained == 0
