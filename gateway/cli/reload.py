"""``sockctl reload``: have the running daemon read its files anew; all of them are right, or nothing changes."""

import argparse
import sys

from gateway.cli.daemon import (
    DONE,
    REFUSED,
    add_json,
    add_socket,
    counted,
    print_object,
    say,
    short_hash,
    understood,
    visible,
    with_daemon,
)
from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Reload, Reloaded, Report, Status

SECONDS = 120.0
"""For an answer: ten thousand lines are compiled, and sent to every worker."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl reload``."""
    add_socket(parser)
    add_json(parser)
    parser.add_argument("--recheck", action="store_true", help="end the live sessions that the new rules deny")


def run(arguments: argparse.Namespace) -> int:
    """Print what came of it; 0, or 1 with every mistake when the files are refused."""

    def work(client: ControlClient) -> int:
        try:
            _, done = client.ask(Reload(arguments.recheck))
        except ControlError as error:
            return _refused(client, error)
        if arguments.json:
            print_object(done)
        else:
            _print(understood(done, Reloaded), arguments.recheck)
        return DONE

    return with_daemon("reload", arguments, work, SECONDS)


def _refused(client: ControlClient, refusal: ControlError) -> int:
    """The mistakes as the daemon lists them, and then what it goes on with, in its own words.

    Raises the refusal itself when nobody is there to say that: then it was none, the connection broke.
    """
    try:
        _, done = client.ask(Status())
    except ControlError:
        raise refusal from None
    for line in str(refusal).splitlines():
        print(visible(line), file=sys.stderr)
    report = understood(done, Report)
    kept = f"configuration {short_hash(report.configuration)}, loaded {report.loaded}"
    say("reload", f"refused; sockd goes on with the old one: {kept}")
    return REFUSED


def _print(reloaded: Reloaded, recheck: bool) -> None:
    what = "loaded" if reloaded.changed else "loaded again, nothing has changed"
    print(f"configuration {short_hash(reloaded.configuration)} {what}, {reloaded.loaded}")
    if recheck:
        print(f"{counted(reloaded.ended, 'session')} ended that the rules deny now")
    for note in reloaded.notes:
        print(visible(note))
