"""What programs on inside hosts import: the calls of the SOCKS library, rgethostbyname(3) so far.

They block; `gateway.client.aio` has those for asyncio. Nothing here needs the daemon, nor other people's
packages but msgspec, of which all values here are made.
"""

from gateway.client.environment import BadServers, NameServers
from gateway.client.lookup import Patience
from gateway.client.results import HostEntry, HostNotFound, LookupFailed, NoData, TryAgain
from gateway.client.rgethostbyname import Rgethostbyaddr, Rgethostbyname

__all__ = [
    "BadServers", "HostEntry", "HostNotFound", "LookupFailed", "NameServers", "NoData", "Patience", "Rgethostbyaddr",
    "Rgethostbyname", "TryAgain",
]  # fmt: skip
