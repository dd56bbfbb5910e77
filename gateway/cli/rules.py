"""``sockctl rules``: what each line of ``sockd.conf`` has been used for; and those that nobody needed."""

import argparse

from gateway.cli.daemon import DONE, REFUSED, add_json, add_socket, amount, columns, print_rows, understood, with_daemon
from gateway.control.client import ControlClient
from gateway.control.protocol import Rules, RuleUse

_HEAD = ("LINE", "HITS", "SENT", "RECEIVED", "LAST", "TEXT")
_RIGHT = (1, 2, 3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl rules``."""
    add_socket(parser)
    add_json(parser)
    parser.add_argument("--unused", action="store_true", help="only the lines that never decided; status 1 if none")


def run(arguments: argparse.Namespace) -> int:
    """Print them; 0, or 1 when there is none."""

    def work(client: ControlClient) -> int:
        rows, _ = client.ask(Rules())
        used = [(row, understood(row, RuleUse)) for row in rows]
        shown = [(row, use) for row, use in used if not arguments.unused or _is_unused(use)]
        if arguments.json:
            print_rows([row for row, _ in shown])
        elif shown:
            print("\n".join(columns([_HEAD, *(_row(use) for _, use in shown)], _RIGHT)))
        return DONE if shown else REFUSED

    return with_daemon("rules", arguments, work)


def _is_unused(use: RuleUse) -> bool:
    """A line that stands in the file: requests without a line are no line."""
    return bool(use.rule) and not use.hits


def _row(use: RuleUse) -> tuple[str, ...]:
    return use.rule or "-", f"{use.hits:,}", amount(use.sent), amount(use.received), use.last or "never", use.text
