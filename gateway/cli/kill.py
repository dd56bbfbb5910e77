"""``sockctl kill``: end sessions, those that a filter names or all of them."""

import argparse

from gateway.cli.daemon import (
    DONE,
    REFUSED,
    UNUSABLE,
    add_json,
    add_socket,
    counted,
    print_object,
    say,
    understood,
    with_daemon,
)
from gateway.cli.filters import EVERY_SESSION, add_filters, filter_of
from gateway.control.client import ControlClient
from gateway.control.protocol import Filter, Kill


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl kill``."""
    add_socket(parser)
    add_json(parser)
    add_filters(parser)
    parser.add_argument("--all", action="store_true", help="every session; instead of a filter")


def run(arguments: argparse.Namespace) -> int:
    """Print how many were ended; 0, or 1 when there was none."""
    wanted = filter_of(arguments)
    if (wanted == Filter()) is not arguments.all:
        fault = "say which sessions" if not arguments.all else "--all means every session; leave the filter out"
        say("kill", f"{fault}; --help lists the filters")
        return UNUSABLE

    def work(client: ControlClient) -> int:
        _, done = client.ask(Kill(EVERY_SESSION if arguments.all else wanted))
        killed = understood(done, dict[str, int]).get("killed", 0)
        if arguments.json:
            print_object(done)
        else:
            print(f"{counted(killed, 'session')} ended")
        return DONE if killed else REFUSED

    return with_daemon("kill", arguments, work)
