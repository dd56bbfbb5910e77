"""One client's session, from its first byte to its record: events in, commands out.

Each public method of `Session` is an event and answers with the commands to carry out, in order. Everything that
changes ``state`` is in this file, by `TRANSITIONS`; a step that is not in the table is a bug and raises. Success is
sent only on the way from DIALING to RELAYING, which only the event `connected` takes.
"""

import enum
import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType

from gateway.address import Address, Endpoint, canonical_host, plain
from gateway.config.rules import AccessRule, IdentLevel
from gateway.errors import BadName, RemoteProtocolError
from gateway.policy.access import AccessPolicy
from gateway.policy.decision import Decision, Question
from gateway.policy.decision import Result as Verdict
from gateway.services import Services
from gateway.session.commands import (
    AskIdent,
    CheckPassword,
    Close,
    Command,
    Dial,
    Log,
    Resolve,
    Send,
    StartRelay,
    Write,
)
from gateway.session.record import Record, Result, escape, timestamp
from gateway.wire.constants import ERRNO_TO_REPLY, Method, Protocol, Reply4, Reply5
from gateway.wire.constants import Command as Wanted
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    MethodChosen,
    MethodsOffered,
    Reply,
    Request,
)
from gateway.wire.server import ServerNegotiation

MAX_ADDRESSES = 32
"""How many addresses of one name are checked and tried; the rest of a longer answer is ignored."""


class State(enum.Enum):
    """Where a session stands; `TRANSITIONS` says what can follow."""

    NEGOTIATING = enum.auto()
    CHECKING_PASSWORD = enum.auto()
    ASKING_IDENT = enum.auto()
    RESOLVING = enum.auto()
    DIALING = enum.auto()
    RELAYING = enum.auto()
    ENDED = enum.auto()


_S = State
TRANSITIONS = MappingProxyType(
    {
        _S.NEGOTIATING: frozenset({_S.CHECKING_PASSWORD, _S.ASKING_IDENT, _S.RESOLVING, _S.DIALING, _S.ENDED}),
        _S.CHECKING_PASSWORD: frozenset(
            {_S.NEGOTIATING, _S.ASKING_IDENT, _S.RESOLVING, _S.DIALING, _S.ENDED, _S.CHECKING_PASSWORD}
        ),
        _S.RESOLVING: frozenset({_S.ASKING_IDENT, _S.DIALING, _S.ENDED}),
        _S.ASKING_IDENT: frozenset({_S.DIALING, _S.ENDED}),
        _S.DIALING: frozenset({_S.RELAYING, _S.ENDED}),
        _S.RELAYING: frozenset({_S.ENDED}),
        _S.ENDED: frozenset(),
    }
)

WAITING_FOR = MappingProxyType(
    {
        _S.NEGOTIATING: "the client's request",
        _S.CHECKING_PASSWORD: "the password check",
        _S.ASKING_IDENT: "the client's identd",
        _S.RESOLVING: "the name look-up",
        _S.DIALING: "the connection",
    }
)
"""What a session that timed out was waiting for, in the words of its record."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all sessions of a worker share. ``clock`` is monotonic, ``wall`` since the epoch, both in seconds."""

    policy: AccessPolicy
    services: Services
    clock: Callable[[], float]
    wall: Callable[[], float]
    #: the minute of the local week, 0 is Monday 00:00
    minute: Callable[[], int]
    #: a number that no other session of this worker has
    new_number: Callable[[], int]
    #: what makes a session's number unique on this host
    prefix: str = "0"
    #: the level where a line has no ``?=``
    ident: IdentLevel = IdentLevel.OFF
    #: whether there is a passwords file, so that method 02 can be chosen
    passwords: bool = False


class Session:
    """One client connection. ``client`` is where it comes from, already in plain form."""

    __slots__ = (
        "_context",
        "_decision",
        "_decisions",
        "_local",
        "_method",
        "_negotiation",
        "_number",
        "_question",
        "_remote",
        "_request",
        "_started",
        "_user",
        "client",
        "ident",
        "state",
    )

    def __init__(self, context: Context, client: Endpoint) -> None:
        self._context = context
        self.client = client
        self._negotiation: ServerNegotiation | None = ServerNegotiation()
        self._request: Request | None = None
        self._question: Question | None = None
        self._decision: Decision | None = None
        self._decisions: dict[Address, Decision] | None = None
        self._local: Endpoint | None = None
        self._remote: Endpoint | None = None
        self._method = Method.NONE
        self._user = b""
        self._started = context.clock()
        self._number = context.new_number()
        self.state = State.NEGOTIATING
        #: what identd said, None when it was not asked or did not answer
        self.ident: str | None = None

    # Events

    def received(self, data: bytes) -> list[Command]:
        """Bytes from the client before the relay; ``b""`` is its end of file."""
        negotiation = self._dialogue
        if not data and negotiation.protocol is None:
            return [Close(), *self.abandoned("the client closed without a word")]
        negotiation.receive_data(data)
        return self._advance(negotiation)

    def _advance(self, negotiation: ServerNegotiation) -> list[Command]:
        commands: list[Command] = []
        try:
            while self.state is State.NEGOTIATING:
                event = negotiation.next_event()
                if event is NEED_DATA:
                    break
                commands += self._negotiate(event)
        except RemoteProtocolError as error:
            return commands + self._broken(error)
        return commands

    def password_checked(self, accepted: bool) -> list[Command]:
        """The answer to `CheckPassword`."""
        if not accepted:
            return self._wrong_password()
        self._method = Method.PASSWORD
        request = self._request
        if request is not None:
            assert request.credentials is not None
            self._user = request.credentials.user
            return self._decide(request)
        self._enter(State.NEGOTIATING)
        negotiation = self._dialogue
        return [Send(negotiation.send(CredentialsChecked(True))), *self._advance(negotiation)]

    def resolved(self, addresses: Iterable[Address]) -> list[Command]:
        """The answer to `Resolve`: each address is checked, the permitted ones are dialled."""
        question = self._asked
        policy = self._context.policy
        candidates = [plain(address) for address in addresses][:MAX_ADDRESSES]
        if not candidates:
            return self.lookup_failed("the name has no address")
        decisions = {address: policy.decide_address(question, address) for address in candidates}
        permitted = {address: found for address, found in decisions.items() if found.result is Verdict.PERMIT}
        if not permitted:
            self._decision = decisions[candidates[0]]
            return self._refuse()
        self._decisions = permitted
        first = next(iter(permitted))
        self._decision = permitted[first]
        return self._identify(tuple(Endpoint(address, question.port) for address in permitted))

    def lookup_failed(self, fact: str) -> list[Command]:
        """The answer to `Resolve` when there is no address; ``fact`` says why."""
        return self._fail(Reply5.HOST_UNREACHABLE, f"gethostbyname() {fact}", fact)

    def ident_answered(self, user: str | None, endpoints: tuple[Endpoint, ...]) -> list[Command]:
        """The answer to `AskIdent`; None when identd can not be reached or does not know."""
        self.ident = user
        source = self.client.address
        if user is None:
            if self._ident_level is IdentLevel.STRICT:
                return self._refuse_ident(Reply4.NO_IDENTD, f"cannot connect to identd on {source}")
            return [Log(f"cannot connect to identd on {source}"), *self._dial(endpoints)]
        claimed = escape(self._user)
        if user != claimed:
            return self._refuse_ident(Reply4.IDENT_MISMATCH, f"*Alert*: real user is {user}, not {claimed}")
        return self._dial(endpoints)

    def connected(self, local: Endpoint, remote: Endpoint) -> list[Command]:
        """The answer to `Dial`: where the outgoing socket is bound, and to whom it is connected."""
        self._enter(State.RELAYING)
        if self._decisions is not None:
            self._decision = self._decisions[remote.address]
            self._decisions = None
        self._local = local
        self._remote = remote
        negotiation = self._dialogue
        reply = negotiation.send(Reply(Reply5.SUCCEEDED, local))
        self._negotiation = None
        return [Log(f"connected -- {self._what}"), Send(reply), StartRelay(negotiation.trailing_data)]

    def connect_failed(self, number: int, call: str = "connect()") -> list[Command]:
        """The answer to `Dial` when no endpoint answered: the errno, and the system call that gave it."""
        if number == errno.ETIMEDOUT:
            return self.timed_out()
        code = ERRNO_TO_REPLY.get(number, Reply5.GENERAL_FAILURE)
        text = os.strerror(number)
        return self._fail(code, f"{call} {text}", f"{call} {text}")

    def timed_out(self) -> list[Command]:
        """The time limit of the present state has passed."""
        waited = f"timed out waiting for {WAITING_FOR[self.state]}"
        if self._request is None:
            line = f"error -- {waited}; from host {self.client.address}"
            return self._end(Result.TIMED_OUT, waited, line, None)
        reply = Reply(Reply5.HOST_UNREACHABLE)
        return self._end(Result.TIMED_OUT, waited, f"timed-out -- {self._what}", reply)

    def ended(self, sent: int, received: int, end: str) -> list[Command]:
        """The relay is over: bytes client to target, target to client, and why it ended."""
        self._enter(State.ENDED)
        source = self.client.address
        line = f"terminated -- {self._what}.  {sent} bytes from {source}, {received} bytes from {self._target_name}"
        return [Log(line), Write(self._record(Result.CONNECTED, end, sent, received))]

    def abandoned(self, why: str) -> list[Command]:
        """The client is gone, or is put out, before the relay began; ``why`` goes into the record."""
        if self.state is State.ENDED:
            return []
        self._enter(State.ENDED)
        self._negotiation = None
        return [Write(self._record(Result.ERROR, why))]

    # Negotiation

    @property
    def _dialogue(self) -> ServerNegotiation:
        assert self._negotiation is not None
        return self._negotiation

    @property
    def _asked(self) -> Question:
        assert self._question is not None
        return self._question

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"a session can not go from {self.state.name} to {state.name}")
        self.state = state

    def _negotiate(self, event: object) -> list[Command]:
        if isinstance(event, MethodsOffered):
            return self._choose(event.methods)
        if isinstance(event, Credentials):
            self._user = event.user
            self._enter(State.CHECKING_PASSWORD)
            return [CheckPassword(event.user, event.password)]
        assert isinstance(event, Request)
        return self._requested(event)

    def _choose(self, offered: bytes) -> list[Command]:
        if self._context.passwords and Method.PASSWORD in offered:
            method = Method.PASSWORD
        elif Method.NONE in offered:
            method = Method.NONE
        else:
            refusal = self._dialogue.send(MethodChosen(Method.UNACCEPTABLE))
            fact = f"no acceptable method among {offered.hex(' ')}"
            line = f"error -- {fact} from host {self.client.address}"
            return [Send(refusal), *self._end(Result.REFUSED, fact, line, None)]
        return [Send(self._dialogue.send(MethodChosen(method)))]

    def _requested(self, request: Request) -> list[Command]:
        self._request = request
        if request.user:
            self._user = request.user
        if request.credentials is not None and self._context.passwords:
            self._enter(State.CHECKING_PASSWORD)
            return [CheckPassword(*request.credentials)]
        return self._decide(request)

    def _wrong_password(self) -> list[Command]:
        line = f"refused -- wrong password for {escape(self._user)} from host {self.client.address}"
        if self._request is not None:
            challenge = Reply(Reply5.NOT_ALLOWED, challenge=True)
            return self._end(Result.REFUSED, "wrong password", line, challenge)
        answer = self._dialogue.send(CredentialsChecked(False))
        return [Send(answer), *self._end(Result.REFUSED, "wrong password", line, None)]

    # Decision

    def _decide(self, request: Request) -> list[Command]:
        try:
            host = request.host if isinstance(request.host, Address) else canonical_host(request.host)
        except BadName as error:
            return self._fail(Reply5.GENERAL_FAILURE, str(error), str(error))
        if isinstance(host, Address):
            host = plain(host)
        question = Question(
            self.client.address,
            host,
            request.port,
            self._user.decode("utf-8", "surrogateescape"),
            request.command,
            self._method,
            self._context.minute(),
        )
        self._question = question
        if request.command is not Wanted.CONNECT:
            fact = f"{request.command.name} is not served"
            return self._fail(Reply5.COMMAND_NOT_SUPPORTED, fact, fact)
        decision = self._decision = self._context.policy.decide(question)
        if decision.result is Verdict.PERMIT:
            assert isinstance(host, Address)
            return self._identify((Endpoint(host, request.port),))
        if decision.result is Verdict.RESOLVE:
            assert isinstance(host, str)
            self._enter(State.RESOLVING)
            return [Resolve(host)]
        return self._refuse()

    @property
    def _ident_level(self) -> IdentLevel:
        rule = self._rule
        return rule.ident if rule is not None and rule.ident is not None else self._context.ident

    def _identify(self, endpoints: tuple[Endpoint, ...]) -> list[Command]:
        if self._ident_level is IdentLevel.OFF:
            return self._dial(endpoints)
        self._enter(State.ASKING_IDENT)
        return [AskIdent(endpoints)]

    def _dial(self, endpoints: tuple[Endpoint, ...]) -> list[Command]:
        self._enter(State.DIALING)
        return [Dial(endpoints)]

    # Ends

    def _refuse(self) -> list[Command]:
        challenge = (
            self._context.passwords
            and self._method is Method.NONE
            and self._request is not None
            and self._request.protocol is Protocol.HTTP
            and self._context.policy.could_permit(self._asked)
        )
        reply = Reply(Reply5.NOT_ALLOWED, challenge=challenge)
        end = "refused by rule" if self._rule is not None else "no line matches"
        return self._end(Result.REFUSED, end, f"refused -- {self._what}", reply)

    def _refuse_ident(self, code: Reply4, fact: str) -> list[Command]:
        reply = Reply(Reply5.NOT_ALLOWED, reply4=code)
        return [*self._end(Result.REFUSED, fact, f"refused -- {self._what}", reply, fact)]

    def _fail(self, code: Reply5, error: str, end: str) -> list[Command]:
        return self._end(Result.FAILED, end, f"failed -- {self._what}.  Error code: {error}", Reply(code))

    def _broken(self, error: RemoteProtocolError) -> list[Command]:
        replies: list[Command] = [Send(error.reply)] if error.reply else []
        line = f"error -- {error.fact} from host {self.client.address}"
        return replies + self._end(Result.ERROR, error.fact, line, None)

    def _end(self, result: Result, end: str, line: str, reply: Reply | None, detail: str = "") -> list[Command]:
        commands: list[Command] = [Log(line)]
        if detail:
            commands.append(Log(detail))
        if reply is not None:
            commands.append(Send(self._dialogue.send(reply)))
        self._enter(State.ENDED)
        commands += (Close(), Write(self._record(result, end)))
        self._negotiation = None
        return commands

    # Words

    @property
    def _rule(self) -> AccessRule | None:
        return None if self._decision is None else self._decision.rule

    @property
    def _target_name(self) -> str:
        if self._question is not None:
            return str(self._question.host)
        request = self._request
        if request is None:
            return "unknown"
        return escape(request.host) if isinstance(request.host, bytes) else str(request.host)

    @property
    def _what(self) -> str:
        """The ``M`` of `spec/socks4.md` §9.1."""
        user = escape(self._user)
        who = f"{user}({self.ident or 'unknown'})@{self.client.address}"
        port = 0 if self._request is None else self._request.port
        return f"Connect from {who} to {self._target_name} ({self._context.services.name(port)})"

    def _record(self, result: Result, end: str, sent: int = 0, received: int = 0) -> Record:
        context = self._context
        request = self._request
        decision = self._decision
        rule = None if decision is None else decision.rule
        would_deny = None if decision is None else decision.would_deny
        return Record(
            time=timestamp(context.wall()),
            session=f"{context.prefix}-{self._number:x}",
            client=str(self.client),
            protocol=None if request is None else request.protocol.value,
            command=None if request is None else request.command.name.lower(),
            user=escape(self._user),
            auth=self._method.name.lower(),
            host=None if request is None else self._target_name,
            address=None if self._remote is None else str(self._remote.address),
            port=None if request is None else request.port,
            egress=None if self._local is None else str(self._local),
            rule=None if rule is None else rule.label,
            would_deny=None if would_deny is None else would_deny.label,
            reason="" if decision is None else decision.reason,
            result=result,
            sent=sent,
            received=received,
            seconds=round(context.clock() - self._started, 6),
            end=end,
        )
