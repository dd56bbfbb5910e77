"""``sockctl``: the operator's tool; sockctl(8) is its manual. One file a command, each with the same two functions."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gateway import __version__
from gateway.cli import check, convert, explain, password, routes


class Command(NamedTuple):
    """A command: the line that `sockctl --help` shows, what it takes, and what it does, giving the exit status."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = MappingProxyType(
    {
        "check": Command("check configuration files and report every mistake", check.add_arguments, check.run),
        "convert": Command("turn a sockd.conf of 1992 into today's masks", convert.add_arguments, convert.run),
        "explain": Command("say which line decides about a request, and why", explain.add_arguments, explain.run),
        "routes": Command("show the uplinks, how they stand, and what goes where", routes.add_arguments, routes.run),
        "password": Command("make the line of a user for the passwords file", password.add_arguments, password.run),
    }
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry; exits with the command's status, or 2 for a command line that is not understood."""
    options = _parser().parse_args(arguments)
    try:
        status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head(1), has seen enough; what is left must not fail once more while Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sockctl", description="The operator's tool of a multihomed gateway.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"sockctl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        added = commands.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        command.add_arguments(added)
    return parser
