"""``sockctl``: the operator's tool; sockctl(8) is its manual. One file a command, each with the same two functions."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gateway import __version__
from gateway.cli import (
    cache,
    check,
    convert,
    drain,
    explain,
    kill,
    metrics,
    password,
    reload,
    resolve,
    routes,
    rules,
    sessions,
    status,
    tail,
    top,
)


class Command(NamedTuple):
    """A command: the line that `sockctl --help` shows, what it takes, and what it does, giving the exit status."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = MappingProxyType(
    {
        "status": Command("show how the daemon is, and what each process may do", status.add_arguments, status.run),
        "sessions": Command("list the sessions of now", sessions.add_arguments, sessions.run),
        "top": Command("watch the sessions live, full-screen", top.add_arguments, top.run),
        "tail": Command("print the records of sessions as they end", tail.add_arguments, tail.run),
        "kill": Command("end sessions", kill.add_arguments, kill.run),
        "rules": Command("show what each line of sockd.conf was used for", rules.add_arguments, rules.run),
        "routes": Command("show the uplinks, how they stand, and what goes where", routes.add_arguments, routes.run),
        "explain": Command("say which line decides about a request, and why", explain.add_arguments, explain.run),
        "resolve": Command("ask the resolver as a client does, and show why so", resolve.add_arguments, resolve.run),
        "cache": Command("forget or show the answers that the resolver keeps", cache.add_arguments, cache.run),
        "reload": Command("have the daemon read its files anew", reload.add_arguments, reload.run),
        "drain": Command("accept nobody any more, and end after the last session", drain.add_arguments, drain.run),
        "metrics": Command("print the metrics as Prometheus gets them", metrics.add_arguments, metrics.run),
        "check": Command("check configuration files and report every mistake", check.add_arguments, check.run),
        "convert": Command("turn a sockd.conf of 1992 into today's masks", convert.add_arguments, convert.run),
        "password": Command("make the line of a user for the passwords file", password.add_arguments, password.run),
    }
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry; exits with the command's status, or 2 for a command line that is not understood."""
    options = make_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a file has beyond the terminal's alphabet must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head(1), has seen enough; what is left must not fail once more while Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except KeyboardInterrupt:
        status = _interrupted()
    sys.exit(status)


def _interrupted() -> int:
    """End as by the signal itself, as tail(1) does: a loop of the shell around this command then ends too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    return 128 + signal.SIGINT


def make_parser() -> argparse.ArgumentParser:
    """The whole command line; each command's own parser below it."""
    parser = argparse.ArgumentParser(
        prog="sockctl", description="The operator's tool of a multihomed gateway.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sockctl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        added = commands.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        command.add_arguments(added)
    return parser
