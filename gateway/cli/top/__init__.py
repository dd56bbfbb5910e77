"""``sockctl top``: the sessions of a running daemon, live and full-screen; sort, filter, and end them from there.

State and keys in, new state and commands out (`update`), state in, lines out (`view`): both are pure. `screen` is the
terminal, `courier` asks the daemon, `live` joins them; `batch` prints the same without a screen.
"""

import argparse
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from functools import partial

from gateway.cli.daemon import DONE, REFUSED, UNUSABLE, add_socket, say, socket_path
from gateway.cli.filters import add_filters, filter_of
from gateway.cli.top.batch import as_json, as_text, print_looks
from gateway.cli.top.courier import Courier, Daemon
from gateway.cli.top.live import Show
from gateway.cli.top.screen import Screen, can_draw
from gateway.cli.top.scroll import first_look
from gateway.cli.top.sorting import Sort
from gateway.cli.top.state import Size, State
from gateway.cli.top.update import begin
from gateway.control.client import ControlClient
from gateway.control.protocol import MAX_ROWS, ControlError
from gateway.errors import GatewayError

LEAST_INTERVAL, MOST_INTERVAL = 0.1, 3600.0
BATCH_COLUMNS = 160
"""The width of plain text where neither a terminal nor COLUMNS tells one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl top``."""
    add_socket(parser)
    add_filters(parser)
    parser.add_argument("-d", metavar="SECONDS", type=_interval, default=1.0, help="between two looks (default 1)")
    parser.add_argument("-n", metavar="COUNT", type=_count, default=0, help="end after so many looks")
    parser.add_argument("--batch", action="store_true", help="print plain text; so too where stdout is no terminal")
    parser.add_argument("--json", action="store_true", help="print a JSON object a look")
    parser.add_argument(
        "--sort",
        choices=[sort.value for sort in Sort],
        default=Sort.BYTES.value,
        help="the first order (default bytes)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show them until it is quit; 0, or 1 when no daemon answers at the start, 2 when it can not be told which one."""
    try:
        path = socket_path(arguments)
    except GatewayError as error:
        say("top", error)
        return UNUSABLE
    daemon = Daemon(partial(ControlClient.connect, path), time.monotonic, partial(datetime.now, UTC))
    try:
        _show(arguments, daemon)
    except ControlError as error:
        say("top", error)
        return REFUSED
    except KeyboardInterrupt:
        pass  # the usual end of --batch
    return DONE


def _show(arguments: argparse.Namespace, daemon: Daemon) -> None:
    batch = arguments.batch or arguments.json or not _has_screen()
    size = Size(shutil.get_terminal_size((BATCH_COLUMNS, 0)).columns, MAX_ROWS) if batch else Size(80, 24)
    sort, wanted = Sort(arguments.sort), filter_of(arguments)
    # The first look comes before the screen: who may not ask, or has the wrong path, reads a line that stays.
    state = begin(size, daemon.look(first_look(sort, wanted, size)), arguments.d, sort, wanted)
    if batch:
        print_looks(state, daemon, arguments.n, as_json if arguments.json else as_text)
    else:
        _show_live(state, daemon, arguments.n)


def _has_screen() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and can_draw(sys.stdout.fileno(), os.environ)


def _show_live(state: State, daemon: Daemon, count: int) -> None:
    with Courier(daemon) as courier, Screen(os.environ) as screen:
        Show(state, screen, courier, daemon.clock, count).run()


def _interval(text: str) -> float:
    seconds = float(text)
    if not LEAST_INTERVAL <= seconds <= MOST_INTERVAL:
        raise argparse.ArgumentTypeError(f"{text}: from {LEAST_INTERVAL:g} to {MOST_INTERVAL:g} seconds")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text}: 1 or more")
    return count
