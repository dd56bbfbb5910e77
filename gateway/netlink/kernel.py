"""The one place that talks netlink; what it returns are plain values."""

from typing import NamedTuple

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from gateway.address import Address, parse_address
from gateway.errors import GatewayError


class KernelRefused(GatewayError):
    """The kernel did not do what was asked; the message names the operation and the reason."""


class InterfaceAddress(NamedTuple):
    """An address of this host, and the length of its network's prefix."""

    address: Address
    prefix: int


def own_addresses() -> tuple[InterfaceAddress, ...]:
    """Every address that this host has now, of both families. Raises KernelRefused."""
    found = []
    try:
        with IPRoute() as kernel:
            for message in kernel.get_addr():
                text = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
                address = parse_address(text) if isinstance(text, str) else None
                if address is not None:
                    found.append(InterfaceAddress(address, int(message["prefixlen"])))
    except (NetlinkError, OSError) as error:
        raise KernelRefused(f"cannot list the addresses of this host: {error}") from None
    return tuple(found)
