"""One client's session, from its first byte to its record: events in, actions out.

Each public method of `Session` is an event; what follows from it is called on the `Actions` and `Journal` ports before
it returns. Everything that changes ``state`` is in this file, by `TRANSITIONS`; a step that is not in the table is a
bug and raises. Success is sent only on the way from DIALING to RELAYING, which only the event `connected` takes.
"""

import enum
import errno
import os
from collections.abc import Callable, Iterable
from types import MappingProxyType

from gateway.address import Address, Endpoint, Name, canonical_host, parse_address, plain
from gateway.config.rules import AccessRule, Action, EgressWord, IdentLevel, SpecialCommand
from gateway.errors import BadName, RemoteProtocolError
from gateway.policy.command import CommandRefused, Job, Substitutions, expand
from gateway.policy.decision import Decision, Question
from gateway.policy.decision import Result as Verdict
from gateway.policy.egress import Choice, Egress, Hop
from gateway.session.context import Context
from gateway.session.ports import Actions
from gateway.session.record import Record, Result, escape
from gateway.session.tally import Use
from gateway.session.texts import TEXTS
from gateway.wire import express
from gateway.wire.constants import ERRNO_TO_REPLY, Command, Method, Protocol, Reply4, Reply5
from gateway.wire.events import (
    NEED_DATA,
    Credentials,
    CredentialsChecked,
    MethodChosen,
    MethodsOffered,
    Reply,
    Request,
)
from gateway.wire.server import ServerEvent, ServerNegotiation

MAX_ADDRESSES = 32
"""How many addresses of one name are checked and tried; the rest of a longer answer is ignored."""

NO_ROUTE = "no line of sockd.route and no [external] interface is for this destination"


class State(enum.IntEnum):
    """Where a session stands; `TRANSITIONS` says what can follow."""

    NEGOTIATING = 0
    CHECKING_PASSWORD = 1
    RESOLVING = 2
    ASKING_IDENT = 3
    DIALING = 4
    RELAYING = 5
    ENDED = 6


_NEGOTIATING, _CHECKING, _RESOLVING, _ASKING, _DIALING, _RELAYING, _ENDED = State

TRANSITIONS = MappingProxyType(
    {
        _NEGOTIATING: frozenset({_CHECKING, _RESOLVING, _ASKING, _DIALING, _ENDED}),
        _CHECKING: frozenset({_NEGOTIATING, _RESOLVING, _ASKING, _DIALING, _ENDED}),
        _RESOLVING: frozenset({_ASKING, _DIALING, _ENDED}),
        _ASKING: frozenset({_DIALING, _ENDED}),
        _DIALING: frozenset({_RELAYING, _ENDED}),
        _RELAYING: frozenset({_ENDED}),
        _ENDED: frozenset(),
    }
)

WAITING_FOR = MappingProxyType(
    {
        _NEGOTIATING: "the client's request",
        _CHECKING: "the password check",
        _RESOLVING: "the name look-up",
        _ASKING: "the client's identd",
        _DIALING: "the connection",
    }
)
"""What a session that timed out was waiting for, in the words of its record."""

_new = tuple.__new__
"""``_new(Kind, (...))`` is ``Kind(...)`` for a named tuple, less a Python call; used once a connection each."""

_CHOOSE = {method: MethodChosen(method) for method in (Method.NONE, Method.PASSWORD, Method.UNACCEPTABLE)}
_CONNECT = Command.CONNECT
_PERMIT, _RESOLVE = Verdict.PERMIT, Verdict.RESOLVE
_NONE = Method.NONE
_NOWHERE = Address(4, 0)
_OFF = IdentLevel.OFF
_DENIALS = (Result.REFUSED, Result.ERROR)
_METHOD_WORDS = {method: method.name.lower() for method in Method}
_COMMAND_WORDS = {command: command.name.lower().partition("_")[0] for command in Command}


class Session:
    """One client connection. What only the time before the relay needs is dropped when the relay begins."""

    __slots__ = (
        "_actions",
        "_address",
        "_client",
        "_command",
        "_context",
        "_decision",
        "_egress",
        "_endpoints",
        "_greeted",
        "_hops",
        "_host",
        "_ident",
        "_method",
        "_negotiation",
        "_number",
        "_permitted",
        "_port",
        "_protocol",
        "_question",
        "_request",
        "_source",
        "_source_address",
        "_user",
        "_way",
        "_words",
        "started",
        "state",
        "way_out",
    )

    def __init__(self, context: Context, actions: Actions, source: Address, client: str) -> None:
        """``source`` is the client's address in plain form, ``client`` its endpoint as text."""
        self.state = _NEGOTIATING
        self._source_address = source
        #: the same as text, which each line has
        self._source = TEXTS[source]
        self._context = context
        self._actions = actions
        #: None while `gateway.wire.express` recognises every message
        self._negotiation: ServerNegotiation | None = None
        self._greeted = False
        self._client = client
        self._number = context.new_number()
        #: when the client was accepted, on the monotonic clock
        self.started = context.clock()
        self._request: Request | None = None
        self._question: Question | None = None
        self._decision: Decision | None = None
        self._permitted: dict[Address, Decision] | None = None
        self._method = _NONE
        self._user = b""
        self._ident: str | None = None
        self._protocol: str | None = None
        self._command = "connect"
        #: the destination as it was asked for, canonical if it could be
        self._host: str | None = None
        self._port = 0
        #: the address that was connected to, and where from
        self._address: str | None = None
        self._egress: str | None = None
        #: what is to be connected to, and what of it can be
        self._endpoints: tuple[Endpoint, ...] = ()
        self._hops: tuple[Hop, ...] = ()
        #: how the connection left; None where the kernel's routes decide
        self.way_out: Egress | None = None
        self._way: str | None = None

    # Events

    def received(self, data: bytes) -> None:
        """Bytes from the client before the relay; ``b""`` is its end of file."""
        if self.state is not _NEGOTIATING:
            raise self._out_of_turn("received")
        if self._negotiation is None:
            if self._greeted:
                request = express.connect_request(data)
                if request is not None:
                    self._requested(request)
                    return
            elif data == express.GREETING and not self._context.passwords:
                self._greeted = True
                self._actions.send(express.ANSWER)
                return
        self._received(data)

    def _received(self, data: bytes) -> None:
        negotiation = self._negotiation
        if negotiation is None:
            negotiation = self._negotiation = express.greeted() if self._greeted else ServerNegotiation()
        if not data and negotiation.protocol is None:
            self._actions.close()
            self.abandoned("the client closed without a word")
            return
        negotiation.receive_data(data)
        self._advance(negotiation)

    def password_checked(self, accepted: bool) -> None:
        """The answer to `check_password`."""
        self._expect(_CHECKING, "password_checked")
        if not accepted:
            self._wrong_password()
            return
        self._method = Method.PASSWORD
        request = self._request
        if request is None:
            self._enter(_NEGOTIATING)
            negotiation = self._dialogue()
            self._actions.send(negotiation.send(CredentialsChecked(True)))
            self._advance(negotiation)
        elif request.credentials is not None:
            self._user = request.credentials.user
            self._decide(request)

    def resolved(self, addresses: Iterable[Address]) -> None:
        """The answer to `resolve`: each address is checked, and the permitted ones are dialled."""
        self._expect(_RESOLVING, "resolved")
        question = self._asked
        candidates = list(dict.fromkeys(map(plain, addresses)))[:MAX_ADDRESSES]
        if not candidates:
            self.lookup_failed("the name has no address")
            return
        decide = self._context.policy.decide_address
        decisions = {address: decide(question, address) for address in candidates}
        permitted = {address: found for address, found in decisions.items() if found.result is _PERMIT}
        if not permitted:
            # A refusal that names a line tells more than one that does not.
            named = (found for found in decisions.values() if found.rule is not None)
            self._refuse(next(named, decisions[candidates[0]]))
            return
        self._permitted = permitted
        self._permit(next(iter(permitted.values())), tuple(Endpoint(address, self._port) for address in permitted))

    def lookup_failed(self, fact: str) -> None:
        """The answer to `resolve` when there is no address; ``fact`` says why."""
        self._expect(_RESOLVING, "lookup_failed")
        self._fail(Reply5.HOST_UNREACHABLE, f"gethostbyname() {fact}")

    def ident_answered(self, user: str | None, endpoints: tuple[Endpoint, ...]) -> None:
        """The answer to `ask_ident`; None when identd can not be reached or does not know."""
        self._expect(_ASKING, "ident_answered")
        self._ident = user
        if user is None:
            self._no_identd(endpoints)
        elif user != escape(self._user) and (self._user or self._has_user_field):
            self._run_special(self._context.bad_id)
            self._refuse_ident(Reply4.IDENT_MISMATCH, f"*Alert*: real user is {user}, not {escape(self._user)}")
        else:
            self._dial(self._rule(), endpoints)

    @property
    def _has_user_field(self) -> bool:
        """SOCKS5 and HTTP clients name no user unless they authenticate: then there is nothing that could differ."""
        return self._protocol in (Protocol.SOCKS4.value, Protocol.SOCKS4A.value)

    def connected(self, bound: Endpoint, egress: str, remote: Address) -> None:
        """The answer to `dial`: where the outgoing socket is bound, also as text, and what it is connected to."""
        self._expect(_DIALING, "connected")
        actions = self._actions
        if self._permitted is not None:
            self._decision = self._permitted[remote]
            self._address = TEXTS[remote]
        else:
            self._address = self._host
        self._egress = egress
        context = self._context
        if context.router is not None:
            self._left_by(remote)
        what = self._words = self._what()
        context.tally.latest = self
        context.journal.connected("connected -- " + what)
        negotiation = self._negotiation
        if negotiation is None:
            actions.send(express.granted(bound))
        else:
            actions.send(negotiation.send(Reply(Reply5.SUCCEEDED, bound)))
        self._enter(_RELAYING)
        self._forget()
        actions.start_relay(b"" if negotiation is None else negotiation.trailing_data)

    def _left_by(self, remote: Address) -> None:
        """Note the way out; apart from `connected`, which every name that a generator takes would make slower."""
        hops = self._hops
        hop = hops[0] if len(hops) == 1 else next(hop for hop in hops if hop.endpoint.address == remote)
        _, self.way_out, self._way = hop

    def dials_by_lost_way(self, usable: Callable[[Egress], bool]) -> bool:
        """Whether a way out that is being tried can not be used any more."""
        if self.state is not _DIALING:
            return False
        return not all(hop.egress is None or usable(hop.egress) for hop in self._hops)

    def redial(self) -> None:
        """What was being dialled is given up: choose the ways out anew, for the same endpoints."""
        self._expect(_DIALING, "redial")
        hops = self._choose_ways(self._endpoints)
        if hops:
            self._actions.dial(hops)

    def connect_failed(self, number: int, call: str = "connect()") -> None:
        """The answer to `dial` when no endpoint answered: the errno, and the system call that gave it."""
        self._expect(_DIALING, "connect_failed")
        if number == errno.ETIMEDOUT:
            self.timed_out()
        else:
            code = ERRNO_TO_REPLY.get(number, Reply5.GENERAL_FAILURE)
            self._fail(code, f"{call} {os.strerror(number)}")

    def timed_out(self) -> None:
        """The time limit of the present state has passed."""
        if self.state not in WAITING_FOR:
            raise self._out_of_turn("timed_out")
        waited = f"timed out waiting for {WAITING_FOR[self.state]}"
        if self._request is None:
            self._end(Result.TIMED_OUT, waited, f"error -- {waited} from host {self._source}", None)
        else:
            self._end(Result.TIMED_OUT, waited, f"timed-out -- {self._what()}", Reply(Reply5.HOST_UNREACHABLE))

    def ended(self, sent: int, received: int, end: str) -> None:
        """The relay is over: bytes client to target, target to client, and why it ended."""
        if self.state is not _RELAYING:
            raise self._out_of_turn("ended")
        self._enter(_ENDED)
        use = self._context.uses.of(self._decision)
        use.relays += 1
        use.sent += sent
        use.received += received
        self._context.journal.terminated(
            f"terminated -- {self._words}.  {sent} bytes from {self._source}, {received} bytes from {self._host}",
            self._record(Result.CONNECTED, end, sent, received),
        )

    def abandoned(self, why: str) -> None:
        """The client is gone, or is put out, before the relay began; ``why`` goes into the record."""
        if self.state is _RELAYING:
            raise self._out_of_turn("abandoned")
        if self.state is not _ENDED:
            self._enter(_ENDED)
            self._count(Result.ERROR)
            self._context.journal.record(self._record(Result.ERROR, why, 0, 0))
            self._forget()

    # Looks at it from outside

    def adopt(self, context: Context) -> None:
        """The rules are others now: who has not made a request that was decided for good meets the new ones."""
        if self.state in (_NEGOTIATING, _CHECKING, _RESOLVING):
            self._context = context

    def snapshot(self, sent: int = 0, received: int = 0) -> Record:
        """What is known of it so far, with the bytes of its relay."""
        return self._record(Result.CONNECTED, "", sent, received)

    def title(self) -> str:
        """What it does, in the words of FOR_PS (`spec/socks4.md` §9.3): ``fred: telnet(c) to ftp.uu.net``."""
        service = self._context.service_names.get(self._port) or self._port
        user = f"{escape(self._user)}: " if self._user else ""
        return f"{user}{service}({self._command[0]}) to {self._host}"

    def refusal_by(self, context: Context) -> str:
        """Why other rules would not let this session be, in the words of a reason; empty if they would.

        Of one that is being connected to a name every address counts, and one that is permitted is enough.
        """
        host = self._host
        assert host is not None
        literal = parse_address(host)
        question = Question(
            self._source_address,
            Name(host) if literal is None else literal,
            self._port,
            self._user.decode("utf-8", "surrogateescape"),
            _CONNECT,
            self._method,
            context.minute(),
        )
        policy = context.policy
        if literal is not None:
            decisions = [policy.decide(question)]
        else:
            connected = () if self._address is None else (parse_address(self._address),)
            addresses = (address for address in connected or self._permitted or () if address is not None)
            decisions = [policy.decide_address(question, address) for address in addresses]
        refusals = [decision.reason for decision in decisions if decision.result is not _PERMIT]
        return refusals[0] if refusals and len(refusals) == len(decisions) else ""

    # Negotiation

    @property
    def _asked(self) -> Question:
        assert self._question is not None
        return self._question

    def _dialogue(self) -> ServerNegotiation:
        assert self._negotiation is not None
        return self._negotiation

    def _answer(self, reply: Reply) -> bytes:
        negotiation = self._negotiation
        return express.encode_reply(reply) if negotiation is None else negotiation.send(reply)

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"a session can not go from {self.state.name} to {state.name}")
        self.state = state

    def _expect(self, state: State, event: str) -> None:
        if self.state is not state:
            raise self._out_of_turn(event)

    def _out_of_turn(self, event: str) -> AssertionError:
        return AssertionError(f"the event {event} can not happen to a session that is {self.state.name}")

    def _forget(self) -> None:
        """Drop what is of no use any more; an idle session costs memory for hours. Whoever asks for it is a bug."""
        del self._negotiation, self._actions
        self._request = self._question = self._permitted = None
        self._endpoints = self._hops = ()

    def _advance(self, negotiation: ServerNegotiation) -> None:
        try:
            while self.state is _NEGOTIATING:
                event = negotiation.next_event()
                if event is NEED_DATA:
                    return
                self._negotiate(negotiation, event)
                if not negotiation.retained:
                    return
        except RemoteProtocolError as error:
            if error.reply:
                self._actions.send(error.reply)
            # The original ends the one line with a full stop, and the other without.
            stop = "." if error.fact.startswith("wrong version") else ""
            self._end(Result.ERROR, error.fact, f"error -- {error.fact} from host {self._source}{stop}", None)

    def _negotiate(self, negotiation: ServerNegotiation, event: ServerEvent) -> None:
        if isinstance(event, Request):
            self._requested(event)
        elif isinstance(event, MethodsOffered):
            self._choose(negotiation, event.methods)
        else:
            assert isinstance(event, Credentials)
            self._user = event.user
            self._enter(_CHECKING)
            self._actions.check_password(event.user, event.password)

    def _choose(self, negotiation: ServerNegotiation, offered: bytes) -> None:
        if self._context.passwords and Method.PASSWORD in offered:
            method = Method.PASSWORD
        elif Method.NONE in offered:
            method = Method.NONE
        else:
            method = Method.UNACCEPTABLE
        self._actions.send(negotiation.send(_CHOOSE[method]))
        if method is Method.UNACCEPTABLE:
            fact = f"no acceptable method among {offered.hex(' ')}"
            self._end(Result.REFUSED, fact, f"error -- {fact} from host {self._source}", None)

    def _requested(self, request: Request) -> None:
        self._request = request
        self._port = request.port
        self._protocol = request.protocol._value_  # what `value` gives by way of Python code
        if request.command is not _CONNECT:
            self._command = _COMMAND_WORDS[request.command]
        if request.user:
            self._user = request.user
        if request.credentials is not None and self._context.passwords:
            self._enter(_CHECKING)
            self._user = request.credentials.user
            self._host = escape(request.host) if isinstance(request.host, bytes) else str(request.host)
            self._actions.check_password(*request.credentials)
        else:
            self._decide(request)

    def _wrong_password(self) -> None:
        line = f"refused -- wrong password for {escape(self._user)} from host {self._source}"
        if self._request is not None:
            self._end(Result.REFUSED, "wrong password", line, Reply(Reply5.NOT_ALLOWED, challenge=True))
        else:
            self._actions.send(self._dialogue().send(CredentialsChecked(False)))
            self._end(Result.REFUSED, "wrong password", line, None)

    # Decision

    def _decide(self, request: Request) -> None:
        try:
            host = request.host if isinstance(request.host, Address) else canonical_host(request.host)
        except BadName as error:
            assert isinstance(request.host, bytes)
            self._host = escape(request.host)
            self._fail(Reply5.GENERAL_FAILURE, str(error))
            return
        if isinstance(host, Address):
            host = plain(host)
            self._host = TEXTS[host]
        else:
            self._host = host
        context = self._context
        user = self._user.decode("utf-8", "surrogateescape") if self._user else ""
        policy = context.policy
        minute = context.minute() if policy.timed else 0
        question = _new(
            Question,
            (self._source_address, host, request.port, user, request.command, self._method, minute),
        )
        self._question = question
        if request.command is not _CONNECT:
            self._fail(Reply5.COMMAND_NOT_SUPPORTED, f"{self._command} is not served")
            return
        decision = policy.decide(question)
        if decision.result is _PERMIT:
            assert isinstance(host, Address)
            self._permit(decision, (_new(Endpoint, (host, request.port)),))
        elif decision.result is _RESOLVE:
            self._decision = decision
            self._enter(_RESOLVING)
            assert isinstance(host, str)
            self._actions.resolve(host)
        else:
            self._refuse(decision)

    def _permit(self, decision: Decision, endpoints: tuple[Endpoint, ...]) -> None:
        self._decision = decision
        rule = decision.rule
        if self._ident_level(rule) is _OFF:
            self._dial(rule, endpoints)
        else:
            self._enter(_ASKING)
            self._actions.ask_ident(endpoints)

    def _ident_level(self, rule: AccessRule | None) -> IdentLevel:
        return self._context.ident if rule is None or rule.ident is None else rule.ident

    def _no_identd(self, endpoints: tuple[Endpoint, ...]) -> None:
        fact = f"cannot connect to identd on {self._source}"
        self._run_special(self._context.no_identd)
        if self._ident_level(self._rule()) is IdentLevel.STRICT:
            self._refuse_ident(Reply4.NO_IDENTD, fact)
        else:
            self._context.journal.failed(fact)
            self._dial(self._rule(), endpoints)

    def _dial(self, rule: AccessRule | None, endpoints: tuple[Endpoint, ...]) -> None:
        hops = self._choose_ways(endpoints)
        if not hops:
            return
        if rule is not None and rule.command is not None:
            self._run(rule.label, rule.command, str(hops[0].endpoint.address))
        self._enter(_DIALING)
        self._actions.dial(hops)

    # Ways out

    def _choose_ways(self, endpoints: tuple[Endpoint, ...]) -> tuple[Hop, ...]:
        """The endpoints that there is a way to; when there is none to any of them the session has ended."""
        if self._context.router is None:
            # A comprehension is a call, and most connections have one endpoint.
            if len(endpoints) == 1:
                return (_new(Hop, (endpoints[0], None, "")),)
            return tuple([_new(Hop, (endpoint, None, "")) for endpoint in endpoints])
        self._endpoints = endpoints
        hops = []
        choices = []
        for endpoint in endpoints:
            choice = self._choose_way(endpoint.address)
            choices.append(choice)
            if choice is not None and choice.egress is not None:
                hops.append(_new(Hop, (endpoint, choice.egress, choice.reason)))
        if not hops:
            self._refuse_way(endpoints[0], choices[0])
        self._hops = tuple(hops)
        return self._hops

    def _choose_way(self, address: Address) -> Choice | None:
        """The way to an address; None when no line and no default names one."""
        router = self._context.router
        assert router is not None
        question = self._asked
        decision = self._decision if self._permitted is None else self._permitted[address]
        rule = None if decision is None else decision.rule
        via, label = (None, "") if rule is None else (rule.options.via, rule.label)
        name = question.host if isinstance(question.host, str) else None
        return router.way(address, name, question.user, via, label)

    def lookup_ways(self) -> tuple[EgressWord, ...]:
        """The ways that the look-up of the name should leave by: those of the connection, as far as they are known yet.

        Lines for addresses do not count before there is one.
        """
        router, decision = self._context.router, self._decision
        if router is None:
            return ()
        rule = None if decision is None else decision.rule
        via, label = (None, "") if rule is None else (rule.options.via, rule.label)
        question = self._asked
        assert isinstance(question.host, str)
        route = router.route(_NOWHERE, question.host, question.user, via, label)
        return () if route is None else route.egress

    def _refuse_way(self, endpoint: Endpoint, choice: Choice | None) -> None:
        """Never by another way: the original's words for it (`spec/socks4.md` §4.3), and why."""
        lost = f"***Cannot find appropriate interface to communicate with {endpoint.address}"
        self._context.journal.denied(lost if choice is None else f"{lost}: {choice.reason}")
        reason = NO_ROUTE if choice is None else choice.reason
        code = Reply5.NOT_ALLOWED if choice is None else Reply5.NETWORK_UNREACHABLE
        self._end(Result.REFUSED, reason, f"refused -- {self._what()}", Reply(code))

    # Commands of sockd.conf

    def _run_special(self, special: SpecialCommand | None) -> None:
        if special is not None:
            self._run(special.label, special.command, str(self._host))

    def _run(self, origin: str, template: str, address: str) -> None:
        context = self._context
        values = Substitutions(
            client_name=self._source,
            client_address=self._source,
            command=self._command,
            process=context.process,
            service=str(context.service_names.get(self._port) or self._port),
            port=str(self._port),
            user=self._user.decode("latin-1"),
            destination_name=str(self._host),
            destination_address=address,
            ident=self._ident or "unknown",
        )
        try:
            command = expand(template, values)
        except CommandRefused as error:
            context.journal.failed(str(error))
        else:
            self._actions.run_command(Job(origin, values, command, context.ruling))

    # Ends before the relay

    def _refuse(self, decision: Decision) -> None:
        self._decision = decision
        rule = decision.rule
        # A refusal by the guard names a permit line; that line did not get its way, so its command is not run.
        if rule is not None and rule.command is not None and rule.action is Action.DENY:
            self._run(rule.label, rule.command, str(self._host))
        reply = Reply(Reply5.NOT_ALLOWED, challenge=self._password_might_help())
        self._end(Result.REFUSED, decision.reason, f"refused -- {self._what()}", reply)

    def _password_might_help(self) -> bool:
        request = self._request
        return (
            request is not None
            and request.protocol is Protocol.HTTP
            and self._context.passwords
            and self._method is Method.NONE
            and self._context.policy.could_permit(self._asked)
        )

    def _refuse_ident(self, code: Reply4, fact: str) -> None:
        self._context.journal.denied(f"refused -- {self._what()}")
        self._end(Result.REFUSED, fact, fact, Reply(Reply5.NOT_ALLOWED, reply4=code))

    def _fail(self, code: Reply5, error: str) -> None:
        self._end(Result.FAILED, error, f"failed -- {self._what()}.  Error code: {error}", Reply(code))

    def _end(self, result: Result, end: str, line: str, reply: Reply | None) -> None:
        actions = self._actions
        journal = self._context.journal
        if reply is not None:
            actions.send(self._answer(reply))
        self._enter(_ENDED)
        self._count(result)
        # Who has not even made a request is not served for what it did, or did not in time.
        is_denied = result in _DENIALS or self._request is None
        write = journal.denied if is_denied else journal.failed
        write(line, self._record(result, end, 0, 0))
        self._forget()
        actions.close()

    def _count(self, result: Result) -> None:
        """A session that ended before its relay; only one that was decided about has used a line."""
        self._context.tally.ends[result.value] += 1
        if self._decision is not None:
            self.use.refusals += 1

    @property
    def use(self) -> Use:
        """What is counted of the line that decided."""
        return self._context.uses.of(self._decision)

    # Words

    def _rule(self) -> AccessRule | None:
        return None if self._decision is None else self._decision.rule

    def _what(self) -> str:
        """The ``M`` of `spec/socks4.md` §9.1."""
        user = escape(self._user) if self._user else ""
        service = self._context.service_names.get(self._port) or self._port
        if self._command == "bind":
            return f"Bind from {user}({self._ident or 'unknown'})@{self._source} for {self._host}"
        return f"Connect from {user}({self._ident or 'unknown'})@{self._source} to {self._host} ({service})"

    def _spoken(self) -> str | None:
        """The protocol of a client that has made no request yet."""
        if self._negotiation is None:
            return Protocol.SOCKS5.value if self._greeted else None
        protocol = self._negotiation.protocol
        return None if protocol is None else protocol.value

    def _record(self, result: Result, end: str, sent: int, received: int) -> Record:
        context = self._context
        decision = self._decision
        rule, would_deny, reason = None, None, ""
        if decision is not None:
            _, rule, reason, would_deny = decision
        way_out = self.way_out
        asked = self._host is not None
        return Record(
            context.timestamp(),
            f"{context.prefix}-{self._number:x}",
            self._client,
            self._protocol or self._spoken(),
            self._command if asked else None,
            escape(self._user) if self._user else "",
            "none" if self._method is _NONE else _METHOD_WORDS[self._method],
            self._host,
            self._address,
            self._port if asked else None,
            self._egress,
            None if way_out is None else way_out.uplink,
            self._way,
            None if rule is None else rule.label,
            None if would_deny is None else would_deny.label,
            reason,
            result,
            sent,
            received,
            int((context.clock() - self.started) * 1e6) / 1e6,
            end,
        )
