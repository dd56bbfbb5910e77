"""``gateway.toml``: text to one frozen value; gateway.toml(5) describes it.

A new setting is one more field of a table below: its type, its default, and what the administrator is told to write.
Only what TOML has no type for needs a reader besides, and what two keys must be to one another a check. Whether a port
is free, a user or an interface exists or a file can be written is asked when the daemon starts, not here.
"""

import enum
import os
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway.address import Address, canonical_name, parse_address, plain
from gateway.config.fields import BadField, parse_prefix, parse_way, quoted
from gateway.config.rules import AddressPattern, Dialect, EgressWord, IdentLevel
from gateway.config.tomltables import Fault, Grammar, Key, Read, dotted, item_key, load_toml, place_faults, read_tables
from gateway.errors import BadName, ConfigError
from gateway.place import Problem

FACILITIES = MappingProxyType(
    {
        "kern": 0,
        "user": 1,
        "mail": 2,
        "daemon": 3,
        "auth": 4,
        "syslog": 5,
        "lpr": 6,
        "news": 7,
        "uucp": 8,
        "cron": 9,
        "authpriv": 10,
        "ftp": 11,
        **{f"local{number}": 16 + number for number in range(8)},
    }
)
"""Names of syslog facilities and their codes (RFC 5424 §6.2.1; names as in syslog.h)."""

LOG_CLASSES = ("denied", "connected", "resource")
"""The classes of messages of the 1992 paper (``spec/socks4.md`` §9): access denied, connections, resource failures."""

IDENT_LEVELS = MappingProxyType({"off": IdentLevel.OFF, "lenient": IdentLevel.LENIENT, "strict": IdentLevel.STRICT})


class LiveSessions(enum.Enum):
    """What becomes of the sessions on an uplink that goes down: left to their own timeouts, or ended at once."""

    KEEP = "keep"
    CUT = "cut"


class Probe(NamedTuple):
    """Who is asked whether an uplink works: a TCP connection is made, or a DNS query is sent over UDP."""

    #: ``tcp`` or ``dns``
    kind: str
    address: Address
    port: int

    def __str__(self) -> str:
        """As it is written: ``dns 192.0.2.53 53``."""
        return f"{self.kind} {self.address} {self.port}"


class ServerAddress(NamedTuple):
    """A name server of a zone; ``port`` 0 if none is written: 53, or 853 by TLS (RFC 7858 §3.1)."""

    address: Address
    port: int

    def __str__(self) -> str:
        """As it is written: ``10.0.0.53`` or ``10.0.0.53 5353``."""
        return f"{self.address} {self.port}" if self.port else str(self.address)


ServerWord = ServerAddress | str
"""A name server, or the absolute path of a file whose nameserver lines name some (resolv.conf(5))."""


class QueryLog(enum.Enum):
    """Which questions to the resolver are logged."""

    NONE = "none"
    #: those that got no good answer
    FAILURES = "failures"
    ALL = "all"


_Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 to 65535, 0 for any free one")]
_Seconds = Annotated[float, Meta(gt=0, le=366 * 86400, description="a number of seconds above 0, at most a year")]
_Workers = Annotated[int, Meta(ge=0, le=64, description="a number from 0 to 64, 0 for one a core")]
_Sessions = Annotated[
    int, Meta(ge=0, le=10**9, description="a number from 0 to 1000000000, 0 for as many as there are descriptors")
]
_Dialect = Annotated[Dialect, Meta(description='"classic" or "1992"')]
_Ident = Annotated[IdentLevel, Meta(description='"off", "lenient" or "strict"')]
_Addresses = Annotated[tuple[Address, ...], Meta(description='a list of addresses, such as ["10.0.0.1", "fd00::1"]')]
_Networks = Annotated[
    tuple[AddressPattern, ...], Meta(description='a list of prefixes, such as ["10.0.0.0/8", "fd00::/8"]')
]
_File = Annotated[str, Meta(description="the name of a file")]
_FileOrNone = Annotated[str, Meta(description='the name of a file, or "" for none')]
_Flag = Annotated[bool, Meta(description="true or false")]
_Interface = Annotated[str, Meta(description='the name of a network interface, such as "eth1"')]
_WaysOut = Annotated[
    tuple[EgressWord, ...],
    Meta(description='an uplink, an interface or an address of one, or a list of such, as in ["wan1", "wan2"]'),
]
_TableNumber = Annotated[int, Meta(ge=1000, le=2**31, description="a number from 1000 to 2147483648")]
_Priority = Annotated[int, Meta(ge=1, le=32000, description="a number from 1 to 32000")]
_PROBES = 'a list of probes, such as ["tcp 198.51.100.1 443", "dns 192.0.2.53"]'
_Rounds = Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")]
_Delay = Annotated[float, Meta(ge=0, le=86400, description="a number of seconds from 0 to 86400, a day")]
_LIVE_SESSIONS = '"keep" or "cut"'
_Gateways = Annotated[tuple[Address, ...], Meta(description='a list of addresses, such as ["192.0.2.254", "fe80::1"]')]
_GroupOrNone = Annotated[str, Meta(description='the name of a group, or "" for none')]
_User = Annotated[str, Meta(min_length=1, description="the name of a user")]
_ClassicLog = Annotated[str, Meta(description='"syslog", "journald", "stderr", "none" or the absolute path of a file')]
_JsonLog = Annotated[str, Meta(description='"none", "stdout", "stderr" or the absolute path of a file')]
_LogClasses = Annotated[
    tuple[str, ...], Meta(description='a list of classes of lines, out of "denied", "connected" and "resource"')
]
_Facility = Annotated[str, Meta(description=f"one of {', '.join(FACILITIES)}")]


_NAMES = 'a list of host names, such as ["lab.corp.example"]'
_Servers = Annotated[
    tuple[ServerWord, ...],
    Meta(description='a list of name servers, such as ["10.0.0.53", "10.0.0.54 5353"], or of absolute names of files'),
]
_Names = Annotated[tuple[str, ...], Meta(description=_NAMES)]
_Records = Annotated[tuple[str, ...], Meta(description='a list of records, such as ["printer A 10.0.0.9"]')]
_FlagOrNone = Annotated[bool | None, Meta(description="true or false")]
_NameOrNone = Annotated[str, Meta(description='a name, such as "corp.example", or "" for none')]
_ZoneName = Annotated[str, Meta(description='the name of a zone, such as "corp.example", or "." for all others')]
_LeastTtl = Annotated[int, Meta(ge=0, le=86400, description="a number of seconds from 0 to 86400, a day")]
_MostTtl = Annotated[int, Meta(ge=1, le=604800, description="a number of seconds from 1 to 604800, a week")]
_ResolverWorkers = Annotated[int, Meta(ge=1, le=64, description="a number from 1 to 64")]
_CacheSize = Annotated[int, Meta(ge=1000, le=10**7, description="a number from 1000 to 10000000")]
_Rate = Annotated[int, Meta(ge=0, le=10**6, description="a number from 0 to 1000000, 0 for any")]
_Outstanding = Annotated[int, Meta(ge=1, le=100_000, description="a number from 1 to 100000")]
_QueryLog = Annotated[QueryLog, Meta(description='"none", "failures" or "all"')]


class InternalSettings(Struct, frozen=True):
    """``[internal]``: where clients connect; ``addresses`` count only while ``interface`` is empty.

    ``networks`` empty: those of the addresses or of the interface, as the kernel has them.
    """

    interface: _Interface = ""
    addresses: _Addresses = (Address(4, 0x7F00_0001),)
    port: _Port = 1080
    networks: _Networks = ()


class ExternalSettings(Struct, frozen=True):
    """``[external]``: the ways out where no line names one, and how all uplinks are kept and watched.

    ``interface`` empty: none. ``interval``, ``timeout`` and ``failback`` in seconds, ``fall`` and ``rise`` in rounds.
    """

    interface: _WaysOut = ()
    policy_routing: _Flag = True
    remove_at_exit: _Flag = False
    table: _TableNumber = 20000
    priority: _Priority = 20000
    probes: Annotated[tuple[Probe, ...], Meta(description=_PROBES)] = ()
    interval: _Seconds = 5.0
    timeout: _Seconds = 2.0
    fall: _Rounds = 3
    rise: _Rounds = 2
    failback: _Delay = 30.0
    sessions: Annotated[LiveSessions, Meta(description=_LIVE_SESSIONS)] = LiveSessions.KEEP


class UplinkSettings(Struct, frozen=True):
    """``[uplinks.NAME]``: one uplink as it is written; `uplink_settings` fills in the rest.

    ``interface`` empty: that of the uplink's name. ``gateways`` empty: those of the kernel's own default routes.
    ``probes`` and ``sessions`` None: those of ``[external]``.
    """

    interface: _Interface = ""
    gateways: _Gateways = ()
    probes: Annotated[tuple[Probe, ...] | None, Meta(description=_PROBES)] = None
    sessions: Annotated[LiveSessions | None, Meta(description=_LIVE_SESSIONS)] = None


_Uplinks = Annotated[
    Mapping[str, UplinkSettings], Meta(description="a table for each uplink under its name, such as [uplinks.wan1]")
]


class FilesSettings(Struct, frozen=True):
    """``[files]``: the files that are read besides; ``routes`` and ``passwords`` empty: none."""

    access: _File = "/etc/sockd.conf"
    routes: _FileOrNone = ""
    passwords: _FileOrNone = ""


class SockdSettings(Struct, frozen=True):
    """``[sockd]``: the daemon itself. ``user`` counts when it is started as root.

    ``titles``: whether ps(1) shows what each process does (FOR_PS, ``spec/socks4.md`` §9.3).
    """

    workers: _Workers = 0
    ident: _Ident = IdentLevel.OFF
    sessions: _Sessions = 0
    user: _User = "nobody"
    pidfile: _File = "/run/sockd.pid"
    titles: _Flag = True


class ZoneSettings(Struct, frozen=True):
    """``[[resolver.zone]]``: the names that one set of name servers answers; ``name`` is needed, empty only if refused.

    ``servers`` empty: there are only the local names. ``interface`` empty: as `zone_ways` says. ``clients`` empty: all
    who may ask. ``private`` and ``stale`` None: as `is_private` and `gives_stale` say. TTLs in seconds.
    """

    name: _ZoneName = ""
    networks: _Networks = ()
    servers: _Servers = ()
    tls: _NameOrNone = ""
    interface: _WaysOut = ()
    exclude: _Names = ()
    clients: _Networks = ()
    hosts: _FileOrNone = ""
    records: _Records = ()
    private: _FlagOrNone = None
    stale: _FlagOrNone = None
    allow: _Names = ()
    min_ttl: _LeastTtl = 0
    max_ttl: _MostTtl = 86400
    negative_ttl: _LeastTtl = 3600


class ResolverSettings(Struct, frozen=True):
    """``[resolver]``: split DNS for the inside; without any ``zone`` there is no resolver.

    ``addresses`` empty: where ``[internal]`` is. ``clients`` empty: the networks of ``[internal]``. ``cache`` counts
    answers of a zone, in each process; ``rate`` questions a second and ``outstanding`` questions at a time, both of
    each client.
    """

    addresses: _Addresses = ()
    port: _Port = 53
    workers: _ResolverWorkers = 1
    domain: _NameOrNone = ""
    clients: _Networks = ()
    hosts: _FileOrNone = ""
    cache: _CacheSize = 100_000
    rate: _Rate = 0
    outstanding: _Outstanding = 1000
    log: _QueryLog = QueryLog.FAILURES
    zone: Annotated[
        tuple[ZoneSettings, ...], Meta(description="tables that each begin with a line [[resolver.zone]]")
    ] = ()


class ControlSettings(Struct, frozen=True):
    """``[control]``: the operator's socket; ``socket`` empty: none. ``group`` may use it beside root; empty: nobody."""

    socket: _FileOrNone = "/run/sockd/control.sock"
    group: _GroupOrNone = ""


class MetricsSettings(Struct, frozen=True):
    """``[metrics]``: where Prometheus fetches them; ``addresses`` empty: nowhere."""

    addresses: _Addresses = ()
    port: _Port = 9464


class TimeoutsSettings(Struct, frozen=True):
    """``[timeouts]``: seconds. The originals' values where they had one (``spec/socks4.md`` §1.5)."""

    handshake: _Seconds = 30.0
    connect: _Seconds = 120.0
    idle: _Seconds = 7200.0
    lookup: _Seconds = 10.0
    ident: _Seconds = 15.0
    command: _Seconds = 60.0


class LogSettings(Struct, frozen=True):
    """``[log]``: where the records of sessions go, in either form; ``facility`` is a name of `FACILITIES`.

    ``classes``, out of `LOG_CLASSES`: which lines about sessions are in the classic log.
    """

    classic: _ClassicLog = "syslog"
    json: _JsonLog = "none"
    facility: _Facility = "daemon"
    classes: _LogClasses = LOG_CLASSES


class Settings(Struct, frozen=True):
    """The whole of ``gateway.toml``; an empty file gives the defaults.

    ``multihomed``: whether a connection needs a way out that a file names; once read, true exactly if there are any.
    ``uplinks`` are in the order of the file.
    """

    dialect: _Dialect = Dialect.CLASSIC
    multihomed: _Flag = False
    internal: InternalSettings = InternalSettings()
    external: ExternalSettings = ExternalSettings()
    uplinks: _Uplinks = MappingProxyType({})
    files: FilesSettings = FilesSettings()
    sockd: SockdSettings = SockdSettings()
    resolver: ResolverSettings = ResolverSettings()
    timeouts: TimeoutsSettings = TimeoutsSettings()
    log: LogSettings = LogSettings()
    control: ControlSettings = ControlSettings()
    metrics: MetricsSettings = MetricsSettings()


def parse_settings(text: str, path: str) -> Settings:
    """The settings in a TOML text. Relative names of files are taken from the folder of ``path``.

    Raises ConfigError with every mistake: unknown tables and keys, wrong types, values out of range, contradictions.
    """
    settings, problems = examine_settings(text, path)
    if problems or settings is None:
        raise ConfigError(problems)
    return settings


def examine_settings(text: str, path: str) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What can be understood, with the defaults for all else, and every mistake in the order of the file.

    For whoever wants to look at the files that the settings name even though the settings are refused. None when the
    text is no TOML at all, or when its mistakes concern those files: ``dialect`` and ``[files]``.
    """
    try:
        data = load_toml(text, path)
    except ConfigError as error:
        return None, error.problems
    written, faults = read_tables(Settings, data, os.path.dirname(path), _GRAMMAR)
    settings = msgspec.structs.replace(written, multihomed=_names_ways_out(written))
    usable = not any(fault.key[0] in ("dialect", "files") for fault in faults)
    return settings if usable else None, place_faults(faults, text, path)


def uplink_settings(settings: Settings, name: str) -> UplinkSettings:
    """The settings of the uplink of that name, those of ``[external]`` filled in, also if it has no table.

    ``interface`` is then never empty; ``probes`` and ``sessions`` are never None.
    """
    own = settings.uplinks.get(name, UplinkSettings())
    return UplinkSettings(
        interface=own.interface or name,
        gateways=own.gateways,
        probes=settings.external.probes if own.probes is None else own.probes,
        sessions=settings.external.sessions if own.sessions is None else own.sessions,
    )


def is_private(zone: ZoneSettings) -> bool:
    """Whether the names of the zone are the inside's own: they never leave by a way to the outside."""
    return zone.name != "." if zone.private is None else zone.private


def gives_stale(zone: ZoneSettings) -> bool:
    """Whether an answer whose time is over is given while no server of the zone answers (RFC 8767)."""
    return not is_private(zone) if zone.stale is None else zone.stale


def zone_ways(settings: Settings, zone: ZoneSettings) -> tuple[EgressWord, ...]:
    """The ways out to the servers of a zone, the preferred one first; none: by the kernel's own routes."""
    if zone.interface:
        return zone.interface
    inside = settings.internal.interface
    return ((inside,) if inside else ()) if is_private(zone) else settings.external.interface


def _names_ways_out(settings: Settings) -> bool:
    return bool(settings.external.interface or settings.files.routes)


# Readers: what TOML has no type for. Each raises msgspec.ValidationError for what is of the wrong kind as a whole, and
# BadField where it can say more.


def _read_texts(raw: Any, _folder: str) -> list[str]:
    return msgspec.convert(raw, list[str])


def _read_addresses_or_none(raw: Any, folder: str) -> tuple[Address, ...]:
    return _each(_read_address, _read_texts(raw, folder))


def _read_addresses(raw: Any, folder: str) -> tuple[Address, ...]:
    found = _each(_read_address, _read_texts(raw, folder))
    if not found:
        raise BadField("at least one address is needed, or nobody can connect")
    return found


def _read_address(text: str) -> Address:
    address = parse_address(text)
    if address is None:
        hint = "; the zone after '%' is not written" if "%" in text else ""
        raise BadField(f"{quoted(text)} is no IPv4 or IPv6 address{hint}")
    return address


_Item = TypeVar("_Item")


def _each(read: Callable[[str], _Item], texts: list[str]) -> tuple[_Item, ...]:
    """The values of a list in which none may stand twice."""
    found: list[_Item] = []
    for text in texts:
        item = read(text)
        if item in found:
            raise BadField(f"{quoted(text)} stands there twice")
        found.append(item)
    return tuple(found)


def _read_networks(raw: Any, folder: str) -> tuple[AddressPattern, ...]:
    return tuple(map(_read_network, _read_texts(raw, folder)))


def _read_network(text: str) -> AddressPattern:
    pattern, warning = parse_prefix(text)
    if warning is not None:
        raise BadField(f"{quoted(text)}: {warning}")
    return pattern


_INTERFACE_LENGTH = 15
"""Bytes: IFNAMSIZ of linux/if.h less the zero byte at the end."""

_INTERFACE = re.compile(r"(?!\.\.?\Z)[^ /:]*")


def _read_interface(raw: Any, _folder: str) -> str:
    """A name that the kernel can give an interface (``dev_valid_name`` in net/core/dev.c), or empty."""
    name = msgspec.convert(raw, str)
    possible = name.isprintable() and _INTERFACE.fullmatch(name) and len(name.encode()) <= _INTERFACE_LENGTH
    if not possible:
        rule = f"at most {_INTERFACE_LENGTH} bytes, no blank, no '/' and no ':'"
        raise BadField(f"{quoted(name)} is no name of an interface: {rule}")
    return name


def _read_uplink_name(name: str, _folder: str) -> str:
    try:
        if parse_way(name) == name:
            return name
    except BadField:
        pass
    raise BadField("an uplink's name has letters, digits, '_', '.' and '-', and does not look like an address")


def _read_ways_out(raw: Any, folder: str) -> tuple[EgressWord, ...]:
    if raw == "":
        return ()
    found = _each(parse_way, [raw] if isinstance(raw, str) else _read_texts(raw, folder))
    if not found:
        raise BadField('at least one way out is needed in the list; for none, write ""')
    return found


def _read_gateways(raw: Any, folder: str) -> tuple[Address, ...]:
    found = _each(_read_host, _read_texts(raw, folder))
    if len({address.version for address in found}) < len(found):
        raise BadField("more than one gateway of the same family; an uplink has one for IPv4 and one for IPv6 at most")
    return found


_NO_HOSTS = tuple(
    parse_prefix(prefix)[0] for prefix in ("0.0.0.0", "224.0.0.0/4", "255.255.255.255", "::/128", "ff00::/8")
)
"""Unspecified, multicast and broadcast (RFC 6890, RFC 5771, RFC 4291 §2.7)."""


def _read_host(text: str) -> Address:
    address = _read_address(text)
    if any(pattern.covers(*address) for pattern in _NO_HOSTS):
        raise BadField(f"{quoted(text)} is no address of a host")
    return address


_PROBE_PORTS = MappingProxyType({"tcp": "", "dns": "53"})
"""The kinds of probes, and the port of each that need not be written."""

_PROBE_PORT = re.compile(r"[1-9][0-9]{0,4}")


def _read_probes(raw: Any, folder: str) -> tuple[Probe, ...]:
    return _each(_read_probe, _read_texts(raw, folder))


def _read_probe(text: str) -> Probe:
    kind, *rest = [word for word in text.split(" ") if word] or [""]
    if kind not in _PROBE_PORTS or len(rest) not in (1, 2):
        raise BadField(f"{quoted(text)} is no probe, which is written 'tcp 198.51.100.1 443' or 'dns 192.0.2.53'")
    try:
        address = _read_host(rest[0])
    except BadField as fault:
        raise BadField(f"{quoted(text)}: {fault}") from None
    port = rest[1] if len(rest) == 2 else _PROBE_PORTS[kind]
    if not port:
        raise BadField(f"{quoted(text)}: the port is missing, as in 'tcp 198.51.100.1 443'")
    if _PROBE_PORT.fullmatch(port) is None or int(port) > 0xFFFF:
        raise BadField(f"{quoted(text)}: {quoted(port)} is no port from 1 to 65535")
    return Probe(kind, address, int(port))


def _read_servers(raw: Any, folder: str) -> tuple[ServerWord, ...]:
    return _each(_read_server, _read_texts(raw, folder))


def _read_server(text: str) -> ServerWord:
    if text.startswith("/"):
        return _read_file(text, "")
    address, *port = [word for word in text.split(" ") if word] or [""]
    if len(port) > 1:
        raise BadField(f"{quoted(text)} is no name server, which is written '10.0.0.53' or '10.0.0.53 5353'")
    try:
        host = _read_host(address)
    except BadField as fault:
        raise BadField(
            f"{fault}; a name server is written '10.0.0.53', '10.0.0.53 5353' or '/etc/resolv.conf'"
        ) from None
    if port and (_PROBE_PORT.fullmatch(port[0]) is None or int(port[0]) > 0xFFFF):
        raise BadField(f"{quoted(text)}: {quoted(port[0])} is no port from 1 to 65535")
    return ServerAddress(plain(host), int(port[0]) if port else 0)


def _read_name_or_none(raw: Any, _folder: str) -> str:
    text = msgspec.convert(raw, str)
    return _read_name(text) if text else ""


def _read_zone_name(raw: Any, _folder: str) -> str:
    """As it is written: the zone is called so wherever it is shown."""
    text = msgspec.convert(raw, str)
    if text != ".":
        _read_name(text)
    return text


def _read_names(raw: Any, folder: str) -> tuple[str, ...]:
    return _each(_read_name, _read_texts(raw, folder))


def _read_name(text: str) -> str:
    """In canonical form."""
    if not text.isascii():
        raise BadField(f"{quoted(text)} is not ASCII; write an international name in its 'xn--' form")
    if parse_address(text) is not None:
        raise BadField(f"{quoted(text)} is an address, not a name")
    try:
        return canonical_name(text)
    except BadName as fault:
        raise BadField(f"{quoted(text)}: {fault}") from None


def _read_records(raw: Any, folder: str) -> tuple[str, ...]:
    return _each(_read_record, _read_texts(raw, folder))


def _read_record(text: str) -> str:
    """What stands in it is understood by the layer that knows types of records."""
    if not text.isprintable():
        raise BadField(f"{quoted(text)} holds a character that can not be seen")
    if len(text.split()) < 3:
        raise BadField(f"{quoted(text)} is no record, which is written 'printer A 10.0.0.9'")
    return text


_QUERY_LOGS = MappingProxyType({choice.value: choice for choice in QueryLog})


def _read_query_log(raw: Any, _folder: str) -> QueryLog:
    return _chosen(_QUERY_LOGS, raw)


_LIVE = MappingProxyType({choice.value: choice for choice in LiveSessions})


def _read_live_sessions(raw: Any, _folder: str) -> LiveSessions:
    return _chosen(_LIVE, raw)


def _read_ident(raw: Any, _folder: str) -> IdentLevel:
    return _chosen(IDENT_LEVELS, raw)


def _read_facility(raw: Any, _folder: str) -> str:
    _chosen(FACILITIES, raw)
    return str(raw)


def _read_log_classes(raw: Any, folder: str) -> tuple[str, ...]:
    return _each(_read_log_class, _read_texts(raw, folder))


def _read_log_class(text: str) -> str:
    if text not in LOG_CLASSES:
        raise BadField(f"{quoted(text)} is no class of lines, which are {', '.join(LOG_CLASSES)}")
    return text


_Choice = TypeVar("_Choice")


def _chosen(choices: Mapping[str, _Choice], raw: Any) -> _Choice:
    if not isinstance(raw, str) or raw not in choices:
        raise msgspec.ValidationError
    return choices[raw]


def _read_file(raw: Any, folder: str) -> str:
    path = _read_file_or_none(raw, folder)
    if not path:
        raise BadField("the name of a file is missing")
    return path


def _read_file_or_none(raw: Any, folder: str) -> str:
    path = msgspec.convert(raw, str)
    if not path.isprintable():
        raise BadField(f"{quoted(path)} holds a character that can not be seen")
    return os.path.join(folder, path) if path else ""


def _log_reader(words: tuple[str, ...]) -> Callable[[Any, str], str]:
    def read(raw: Any, folder: str) -> str:
        if raw in words:
            return str(raw)
        if not isinstance(raw, str) or not raw.startswith("/"):
            raise msgspec.ValidationError
        return _read_file(raw, folder)

    return read


# Checks: what keys must be to one another. What was refused already is not held against other keys.


def _check_internal(read: Read) -> Iterator[Fault]:
    if read.written.get("interface", "") != "" and "addresses" in read.written:
        yield Fault(
            ("internal", "interface"),
            "internal.interface: internal.addresses is written too; the interface stands for all its addresses, so "
            "only one of the two can be written",
        )


def _check_times(read: Read) -> Iterator[Fault]:
    interval, timeout = read.value.interval, read.value.timeout
    if timeout > interval and not read.refused & {("external", "interval"), ("external", "timeout")}:
        key = "timeout" if "timeout" in read.written else "interval"
        yield Fault(
            ("external", key),
            f"external.{key}: a probe may take {timeout:.15g} seconds, and the next round comes after {interval:.15g}: "
            "timeout must not be above interval",
        )


_WAYS_OUT: frozenset[tuple[str, ...]] = frozenset(
    {("external",), ("external", "interface"), ("files",), ("files", "routes")}
)


def _check_multihomed(read: Read) -> Iterator[Fault]:
    unclear = read.refused & (_WAYS_OUT | {("multihomed",)})
    if "multihomed" not in read.written or unclear or read.value.multihomed is _names_ways_out(read.value):
        return
    if read.value.multihomed:
        fault = "true needs ways out: write [external] interface, or [files] routes"
    else:
        ways = {"[external] interface": read.value.external.interface, "[files] routes": read.value.files.routes}
        written = " and ".join(name for name, value in ways.items() if value)
        fault = f"false contradicts {written}: a gateway with ways out is multihomed; remove the one or the other"
    yield Fault(("multihomed",), f"multihomed: {fault}")


def _check_interfaces(read: Read) -> Iterator[Fault]:
    """Each uplink has an interface that can be, and that no other has."""
    owners: dict[str, str] = {}
    for name, uplink in read.value.uplinks.items():
        key = ("uplinks", name, "interface")
        if key in read.refused:
            continue
        device = uplink.interface or name
        place = key if uplink.interface else key[:-1]
        if len(device.encode()) > _INTERFACE_LENGTH:
            fault = f"no interface has a name of more than {_INTERFACE_LENGTH} bytes; write interface = ..."
            yield Fault(place, f"{dotted(place)}: {fault}")
        elif device in owners:
            fault = f"{quoted(device)} is the interface of {dotted(('uplinks', owners[device]))} already"
            yield Fault(place, f"{dotted(place)}: {fault}")
        owners.setdefault(device, name)


def _fault(key: Key, message: str) -> Fault:
    return Fault(key, f"{dotted(key)}: {message}")


def _check_zone_name(read: Read) -> Iterator[Fault]:
    key = (*read.key, "name")
    if not read.value.name and key not in read.refused:
        yield _fault(read.key, 'the name is missing, as in name = "corp.example"; all other names are in name = "."')


def _is_below(name: str, zone: str) -> bool:
    """Whether a canonical name is the zone's or below it."""
    apex = zone.lower().removesuffix(".")
    return not apex or name == apex or name.endswith(f".{apex}")


def _check_names_of_zone(read: Read) -> Iterator[Fault]:
    """Names that can not be excluded from this zone, or allowed in it."""
    zone = read.value
    if not zone.name:
        return
    for name in zone.exclude:
        if zone.name == ".":
            fault = (
                f"{name}: no zone is larger than this one; write a zone {name} of its own, without servers if need be"
            )
            yield _fault((*read.key, "exclude"), fault)
        elif zone.name.lower().removesuffix(".") == name:
            yield _fault((*read.key, "exclude"), f"{name} is the zone itself")
        elif not _is_below(name, zone.name):
            yield _fault((*read.key, "exclude"), f"{name} is not in the zone")
    for name in zone.allow:
        if is_private(zone):
            fault = f"{name}: a private zone may give inside addresses for all its names; remove the key"
            yield _fault((*read.key, "allow"), fault)
        elif not _is_below(name, zone.name):
            yield _fault((*read.key, "allow"), f"{name} is not in the zone")


def _check_servers(read: Read) -> Iterator[Fault]:
    zone = read.value
    servers = (*read.key, "servers")
    if zone.servers or servers in read.refused:
        wrong = [str(server) for server in zone.servers if isinstance(server, ServerAddress) and server.port == 53]
        if zone.tls and wrong:
            fault = f"{wrong[0]}: port 53 is never one of DNS over TLS; 853 is, and need not be written"
            yield _fault(servers, fault)
        return
    for name in ("tls", "interface", "stale", "allow"):
        if getattr(zone, name):
            yield _fault((*read.key, name), "a zone without servers has no use for it: add servers, or remove it")


def _check_stale(read: Read) -> Iterator[Fault]:
    if is_private(read.value) and read.value.stale:
        fault = (
            "old answers of an inside zone would hide that its servers are down; leave it out, or say private = false "
            "if the names are not the inside's own"
        )
        yield _fault((*read.key, "stale"), fault)


def _check_ttls(read: Read) -> Iterator[Fault]:
    zone = read.value
    if zone.min_ttl > zone.max_ttl:
        name = "min_ttl" if "min_ttl" in read.written else "max_ttl"
        yield _fault((*read.key, name), f"min_ttl, {zone.min_ttl}, must not be above max_ttl, {zone.max_ttl}")


def _check_resolver(read: Read) -> Iterator[Fault]:
    """Without a zone there is no resolver, so its other keys would count for nothing."""
    if read.written.get("zone") or (*read.key, "zone") in read.refused:
        return
    defaults = ResolverSettings()
    for name in read.written:
        if getattr(read.value, name, None) != getattr(defaults, name, None):
            fault = (
                'has no effect, since there is no zone; a first one begins with a line [[resolver.zone]], name = "."'
            )
            yield _fault((*read.key, name), fault)


def _check_same_zones(read: Read) -> Iterator[Fault]:
    """Zones of one name are for different clients; which of them counts is seen by the order."""
    seen: dict[str, list[ZoneSettings]] = {}
    for key, zone in _zones(read.key, read.value, read.written):
        others = seen.setdefault(zone.name.lower().removesuffix("."), [])
        if zone.name and (fault := _same_zone(zone, others)):
            yield _fault(key, fault)
        others.append(zone)


def _same_zone(zone: ZoneSettings, others: list[ZoneSettings]) -> str:
    """What is wrong with one more zone of that name; empty: nothing."""
    if any(not other.clients for other in others):
        return "a zone of this name without clients, which is for everybody, stands before it; write that one last"
    if zone.clients and any(set(zone.clients) <= set(other.clients) for other in others):
        return "a zone of this name for the same clients stands before it"
    return ""


def _zones(key: Key, resolver: ResolverSettings, written: Mapping[str, Any]) -> Iterator[tuple[Key, ZoneSettings]]:
    raw = written.get("zone", [])
    for number, zone in enumerate(resolver.zone):
        yield item_key((*key, "zone"), number, raw[number]), zone


def _check_ways_of_zones(read: Read) -> Iterator[Fault]:
    settings: Settings = read.value
    written = read.written.get("resolver", {})
    outside = _outside_words(settings)
    for key, zone in _zones(("resolver",), settings.resolver, written if isinstance(written, dict) else {}):
        here = (*key, "interface")
        if not zone.servers or not zone.name or here in read.refused:
            continue
        leaks = [str(way) for way in zone_ways(settings, zone) if way in outside]
        if is_private(zone) and leaks:
            fault = (
                f"{leaks[0]} is a way to the outside and would let inside names out; name the interface to the inside, "
                "or say private = false if these names may be seen there"
            )
            yield _fault(here if zone.interface else key, fault)
        elif not zone_ways(settings, zone) and _names_ways_out(settings) and not read.refused & _INTERFACES:
            home = "[internal] interface" if is_private(zone) else "[external] interface"
            fault = f"the way to its servers is not known: write interface = ..., or {home}"
            yield _fault(key, fault)


_INTERFACES: frozenset[Key] = frozenset({("internal", "interface"), ("external", "interface")})


def _outside_words(settings: Settings) -> frozenset[EgressWord]:
    devices = (uplink_settings(settings, name).interface for name in settings.uplinks)
    return frozenset({*settings.external.interface, *settings.uplinks, *devices})


_GRAMMAR = Grammar(
    readers=MappingProxyType(
        {
            (InternalSettings, "interface"): _read_interface,
            (InternalSettings, "addresses"): _read_addresses,
            (InternalSettings, "networks"): _read_networks,
            (ExternalSettings, "interface"): _read_ways_out,
            (ExternalSettings, "probes"): _read_probes,
            (ExternalSettings, "sessions"): _read_live_sessions,
            (Settings, "uplinks"): _read_uplink_name,
            (UplinkSettings, "interface"): _read_interface,
            (UplinkSettings, "gateways"): _read_gateways,
            (UplinkSettings, "probes"): _read_probes,
            (UplinkSettings, "sessions"): _read_live_sessions,
            (FilesSettings, "access"): _read_file,
            (FilesSettings, "routes"): _read_file_or_none,
            (FilesSettings, "passwords"): _read_file_or_none,
            (SockdSettings, "ident"): _read_ident,
            (SockdSettings, "pidfile"): _read_file,
            (ControlSettings, "socket"): _read_file_or_none,
            (MetricsSettings, "addresses"): _read_addresses_or_none,
            (ResolverSettings, "addresses"): _read_addresses_or_none,
            (ResolverSettings, "domain"): _read_name_or_none,
            (ResolverSettings, "clients"): _read_networks,
            (ResolverSettings, "hosts"): _read_file_or_none,
            (ResolverSettings, "log"): _read_query_log,
            (ZoneSettings, "name"): _read_zone_name,
            (ZoneSettings, "networks"): _read_networks,
            (ZoneSettings, "servers"): _read_servers,
            (ZoneSettings, "tls"): _read_name_or_none,
            (ZoneSettings, "interface"): _read_ways_out,
            (ZoneSettings, "exclude"): _read_names,
            (ZoneSettings, "clients"): _read_networks,
            (ZoneSettings, "hosts"): _read_file_or_none,
            (ZoneSettings, "records"): _read_records,
            (ZoneSettings, "allow"): _read_names,
            (LogSettings, "classic"): _log_reader(("syslog", "journald", "stderr", "none")),
            (LogSettings, "json"): _log_reader(("none", "stdout", "stderr")),
            (LogSettings, "facility"): _read_facility,
            (LogSettings, "classes"): _read_log_classes,
        }
    ),
    checks=MappingProxyType(
        {
            InternalSettings: (_check_internal,),
            ExternalSettings: (_check_times,),
            ZoneSettings: (_check_zone_name, _check_names_of_zone, _check_servers, _check_stale, _check_ttls),
            ResolverSettings: (_check_resolver, _check_same_zones),
            Settings: (_check_multihomed, _check_interfaces, _check_ways_of_zones),
        }
    ),
)
