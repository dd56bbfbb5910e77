"""The unprivileged processes as the supervisor sees them: what they say is checked, what they are told is noted.

Whoever breaks the rules of the channel is ended, and another one is started in his place. What a process is told never
waits for it: who does not take a message is behind, or has not been reached, and both are known.
"""

import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from gateway.daemon import messages
from gateway.daemon.children import Child, Children
from gateway.daemon.gathering import Gathering, Gatherings
from gateway.daemon.messages import MAY_SAY, Message, close_all, receive, send
from gateway.system.journal import Journal

MAX_OWED = 8
"""Questions that a process may leave unanswered before it is asked no more: they would fill its channel."""

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})

Attend = Callable[[socket.socket, Callable[[], None]], None]


class Listener(Protocol):
    """Who hears of what children say, and of their births and deaths."""

    def said(self, child: Child, message: Any) -> None:
        """Something that it may say, and that is no answer. Raises ValueError for what can not be."""

    def born(self, child: Child) -> None:
        """It was started, and has its channel."""

    def died(self, child: Child) -> None:
        """It is no more."""


class Crew:
    """Watcher, helper, resolvers and workers."""

    def __init__(
        self, children: Children, journal: Journal, attend: Attend, leave: Callable[[socket.socket], None], to: Listener
    ) -> None:
        """``attend`` has a function called when a socket can be read, until ``leave``."""
        self.children = children
        self.gatherings = Gatherings()
        #: the names of those that have said so
        self.ready: set[str] = set()
        self._journal = journal
        self._attend = attend
        self._leave = leave
        self._to = to
        self._owed: Counter[str] = Counter()
        self._by_name = {child.name: child for child in children.all}

    def start(self, child: Child) -> None:
        """Raises OSError."""
        self.children.start(child)
        self._attach(child)

    def restart(self) -> None:
        """Start those anew that it is time for."""
        for child in self.children.restart():
            self._attach(child)

    def _attach(self, child: Child) -> None:
        assert child.channel is not None
        self._attend(child.channel, partial(self._hear, child))
        self._to.born(child)

    def bury(self, ending: Callable[[], bool] = lambda: False) -> bool:
        """See who has died; whether anybody has."""
        dead = self.children.bury(ending)
        for child in dead:
            self._forget(child)
        return bool(dead)

    def _forget(self, child: Child) -> None:
        if child.channel is not None:
            self._leave(child.channel)
            child.channel.close()
            child.channel = None
        self.ready.discard(child.name)
        self._owed.pop(child.name, None)
        self.gatherings.gone(child.name)
        self._to.died(child)

    def replace(self, child: Child) -> None:
        """Have another one in its place, which is no trouble; what it still says is not heard."""
        if child.channel is not None:
            self._leave(child.channel)
        self.children.replace(child)

    def dismiss(self, child: Child, why: str) -> None:
        """Whoever does not keep to the rules is replaced, and that is said."""
        self._journal.trouble(f"{child.name} {why}, and is ended")
        if child.channel is not None:
            self._leave(child.channel)
        self.children.kill(child)

    def dismiss_named(self, name: str, why: str) -> None:
        """See `dismiss`."""
        self.dismiss(self._by_name[name], why)

    # What they say

    def _hear(self, child: Child) -> None:
        channel = child.channel
        assert channel is not None
        try:
            received = receive(channel)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.EPROTO:
                self.dismiss(child, "says what is no message")
            received = None
        if received is None:
            # It has gone, or is about to, and SIGCHLD follows; or it lets nobody reach it any more.
            self._leave(channel)
            self.children.kill(child)
            return
        close_all(received.descriptors)  # no child passes any
        if not isinstance(received.message, MAY_SAY[child.kind]):
            self.dismiss(child, "says what it may not say")
            return
        try:
            self._take(child, received.message)
        except Exception as error:  # whatever a child says, the others are not ended by it
            self.dismiss(child, f"says what can not be ({type(error).__name__}: {error})")

    def _take(self, child: Child, message: Any) -> None:
        match message:
            case messages.Ready():
                self.ready.add(child.name)
                child.confinement = message.confinement
            case messages.Found() | messages.Dumped():
                self._gather(child, message, is_last=message.matched is not None)
            case messages.Loaded() | messages.Swapped() | messages.Killed() | messages.Answered() | messages.Flushed():
                self._gather(child, message, is_last=True)
            case _:
                self._to.said(child, message)

    def _gather(self, child: Child, message: Any, *, is_last: bool) -> None:
        self._owed[child.name] -= is_last
        if not self.gatherings.add(message.number, child.name, message, is_last=is_last):
            self.dismiss(child, "answers what it was not asked")

    # What they are told

    def tell(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Whether it has got it."""
        return not self._fault(child, message, descriptors)

    def insist(self, child: Child, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell it; who does not take it is replaced by one that knows it from its birth.

        Not who has just died: that is still to be said when it is buried, and another one comes anyway.
        """
        fault = self._fault(child, message, descriptors)
        if fault and fault not in _GONE:
            self.replace(child)

    def _fault(self, child: Child, message: Message, descriptors: Sequence[int]) -> int:
        """The number of what is in the way (errno(3)), 0 for nothing."""
        if child.channel is None:
            return errno.EPIPE
        try:
            send(child.channel, message, descriptors)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def ask(
        self,
        children: Iterable[Child],
        question: Callable[[int], Message],
        seconds: float,
        over: Callable[[Gathering], None] = lambda _: None,
        descriptors: Sequence[int] = (),
    ) -> Gathering:
        """Put a question, made with its number, to those of them that are ready."""
        asked = [child for child in children if child.name in self.ready]
        kind = messages.ANSWERS[type(question(0))]
        number, gathering = self.gatherings.begin((child.name for child in asked), seconds, over, kind)
        for child in asked:
            self._put(child, question(number), descriptors, gathering)
        gathering.settle()
        return gathering

    def _put(self, child: Child, message: Message, descriptors: Sequence[int], gathering: Gathering) -> None:
        if self._owed[child.name] >= MAX_OWED:
            gathering.unreachable(child.name, "owes other answers")
            return
        fault = self._fault(child, message, descriptors)
        if not fault:
            self._owed[child.name] += 1
        elif fault in _GONE:
            gathering.gone(child.name)
        else:
            gathering.unreachable(child.name, f"can not be reached ({errno.errorcode.get(fault, fault)})")
