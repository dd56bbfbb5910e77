"""What is known of the uplinks at this moment, for a command that looks at the daemon from outside."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.daemon.configuration import Configuration
from gateway.daemon.network import uplinks_of, written_words
from gateway.daemon.status import Status, read_status
from gateway.netlink.facts import facts_of
from gateway.policy.egress import Uplink
from gateway.uplink.health import Health, Thresholds


class Outlook(NamedTuple):
    """The uplinks, and what the running daemon wrote about them; None when none runs that can be read."""

    uplinks: tuple[Uplink, ...]
    status: Status | None


def outlook(configuration: Configuration) -> Outlook:
    """As the running daemon knows them, probes included; else as the kernel's interfaces are."""
    status = read_status(configuration.settings.sockd.status)
    if status is not None and status.network.uplinks:
        return Outlook(status.network.uplinks, status)
    return Outlook(tuple(_by_kernel(configuration)), None)


def _by_kernel(configuration: Configuration) -> Sequence[Uplink]:
    settings, kernel = configuration.settings, configuration.kernel
    words = written_words(settings, configuration.routes, configuration.access)
    found = []
    for name, taken in uplinks_of(settings, words, kernel).items():
        health = Health(name, taken.interface, Thresholds(1, 1, 0.0), probed=False)
        health.observe(facts_of(kernel, taken.interface, taken.gateways), 0.0)
        found.append(health.uplink)
    return found
