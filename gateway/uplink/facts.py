"""What the kernel says about one interface, as plain values; `gateway.netlink` gathers them."""

from dataclasses import dataclass

from gateway.address import Address


@dataclass(frozen=True, slots=True)
class Facts:
    """An interface now. One that does not exist has nothing of the rest."""

    #: the kernel's name of the interface
    device: str
    exists: bool = False
    #: administratively up, and the link is there
    running: bool = False
    #: the addresses that a connection can be made from; of each family the preferred one first, no link-local ones
    sources: tuple[Address, ...] = ()
    #: next hops of the default routes by this interface, configured or learnt; empty is legal (point to point)
    gateways: tuple[Address, ...] = ()
    #: the kernel's number of the interface, which stays its own when names change; 0 when it does not exist
    index: int = 0
    #: IP versions for which a default route leads out by this interface, with a next hop or without one, or for which
    #: a gateway is configured
    defaults: frozenset[int] = frozenset()
