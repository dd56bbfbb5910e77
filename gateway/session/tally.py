"""What a worker counts of its sessions: plain numbers, so that counting costs the data path next to nothing.

Whoever wants to know reads them from outside, a few times a second; nothing here knows of shared memory or clocks.
"""

from typing import TYPE_CHECKING

from gateway.policy.decision import Decision
from gateway.session.record import Result

if TYPE_CHECKING:
    from gateway.session.tcp import Session


class Use:
    """What one line of ``sockd.conf`` decided, of the sessions that have ended."""

    __slots__ = ("received", "refusals", "relays", "sent")

    def __init__(self) -> None:
        #: sessions that were connected, and those that were not
        self.relays = 0
        self.refusals = 0
        #: client to target
        self.sent = 0
        #: target to client
        self.received = 0


class Uses(dict[str, Use]):
    """The uses of the lines by their labels; ``""`` stands for requests that no line matched."""

    def of(self, decision: Decision | None) -> Use:
        """That of the line that decided, if one did."""
        rule = None if decision is None else decision.rule
        return self["" if rule is None else rule.label]

    def __missing__(self, label: str) -> Use:
        use = self[label] = Use()
        return use


class Tally:
    """Of all sessions of one worker."""

    __slots__ = ("ends", "latest")

    def __init__(self) -> None:
        #: sessions that ended before their relay began
        self.ends = dict.fromkeys((result.value for result in Result if result is not Result.CONNECTED), 0)
        #: whose relay began last
        self.latest: Session | None = None
