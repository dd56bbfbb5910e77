"""``sockctl tail``: the records of sessions as they end, like tail(1) of a log, by the filters of ``sessions``."""

import argparse
import sys
from typing import Any

from gateway.cli.daemon import (
    DONE,
    add_json,
    add_socket,
    amount,
    counted,
    destination,
    print_rows,
    span,
    understood,
    visible,
    with_daemon,
)
from gateway.cli.filters import add_filters, filter_of
from gateway.control.client import ControlClient
from gateway.control.protocol import Tail
from gateway.session.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl tail``."""
    add_socket(parser)
    add_json(parser)
    add_filters(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them until it is interrupted; 0 when the daemon ends in order, 1 when the connection to it breaks."""

    def work(client: ControlClient) -> int:
        for row in client.rows(Tail(filter_of(arguments))):
            if arguments.json:
                print_rows([row])
            else:
                print(_line(row))
            sys.stdout.flush()
        return DONE

    return with_daemon("tail", arguments, work)


def _line(row: Any) -> str:
    if isinstance(row, dict) and "lost" in row:
        return f"... {counted(understood(row, dict[str, int])['lost'], 'record')} lost: this reader was too slow"
    record = understood(row, Record)
    words = (
        record.time,
        record.result.value,
        record.user or "-",
        record.client,
        destination(record.host, record.address, record.port),
        record.rule or "-",
        f"{amount(record.sent)}/{amount(record.received)}",
        span(record.seconds),
        record.end,
    )
    return visible(" ".join(words))
