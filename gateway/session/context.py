"""What all sessions of a worker share: policy, tables, clocks, and the journal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.config.rules import IdentLevel, SpecialCommand
from gateway.policy.access import AccessPolicy
from gateway.policy.router import Router
from gateway.session.ports import Journal
from gateway.session.tally import Tally, Uses


@dataclass(frozen=True, slots=True)
class Context:
    """Immutable; a session keeps the one that it began with."""

    policy: AccessPolicy
    #: the first name of each port, as `Services.names`
    service_names: Mapping[int, str]
    journal: Journal
    #: monotonic seconds
    clock: Callable[[], float]
    #: now, as RFC 3339 in UTC
    timestamp: Callable[[], str]
    #: the minute of the local week, 0 is Monday 00:00
    minute: Callable[[], int]
    #: a number that no other session of this worker has
    new_number: Callable[[], int]
    #: what makes a session's number unique on this host
    prefix: str
    #: ``%p`` of the commands: the process id
    process: str
    #: the level where a line has no ``?=``
    ident: IdentLevel = IdentLevel.OFF
    #: whether there is a passwords file, so that method 02 can be chosen
    passwords: bool = False
    no_identd: SpecialCommand | None = None
    bad_id: SpecialCommand | None = None
    #: the number of the configuration that all of this is from
    ruling: int = 0
    #: None on a single-homed server: the kernel's routes decide
    router: Router | None = None
    #: what is counted of all sessions of the worker, and of each line of this policy
    tally: Tally = field(default_factory=Tally)
    uses: Uses = field(default_factory=Uses)
