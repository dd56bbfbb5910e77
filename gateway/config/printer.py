"""Parsed files back to text, in the files' own grammar; what is printed reads back as the same value.

Comments are not part of the values and so not printed. ``sockd.conf`` and ``sockd.route`` always
come out in the classic dialect.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from gateway.address import Address
from gateway.config.fields import ALL_WORD, RESERVED_NAMES, prefix_length
from gateway.config.lexer import LINE_LIMIT, SPECIAL_WORDS
from gateway.config.options import print_options
from gateway.config.rules import (
    AccessFile,
    AccessRule,
    AddressPattern,
    Anyone,
    Dialect,
    HostPattern,
    IdentLevel,
    NamePattern,
    PortTest,
    RouteFile,
    RouteRule,
    UserFile,
    UserItem,
    UserName,
)
from gateway.config.settings import (
    IDENT_LEVELS,
    ExternalSettings,
    InternalSettings,
    LiveSessions,
    Probe,
    QueryLog,
    ResolverSettings,
    ServerAddress,
    Settings,
    ZoneSettings,
)

_IDENT_WORDS = MappingProxyType({IdentLevel.OFF: "?=n", IdentLevel.LENIENT: "?=i", IdentLevel.STRICT: "?=I"})


def print_access(file: AccessFile) -> str:
    """The rules of a ``sockd.conf`` and its special lines, each on its line; empty for a file without any."""
    lines = [print_rule(rule) for rule in file.rules]
    for word, special in zip(SPECIAL_WORDS, (file.no_identd, file.bad_id), strict=True):
        if special is not None:
            lines.append(f"{word} {special.command}")
    return "".join(f"{line}\n" for line in lines)


def print_rule(rule: AccessRule) -> str:
    """One rule as one line, without newline.

    IPv4 addresses have their masks beside them, as the original's have; where that would pass the limit of a line,
    they are prefixes.
    """
    line = _rule_text(rule, short=False)
    return line if len(line) <= LINE_LIMIT else _rule_text(rule, short=True)


def print_route(file: RouteFile) -> str:
    """The lines of a ``sockd.route``, with addresses as `print_rule` writes them; empty for a file without any."""
    return "".join(f"{_route_line(rule)}\n" for rule in file.rules)


def print_settings(settings: Settings) -> str:
    """Every table and key of ``gateway.toml`` with its value, the defaults included; relative names are made whole.

    What an uplink takes from ``[external]`` is left out, and the addresses where an interface stands for them.
    """
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, (Struct, Mapping))]
    for name, value in values.items():
        if isinstance(value, Struct):
            lines += _table_lines(name, value)
            for zone in value.zone if isinstance(value, ResolverSettings) else ():
                lines += _table_lines("[resolver.zone]", zone)
        elif isinstance(value, Mapping):
            for key, table in value.items():
                # Of what a name may hold, only dots want quotes in TOML.
                lines += _table_lines(f"{name}.{_toml(key) if '.' in key else key}", table)
    return "".join(f"{line}\n" for line in lines)


def print_prefix(pattern: AddressPattern) -> str:
    """``10.0.0.0/8``, and a host as its address alone; the mask must be without holes."""
    address = str(Address(pattern.version, pattern.number))
    length = prefix_length(pattern)
    # In a line, two colons alone are not the unspecified address but the beginning of a command.
    if length == (32 if pattern.version == 4 else 128) and address != "::":
        return address
    return f"{address}/{length}"


def _table_lines(title: str, table: Struct) -> list[str]:
    values = {key: getattr(table, key) for key in table.__struct_fields__}
    if isinstance(table, InternalSettings) and table.interface:
        del values["addresses"]
    if isinstance(table, ResolverSettings):
        del values["zone"]
    if isinstance(table, (ExternalSettings, ZoneSettings)) and len(table.interface) < 2:
        # None is written as an empty text, and one as it is mostly written.
        values["interface"] = "".join(map(str, table.interface))
    return ["", f"[{title}]", *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)]


def _rule_text(rule: AccessRule, short: bool) -> str:
    words = [rule.action.value]
    if rule.ident is not None:
        words.append(_IDENT_WORDS[rule.ident])
    if rule.users:
        words.append("*=" + ",".join(map(_user_text, rule.users)))
    words.append(_host_text(rule.source, short))
    if not isinstance(rule.destination, Anyone):
        words.append(_host_text(rule.destination, short))
    if rule.ports is not None:
        words.append(_ports_text(rule.ports))
    words += print_options(rule.options)
    if rule.command is not None:
        words += [":", rule.command]
    return " ".join(words)


def _route_line(rule: RouteRule) -> str:
    line = _route_text(rule, short=False)
    return line if len(line) <= LINE_LIMIT else _route_text(rule, short=True)


def _route_text(rule: RouteRule, short: bool) -> str:
    words = [",".join(map(str, rule.egress))]
    if rule.users:
        words.append("*=" + ",".join(map(_user_text, rule.users)))
    return " ".join([*words, _host_text(rule.destination, short)])


def _user_text(user: UserItem) -> str:
    if isinstance(user, UserName):
        return user.name
    return user.path if isinstance(user, UserFile) else f"@{user.name}"


def _host_text(host: HostPattern, short: bool) -> str:
    if isinstance(host, Anyone):
        return ALL_WORD
    if isinstance(host, NamePattern):
        return _name_text(host)
    if host.version == 6:
        return print_prefix(host)
    if short and (length := prefix_length(host)) is not None:
        return f"{Address(4, host.number)}/{length}"
    return f"{Address(4, host.number)} {Address(4, host.mask)}"


def _name_text(pattern: NamePattern) -> str:
    if pattern.below:
        return f".{pattern.name}"
    return f"{pattern.name}." if pattern.name in RESERVED_NAMES else pattern.name


def _ports_text(test: PortTest) -> str:
    spans = (str(low) if low == high else f"{low}-{high}" for low, high in test.operands)
    return f"{test.operator.value} {','.join(spans)}"


def _toml(value: object) -> str:
    """A value of the settings as TOML; texts hold no control characters, so JSON's strings are TOML's."""
    if isinstance(value, tuple) and not isinstance(value, (Address, Probe, ServerAddress)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, IdentLevel):
        return _toml(next(word for word, level in IDENT_LEVELS.items() if level is value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, (Dialect, LiveSessions, QueryLog)):
        return _toml(value.value)
    return json.dumps(print_prefix(value) if isinstance(value, AddressPattern) else str(value), ensure_ascii=False)
