"""Netlink's messages and our values, in both directions; no socket.

Messages come from pyroute2 as dictionaries with attributes (rtnetlink(7)). What we do not understand, or have no use
for, is None or nothing, never a guess.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.fibmsg import (
    FR_ACT_BLACKHOLE,
    FR_ACT_PROHIBIT,
    FR_ACT_TO_TBL,
    FR_ACT_UNREACHABLE,
    fibmsg,
)
from pyroute2.netlink.rtnl.ifaddrmsg import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_OPTIMISTIC,
    IFA_F_SECONDARY,
    IFA_F_TENTATIVE,
)
from pyroute2.netlink.rtnl.ifinfmsg import IFF_RUNNING, IFF_UP
from pyroute2.netlink.rtnl.rtmsg import rtmsg, rtmsg_base

from gateway.address import Address, parse_address
from gateway.netlink.model import (
    NULL_KINDS,
    AddressScope,
    InterfaceAddress,
    KernelRoute,
    Link,
    Prefix,
    RouteKind,
    RouterPreference,
    RoutingRule,
    RuleAction,
)

PROTOCOL = 108
"""Marks every route and rule of ours (RTPROT_*, FRA_PROTOCOL): only what carries it is ever seen as ours.

Free in the kernel's list and in those of BIRD, FRR, babeld, Open/R, keepalived and OVN: below 100 the kernel hands out
numbers, from 186 on the routing protocols have theirs. The number means nothing to the kernel itself.
"""

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(family): version for version, family in FAMILIES.items()}

MAIN = 254
_HOP_DEAD, _HOP_ON_LINK = 1, 4
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_TABLE_IN_ATTRIBUTE = 252
"""What the header says of a table whose number has more than eight bits (RT_TABLE_COMPAT)."""

_ACTIONS: Mapping[int, RuleAction] = {
    FR_ACT_TO_TBL: "lookup",
    FR_ACT_BLACKHOLE: "blackhole",
    FR_ACT_UNREACHABLE: "unreachable",
    FR_ACT_PROHIBIT: "prohibit",
}
_ACTION_NUMBERS = {action: number for number, action in _ACTIONS.items()}

_KINDS: Mapping[int, RouteKind] = {1: "unicast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}

_PREFERENCES: Mapping[int, RouterPreference] = {0: "medium", 1: "high", 3: "low"}
_PREFERENCE_NUMBERS = {preference: number for number, preference in _PREFERENCES.items()}
"""Two bits (RFC 4191 §2.1); the one that is left over is reserved, and means medium."""

_ATTRIBUTE_HEAD = 4
"""Bytes of length and type before what an attribute says (rtnetlink(3))."""

Message = Any
"""One of pyroute2's, which has no types."""

_METRICS_AS_BYTES = tuple((name, "cdata" if name == "RTA_METRICS" else form) for name, form in rtmsg.nla_map)
_route_to_send: Callable[[], Message] = type("_Route", (rtmsg_base, nlmsg), {"nla_map": _METRICS_AS_BYTES})
"""Makes a message whose metrics go as the bytes that came, so that none can be lost that pyroute2 does not know.

Not a kind of rtmsg: once one of those was made, what is derived of it has its attributes, too.
"""


# From the kernel


def link_of(message: Message) -> Link:
    """An interface."""
    flags = int(message["flags"])
    up = bool(flags & IFF_UP)
    return Link(int(message["index"]), str(message.get_attr("IFLA_IFNAME")), up and bool(flags & IFF_RUNNING), up)


def address_of(message: Message) -> InterfaceAddress | None:
    """An address of an interface; None for families other than IPv4 and IPv6."""
    address = _address(message.get_attr("IFA_LOCAL")) or _address(message.get_attr("IFA_ADDRESS"))
    if address is None:
        return None
    flags = int(message.get_attr("IFA_FLAGS", message["flags"]))
    # An optimistic one can be used while it is checked (RFC 4429).
    unsure = flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC
    return InterfaceAddress(
        address,
        int(message["prefixlen"]),
        int(message["index"]),
        usable=not (unsure or flags & IFA_F_DADFAILED),
        scope=_scope(int(message["scope"])),
        deprecated=bool(flags & IFA_F_DEPRECATED),
        secondary=bool(flags & IFA_F_SECONDARY),
    )


def _scope(number: int) -> AddressScope:
    """The larger the number, the nearer; administrators may define more of them."""
    if number >= _SCOPE_HOST:
        return "host"
    return "link" if number >= _SCOPE_LINK else "global"


def _address(text: object) -> Address | None:
    return parse_address(text) if isinstance(text, str) else None


def routes_of(message: Message) -> Iterator[KernelRoute]:
    """The route in a message, once for each of its next hops.

    Routes that depend on more than the destination (a source network, a type of service) are none of ours to copy.
    """
    version, kind = _VERSIONS.get(int(message["family"])), _KINDS.get(int(message["type"]))
    if version is None or kind is None or message["src_len"] or message["tos"]:
        return
    route = _nowhere(message, version, kind)
    if kind in NULL_KINDS:
        yield route  # IPv6 has them by the loopback interface, which means nothing
        return
    for hop, flags, index in _hops(message):
        if index and not flags & _HOP_DEAD:
            yield replace(route, gateway=_gateway(hop), index=index, on_link=bool(flags & _HOP_ON_LINK))


def _nowhere(message: Message, version: int, kind: RouteKind) -> KernelRoute:
    """A route without next hop."""
    first = _address(message.get_attr("RTA_DST")) or Address(version, 0)
    return KernelRoute(
        version,
        int(message.get_attr("RTA_TABLE", message["table"])),
        Prefix(first, int(message["dst_len"])),
        None,
        0,
        False,
        int(message["scope"]),
        _address(message.get_attr("RTA_PREFSRC")),
        int(message.get_attr("RTA_PRIORITY", 0)),
        kind,
        _metrics(message),
        _PREFERENCES.get(int(message.get_attr("RTA_PREF", 0)), "medium"),
    )


def _metrics(message: Message) -> bytes:
    found = message.get_attr("RTA_METRICS")
    if found is None:
        return b""
    return bytes(found.data[found.offset + _ATTRIBUTE_HEAD : found.offset + found.length])


def _hops(message: Message) -> Iterator[tuple[Message, int, int]]:
    """What holds the next hop's gateway, its flags, and the index of its interface."""
    several = message.get_attr("RTA_MULTIPATH")
    if several:
        yield from ((hop, int(hop["flags"]), int(hop["oif"])) for hop in several)
    else:
        yield message, int(message["flags"]), int(message.get_attr("RTA_OIF", 0))


def _gateway(hop: Message) -> Address | None:
    via = hop.get_attr("RTA_VIA")
    return _address(via["addr"]) if via else _address(hop.get_attr("RTA_GATEWAY"))


def is_ours(message: Message) -> bool:
    """Whether a route or a rule carries our protocol number."""
    number = message.get_attr("FRA_PROTOCOL") if isinstance(message, fibmsg) else message["proto"]
    return bool(number == PROTOCOL)


def rule_of(message: Message) -> RoutingRule | None:
    """A rule; None for one of a kind that we never make."""
    version, action = _VERSIONS.get(int(message["family"])), _ACTIONS.get(int(message["action"]))
    if version is None or action is None:
        return None
    return RoutingRule(
        version,
        int(message.get_attr("FRA_PRIORITY", 0)),
        action,
        int(message.get_attr("FRA_TABLE", 0)) if action == "lookup" else 0,
        _selector(message, "SRC"),
        _selector(message, "DST"),
        message.get_attr("FRA_OIFNAME"),
        message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0,
    )


def _selector(message: Message, which: str) -> Prefix | None:
    address = _address(message.get_attr(f"FRA_{which}"))
    return None if address is None else Prefix(address, int(message[f"{which.lower()}_len"]))


# To the kernel


def route_message(route: KernelRoute) -> Message:
    """What adds or removes a route of ours."""
    message = _route_to_send()
    message["family"] = FAMILIES[route.version]
    message["dst_len"] = route.destination.length
    message["table"] = _header_table(route.table)
    message["proto"] = PROTOCOL
    message["scope"] = route.scope
    message["type"] = _KIND_NUMBERS[route.kind]
    message["flags"] = _HOP_ON_LINK if route.on_link else 0
    message["attrs"] = list(_route_attributes(route))
    return message


def _route_attributes(route: KernelRoute) -> Iterator[tuple[str, object]]:
    yield "RTA_TABLE", route.table
    yield "RTA_PRIORITY", route.metric
    if route.index:
        yield "RTA_OIF", route.index
    if route.destination.length:
        yield "RTA_DST", str(route.destination.address)
    if route.gateway is not None and route.gateway.version == route.version:
        yield "RTA_GATEWAY", str(route.gateway)
    elif route.gateway is not None:
        yield "RTA_VIA", {"family": FAMILIES[route.gateway.version], "addr": str(route.gateway)}
    if route.source is not None:
        yield "RTA_PREFSRC", str(route.source)
    if route.metrics:
        yield "RTA_METRICS", route.metrics
    if route.preference != "medium":
        yield "RTA_PREF", _PREFERENCE_NUMBERS[route.preference]


def rule_message(rule: RoutingRule) -> Message:
    """What adds or removes a rule of ours."""
    message = fibmsg()
    message["family"] = FAMILIES[rule.version]
    message["table"] = _header_table(rule.table)
    message["action"] = _ACTION_NUMBERS[rule.action]
    message["src_len"] = rule.source.length if rule.source else 0
    message["dst_len"] = rule.destination.length if rule.destination else 0
    message["attrs"] = list(_rule_attributes(rule))
    return message


def _rule_attributes(rule: RoutingRule) -> Iterator[tuple[str, object]]:
    yield "FRA_PRIORITY", rule.priority
    yield "FRA_PROTOCOL", PROTOCOL
    if rule.table:
        yield "FRA_TABLE", rule.table
    if rule.source:
        yield "FRA_SRC", str(rule.source.address)
    if rule.destination:
        yield "FRA_DST", str(rule.destination.address)
    if rule.oif:
        yield "FRA_OIFNAME", rule.oif
    if rule.suppress_default:
        yield "FRA_SUPPRESS_PREFIXLEN", 0


def _header_table(table: int) -> int:
    return table if table < 256 else _TABLE_IN_ATTRIBUTE


def routes_query(
    version: int, *, table: int = 0, protocol: int = 0, index: int = 0, kind: RouteKind | None = None
) -> Message:
    """What lists routes; the kernel leaves out those of other tables, protocols, interfaces (0: any) and kinds."""
    message = rtmsg()
    message["family"] = FAMILIES[version]
    message["type"] = _KIND_NUMBERS[kind] if kind else 0
    message["proto"] = protocol
    message["attrs"] = [(name, value) for name, value in (("RTA_TABLE", table), ("RTA_OIF", index)) if value]
    return message
