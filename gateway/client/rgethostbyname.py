"""The blocking calls, in the manner of gethostbyname(3), with two name servers: Rgethostbyname and Rgethostbyaddr.

Usable by any program on an inside host; nothing of the daemon needs to run. /etc/hosts and the other services of
nsswitch.conf(5) are not asked: these calls are about name servers.
"""

import os
import secrets
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.address import Address
from gateway.client.environment import NameServers
from gateway.client.exchange import Heard, Step, Wait
from gateway.client.lookup import Means, Patience, Plan, by_address, by_name
from gateway.client.results import HostEntry

RESOLV_CONF = Path("/etc/resolv.conf")

DEFAULT_PATIENCE = Patience()

_MEANS = Means(time.monotonic, secrets.randbits)


def Rgethostbyname(name: str, servers: NameServers | None = None, patience: Patience = DEFAULT_PATIENCE) -> HostEntry:
    """Look up a host by its name, IPv4 and IPv6, and wait for the answer.

    Names of the inside are asked of the inside name servers only; all others of the outside ones first, then of the
    inside ones. Without ``servers`` they come from the environment and resolv.conf(5), as they are now.

    Raises HostNotFound, TryAgain; gateway.errors.BadName for what is no host name; BadServers.
    """
    return _run(by_name(name, servers or environment(), patience, _MEANS))


def Rgethostbyaddr(
    address: Address | str, servers: NameServers | None = None, patience: Patience = DEFAULT_PATIENCE
) -> HostEntry:
    """Look up the names of a host by its address, by the same rules, and wait for the answer.

    Raises HostNotFound, TryAgain; gateway.errors.BadName for what is no address; BadServers.
    """
    return _run(by_address(address, servers or environment(), patience, _MEANS))


def environment() -> NameServers:
    """The name servers of this process: by SOCKS_NS, SOCKS_DNAME and /etc/resolv.conf, which may be missing.

    Raises BadServers.
    """
    try:
        text = RESOLV_CONF.read_text("utf-8", "replace")
    except OSError:
        text = ""
    return NameServers.from_environment(os.environ, text)


def _run(plan: Plan) -> HostEntry:
    heard: Sequence[Heard] | None = None
    while True:
        try:
            steps = next(plan) if heard is None else plan.send(heard)
        except StopIteration as end:
            entry: HostEntry = end.value
            return entry
        heard = _side_by_side(steps, _MEANS.clock)


def _side_by_side(steps: Sequence[Step[Heard]], clock: Callable[[], float]) -> list[Heard]:
    """What becomes of all exchanges, in their order; none is left open, whatever happens."""
    waits: dict[int, Wait] = {}
    ends: dict[int, Heard] = {}

    def go(number: int, came: bool | None) -> None:
        waits.pop(number, None)
        try:
            waits[number] = steps[number].send(came)
        except StopIteration as end:
            ends[number] = end.value

    try:
        for number in range(len(steps)):
            go(number, None)
        while waits:
            for number, came in _turn(waits, clock):
                go(number, came)
    finally:
        for step in steps:
            step.close()
    return [ends[number] for number in range(len(steps))]


def _turn(waits: dict[int, Wait], clock: Callable[[], float]) -> list[tuple[int, bool]]:
    """Wait until something has come, or the time of something is over."""
    poll = select.poll()
    numbers = {wait.socket.fileno(): number for number, wait in waits.items()}
    for wait in waits.values():
        poll.register(wait.socket, select.POLLOUT if wait.writing else select.POLLIN)
    first = min(wait.until for wait in waits.values())
    # Rounded up: a wait that ends early would only be repeated.
    ready = {numbers[fd] for fd, _ in poll.poll(max(0, int((first - clock()) * 1000) + 1))}
    now = clock()
    return [(number, number in ready) for number, wait in waits.items() if number in ready or wait.until <= now]
