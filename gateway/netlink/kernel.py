"""The one place that talks netlink: it reads the whole state, and carries out steps; what it returns are plain values.

What is ours in the kernel is known by our protocol number alone. Tables and rules of the administrator are never
touched, not even those in the ranges of our own numbers.
"""

import asyncio
import errno
import select
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_EXCL,
    NLM_F_REQUEST,
)
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from gateway.errors import GatewayError
from gateway.netlink.desired import MAIN, VERSIONS, Wanted
from gateway.netlink.diff import Step, steps
from gateway.netlink.messages import (
    PROTOCOL,
    Message,
    address_of,
    is_ours,
    link_of,
    route_message,
    routes_of,
    routes_query,
    rule_message,
    rule_of,
)
from gateway.netlink.model import NULL_KINDS, KernelRoute, KernelState, Link, RouteKind, RoutingRule
from gateway.netlink.model import InterfaceAddress as InterfaceAddress  # callers import it from here, too

Devices = Callable[[KernelState], Collection[str]]
"""From links and addresses to the names of the interfaces whose routes matter, whoever made them."""

_TRIES = 5
"""How often the state is read anew when it changed meanwhile (NLM_F_DUMP_INTR)."""

_HOST_PROTOCOLS = (2, 3, 4, 9, 16)
"""Kernel, boot, static, RA and DHCP (rtnetlink(7)): a host's own networks and the administrator's words."""

_ADD = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
_REMOVE = NLM_F_REQUEST | NLM_F_ACK
_LIST = NLM_F_REQUEST | NLM_F_DUMP
_SKIP_STATISTICS = 8

_KINDS = {
    ("add", KernelRoute): (RTM_NEWROUTE, _ADD),
    ("remove", KernelRoute): (RTM_DELROUTE, _REMOVE),
    ("add", RoutingRule): (RTM_NEWRULE, _ADD),
    ("remove", RoutingRule): (RTM_DELRULE, _REMOVE),
}

_NO_FAULT: Mapping[str, Collection[int]] = {
    "add": {errno.EEXIST},
    "remove": {errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENODEV},
}
"""What happens when somebody, or the kernel itself, was faster: a notice of the change is under way then."""

_NO_INTERFACE = {errno.ENODEV, errno.ENETDOWN}

_NO_FAMILY = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}
"""From a kernel without IPv6, by which nothing can leave then."""


class KernelRefused(GatewayError):
    """The kernel did not do what was asked; the message names the operation and the reason."""


class Kernel:
    """A conversation with the kernel about the network namespace that it begins in; an async context manager."""

    def __init__(self) -> None:
        self._netlink: AsyncIPRoute | None = None
        self._names: dict[int, str] = {}

    async def __aenter__(self) -> "Kernel":
        """Raises KernelRefused."""
        # Strict checking (Linux 4.20) is what makes the kernel heed the filters of a query.
        netlink = AsyncIPRoute(strict_check=True, ext_ack=True)
        try:
            await netlink.setup_endpoint()
        except OSError as error:
            netlink.close()
            raise KernelRefused(f"cannot open a netlink socket: {error.strerror}") from None
        self._netlink = netlink
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    async def read(self, devices: Devices | None = None) -> KernelState:
        """What the kernel has now. Raises KernelRefused.

        ``devices`` is asked once links and addresses are known, and may be asked again. Of main's routes by other
        interfaces than those it names, only those are read that the host itself and its administrator made: the kernel
        leaves out the others, so that a routing daemon's thousands cost nothing. Without it, all of them are read.

        When things change faster than they are read, lists are as they came: something may be missing or twice. A
        notice of the change is under way then (`gateway.netlink.watch`).
        """
        state = KernelState()
        try:
            for _ in range(_TRIES):
                whole = _Whole()
                state = await self._read_once(devices, whole)
                if whole.intact:
                    break
        except (NetlinkError, OSError) as error:
            raise KernelRefused(f"cannot read the interfaces and routes of this host: {_reason(error)}") from None
        return state

    async def _read_once(self, devices: Devices | None, whole: "_Whole") -> KernelState:
        links = [link_of(message) async for message in self._list(_links_query(), RTM_GETLINK, whole)]
        self._names = {link.index: link.name for link in links}
        addresses = [address_of(message) async for message in self._list(ifaddrmsg(), RTM_GETADDR, whole)]
        rules = [rule_of(message) async for message in self._list(fibmsg(), RTM_GETRULE, whole) if is_ours(message)]
        state = KernelState(tuple(links), tuple(entry for entry in addresses if entry is not None))
        indexes = None if devices is None else _indexes(links, devices(state))
        return replace(
            state,
            routes=tuple(await self._main_routes(indexes, whole)),
            own_routes=tuple([route async for route in self._routes(whole, _OWN)]),
            own_rules=tuple(rule for rule in rules if rule is not None),
        )

    async def _main_routes(self, indexes: Collection[int] | None, whole: "_Whole") -> Iterable[KernelRoute]:
        """Each once; None: by every interface."""
        found: dict[KernelRoute, None] = {}
        for part in _parts(indexes):
            async for route in self._routes(whole, part):
                # The kernel lists a route with several next hops when one of them is by this interface.
                if route.table == MAIN and route.kind != "multicast" and part.index in (0, route.index):
                    found[route] = None
        return found

    async def _routes(self, whole: "_Whole", part: "_Part") -> AsyncIterator[KernelRoute]:
        for version in VERSIONS:
            query = routes_query(version, table=part.table, protocol=part.protocol, index=part.index, kind=part.kind)
            try:
                async for message in self._list(query, RTM_GETROUTE, whole):
                    # A kernel without IPv6 answers with the routes of IPv4.
                    if message["family"] == query["family"] and part.protocol in (0, message["proto"]):
                        for route in routes_of(message):
                            yield route
            except NetlinkError as error:
                # Early in a boot no interface has had an address, and then the kernel has no table main.
                if error.code != errno.ENOENT:
                    raise

    async def _list(self, query: Message, kind: int, whole: "_Whole") -> AsyncIterator[Message]:
        async for message in await self._open().nlm_request(query, kind, _LIST, callback=whole.note):
            yield message

    def _open(self) -> AsyncIPRoute:
        assert self._netlink is not None, "used outside of its context"
        return self._netlink

    async def apply(self, changes: Iterable[Step]) -> tuple[str, ...]:
        """Carry out steps in their order; what went wrong, in words, one for each that failed. Raises KernelRefused.

        A fault does not end it, as the steps are such that what comes later is safe without what came before.
        Nothing is wrong when something of ours is there already, or has gone already.
        """
        faults = []
        in_the_way: list[KernelRoute] = []
        lost: set[int] = set()
        for step in changes:
            try:
                await self._carry_out(step)
            except NetlinkError as error:
                lost |= _lost_interface(step, error.code)
                if error.code == errno.EEXIST and isinstance(step.item, KernelRoute):
                    in_the_way.append(step.item)
                elif not _is_harmless(step, error.code, lost):
                    faults.append(f"cannot {step.verb} {self._words(step.item)}: {_reason(error)}")
            except OSError as error:
                raise KernelRefused(f"cannot {step.verb} {self._words(step.item)}: {_reason(error)}") from None
        if in_the_way:
            faults += await self._clashes(in_the_way)
        return tuple(faults)

    async def _clashes(self, routes: Iterable[KernelRoute]) -> list[str]:
        """What to say of routes that found others in their place; nothing when these are the same, and ours.

        Only a route tells: of rules the kernel takes the same one again from somebody else.
        """
        try:
            own = [route async for route in self._routes(_Whole(), _OWN)]
        except (NetlinkError, OSError) as error:
            raise KernelRefused(f"cannot read the routes of this host: {_reason(error)}") from None
        places = {_place(route) for route in own}
        return [self._clash(route, _place(route) in places) for route in routes if route not in own]

    def _clash(self, route: KernelRoute, is_ours: bool) -> str:
        if is_ours:
            return f"cannot add {self._words(route)}: another one of ours is in its place"
        return (
            f"table {route.table} has a route to {route.destination} that is not ours; choose another [external] table"
        )

    async def _carry_out(self, step: Step) -> None:
        kind, flags = _KINDS[step.verb, type(step.item)]
        message = route_message(step.item) if isinstance(step.item, KernelRoute) else rule_message(step.item)
        async for _ in await self._open().nlm_request(message, kind, flags):
            pass

    async def remove_all(self) -> tuple[str, ...]:
        """Remove every route and rule of ours; what went wrong, as `apply`. Raises KernelRefused."""
        state = await self.read(_no_devices)
        own = Wanted(frozenset(state.own_routes), frozenset(state.own_rules))
        return await self.apply(steps(own, Wanted()))

    def _words(self, item: KernelRoute | RoutingRule) -> str:
        """As ip-route(8) and ip-rule(8) would be told."""
        if isinstance(item, RoutingRule):
            return _rule_words(item)
        kind = f"{item.kind} " if item.kind != "unicast" else ""
        via = f" via {item.gateway}" if item.gateway is not None else ""
        device = f" dev {self._names.get(item.index, f'interface {item.index}')}" if item.index else ""
        return f"the route {kind}{item.destination}{via}{device} of table {item.table}"


class _Whole:
    """Whether lists came whole, and nothing changed while the kernel wrote them."""

    def __init__(self) -> None:
        self.intact = True

    def note(self, message: Message) -> bool:
        """Look at one message; the answer tells pyroute2 to go on with it."""
        if message["header"]["flags"] & NLM_F_DUMP_INTR:
            self.intact = False
        return False


def _links_query() -> Message:
    query = ifinfmsg()
    query["attrs"] = [("IFLA_EXT_MASK", _SKIP_STATISTICS)]
    return query


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the kernel's routes: those of a table, a protocol, an interface (0: any) and a kind."""

    table: int = 0
    protocol: int = 0
    index: int = 0
    kind: RouteKind | None = None


_OWN = _Part(protocol=PROTOCOL)


def _parts(indexes: Collection[int] | None) -> Iterator[_Part]:
    """What of main is asked for; null routes are by no interface, so that all of them matter."""
    if indexes is None:
        yield _Part(MAIN)
        return
    yield from (_Part(MAIN, index=index, kind="unicast") for index in indexes)
    yield from (_Part(MAIN, protocol=protocol, kind="unicast") for protocol in _HOST_PROTOCOLS)
    yield from (_Part(MAIN, kind=kind) for kind in NULL_KINDS)


def _indexes(links: Iterable[Link], devices: Collection[str]) -> list[int]:
    return [link.index for link in links if link.name in devices]


def _no_devices(_: KernelState) -> tuple[str, ...]:
    return ()


def _place(route: KernelRoute) -> tuple[object, ...]:
    """What there can be one route for."""
    return route.table, route.destination, route.metric


def _lost_interface(step: Step, code: int) -> set[int]:
    """The interface that has gone, or gone down, since the steps were worked out, if that is what the error says."""
    return {step.item.index} if code in _NO_INTERFACE and isinstance(step.item, KernelRoute) else set()


def _is_harmless(step: Step, code: int, lost: Collection[int]) -> bool:
    """``lost`` are interfaces by which there is nothing to add any more: a route misses the one to its gateway, too."""
    if isinstance(step.item, KernelRoute) and step.item.index in lost:
        return True
    return code in _NO_FAULT[step.verb] or (code in _NO_FAMILY and step.item.version == 6)


def _reason(error: Exception) -> str:
    """The kernel's own words where it has some, without its full stop."""
    return str(error.args[1] if len(error.args) > 1 else error).rstrip(".")


def _rule_words(rule: RoutingRule) -> str:
    selectors: tuple[tuple[str, object], ...] = (("from", rule.source), ("to", rule.destination), ("oif", rule.oif))
    told = [f"{word} {value}" for word, value in selectors if value is not None]
    action = f"lookup {rule.table}" if rule.action == "lookup" else rule.action
    return f"the IPv{rule.version} rule {rule.priority}: {' '.join(told)} {action}"


def read_kernel() -> KernelState:
    """What the kernel has now, for callers without an event loop. Raises KernelRefused; RuntimeError in a loop."""
    _need_room()
    return asyncio.run(_read_all())


def _need_room() -> None:
    """For the descriptors of a loop: one that fails in the middle of its making writes that on standard error."""
    try:
        with select.epoll():
            for end in socket.socketpair():
                end.close()
    except OSError as error:
        raise KernelRefused(f"cannot ask the kernel for its networks: {error.strerror}") from None


async def _read_all() -> KernelState:
    async with Kernel() as kernel:
        return await kernel.read()


def own_addresses() -> tuple[InterfaceAddress, ...]:
    """Every address that this host has now, of both families; for callers as of `read_kernel`. Raises KernelRefused."""
    _need_room()
    return asyncio.run(_read_addresses())


async def _read_addresses() -> tuple[InterfaceAddress, ...]:
    async with Kernel() as kernel:
        return (await kernel.read(_no_devices)).addresses
