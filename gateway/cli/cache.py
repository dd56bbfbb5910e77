"""``sockctl cache``: the answers of name servers that the resolver keeps, to be forgotten or to be shown."""

import argparse
from collections.abc import Iterator, Sequence

from gateway.cli.daemon import (
    DONE,
    REFUSED,
    add_json,
    add_socket,
    counted,
    print_object,
    print_rows,
    say,
    span,
    understood,
    visible,
    with_daemon,
)
from gateway.control.client import ControlClient
from gateway.control.protocol import MAX_ROWS, CacheDump, CacheEntry, CacheFlush, Listed
from gateway.dns.names import BadName, text_name, wire_name

_LIMIT = CacheDump().limit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl cache``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_selection(actions.add_parser("flush", help="forget them", description="forget them", allow_abbrev=False))
    dump = actions.add_parser("dump", help="show them", description="show them", allow_abbrev=False)
    _add_selection(dump)
    dump.add_argument(
        "-n", dest="limit", metavar="NUMBER", type=_limit, default=_LIMIT, help=f"how many at most (default {_LIMIT})"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", type=_name, help="only of this name and all below (default all)"
    )
    add_socket(parser)
    add_json(parser)
    parser.add_argument("--zone", metavar="ZONE", type=_zone, help="only of this zone of the settings")


def run(arguments: argparse.Namespace) -> int:
    """Do it; 0, or 1 when there was nothing."""
    work = _flush if arguments.action == "flush" else _dump
    return with_daemon("cache", arguments, lambda client: work(client, arguments))


def _name(text: str) -> str:
    if not text:
        # A shell variable that is not set must not mean all names.
        raise argparse.ArgumentTypeError("it is empty; leave it out for all names")
    try:
        return text_name(wire_name(text))
    except BadName as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name: {error}") from None


def _zone(text: str) -> str:
    name = _name(text)
    return name if name == "." else name.removesuffix(".")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_ROWS}")
    return int(text)


def _flush(client: ControlClient, arguments: argparse.Namespace) -> int:
    _, done = client.ask(CacheFlush(arguments.zone or "", arguments.name or ""))
    flushed = understood(done, dict[str, int]).get("flushed", 0)
    if arguments.json:
        print_object(done)
    else:
        print(f"{_answers(flushed)} forgotten")
    return DONE if flushed else REFUSED


def _dump(client: ControlClient, arguments: argparse.Namespace) -> int:
    rows, done = client.ask(CacheDump(arguments.zone or "", arguments.name or "", arguments.limit))
    matched = understood(done, Listed).matched
    if arguments.json:
        print_rows(rows)
    elif rows:
        print("\n".join(visible(line) for row in rows for line in _entry(understood(row, CacheEntry))))
    _say_how_many(rows, matched)
    return DONE if rows else REFUSED


def _say_how_many(rows: Sequence[object], matched: int) -> None:
    if not rows:
        say("cache", "nothing of that is in it")
    elif matched > len(rows):
        say("cache", f"{_answers(len(rows))} of {matched:,} shown; -n NUMBER shows more")


def _answers(count: int) -> str:
    return counted(count, "answer")


def _entry(entry: CacheEntry) -> Iterator[str]:
    """A comment about it and its records, so that the whole can be read as a zone file."""
    left = f"{span(entry.seconds_left)} left" if entry.seconds_left > 0 else f"expired {span(-entry.seconds_left)} ago"
    where = f"zone {entry.zone}, view {entry.view}"
    yield f"; {entry.name} {entry.type}: {entry.rcode}, {left}, {where}, from {entry.origin or 'nobody'}"
    yield from entry.records
