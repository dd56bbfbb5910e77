"""Whether one uplink can be used: facts from the kernel and results of probes in, its standing and log lines out.

A loss counts at once, a return only after it has lasted: answered rounds of probes, if there are any, and then the
failback delay without a break. Everything that changes the standing of an uplink is in this file. It does not know who
probes, how, and what uses the uplink; the clock comes in by argument, as monotonic seconds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gateway.address import Address
from gateway.policy.egress import Standing, Uplink
from gateway.uplink.facts import Facts


class Thresholds(NamedTuple):
    """When a change counts."""

    #: failed rounds of probes in a row that make an uplink DOWN, at least 1
    fall: int
    #: answered rounds in a row that end that, at least 1
    rise: int
    #: seconds that an uplink must have worked before it is preferred again; 0: at once
    failback: float


class _Need(NamedTuple):
    """What an uplink can not do without."""

    met: Callable[[Facts], bool]
    #: what to call it when it is missing, and when it has come back
    fault: str
    cure: str


_NEEDS = (
    _Need(lambda facts: facts.exists, "no such interface", "the interface is there"),
    _Need(lambda facts: facts.running, "link is down", "link is up"),
    _Need(lambda facts: bool(facts.sources), "no address", "it has an address"),
)
"""The first one that is not met is the cause, as the later ones follow from it."""

_ROUTED = _Need(lambda facts: bool(facts.defaults), "no default route", "it has a default route")
"""Of an uplink that has ever had one: where there is none from the first, it may be meant so."""

_WORKING = "link is up"
_UNKNOWN = "nothing is known of it yet"
_ANSWERED = "its probes are answered"

_MOST_NAMED = 4
"""Addresses, or changes of them, that one line names."""


class Health:
    """One uplink: facts from the kernel and results of probes in, its standing out.

    DOWN before the first facts. The methods that take ``now`` return the log lines of what has changed, mostly none.
    """

    def __init__(self, name: str, device: str, thresholds: Thresholds, probed: bool, *, doubtful: bool = False) -> None:
        """``name`` and ``device`` as `Uplink` has them; ``probed``: it has targets that are probed.

        ``doubtful``: it is known not to have been UP before, so that it has to show that it works first.
        """
        self._name = name
        self._device = device
        self._label = f"uplink {name}" if name == device else f"uplink {name} ({device})"
        self._thresholds = thresholds
        self._has_probes = probed
        self._doubtful = doubtful
        self._needs: tuple[_Need, ...] = _NEEDS
        self._facts = Facts(device)
        #: the addresses that the log has named
        self._announced: tuple[Address, ...] = ()
        self._standing = Standing.DOWN
        self._cause = _UNKNOWN
        self._due: float | None = None
        self._generation = 0
        #: rounds in a row
        self._failed = 0
        self._answered = 0
        #: DOWN because of its probes
        self._silent = False

    @property
    def uplink(self) -> Uplink:
        """The uplink now."""
        facts = self._facts
        return Uplink(self._name, self._device, self._standing, self._cause, facts.sources, facts.index)

    @property
    def due(self) -> float | None:
        """When `tick` has something to do, by the clock of ``now``; None: not by the passing of time."""
        return self._due

    @property
    def generation(self) -> int:
        """What `probed` wants of a round that starts now."""
        return self._generation

    def observe(self, facts: Facts, now: float) -> tuple[str, ...]:
        """What the kernel says now. The first time an uplink that is usable is UP without delay and without probes."""
        before = self._missing(self._facts)
        if facts.defaults:
            self._needs = (*_NEEDS, _ROUTED)
        after = self._missing(facts)
        first = self._cause is _UNKNOWN
        anew = bool(self._facts.index) and self._facts.index != facts.index
        if before is not after or anew or not set(self._facts.sources) <= set(facts.sources):
            self._generation += 1
        self._facts = facts
        if after is not None:
            return self._lose(after.fault)
        if first:
            return self._begin(now)
        back = self._return(before.cure, now) if before is not None else ()
        made = (f"{self._label}: another interface has the name now",) if anew and before is None else ()
        return (*made, *back, *self._readdress())

    def probed(self, generation: int, answered: bool, detail: str, now: float) -> tuple[str, ...]:
        """The end of one round of probes; ``answered``: by any target; ``detail``: else who did not, and why.

        ``generation`` is what the property was when the round started. A round from before the link or an address
        went away says nothing about now, and is ignored.
        """
        if generation != self._generation or not self._has_probes or self._missing(self._facts) is not None:
            return ()
        return self._answer(now) if answered else self._silence(detail)

    def tick(self, now: float) -> tuple[str, ...]:
        """Time has passed: the failback delay may be over."""
        if self._due is None or now < self._due:
            return ()
        self._stand(Standing.UP, f"held for {self._thresholds.failback:g} s")
        return (f"{self._label} is preferred again: {self._cause}",)

    # What the kernel says

    def _missing(self, facts: Facts) -> _Need | None:
        return next((need for need in self._needs if not need.met(facts)), None)

    def _begin(self, now: float) -> tuple[str, ...]:
        self._announced = self._facts.sources
        if self._doubtful:
            return self._return(_WORKING, now)
        self._stand(Standing.UP, _WORKING)
        return (f"{self._label} is up: {_listed(self._announced, ', ')}",)

    def _lose(self, fault: str) -> tuple[str, ...]:
        """The kernel says that it can not be used: what the probes said before is void."""
        self._failed = self._answered = 0
        self._silent = False
        return self._fall(fault)

    def _return(self, cure: str, now: float) -> tuple[str, ...]:
        """The kernel says that it can be used again; with probes that has to be seen first."""
        if not self._has_probes:
            return self._recover(cure, now)
        rise = self._thresholds.rise
        return self._fall("waiting for " + ("an answer" if rise == 1 else f"{rise} answers") + " of its probes")

    def _readdress(self) -> tuple[str, ...]:
        """The addresses against those that the log has named."""
        changes = [
            change
            for version in (4, 6)
            for change in _changes(_family(self._announced, version), _family(self._facts.sources, version))
        ]
        self._announced = self._facts.sources
        return (f"{self._label}: {_listed(changes, '; ')}",) if changes else ()

    # What the probes say

    def _answer(self, now: float) -> tuple[str, ...]:
        self._failed = 0
        self._answered += 1
        if self._standing is not Standing.DOWN or self._answered < self._thresholds.rise:
            return ()
        self._silent = False
        return self._recover(_ANSWERED, now)

    def _silence(self, detail: str) -> tuple[str, ...]:
        self._answered = 0
        self._failed += 1
        fall = self._thresholds.fall
        if self._failed < fall or self._silent:
            return ()
        self._silent = True
        rounds = "" if fall == 1 else f", {fall} rounds in a row"
        return self._fall(f"no answer to its probes{rounds}: {detail}")

    # The standing

    def _fall(self, cause: str) -> tuple[str, ...]:
        if self._standing is Standing.DOWN and self._cause == cause:
            return ()
        still = "still " if self._standing is Standing.DOWN and self._cause is not _UNKNOWN else ""
        self._stand(Standing.DOWN, cause)
        return (f"{self._label} is {still}down: {cause}",)

    def _recover(self, cause: str, now: float) -> tuple[str, ...]:
        failback = self._thresholds.failback
        if failback <= 0:
            self._stand(Standing.UP, cause)
            return (f"{self._label} is up again: {cause}",)
        self._stand(Standing.SETTLING, cause, now + failback)
        return (f"{self._label} works again: {cause}; preferred again in {failback:g} s",)

    def _stand(self, standing: Standing, cause: str, due: float | None = None) -> None:
        self._standing, self._cause, self._due = standing, cause, due


def _family(addresses: Sequence[Address], version: int) -> tuple[Address, ...]:
    return tuple(address for address in addresses if address.version == version)


def _changes(before: Sequence[Address], after: Sequence[Address]) -> Iterator[str]:
    """What has become of the addresses of one family, the preferred one first."""
    lost = [address for address in before if address not in after]
    gained = [address for address in after if address not in before]
    replaced = list(zip(lost, gained, strict=False))
    yield from (f"address {old} is replaced by {new}" for old, new in replaced)
    yield from (f"address {old} is lost" for old in lost[len(replaced) :])
    yield from (f"address {new} is gained" for new in gained[len(replaced) :])
    if before and after and before[0] != after[0] and (before[0], after[0]) not in replaced:
        yield f"address {after[0]} is used from now on"


def _listed(items: Sequence[object], separator: str) -> str:
    named = separator.join(map(str, items[:_MOST_NAMED]))
    rest = len(items) - _MOST_NAMED
    return named if rest <= 0 else f"{named} and {rest} more"
