"""``sockd``: the daemon's command line; sockd(8) is its manual."""

import argparse
import os
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.config.rules import IdentLevel
from gateway.config.settings import FACILITIES, Settings, examine_settings
from gateway.config.source import read_text
from gateway.daemon.configuration import Configuration, load
from gateway.daemon.doors import Doors
from gateway.daemon.opening import Opening, open_all
from gateway.daemon.supervisor import Start, Supervisor
from gateway.daemon.warden import KEPT
from gateway.errors import ConfigError, GatewayError, StartError
from gateway.system.activation import listening_sockets
from gateway.system.detach import Starting, detach, fill_standard
from gateway.system.journal import Journal
from gateway.system.limits import raise_descriptors
from gateway.system.notify import Notifier
from gateway.system.pidfile import PidFile
from gateway.system.privileges import CAP_NET_ADMIN, account_of, has_capability
from gateway.system.title import make_room

SETTINGS_PATH = "/etc/gateway.toml"


def version_lines(multihomed: bool) -> tuple[str, str]:
    """The wording of `spec/socks4.md` §2.1."""
    return (
        f"CSTC {'multi' if multihomed else 'single'}-homed, stand-alone SOCKS proxy server version {__version__}.",
        "Does not support clients that use Rrcmd().",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sockd", description="The proxy daemon of a multihomed gateway.", allow_abbrev=False
    )
    one = parser.add_mutually_exclusive_group()
    one.add_argument("-ver", action="store_true", help="print the version lines and exit")
    one.add_argument("-n", action="store_true", help="check every file, report all mistakes, and exit")
    parser.add_argument("-f", metavar="FILE", default=SETTINGS_PATH, help=f"settings (default {SETTINGS_PATH})")
    parser.add_argument("-d", action="store_true", help="stay in the foreground")
    ident = parser.add_mutually_exclusive_group()
    ident.add_argument("-i", action="store_true", help="ask identd; refuse when it names another user")
    ident.add_argument("-I", action="store_true", help="ask identd; refuse when it does not answer too")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry: every mistake of the user is a line on stderr and status 1, never a traceback."""
    options = _parser().parse_args(arguments)
    if options.ver:
        print(*version_lines(_is_multihomed(options.f)), sep="\n")
        sys.exit(0)
    try:
        sys.exit(_check(options.f) if options.n else _serve(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
    except (GatewayError, OSError) as error:
        _say(str(error))
    except KeyboardInterrupt:
        pass  # before the signals are the supervisor's
    sys.exit(1)


def _is_multihomed(path: str) -> bool:
    """As the settings say, so far as they can be read: to tell its version the program needs none."""
    try:
        settings, _ = examine_settings(read_text(path), path)
    except ConfigError:
        return False
    return settings is not None and settings.multihomed


def _check(path: str) -> int:
    configuration = load(path, _say)
    for warning in configuration.warnings:
        print(warning)
    print("configuration OK")
    return 0


def _say(line: str) -> None:
    print(f"sockd: {line}", file=sys.stderr, flush=True)


def _serve(options: argparse.Namespace) -> int:
    make_room()
    fill_standard()
    notifier = Notifier.from_environment(os.environ)
    given = listening_sockets(os.environ, os.getpid())
    # What fails later is reported through the journal, which exists only when the settings are known.
    reports: list[Journal] = []

    def report(line: str) -> None:
        if reports:
            reports[0].trouble(line)
        else:
            _say(line)

    # The daemon changes its folder, and reads its files again.
    configuration = load(_told(os.path.abspath(options.f)), report)
    settings = configuration.settings
    account = account_of(settings.sockd.user) if os.geteuid() == 0 else None
    workers = settings.sockd.workers or min(64, len(os.sched_getaffinity(0)))
    resolvers = settings.resolver.workers if settings.resolver.zone else 0
    descriptors = raise_descriptors()
    pidfile = None if options.d else _pidfile(settings)
    opening = open_all(configuration, workers, resolvers, given, report)
    starting = Starting() if pidfile is None else _leave(opening, pidfile)
    journal = Journal(
        opening.classic,
        opening.records,
        FACILITIES[settings.log.facility],
        classes=settings.log.classes,
        alarm=_say if options.d else None,
    )
    reports.append(journal)
    for warning in configuration.warnings:
        journal.line(str(warning))

    def announce() -> None:
        ready = _ready_line(configuration, opening.doors, workers)
        if options.d:
            _say(ready)
        if settings.log.classic != "stderr":
            journal.line(ready)
        notifier.ready(ready)
        starting.ready()

    start = Start(
        configuration=configuration,
        doors=opening.doors,
        journal=journal,
        account=account,
        ident=_ident_level(options),
        workers=workers,
        resolvers=resolvers,
        descriptors=descriptors,
        notifier=notifier,
        routes=has_capability(CAP_NET_ADMIN),
        privileged=os.geteuid() == 0 or any(map(has_capability, KEPT)),
        pidfile=pidfile,
        control=opening.control,
        gate=opening.gate,
        metrics=opening.metrics,
        starting=starting,
    )
    try:
        Supervisor(start).run(announce)
        journal.line("stopped")
    except (GatewayError, OSError) as error:
        journal.trouble(str(error))
        starting.failed(str(error))
        raise
    finally:
        if pidfile is not None:
            pidfile.remove()
    return 0


def _told(path: str) -> str:
    """The path, if it can be shown and sent. Raises StartError."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise StartError(f"the path of the settings is not UTF-8: {os.fsencode(path)!r}") from None
    return path


def _pidfile(settings: Settings) -> PidFile:
    if {"stderr", "stdout"} & {settings.log.classic, settings.log.json}:
        raise StartError("[log] a daemon has no stderr and no stdout; start it with -d, or log to syslog or a file")
    return PidFile(settings.sockd.pidfile)


def _leave(opening: Opening, pidfile: PidFile) -> Starting:
    """Leave the terminal; what was opened on it is kept."""
    starting = detach([*opening.descriptors, pidfile.fd])
    pidfile.write()
    return starting


def _ident_level(options: argparse.Namespace) -> IdentLevel | None:
    """That of the command line; None: none."""
    if options.I:
        return IdentLevel.STRICT
    return IdentLevel.LENIENT if options.i else None


def _ready_line(configuration: Configuration, doors: Doors, workers: int) -> str:
    endpoints, names = doors.sessions.endpoints, doors.datagrams.endpoints
    where = ", ".join(map(str, endpoints)) or f"no address of {configuration.settings.internal.interface} yet"
    line = f"ready -- {where}, {workers} workers, {len(configuration.access.rules)} rules"
    zones = len(configuration.settings.resolver.zone)
    return f"{line}; names on {', '.join(map(str, names))}, {zones} zones" if names else line
