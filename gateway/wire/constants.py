"""Every number of the protocols, once. No other file holds a numeric literal of the wire."""

import enum
import errno
from types import MappingProxyType


class Protocol(enum.Enum):
    """What a client speaks, recognised by its first bytes."""

    SOCKS4 = "socks4"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"
    HTTP = "http"


class Command(enum.IntEnum):
    """Request commands (RFC 1928 §4; SOCKS4: SOCKS4.protocol, "CD")."""

    #: open a connection to the destination
    CONNECT = 1
    #: wait for one connection from the destination
    BIND = 2
    #: relay datagrams; SOCKS5 only
    UDP_ASSOCIATE = 3


class AddressType(enum.IntEnum):
    """ATYP (RFC 1928 §5)."""

    #: 4 octets
    IPV4 = 1
    #: a length octet and that many octets
    NAME = 3
    #: 16 octets
    IPV6 = 4


class Method(enum.IntEnum):
    """Authentication methods (RFC 1928 §3)."""

    #: no authentication required
    NONE = 0x00
    #: RFC 1961
    GSSAPI = 0x01
    #: RFC 1929
    PASSWORD = 0x02
    #: none of the offered methods is acceptable
    UNACCEPTABLE = 0xFF


class Reply4(enum.IntEnum):
    """SOCKS4 result codes (SOCKS4.protocol)."""

    #: request granted
    GRANTED = 90
    #: request rejected or failed
    REJECTED = 91
    #: identd on the client's host can not be reached
    NO_IDENTD = 92
    #: identd reports another user than the client's program
    IDENT_MISMATCH = 93


class Reply5(enum.IntEnum):
    """SOCKS5 reply codes (RFC 1928 §6)."""

    #: succeeded
    SUCCEEDED = 0
    #: general SOCKS server failure
    GENERAL_FAILURE = 1
    #: connection not allowed by ruleset
    NOT_ALLOWED = 2
    #: network unreachable
    NETWORK_UNREACHABLE = 3
    #: host unreachable
    HOST_UNREACHABLE = 4
    #: connection refused
    CONNECTION_REFUSED = 5
    #: TTL expired
    TTL_EXPIRED = 6
    #: command not supported
    COMMAND_NOT_SUPPORTED = 7
    #: address type not supported
    ADDRESS_TYPE_NOT_SUPPORTED = 8


SOCKS4_VERSION = 4
SOCKS4_REPLY_VERSION = 0
SOCKS5_VERSION = 5
PASSWORD_VERSION = 1

ERRNO_TO_REPLY = MappingProxyType(
    {
        errno.ECONNREFUSED: Reply5.CONNECTION_REFUSED,
        errno.ECONNRESET: Reply5.CONNECTION_REFUSED,
        errno.ENETUNREACH: Reply5.NETWORK_UNREACHABLE,
        errno.ENETDOWN: Reply5.NETWORK_UNREACHABLE,
        errno.EHOSTUNREACH: Reply5.HOST_UNREACHABLE,
        errno.EHOSTDOWN: Reply5.HOST_UNREACHABLE,
        errno.ENOTCONN: Reply5.HOST_UNREACHABLE,
        errno.ETIMEDOUT: Reply5.HOST_UNREACHABLE,
        errno.EACCES: Reply5.NOT_ALLOWED,
        errno.EPERM: Reply5.NOT_ALLOWED,
        errno.EAFNOSUPPORT: Reply5.ADDRESS_TYPE_NOT_SUPPORTED,
    }
)
"""What the client hears when the kernel could not connect; any other errno is a general failure."""

REPLY5_TO_REPLY4 = MappingProxyType(
    {code: Reply4.GRANTED if code is Reply5.SUCCEEDED else Reply4.REJECTED for code in Reply5}
)
"""SOCKS4 knows one failure; 92 and 93 are sent by the ident check itself."""
