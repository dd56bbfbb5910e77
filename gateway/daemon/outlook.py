"""What a command that looks at the daemon from outside works with: the daemon's own configuration, or the files'.

The daemon tells its files as it has them, and the host's networks as its workers know them; from these its rules are
compiled once more, by the same code. Without a daemon the files and the kernel's interfaces must do.
"""

import os
from collections.abc import Callable

import msgspec

from gateway.config.settings import examine_settings
from gateway.config.source import read_text
from gateway.control.protocol import Configured, ControlError
from gateway.daemon.configuration import Configuration, reproduce
from gateway.daemon.host import Signature, Texts, signature
from gateway.daemon.messages import Network
from gateway.daemon.network import uplinks_of, written_words
from gateway.errors import ConfigError
from gateway.netlink.facts import facts_of
from gateway.policy.destination import Guard
from gateway.policy.egress import Uplink
from gateway.uplink.facts import Facts
from gateway.uplink.health import Health, Thresholds


def running(configured: Configured, report: Callable[[str], None]) -> Configuration:
    """What the daemon has: its rules guard what it guards now, its router knows the uplinks as it does.

    ``report`` as of `gateway.daemon.configuration.load`. Raises ControlError for an answer that is not understood, and
    ConfigError when this version refuses what the daemon has accepted.
    """
    network = network_of_daemon(configured)
    configuration = reproduce(_texts(configured), report)
    configuration.policy.set_guard(Guard(frozenset(network.own), network.inside))
    if configuration.router is not None:
        configuration.router.update(network.uplinks)
    return configuration


def network_of_daemon(configured: Configured) -> Network:
    """The host's networks as the daemon knows them. Raises ControlError when the answer is not understood."""
    try:
        return msgspec.convert(configured.network, Network)
    except msgspec.ValidationError as error:
        raise ControlError(f"the host's networks are not understood: {error}") from None


def _texts(configured: Configured) -> Texts:
    """The daemon's answer as `reproduce` takes it: without passwords."""
    files = dict(configured.files)
    if configured.path not in files:
        raise ControlError(f"the answer is not understood: it lacks the text of {configured.path}")
    settings, problems = examine_settings(files[configured.path], configured.path)
    if settings is None:
        raise ConfigError(problems)
    lacking = [path for path in (settings.files.access, settings.files.routes) if path and path not in files]
    if lacking:
        raise ControlError(f"the answer is not understood: it lacks the text of {lacking[0]}")
    if settings.files.passwords:
        files[settings.files.passwords] = ""
    signatures = {path: _signature(path) for path in files}
    return Texts(configured.path, files, (settings.files.passwords,), configured.groups, signatures)


def _signature(path: str) -> Signature:
    try:
        return signature(path)
    except OSError:
        return (0,)  # whoever asks may see less than the daemon: the text that it has must do


def changed_files(configured: Configured) -> tuple[str, ...]:
    """Which of the daemon's files are other ones now, or gone; one that can not be read is not told of."""
    return tuple(path for path, text in configured.files.items() if _is_changed(path, text))


def _is_changed(path: str, text: str) -> bool:
    try:
        os.stat(path)
        return read_text(path) != text
    except FileNotFoundError:
        return True
    except (OSError, ConfigError):
        return False


def by_kernel(configuration: Configuration) -> tuple[Uplink, ...]:
    """The uplinks as the kernel's interfaces were when the files were read; no probe has said anything about them."""
    settings, kernel = configuration.settings, configuration.kernel
    words = written_words(settings, configuration.routes, configuration.access)
    uplinks = uplinks_of(settings, words, kernel)
    return tuple(_seen(name, facts_of(kernel, taken.interface, ())) for name, taken in uplinks.items())


def _seen(name: str, facts: Facts) -> Uplink:
    """What these facts alone make of an uplink."""
    health = Health(name, facts.device, Thresholds(1, 1, 0.0), probed=False)
    health.observe(facts, 0.0)
    return health.uplink
