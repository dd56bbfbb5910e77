"""Which way out a connection takes: the line that names the ways, and the first of them that can be used now.

The lines are fixed; what is known of the uplinks is told from outside (`Router.update`) and taken as it is: nothing
here asks the kernel or measures anything. When no way that is named can be used there is none, never another one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from gateway.address import Address, Name
from gateway.config.rules import EgressWord
from gateway.policy.egress import Choice, Egress, Route, Standing, Uplink
from gateway.policy.routetable import RouteTable

EXTERNAL = "[external]"
"""The origin of the ways out that gateway.toml names, for what no line is for."""

REMEMBERED = 2_048
"""How many answers of `Router.way` are kept: a client goes to the same few destinations again and again."""


class Candidate(NamedTuple):
    """One of the ways that a `Route` names, at this moment."""

    word: EgressWord
    #: the uplink that the word means; None when there is none
    uplink: Uplink | None
    #: how a connection would leave by it; None when it can not
    egress: Egress | None
    #: why it is not the one to take, in words such as "wan1 is down: link is down"; empty when nothing is against it
    why: str

    @property
    def usable(self) -> bool:
        """Whether a connection could leave by it."""
        return self.egress is not None


class Router:
    """The ways out of this host. The lines are fixed; what is known of the uplinks is replaced as it changes."""

    __slots__ = ("_choices", "_default", "_holders", "_known", "_names", "table", "uplinks")

    def __init__(self, table: RouteTable | None, default: tuple[EgressWord, ...]) -> None:
        """``default`` is ``[external] interface``; empty: what no line is for is refused.

        Until the first `update` there are no uplinks, and nothing can be used.
        """
        self.table = table
        self._default = Route(default, EXTERNAL) if default else None
        self._known = lru_cache(maxsize=REMEMBERED)(self._way)
        self.update(())

    def update(self, uplinks: Sequence[Uplink]) -> None:
        """Take over what is known of the uplinks now, and forget what was worked out from the old ones."""
        self.uplinks = tuple(uplinks)
        backwards = self.uplinks[::-1]
        # The first one counts where several claim the same, and an uplink's own name before any device's.
        self._names = {uplink.device: uplink for uplink in backwards} | {uplink.name: uplink for uplink in backwards}
        self._holders = {source: uplink for uplink in backwards for source in uplink.sources}
        self._choices: dict[tuple[tuple[EgressWord, ...], str, int], Choice] = {}
        self._known.cache_clear()

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route but those of ``via=``: the lines in their order, and the default where there is one."""
        rules = () if self.table is None else self.table.file.rules
        default = () if self._default is None else (self._default,)
        return (*(Route(rule.egress, rule.label, rule) for rule in rules), *default)

    def route(
        self, address: Address, name: Name | None, user: str, via: tuple[EgressWord, ...] | None, rule_label: str = ""
    ) -> Route | None:
        """What names the ways out to an address: ``via=``, else the first line that is for it, else the default.

        ``name`` is the name that the request was made by, ``via`` and ``rule_label`` are those of the rule that
        permitted it. None: nothing does.
        """
        if via:
            return Route(via, f"via= of {rule_label}")
        rule = None if self.table is None else self.table.find(address, name, user)
        return self._default if rule is None else Route(rule.egress, rule.label, rule)

    def way(
        self, address: Address, name: Name | None, user: str, via: tuple[EgressWord, ...] | None, rule_label: str = ""
    ) -> Choice | None:
        """What `choose` says of the `route` to an address; None: there is no route. The last answers are kept."""
        # Lines for the users of a file find others as soon as the file says so.
        find = self._known if self.table is None or self.table.fixed else self._way
        return find(address, name, user, via, rule_label)

    def _way(
        self, address: Address, name: Name | None, user: str, via: tuple[EgressWord, ...] | None, rule_label: str
    ) -> Choice | None:
        route = self.route(address, name, user, via, rule_label)
        return None if route is None else self.choose(route, address.version)

    def choose(self, route: Route, version: int) -> Choice:
        """The first way of a route that is up and has a source of this version (4 or 6), else the first settling one.

        Worked out once until the next `update`.
        """
        key = (route.egress, route.origin, version)
        choice = self._choices.get(key)
        if choice is None:
            choice = self._choices[key] = _choose(self.candidates(route, version), route.origin)
        return choice

    def candidates(self, route: Route, version: int) -> tuple[Candidate, ...]:
        """Every way of a route in its order, for a destination of this version."""
        return tuple(self._candidate(word, version) for word in route.egress)

    def uplink_of(self, word: EgressWord) -> Uplink | None:
        """What a word means: the uplink of that name, else the one with that interface; or that has the address."""
        return self._holders.get(word) if isinstance(word, Address) else self._names.get(word)

    def _candidate(self, word: EgressWord, version: int) -> Candidate:
        uplink = self.uplink_of(word)
        if uplink is None:
            return Candidate(word, None, None, _nothing(word))
        if uplink.standing is Standing.DOWN:
            return Candidate(word, uplink, None, _standing(uplink))
        source = _source(word, uplink, version)
        if source is None:
            return Candidate(word, uplink, None, _without_source(word, uplink, version))
        why = "" if uplink.standing is Standing.UP else _standing(uplink)
        return Candidate(word, uplink, Egress(uplink.name, uplink.device, source, uplink.index), why)


def _choose(candidates: Sequence[Candidate], origin: str) -> Choice:
    usable = [candidate for candidate in candidates if candidate.egress is not None]
    best = next((candidate for candidate in usable if not candidate.why), usable[0] if usable else None)
    if best is None or best.egress is None:
        return Choice(None, f"no usable way out by {origin}: {_reasons(candidates)}")
    passed_over = candidates[: candidates.index(best)]
    because = f", because {_reasons(passed_over)}" if passed_over else ""
    return Choice(best.egress, f"{best.egress.uplink} by {origin}{because}")


def _reasons(candidates: Sequence[Candidate]) -> str:
    return "; ".join(candidate.why for candidate in candidates)


def _source(word: EgressWord, uplink: Uplink, version: int) -> Address | None:
    """An address that is written is itself the source, and no other one of its uplink."""
    sources = (word,) if isinstance(word, Address) else uplink.sources
    return next((source for source in sources if source.version == version), None)


def _standing(uplink: Uplink) -> str:
    return f"{uplink.name} is {uplink.standing.value}: {uplink.cause}"


def _without_source(word: EgressWord, uplink: Uplink, version: int) -> str:
    if isinstance(word, Address):
        return f"{word} is no IPv{version} address"
    return f"{uplink.name} has no IPv{version} address"


def _nothing(word: EgressWord) -> str:
    return f"no interface has the address {word}" if isinstance(word, Address) else f"there is no interface {word}"
