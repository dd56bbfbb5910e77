"""Conversations of one session as expressions:
``assert Playbook() >> Received(b"...") << Sent(b"...") << dialled("...")``.

``>>`` gives the session an event, ``<<`` says what must follow from it, in order; what follows and is not said fails at
the next event, or at the end of the expression. The session is real, so are its rules, compiled from the text of a
``sockd.conf``; clocks stand still unless `Waited` moves them, and both ports only write down what they are asked.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.address import Address, Endpoint, Name
from gateway.config.access import parse_access
from gateway.config.rules import AccessFile, IdentLevel
from gateway.policy.access import AccessPolicy
from gateway.policy.command import Job
from gateway.policy.destination import Guard
from gateway.policy.egress import Egress, Hop, Standing, Uplink
from gateway.policy.router import Router
from gateway.services import parse_services
from gateway.session.context import Context
from gateway.session.record import Record
from gateway.session.tcp import Session
from tests.support.rules import Users, address

SERVICES = parse_services("ftp 21/tcp\ntelnet 23/tcp\nhttp 80/tcp\nhttps 443/tcp\n")
TIME = "2026-01-02T03:04:05.678Z"
BOUND = "192.0.2.254:40001"
PERMIT = "permit ALL ALL\n"
PATH = "/etc/sockd.conf"


def endpoint(text: str) -> Endpoint:
    """From ``203.0.113.1:80`` or ``[2001:db8::1]:80``."""
    host, _, port = text.rpartition(":")
    return Endpoint(address(host.strip("[]")), int(port))


# What a session does


class Sent(NamedTuple):
    """Bytes went to the client."""

    data: bytes


class AskedPassword(NamedTuple):
    """A password is to be verified."""

    user: bytes
    password: bytes


class AskedIdent(NamedTuple):
    """The client's identd is to be asked."""

    endpoints: tuple[Endpoint, ...]


class LookedUp(NamedTuple):
    """A name is to be resolved."""

    name: str


class Dialled(NamedTuple):
    """These are to be tried."""

    hops: tuple[Hop, ...]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where they lead."""
        return tuple(hop.endpoint for hop in self.hops)


class Ran(NamedTuple):
    """A shell command is to be started."""

    command: str


class Relayed(NamedTuple):
    """Client and target are to be joined."""

    early: bytes = b""


class Closed(NamedTuple):
    """The client is to be closed."""


class Noted(NamedTuple):
    """A classic line was written."""

    text: str


Done = Sent | AskedPassword | AskedIdent | LookedUp | Dialled | Ran | Relayed | Closed | Noted | Record


class Notebook:
    """Both ports of a session: each call is kept, in order."""

    def __init__(self) -> None:
        self.done: list[Done] = []
        #: the class of each line of a session, and its text
        self.classes: list[tuple[str, str]] = []
        #: the commands, as whoever runs them is told
        self.jobs: list[Job] = []

    @property
    def records(self) -> list[Record]:
        """The records that were written."""
        return [entry for entry in self.done if isinstance(entry, Record)]

    @property
    def lines(self) -> list[str]:
        """The classic lines that were written."""
        return [entry.text for entry in self.done if isinstance(entry, Noted)]

    @property
    def sent(self) -> bytes:
        """All that the client got."""
        return b"".join(entry.data for entry in self.done if isinstance(entry, Sent))

    def send(self, data: bytes) -> None:
        """As `Actions`."""
        self.done.append(Sent(data))

    def check_password(self, user: bytes, password: bytes) -> None:
        """As `Actions`."""
        self.done.append(AskedPassword(user, password))

    def ask_ident(self, endpoints: tuple[Endpoint, ...]) -> None:
        """As `Actions`."""
        self.done.append(AskedIdent(endpoints))

    def resolve(self, name: Name) -> None:
        """As `Actions`."""
        self.done.append(LookedUp(name))

    def dial(self, hops: tuple[Hop, ...]) -> None:
        """As `Actions`."""
        self.done.append(Dialled(hops))

    def run_command(self, job: Job) -> None:
        """As `Actions`."""
        self.jobs.append(job)
        self.done.append(Ran(job.command))

    def start_relay(self, early: bytes) -> None:
        """As `Actions`."""
        self.done.append(Relayed(early))

    def close(self) -> None:
        """As `Actions`."""
        self.done.append(Closed())

    def line(self, text: str) -> None:
        """A classic line, of whatever class."""
        self.done.append(Noted(text))

    def connected(self, text: str) -> None:
        """As `Journal`."""
        self._classed("connected", text, None)

    def terminated(self, text: str, record: Record) -> None:
        """As `Journal`."""
        self._classed("connected", text, record)

    def denied(self, text: str, record: Record | None = None) -> None:
        """As `Journal`."""
        self._classed("denied", text, record)

    def failed(self, text: str, record: Record | None = None) -> None:
        """As `Journal`."""
        self._classed("resource", text, record)

    def _classed(self, name: str, text: str, record: Record | None) -> None:
        self.classes.append((name, text))
        self.line(text)
        if record is not None:
            self.record(record)

    def record(self, record: Record) -> None:
        """As `Journal`."""
        self.done.append(record)


# What is expected of it, where a whole value would say too much


class Answered(NamedTuple):
    """An HTTP answer with this status was sent; ``challenged`` is whether it asks for credentials."""

    status: int
    challenged: bool = False

    def matches(self, done: Done) -> bool:
        """Whether this is what was done."""
        if not isinstance(done, Sent) or not done.data.startswith(f"HTTP/1.1 {self.status} ".encode()):
            return False
        return (b"\r\nProxy-Authenticate: Basic " in done.data) == self.challenged


@dataclass(frozen=True)
class Recorded:
    """A record was written that has these values."""

    fields: dict[str, object]

    def matches(self, done: Done) -> bool:
        """Whether this is what was done."""
        return isinstance(done, Record) and all(getattr(done, name) == value for name, value in self.fields.items())


class Starting(NamedTuple):
    """A classic line that begins so was written."""

    text: str

    def matches(self, done: Done) -> bool:
        """Whether this is what was done."""
        return isinstance(done, Noted) and done.text.startswith(self.text)


Expected = Done | Answered | Recorded | Starting


def dialled(*texts: str) -> Dialled:
    """These endpoints, from their texts, by whatever way the kernel chooses."""
    return Dialled(tuple(Hop(endpoint(text)) for text in texts))


def dialled_by(egress: Egress, way: str, *texts: str) -> Dialled:
    """These endpoints, all by that way out."""
    return Dialled(tuple(Hop(endpoint(text), egress, way) for text in texts))


def asked_ident(*texts: str) -> AskedIdent:
    """Ident is asked, before these endpoints."""
    return AskedIdent(tuple(map(endpoint, texts)))


def recorded(**fields: object) -> Recorded:
    """A record with these values."""
    return Recorded(fields)


# What happens to it

Event = Callable[["Playbook"], None]


def Received(*data: bytes) -> Event:
    """The client sent this, each piece by itself; ``b""`` is its end of file."""

    def happen(play: "Playbook") -> None:
        for piece in data:
            play.session.received(piece)

    return happen


def PasswordChecked(accepted: bool) -> Event:
    """The verifier's answer."""
    return lambda play: play.session.password_checked(accepted)


def Resolved(*texts: str) -> Event:
    """The addresses of the name."""
    return lambda play: play.session.resolved(tuple(map(address, texts)))


def LookupFailed(fact: str) -> Event:
    """There are none."""
    return lambda play: play.session.lookup_failed(fact)


def IdentAnswered(user: str | None) -> Event:
    """What identd said, with the endpoints of the question."""
    return lambda play: play.session.ident_answered(user, play.asked_endpoints)


def Connected(remote: str | None = None, bound: str = BOUND) -> Event:
    """The connection stands; ``remote`` is the first endpoint's address unless it says otherwise."""

    def happen(play: "Playbook") -> None:
        target = play.dialled_endpoints[0].address if remote is None else address(remote)
        play.session.connected(endpoint(bound), bound, target)

    return happen


def ConnectFailed(number: int, call: str = "connect()") -> Event:
    """No endpoint answered."""
    return lambda play: play.session.connect_failed(number, call)


def WaysChanged(*uplinks: Uplink) -> Event:
    """These are the uplinks now; what is dialled by a lost one is dialled anew."""

    def happen(play: "Playbook") -> None:
        router = play.router
        assert router is not None
        router.update(uplinks)
        if play.session.dials_by_lost_way(lambda egress: egress.source in _sources(uplinks)):
            play.session.redial()

    return happen


def _sources(uplinks: tuple[Uplink, ...]) -> set[Address]:
    return {source for uplink in uplinks if uplink.standing is not Standing.DOWN for source in uplink.sources}


def TimedOut() -> Event:
    """The limit of the present state has passed."""
    return lambda play: play.session.timed_out()


def Ended(sent: int, received: int, end: str = "the client closed") -> Event:
    """The relay is over."""
    return lambda play: play.session.ended(sent, received, end)


def Abandoned(why: str = "reset by the client") -> Event:
    """The client is gone."""
    return lambda play: play.session.abandoned(why)


def Waited(seconds: float) -> Event:
    """Time passes."""

    def happen(play: "Playbook") -> None:
        play.now += seconds

    return happen


def parsed(rules: str) -> AccessFile:
    """The text of a ``sockd.conf``."""
    return parse_access(rules, PATH, SERVICES)


class Playbook:
    """One session and what it did."""

    def __init__(
        self,
        rules: str = PERMIT,
        *,
        passwords: bool = False,
        ident: IdentLevel = IdentLevel.OFF,
        users: Users | None = None,
        guard: Guard | None = None,
        source: str = "10.1.2.3",
        minute: int = 0,
        router: Router | None = None,
    ) -> None:
        self.now = 1000.0
        self.notebook = Notebook()
        self._seen = 0
        self._last = "the beginning"
        access = parsed(rules)
        context = Context(
            policy=AccessPolicy.compile(access, guard or Guard(), users or Users(), multihomed=router is not None),
            service_names=SERVICES.names,
            journal=self.notebook,
            clock=lambda: self.now,
            timestamp=lambda: TIME,
            minute=lambda: minute,
            new_number=itertools.count(10).__next__,
            prefix="68f0-1",
            process="4711",
            ident=ident,
            passwords=passwords,
            no_identd=access.no_identd,
            bad_id=access.bad_id,
            router=router,
        )
        self.router = router
        where = address(source)
        self.session = Session(context, self.notebook, where, str(Endpoint(where, 40000)))

    @property
    def asked_endpoints(self) -> tuple[Endpoint, ...]:
        """Those of the question to identd."""
        return next(entry.endpoints for entry in self.notebook.done if isinstance(entry, AskedIdent))

    @property
    def dialled_endpoints(self) -> tuple[Endpoint, ...]:
        """Those that were to be tried."""
        return next(entry.endpoints for entry in self.notebook.done if isinstance(entry, Dialled))

    def __rshift__(self, event: Event) -> "Playbook":
        """This happens now."""
        self._settle()
        self._last = event.__qualname__.partition(".")[0]
        event(self)
        return self

    def __lshift__(self, expected: Expected) -> "Playbook":
        """And this must follow."""
        done = self.notebook.done
        assert self._seen < len(done), f"after {self._last} nothing more was done; expected {expected}"
        found = done[self._seen]
        if isinstance(expected, (Answered, Recorded, Starting)):
            assert expected.matches(found), f"after {self._last}: {found} is not {expected}"
        else:
            # Two classes of equal fields are equal as tuples.
            assert (type(found), found) == (
                type(expected),
                expected,
            ), f"after {self._last}: {found} is not {expected}"
        self._seen += 1
        return self

    def __bool__(self) -> bool:
        """The end of the expression: nothing is left that was not said."""
        self._settle()
        return True

    def _settle(self) -> None:
        assert self.notebook.done[self._seen :] == [], f"after {self._last} this was done too"
