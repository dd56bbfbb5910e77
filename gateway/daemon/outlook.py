"""What is known of the uplinks at this moment, for a command that looks at the daemon from outside."""

from typing import NamedTuple

from gateway.daemon.configuration import Configuration
from gateway.daemon.network import uplinks_of, written_words
from gateway.daemon.status import Status, read_status
from gateway.netlink.facts import facts_of
from gateway.policy.egress import Uplink
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds


class Outlook(NamedTuple):
    """The uplinks, and what the running daemon wrote about them; None when none runs that can be read."""

    uplinks: tuple[Uplink, ...]
    status: Status | None


def outlook(configuration: Configuration) -> Outlook:
    """As the running daemon knows them, probes included; else as the kernel's interfaces are."""
    status = read_status(configuration.settings.sockd.status)
    # One that knows of none was started with other files, or with interfaces that were not there: the kernel tells.
    if status is not None and status.network.uplinks:
        return Outlook(status.network.uplinks, status)
    return Outlook(_by_kernel(configuration), None)


def _by_kernel(configuration: Configuration) -> tuple[Uplink, ...]:
    settings, kernel = configuration.settings, configuration.kernel
    words = written_words(settings, configuration.routes, configuration.access)
    uplinks = uplinks_of(settings, words, kernel)
    return tuple(_seen(name, facts_of(kernel, taken.interface, ())) for name, taken in uplinks.items())


def _seen(name: str, facts: Facts) -> Uplink:
    """What these facts alone make of an uplink."""
    health = Health(name, facts.device, Thresholds(1, 1, 0.0), probed=False)
    health.observe(facts, 0.0)
    return health.uplink
