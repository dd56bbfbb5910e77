"""``sockctl drain``: the daemon accepts nobody any more, and ends when its last session has; this waits for it."""

import argparse
import math
import sys

from gateway.cli.daemon import DONE, add_json, add_socket, counted, print_rows, understood, with_daemon
from gateway.control.client import ControlClient
from gateway.control.protocol import ControlError, Drain

_CLEAR = "\r\x1b[K"
"""To the beginning of the line, and all of it away (ECMA-48 §8.3.41)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl drain``."""
    add_socket(parser)
    add_json(parser)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="end what is left after so many seconds (default: wait for ever)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show how many sessions are left; 0 when the daemon has ended in order, 1 when the connection to it broke."""

    def work(client: ControlClient) -> int:
        shown = _Left(arguments.json, sys.stdout.isatty() and not arguments.json)
        try:
            for row in client.rows(Drain(arguments.timeout)):
                shown.row(row)
        finally:
            shown.end()
        if not arguments.json:
            print("sockd has ended")
        return DONE

    return with_daemon("drain", arguments, work)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value


class _Left:
    """How many sessions are left: one line that changes on a terminal, else a line for each change."""

    def __init__(self, as_json: bool, in_place: bool) -> None:
        self._as_json = as_json
        self._in_place = in_place
        self._last: int | None = None

    def row(self, row: object) -> None:
        """Raises ControlError for what is no number of sessions."""
        if self._as_json:
            print_rows([row])
            sys.stdout.flush()
            return
        number = understood(row, dict[str, int]).get("sessions")
        if number is None:
            raise ControlError("the answer is not understood: it has no number of sessions")
        if number != self._last:
            text = f"draining: {counted(number, 'session')} left"
            print(f"{_CLEAR}{text}" if self._in_place else text, end="" if self._in_place else "\n", flush=True)
        self._last = number

    def end(self) -> None:
        """Leave the line, if one is still being written."""
        if self._in_place and self._last is not None:
            print(flush=True)
