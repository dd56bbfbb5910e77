"""What the daemon opens before it gives up its privileges, and while whoever started it still looks on."""

import grp
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from gateway.address import Endpoint
from gateway.config.settings import ControlSettings, LogSettings, MetricsSettings
from gateway.control.server import Gate, allowed_peers
from gateway.control.server import listen as listen_for_operators
from gateway.daemon.configuration import Configuration
from gateway.daemon.doors import Doors
from gateway.daemon.network import network_of
from gateway.errors import StartError
from gateway.net.sockets import listening
from gateway.system.sinks import FileSink, Sink, open_sink

CONTROL_MODE = 0o660
METRICS_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Opening:
    """All of it."""

    doors: Doors
    control: socket.socket | None
    gate: Gate | None
    metrics: tuple[socket.socket, ...]
    classic: Sink | None
    records: Sink | None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What must stay open when the terminal is left."""
        doors = [self.control, *self.metrics, *self.doors.sockets]
        logs = [sink.fd for sink in (self.classic, self.records) if isinstance(sink, FileSink)]
        return (*(door.fileno() for door in doors if door is not None), *logs)

    def close(self) -> None:
        """The daemon does not start."""
        self.doors.close()
        for sock in (self.control, *self.metrics):
            if sock is not None:
                sock.close()


def open_all(
    configuration: Configuration,
    workers: int,
    resolvers: int,
    given: Sequence[socket.socket],
    report: Callable[[str], None],
) -> Opening:
    """For so many workers and resolvers.

    ``given`` are listening sockets of the service manager, which count in place of ``[internal]`` if there are any.

    Raises StartError.
    """
    settings = configuration.settings
    with ExitStack() as failed:
        doors = Doors(settings, workers, resolvers, report)
        failed.callback(doors.close)
        doors.open_first(network_of(settings, configuration.kernel, ()), tuple(given))
        control, gate = _control(settings.control)
        if control is not None:
            failed.push(control)
        metrics = _metrics(settings.metrics, failed)
        classic, records = _logs(settings.log)
        failed.pop_all()
    return Opening(doors, control, gate, metrics, classic, records)


def _control(settings: ControlSettings) -> tuple[socket.socket | None, Gate | None]:
    if not settings.socket:
        return None, None
    group = _group(settings.group) if settings.group else None
    return listen_for_operators(settings.socket, CONTROL_MODE, group), allowed_peers(os.geteuid(), group)


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartError(f"[control] group: there is no group {name!r} on this host") from None


def _metrics(settings: MetricsSettings, failed: ExitStack) -> tuple[socket.socket, ...]:
    opened: list[socket.socket] = []
    for address in settings.addresses:
        endpoint = Endpoint(address, settings.port)
        try:
            opened.append(failed.enter_context(listening(endpoint, METRICS_BACKLOG, False)))
        except OSError as error:
            raise StartError(f"[metrics] cannot listen on {endpoint}: {error.strerror}") from None
    return tuple(opened)


def _logs(settings: LogSettings) -> tuple[Sink | None, Sink | None]:
    return open_sink(settings.classic), open_sink(settings.json)
