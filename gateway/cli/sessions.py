"""``sockctl sessions``: who is connected to what at this moment, by which line and which way."""

import argparse
from collections.abc import Sequence

from gateway.cli.daemon import (
    DONE,
    REFUSED,
    add_json,
    add_socket,
    amount,
    columns,
    counted,
    destination,
    print_rows,
    say,
    span,
    understood,
    with_daemon,
)
from gateway.cli.filters import add_filters, filter_of
from gateway.control.client import ControlClient
from gateway.control.protocol import MAX_ROWS, Listed, Live, Sessions

_HEAD = ("SESSION", "USER", "CLIENT", "DESTINATION", "RULE", "EGRESS", "STATE", "AGE", "SENT", "RECEIVED")
_RIGHT = (7, 8, 9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl sessions``."""
    add_socket(parser)
    add_json(parser)
    parser.add_argument("--sort", choices=("bytes", "age"), default="age", help="which come first (default age)")
    parser.add_argument(
        "-n", dest="limit", metavar="NUMBER", type=_limit, default=1000, help="how many at most (default 1000)"
    )
    add_filters(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0, or 1 when there is none."""

    def work(client: ControlClient) -> int:
        rows, done = client.ask(Sessions(filter_of(arguments), arguments.sort, arguments.limit))
        if arguments.json:
            print_rows(rows)
        elif rows:
            print("\n".join(columns([_HEAD, *(_row(understood(row, Live)) for row in rows)], _RIGHT)))
        _say_how_many(rows, understood(done, Listed).matched)
        return DONE if rows else REFUSED

    return with_daemon("sessions", arguments, work)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_ROWS}")
    return int(text)


def _say_how_many(rows: Sequence[object], matched: int) -> None:
    if not rows:
        say("sessions", "there is no such session")
    elif matched > len(rows):
        say("sessions", f"{counted(len(rows), 'session')} of {matched:,} shown; -n NUMBER shows more")


def _row(live: Live) -> tuple[str, ...]:
    return (
        live.session,
        live.user or "-",
        live.client,
        destination(live.host, live.address, live.port),
        live.rule or "-",
        live.uplink or live.egress or "-",
        live.state,
        span(live.seconds),
        amount(live.sent),
        amount(live.received),
    )
