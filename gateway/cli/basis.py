"""What ``explain`` and ``routes`` judge by, and where that is from: the running daemon, or the files and the kernel."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway.cli.daemon import SETTINGS_PATH, control_socket, short_hash, socket_path, understood
from gateway.control.client import ControlClient
from gateway.control.protocol import Configured, ControlError, Loaded
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.outlook import by_kernel, changed_files, network_of_daemon, running
from gateway.errors import ConfigError
from gateway.policy.egress import Uplink

Report = Callable[[str], None]


class Basis(NamedTuple):
    """The rules, with the ways out as they stand; and the daemon's own words about it."""

    configuration: Configuration
    #: empty on a single-homed server
    uplinks: tuple[Uplink, ...]
    #: the daemon whose rules these are; None: they are the files'
    rules_of: Configured | None
    #: the daemon that knows the uplinks so; None: they are as the kernel's interfaces are
    uplinks_of: Configured | None
    #: why the daemon was not asked, where it should have been
    why: str = ""

    def words(self) -> Iterator[str]:
        """Where this is from, in one line, and in a second one which files are others by now."""
        if self.rules_of is None:
            yield f"the files as they are now{self._uplink_words()}" + (f"; {self.why}" if self.why else "")
            return
        daemon = self.rules_of
        loaded = f"configuration {short_hash(daemon.configuration)} by {daemon.path}, loaded {daemon.loaded}"
        yield f"as the running sockd has it: {loaded}"
        changed = changed_files(daemon)
        if changed:
            yield f"the files have changed since they were loaded; `sockctl reload` loads them: {', '.join(changed)}"

    def _uplink_words(self) -> str:
        if self.configuration.router is None:
            return ""
        return ", the uplinks as " + ("sockd knows them" if self.uplinks_of else "the kernel's interfaces are")

    def as_json(self) -> dict[str, Any]:
        """The same as an object."""
        daemon, multihomed = self.rules_of, self.configuration.router is not None
        return {
            "rules": "files" if daemon is None else "sockd",
            "uplinks": None if not multihomed else "kernel" if self.uplinks_of is None else "sockd",
            "configuration": None if daemon is None else daemon.configuration,
            "loaded": None if daemon is None else daemon.loaded,
            "changed": [] if daemon is None else list(changed_files(daemon)),
        }


def basis(arguments: argparse.Namespace, from_files: bool, report: Report) -> Basis:
    """By the options of `gateway.cli.daemon.add_socket`.

    ``from_files``: the rules are to be those of the files. Else they are the daemon's; if no daemon can be asked they
    are the files' too, unless its socket was named. Raises ConfigError for files that are refused, ControlError for a
    daemon that should answer and does not, and KernelRefused.
    """
    if from_files:
        return of_files(arguments.f, report)
    try:
        return of_daemon(socket_path(arguments), report)
    except ControlError as error:
        if arguments.socket:
            raise
        return of_files(arguments.f, report, str(error))


def of_daemon(path: str, report: Report) -> Basis:
    """By the daemon that answers at a socket. Raises ControlError and ConfigError."""
    configured = _ask(path)
    configuration = running(configured, report)
    return Basis(configuration, _uplinks(configuration), configured, configured)


def of_files(path: str | None, report: Report, why: str = "") -> Basis:
    """By the files as they are now; how the uplinks stand the daemon tells, if one runs by these settings.

    Raises ConfigError and KernelRefused.
    """
    configuration = load(path or SETTINGS_PATH, report)
    daemon = None
    if configuration.router is not None:
        daemon = None if why else _ask_if_any(path)
        configuration.router.update(by_kernel(configuration) if daemon is None else network_of_daemon(daemon).uplinks)
    return Basis(configuration, _uplinks(configuration), None, daemon, why)


def _uplinks(configuration: Configuration) -> tuple[Uplink, ...]:
    return () if configuration.router is None else configuration.router.uplinks


def _ask(path: str) -> Configured:
    with ControlClient.connect(path) as client:
        return understood(client.ask(Loaded())[1], Configured)


def _ask_if_any(path: str | None) -> Configured | None:
    """One that knows of no uplink is none: it has other files, or its interfaces were not there when it started."""
    try:
        found = _ask(control_socket(path))
        return found if network_of_daemon(found).uplinks else None
    except (ControlError, ConfigError):
        return None
