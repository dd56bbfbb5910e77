"""The orders of the table, and which of them the daemon can list by itself; pure."""

import enum
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.cli.top.sample import Row
from gateway.cli.top.words import natural, target


class Sort(enum.Enum):
    """What the table is sorted by, in the order of its columns."""

    SESSION = "session"
    USER = "user"
    CLIENT = "client"
    DESTINATION = "destination"
    RULE = "rule"
    UPLINK = "uplink"
    STATE = "state"
    AGE = "age"
    BYTES = "bytes"
    RATE = "rate"


class Order(NamedTuple):
    """How a `Sort` compares, and whether the greatest come first."""

    key: Callable[[Row], Any]
    falling: bool = False
    #: the word of the protocol, where the daemon lists in this order
    asked: str | None = None


ORDERS: Mapping[Sort, Order] = MappingProxyType(
    {
        Sort.SESSION: Order(lambda row: natural(row.live.session)),
        Sort.USER: Order(lambda row: row.live.user),
        Sort.CLIENT: Order(lambda row: natural(row.live.client)),
        Sort.DESTINATION: Order(lambda row: natural(target(row.live))),
        Sort.RULE: Order(lambda row: natural(row.live.rule or "")),
        Sort.UPLINK: Order(lambda row: row.live.uplink or ""),
        Sort.STATE: Order(lambda row: row.live.state),
        Sort.AGE: Order(lambda row: row.live.seconds, falling=True, asked="age"),
        Sort.BYTES: Order(lambda row: row.live.sent + row.live.received, falling=True, asked="bytes"),
        Sort.RATE: Order(lambda row: -1 if row.sent is None else row.sent + (row.received or 0), falling=True),
    }
)


def in_order(rows: Iterable[Row], sort: Sort, reverse: bool) -> tuple[Row, ...]:
    """The rows sorted; equal ones by their ids, so that they do not change places from look to look."""
    order = ORDERS[sort]
    key = order.key
    return tuple(sorted(rows, key=lambda row: (key(row), row.live.session), reverse=order.falling is not reverse))


def neighbour(sort: Sort, step: int) -> Sort:
    """The next order, or with -1 the one before; from the last on to the first."""
    every = list(Sort)
    return every[(every.index(sort) + step) % len(every)]
