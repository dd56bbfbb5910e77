"""Which sessions an operator means: the words of a `Filter`, understood once, asked of thousands of sessions.

What is written is compared with what ``sockctl sessions`` and the log show, so that it can be copied from there.
Whatever can not be understood is refused: a filter that is taken for a wider one would kill the wrong sessions.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

from gateway.address import Address, parse_address, plain
from gateway.config.fields import ALL_WORD, BadField, looks_numeric, parse_name, parse_prefix, parse_way, quoted
from gateway.config.rules import AddressPattern, NamePattern
from gateway.control.protocol import ControlError, Filter
from gateway.policy.pattern import normal
from gateway.session.record import escape

REMEMBERED = 4096
"""How many addresses are kept beside their texts: many sessions have the same ones."""

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_RULE = re.compile(r"(?:(?P<file>.+):)?(?P<line>[0-9]{1,9})", re.ASCII | re.DOTALL)


class Row(Protocol):
    """What is looked at of a session: `gateway.control.protocol.Live` and `gateway.session.record.Record` have it.

    ``client`` and ``egress`` are endpoints, ``address`` is an address, all as text; a name in ``host`` is canonical.
    """

    @property
    def session(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def host(self) -> str | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def rule(self) -> str | None: ...
    @property
    def uplink(self) -> str | None: ...
    @property
    def egress(self) -> str | None: ...


Test = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """The sessions for which all of these hold."""

    tests: tuple[Test, ...] = ()

    @classmethod
    def of(cls, filter: Filter) -> "Selection":
        """Raises ControlError, in one line that names the field, for what can not be understood."""
        return cls(tuple(_tests(filter)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for: it matches every session."""
        return not self.tests

    def matches(self, row: Row) -> bool:
        """Whether this session is meant; what is not known of it yet does not match."""
        for test in self.tests:  # noqa: SIM110 - all() with a generator takes twice the time
            if not test(row):
                return False
        return True


def _tests(filter: Filter) -> Iterator[Test]:
    """The cheapest ones first."""
    for name, make in _MAKERS:
        text = getattr(filter, name)
        if text:
            try:
                yield from make(text)
            except (BadField, ControlError) as error:
                raise ControlError(f"{name}: {error}") from None


# The fields


def _session(text: str) -> Iterator[Test]:
    yield lambda row: row.session == text


def _user(text: str) -> Iterator[Test]:
    """The name itself, or as it is shown when it has bytes that are escaped."""
    names = {text, escape(text.encode("utf-8", "replace"))}
    yield lambda row: row.user in names


def _source(text: str) -> Iterator[Test]:
    covers = _covers(text)
    yield lambda row: covers(_endpoint_address(row.client))


def _destination(text: str) -> Iterator[Test]:
    wanted = _split_port(text)
    if wanted.port is not None:
        yield partial(_has_port, wanted.port)
    if wanted.host:
        yield _host(wanted.host)


def _rule(text: str) -> Iterator[Test]:
    """``sockd.conf:17``, the file with or without its folders; or the number alone, of whichever file."""
    found = _RULE.fullmatch(text)
    if found is None:
        raise ControlError(f"{quoted(text)} is no line of a file, as in sockd.conf:17 or 17")
    file, line = found["file"], int(found["line"])
    if file is None:
        ending = f":{line}"
        yield lambda row: row.rule is not None and row.rule.endswith(ending)
    else:
        label = f"{os.path.basename(file)}:{line}"
        yield lambda row: row.rule == label


def _egress(text: str) -> Iterator[Test]:
    way = parse_way(text)
    if isinstance(way, str):
        yield lambda row: row.uplink == way
    else:
        yield lambda row: row.egress is not None and _endpoint_address(row.egress) == way


_MAKERS: tuple[tuple[str, Callable[[str], Iterator[Test]]], ...] = (
    ("session", _session),
    ("user", _user),
    ("rule", _rule),
    ("egress", _egress),
    ("destination", _destination),
    ("source", _source),
)


# Hosts and ports


class _Wanted(NamedTuple):
    """A destination in its two parts; what is not written is empty, or None."""

    host: str
    port: int | None


def _split_port(text: str) -> _Wanted:
    """``host``, ``host:port``, ``:port``, ``[IPv6]`` or ``[IPv6]:port``; more than one colon is IPv6 without a port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or rest[:1] not in ("", ":"):
            raise ControlError(f"{quoted(text)}: an address in brackets is written [2001:db8::1] or [2001:db8::1]:443")
        return _Wanted(host, _port(rest[1:]) if rest else None)
    if text.count(":") != 1:
        return _Wanted(text, None)
    host, _, port = text.partition(":")
    return _Wanted(host, _port(port))


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 0xFFFF:
        raise ControlError(f"{quoted(text)} is no port: a number from 0 to 65535 follows the ':'")
    return int(text)


def _has_port(port: int, row: Row) -> bool:
    return row.port == port


def _host(word: str) -> Test:
    if "/" in word or ":" in word or looks_numeric(word):
        return partial(_leads_to, _covers(word))
    if word == ALL_WORD:
        raise ControlError(f"{ALL_WORD} selects nothing; leave the destination out to mean every one")
    return partial(_asked_for, parse_name(word))


def _asked_for(pattern: NamePattern, row: Row) -> bool:
    return row.host is not None and pattern.covers(row.host)


def _leads_to(covers: Callable[[Address | None], bool], row: Row) -> bool:
    """By the address that it is connected to; before there is one, by the address that was asked for."""
    text = row.address if row.address is not None else row.host
    return text is not None and covers(_address(text))


def _covers(word: str) -> Callable[[Address | None], bool]:
    """The test of an address or a prefix; no address is covered by none."""
    pattern = normal(parse_prefix(word)[0])
    assert isinstance(pattern, AddressPattern)
    return lambda address: address is not None and pattern.covers(address.version, address.number)


def _endpoint_address(text: str) -> Address | None:
    """The host of ``10.0.0.1:80`` or ``[2001:db8::1]:80``."""
    host = text.rpartition(":")[0]
    return _address(host[1:-1] if host.startswith("[") else host)


@lru_cache(maxsize=REMEMBERED)
def _address(text: str) -> Address | None:
    """None for a name."""
    address = parse_address(text)
    return None if address is None else plain(address)
