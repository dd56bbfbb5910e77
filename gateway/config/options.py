"""The ``name=value`` options of a ``sockd.conf`` line, both ways; knows nothing about lines and places.

Amounts are decimal, as lines and disks are sold: K, M, G and T are powers of 1000.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.config.fields import BadField, parse_way, quoted
from gateway.config.rules import AUTH_WORDS, METHOD_WORDS, EgressWord, Hours, Options, Quota

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
PERIODS = ("day", "week", "month")
UNITS = MappingProxyType({"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12})

AMOUNT_LIMIT = 2**63 - 1
"""Bytes: what fits the signed 64-bit counters of logs and kernel alike."""

_AMOUNT = re.compile(r"([1-9][0-9]{0,18})([KMGT]?)")
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_TIMES = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAY_MINUTES = 24 * 60


def parse_option(name: str, value: str) -> Any:
    """The value of the option of that name, as the field of `Options` holds it. Raises BadField."""
    reader = _READERS.get(name)
    if reader is None:
        raise BadField(f"unknown option {quoted(name + '=')}; the options are {', '.join(_READERS)} and report")
    return reader(value)


def print_options(options: Options) -> list[str]:
    """The words that `parse_option` reads back, in one order whatever the order they were written in."""
    words = [
        f"{name}={writer(value)}" for name, writer in _WRITERS.items() if (value := getattr(options, name)) is not None
    ]
    return [*words, "report"] if options.report else words


def _one_of(name: str, known: tuple[str, ...]) -> Callable[[str], frozenset[str]]:
    def read(value: str) -> frozenset[str]:
        words = value.split(",")
        for word in words:
            if word not in known:
                raise BadField(f"{name}={quoted(word)} is unknown; {name}= takes {', '.join(known)}")
        return _without_twins(name, words)

    return read


def _without_twins(name: str, words: list[str]) -> frozenset[str]:
    for index, word in enumerate(words):
        if word in words[:index]:
            raise BadField(f"{name}= names {quoted(word)} twice")
    return frozenset(words)


def _read_via(value: str) -> tuple[EgressWord, ...]:
    words = value.split(",")
    _without_twins("via", words)
    try:
        return tuple(map(parse_way, words))
    except BadField as fault:
        raise BadField(f"via=: {fault}") from None


def _read_amount(name: str, text: str) -> int:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise BadField(f"{name}={quoted(text)}: a number of bytes above 0 is expected, such as 500K, 10M, 5G or 2T")
    amount = int(found[1]) * UNITS[found[2]]
    if amount > AMOUNT_LIMIT:
        raise BadField(f"{name}={quoted(text)} is too much; at most {AMOUNT_LIMIT} bytes")
    return amount


def _read_rate(value: str) -> int:
    return _read_amount("rate", value)


def _read_sessions(value: str) -> int:
    if _COUNT.fullmatch(value) is None:
        raise BadField(f"sessions={quoted(value)}: a number above 0 is expected")
    return int(value)


def _read_quota(value: str) -> Quota:
    amount, _, period = value.partition("/")
    if period not in PERIODS:
        raise BadField(f"quota={quoted(value)}: an amount a day, week or month is expected, such as 5G/day")
    return Quota(_read_amount("quota", amount), period)


def _read_hours(value: str) -> tuple[Hours, ...]:
    """Windows separated by commas; items without a time are further days of the window that follows them."""
    windows: list[Hours] = []
    days: frozenset[int] = frozenset()
    waiting = False
    for item in value.split(","):
        left, slash, right = item.rpartition("/")
        if not slash and ":" not in item:
            days, waiting = days | _read_days(item), True
            continue
        if not slash and waiting:
            raise BadField(f"hours={quoted(item)}: the days before it need '/' and a time of their own")
        windows.append(_read_window(days | _read_days(left) if slash else frozenset(range(7)), right))
        days, waiting = frozenset(), False
    if waiting:
        raise BadField(f"hours={quoted(value)}: the last days have no time; a whole day is /00:00-24:00")
    return tuple(windows)


def _read_days(text: str) -> frozenset[int]:
    """``Mon`` or ``Mon-Fri``; a range may pass Sunday."""
    first, _, last = text.partition("-")
    if first not in DAYS or (last or first) not in DAYS or text.endswith("-"):
        raise BadField(f"hours={quoted(text)}: days are {', '.join(DAYS)} and ranges such as Mon-Fri")
    low, high = DAYS.index(first), DAYS.index(last or first)
    return frozenset(day % 7 for day in range(low, high + 1 if low <= high else high + 8))


def _read_window(days: frozenset[int], text: str) -> Hours:
    found = _TIMES.fullmatch(text)
    if found is None:
        raise BadField(f"hours={quoted(text)}: a time is written as in Mon-Fri/08:00-18:00")
    start = _read_minute(found[1], found[2])
    end = _read_minute(found[3], found[4])
    if start in (end, _DAY_MINUTES):
        raise BadField(f"hours={quoted(text)} holds no time at all; a whole day is 00:00-24:00")
    return Hours(days, start, end)


def _read_minute(hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MINUTES:
        raise BadField(f"hours={quoted(f'{hours}:{minutes}')} is no time of the day")
    return minute


def _print_amount(amount: int) -> str:
    unit, size = next((unit, size) for unit, size in reversed(tuple(UNITS.items())) if amount % size == 0)
    return f"{amount // size}{unit}"


def _print_hours(windows: tuple[Hours, ...]) -> str:
    return ",".join(map(_print_window, windows))


def _print_window(window: Hours) -> str:
    times = f"{_print_minute(window.start)}-{_print_minute(window.end)}"
    return times if len(window.days) == len(DAYS) else f"{_print_days(window.days)}/{times}"


def _print_minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _print_days(days: frozenset[int]) -> str:
    """The days in order, three and more in a row as a range."""
    words: list[str] = []
    for first in (day for day in range(7) if day in days and day - 1 not in days):
        last = next(day for day in range(first, 7) if day + 1 not in days)
        run = [DAYS[day] for day in range(first, last + 1)]
        words += run if len(run) < 3 else [f"{run[0]}-{run[-1]}"]
    return ",".join(words)


def _in_order(known: tuple[str, ...]) -> Callable[[frozenset[str]], str]:
    return lambda words: ",".join(word for word in known if word in words)


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "auth": _one_of("auth", AUTH_WORDS),
        "method": _one_of("method", METHOD_WORDS),
        "hours": _read_hours,
        "rate": _read_rate,
        "sessions": _read_sessions,
        "quota": _read_quota,
        "via": _read_via,
    }
)

_WRITERS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "auth": _in_order(AUTH_WORDS),
        "method": _in_order(METHOD_WORDS),
        "hours": _print_hours,
        "rate": _print_amount,
        "sessions": str,
        "quota": lambda quota: f"{_print_amount(quota.amount)}/{quota.period}",
        "via": lambda words: ",".join(map(str, words)),
    }
)
