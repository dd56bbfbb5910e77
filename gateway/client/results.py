"""What a look-up ends in: the entry of a host as gethostbyname(3) has it, or a failure with its ``h_errno``."""

from typing import ClassVar, NamedTuple

from gateway.address import Address
from gateway.errors import GatewayError


class HostEntry(NamedTuple):
    """A host, as ``struct hostent`` has it; here with the addresses of both families.

    ``name`` is its official name: what the aliases, in the order in which they lead to it, stand for. Names have no dot
    at the end. ``addresses`` are in the order of the answers, IPv4 before IPv6.
    """

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[Address, ...]


class LookupFailed(GatewayError):
    """Base of the failures of a look-up; ``h_errno`` is the code of netdb.h that gethostbyname(3) would set.

    ``said`` holds what each server said or why it said nothing, in the order in which they were asked.
    """

    h_errno: ClassVar[int]

    def __init__(self, fact: str, said: tuple[str, ...] = ()) -> None:
        super().__init__(f"{fact}: {'; '.join(said)}" if said else fact)
        self.fact = fact
        self.said = said


class HostNotFound(LookupFailed):
    """There is no such host: all who could know it say so."""

    h_errno = 1


class NoData(HostNotFound):
    """The name exists, but it has no address; or an address has no name."""

    h_errno = 4


class TryAgain(LookupFailed):
    """Nobody can say now whether there is such a host: a server that could know it did not give an answer."""

    h_errno = 2
