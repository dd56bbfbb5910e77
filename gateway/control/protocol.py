"""What is said on the control socket: one JSON object a line, each way, checked by these types.

A request is one line, tagged by ``command``. It is answered by any number of lines ``{"row": ...}``, where the command
has rows, and then by one line ``{"done": ...}`` or ``{"error": "..."}``; then the next request may follow. Every line
has ``"v": 1``: the number grows when the meaning of a key changes, and whoever speaks another one is told so.
sockctl(8) lists the commands; ``--json`` there prints these very objects.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from gateway.errors import GatewayError

VERSION = 1

MAX_REQUEST = 1 << 16
"""Bytes of a request line, with its end."""

MAX_ROWS = 10_000
"""How many sessions, or entries of the caches, one answer lists at most."""


class Filter(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which sessions are meant; what is empty is not asked for, and what is written must all hold."""

    #: its id, as the log and ``sockctl sessions`` show it
    session: str = ""
    #: the user's name
    user: str = ""
    #: the client: an address or a prefix such as ``10.0.0.0/8``
    source: str = ""
    #: an address, a prefix, a name, or ``.example.com`` for the name and all below; with ``:port`` or alone ``:443``
    destination: str = ""
    #: the line of ``sockd.conf`` that permitted it: ``sockd.conf:17``, or ``17``
    rule: str = ""
    #: the uplink or the outgoing address
    egress: str = ""


class Status(Struct, frozen=True, tag_field="command", tag="status", forbid_unknown_fields=True):
    """How the daemon is: ``done`` holds a `Report`."""


class Sessions(Struct, frozen=True, tag_field="command", tag="sessions", forbid_unknown_fields=True):
    """The sessions of now: each row is a `Live`, ``done`` a `Listed`."""

    filter: Filter = Filter()
    #: ``bytes`` or ``age``: the most, or the oldest, first
    sort: str = "age"
    limit: int = 1000


class Kill(Struct, frozen=True, tag_field="command", tag="kill", forbid_unknown_fields=True):
    """End these sessions: ``done`` holds ``{"killed": N}``. An empty filter is refused."""

    filter: Filter = Filter()


class Rules(Struct, frozen=True, tag_field="command", tag="rules", forbid_unknown_fields=True):
    """What each line of sockd.conf was used for: each row is a `RuleUse`."""


class Loaded(Struct, frozen=True, tag_field="command", tag="configuration", forbid_unknown_fields=True):
    """The files as the daemon has them, passwords apart: ``done`` holds a `Configured`."""


class Reload(Struct, frozen=True, tag_field="command", tag="reload", forbid_unknown_fields=True):
    """Read all files anew: ``done`` holds a `Reloaded`; an error has every mistake, a line each."""

    #: end the live sessions that the new rules deny
    recheck: bool = False


class Drain(Struct, frozen=True, tag_field="command", tag="drain", forbid_unknown_fields=True):
    """Accept nobody any more, and end when the last session has: rows ``{"sessions": N}`` on the way."""

    #: after so many seconds what is left is ended; 0: never
    timeout: float = 0.0


class Tail(Struct, frozen=True, tag_field="command", tag="tail", forbid_unknown_fields=True):
    """The records of sessions as they end, each a row, until the connection is closed.

    A row ``{"lost": N}`` tells of records that the reader was too slow for.
    """

    filter: Filter = Filter()


class Metrics(Struct, frozen=True, tag_field="command", tag="metrics", forbid_unknown_fields=True):
    """The metrics in the text format of Prometheus: ``done`` holds ``{"text": ...}``."""


class Resolve(Struct, frozen=True, tag_field="command", tag="resolve", forbid_unknown_fields=True):
    """Ask the resolver as a client would: rows are `Step`, ``done`` a `Resolved`."""

    #: as in a zone file: ``www.corp.example``, with or without the dot at its end
    name: str
    #: ``A``, ``MX``, ``TYPE65280``, ...
    type: str = "A"
    #: the address of the client that would ask; empty: 127.0.0.1, and so the gateway itself
    client: str = ""


class CacheFlush(Struct, frozen=True, tag_field="command", tag="cache-flush", forbid_unknown_fields=True):
    """Forget what name servers have said: ``done`` holds ``{"flushed": N}``. Without zone and name, all of it."""

    #: of this zone only, by its name in the settings
    zone: str = ""
    #: of this name and all below
    name: str = ""


class CacheDump(Struct, frozen=True, tag_field="command", tag="cache-dump", forbid_unknown_fields=True):
    """What the caches hold, as `CacheFlush` selects it: each row is a `CacheEntry`, ``done`` a `Listed`."""

    zone: str = ""
    name: str = ""
    limit: int = 1000


Request = Status | Sessions | Kill | Rules | Loaded | Reload | Drain | Tail | Metrics | Resolve | CacheFlush | CacheDump


# What is answered


class Totals(Struct, frozen=True):
    """Sums of all workers since the daemon started, those of dead workers included; rates over the last seconds."""

    #: sessions of now, and how many there is room for
    sessions: int = 0
    room: int = 0
    #: clients that were accepted, and what became of the sessions
    accepted: int = 0
    connected: int = 0
    refused: int = 0
    failed: int = 0
    timed_out: int = 0
    error: int = 0
    #: bytes client to target and target to client
    sent: int = 0
    received: int = 0
    #: log lines and records that no target took
    lost: int = 0
    accepted_per_second: float = 0.0
    sent_per_second: float = 0.0
    received_per_second: float = 0.0


class Process(Struct, frozen=True):
    """One process of the daemon, and what it may do (credentials(7), capabilities(7), seccomp(2), landlock(7))."""

    name: str
    #: 0: it does not run at this moment
    pid: int
    user: int
    groups: tuple[int, ...]
    capabilities: tuple[str, ...]
    no_new_privs: bool
    #: ``on``, or ``off: why``
    seccomp: str
    #: ``ABI 7``, or ``off: why``
    landlock: str
    #: how often it was started again
    restarts: int = 0
    sessions: int = 0


class UplinkRow(Struct, frozen=True):
    """An uplink as it stands."""

    name: str
    interface: str
    #: ``up``, ``down`` or what else `gateway.policy.egress.Standing` has
    state: str
    addresses: tuple[str, ...]
    why: str


class ResolverTotals(Struct, frozen=True):
    """Sums of all resolver processes since the daemon started; rates over the last seconds."""

    #: queries of clients that may ask
    queries: int = 0
    #: of which answered from a cache, from the local names, and by asking a name server
    hits: int = 0
    local: int = 0
    forwarded: int = 0
    #: queries that waited for the answer to the same question of somebody else
    coalesced: int = 0
    #: answers that had expired and were given all the same, since no server answered
    stale: int = 0
    #: answers by what they said, and queries that were dropped without one
    nxdomain: int = 0
    servfail: int = 0
    refused: int = 0
    dropped: int = 0
    #: queries that were not looked for, since their client asks too much
    limited: int = 0
    #: answers that were not given, since they lead an outside name to the inside
    blocked: int = 0
    #: messages to name servers, those that were not answered in time, and what came back and was no answer to them
    upstream_queries: int = 0
    upstream_timeouts: int = 0
    wrong_answers: int = 0
    queries_per_second: float = 0.0
    #: the share of the queries of the last seconds that a cache answered, from 0 to 1
    hit_rate: float = 0.0
    #: questions that name servers have not answered yet, and answers in the caches
    outstanding: int = 0
    entries: int = 0


class ServerRow(Struct, frozen=True):
    """A name server of a zone as it stands."""

    #: ``10.0.0.53``, ``10.0.0.53:5353``, ``9.9.9.9:853 (dns.quad9.net)``
    server: str
    #: ``up`` or ``down``
    state: str
    #: what the last failure was; empty: there was none
    why: str
    #: the smoothed time of an answer; None: it has not answered yet
    milliseconds: float | None
    queries: int
    failures: int
    #: by which way it is asked; empty: by none now
    egress: str


class ZoneRow(Struct, frozen=True):
    """A zone of the settings as it stands."""

    #: as in the settings: ``corp.example`` or ``.``
    zone: str
    #: the numbers of the views that it is seen in
    views: tuple[int, ...]
    #: whether it is one of the inside, which never leaves by an outside way
    private: bool
    servers: tuple[ServerRow, ...]
    #: answers in its cache
    entries: int
    queries: int
    hits: int


class Report(Struct, frozen=True):
    """The answer to `Status`."""

    version: str
    pid: int
    #: when the daemon started and the files were loaded last, RFC 3339 in UTC
    started: str
    loaded: str
    #: of the texts of all files: 64 hexadecimal digits (SHA-256)
    configuration: str
    #: the settings file
    path: str
    multihomed: bool
    draining: bool
    listening: tuple[str, ...]
    totals: Totals
    processes: tuple[Process, ...]
    uplinks: tuple[UplinkRow, ...]
    #: what the administrator should look at, a line each; empty when all is well
    troubles: tuple[str, ...] = ()
    #: None: there is no resolver
    resolver: ResolverTotals | None = None
    #: those of the settings
    zones: tuple[ZoneRow, ...] = ()
    #: where the resolver is asked
    listening_dns: tuple[str, ...] = ()


Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Live(Struct, frozen=True, gc=False):
    """One session of now; the fields are those of a `gateway.session.record.Record`, as far as they are known."""

    session: str
    worker: Count
    #: ``negotiating``, ``resolving``, ``dialing``, ``relaying``, ...
    state: str
    client: str
    protocol: str | None
    command: str | None
    user: str
    host: str | None
    address: str | None
    port: Count | None
    egress: str | None
    uplink: str | None
    rule: str | None
    #: bytes client to target and target to client so far
    sent: Count
    received: Count
    #: age in seconds
    seconds: float


class Listed(Struct, frozen=True):
    """The end of `Sessions` and `CacheDump`: how many matched, of which as many as asked for were listed."""

    matched: int


class RuleUse(Struct, frozen=True):
    """What a line of ``sockd.conf`` was used for since the daemon started, or since the line came to be."""

    #: ``sockd.conf:17``; empty for requests that no line matched
    rule: str
    #: the line as it is written
    text: str
    hits: int
    sent: int
    received: int
    #: when it decided last, RFC 3339 in UTC; None: never
    last: str | None


class Configured(Struct, frozen=True):
    """The files that rule now."""

    path: str
    configuration: str
    loaded: str
    #: path -> text, without the passwords file
    files: dict[str, str]
    #: the host's networks as `gateway.daemon.messages.Network` in JSON
    network: Any
    #: group -> members, for the user lists; None: there is no such group
    groups: dict[str, tuple[str, ...] | None] = {}


class Reloaded(Struct, frozen=True):
    """A reload that was done."""

    configuration: str
    loaded: str
    #: whether any text is another one than before
    changed: bool
    #: sessions that ``recheck`` ended
    ended: int
    #: warnings of the files, and settings that count from the next start on only
    notes: tuple[str, ...]


class Step(Struct, frozen=True):
    """One thing that the resolver did for a question, with the time since the first."""

    text: str


class Resolved(Struct, frozen=True):
    """What a client would be told, and where from."""

    #: as it was asked, with the default domain if it got that
    name: str
    type: str
    #: ``NOERROR``, ``NXDOMAIN``, ...
    rcode: str
    #: of the answer section, each as a zone file has it: name, TTL, type, data
    records: tuple[str, ...]
    #: the zone that answers for the name, and the client's view
    zone: str
    view: int
    #: who said it: a name server, or the line of the settings or of a file; empty: nobody
    server: str
    #: by which way it was asked; empty: it was not
    egress: str
    #: ``fresh, 35 s left of 300``, ``stale, expired 12 s ago``, ``local`` or ``miss``
    cache: str
    #: why it is no answer or why from there; empty: nothing is to be said
    why: str
    #: the extended error that the client would see (RFC 8914); empty: none
    ede: str
    seconds: float
    #: the texts of all `Step`
    steps: tuple[str, ...]


class CacheEntry(Struct, frozen=True):
    """One answer in a cache."""

    zone: str
    view: int
    name: str
    type: str
    rcode: str
    #: as those of `Resolved`, with the TTL that is left
    records: tuple[str, ...]
    #: negative: it expired so long ago, and is kept in case that the servers die
    seconds_left: int
    #: who said it
    origin: str


class Answer(Struct, frozen=True, omit_defaults=True):
    """One line of an answer: exactly one of the three is there."""

    v: int = 0
    row: Any = None
    done: Any = None
    error: str | None = None


class ControlError(GatewayError):
    """A request that is refused, or a peer that does not keep to the protocol; the text is for the administrator."""


_answers = msgspec.json.Decoder(Answer)


def decode_request(line: bytes) -> Request:
    """Raises ControlError for what is no request of this version."""
    try:
        written = msgspec.json.decode(line)
        version = written.pop("v", None) if isinstance(written, dict) else None
        if type(version) is not int or version != VERSION:  # true is 1, too
            raise ControlError(f"this sockd speaks version {VERSION} of the control protocol")
        request: Request = msgspec.convert(written, Request)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"no request of the control protocol: {error}") from None
    return request


def encode_request(request: Request) -> bytes:
    """One line, with its end."""
    return msgspec.json.encode({"v": VERSION, **msgspec.to_builtins(request)}) + b"\n"


def encode_row(row: object) -> bytes:
    """A line with one row."""
    return msgspec.json.encode({"v": VERSION, "row": row}) + b"\n"


def encode_done(done: object) -> bytes:
    """The last line of an answer."""
    return msgspec.json.encode({"v": VERSION, "done": done}) + b"\n"


def encode_error(error: str) -> bytes:
    """The last line of an answer that is none."""
    return msgspec.json.encode({"v": VERSION, "error": error}) + b"\n"


def decode_answer(line: bytes) -> Answer:
    """Raises ControlError for what is no answer of this version."""
    try:
        answer = _answers.decode(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"not understood: {error}") from None
    if answer.v != VERSION:
        raise ControlError(f"sockd speaks version {answer.v} of the control protocol, and this sockctl {VERSION}")
    return answer
