"""Every number of the protocols, once. No other file holds a numeric literal of the wire."""

import enum
import errno
from collections.abc import Mapping
from http import HTTPStatus
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

# Limits, in octets unless said otherwise. What the peer sends beyond them is refused, never cut.

MAX_USER_ID = 255
"""SOCKS4's USERID without its NUL; the protocol sets no bound, every server needs one (``spec/field-cases.md`` S17)."""

MAX_NAME = 255
"""A host name as it is sent: the reach of SOCKS5's length octet (RFC 1928 §5), and the same for SOCKS4A and HTTP."""

MAX_CREDENTIAL = 255
"""A user or a password: the reach of RFC 1929's length octets, and the same for HTTP."""

MAX_PORT = 0xFFFF

MAX_HEAD = 8192
"""An HTTP request or response up to and with its empty line (RFC 9112 §3 wants 8000 for the first line at least)."""

MAX_FIELD_LINES = 100
"""Header lines of one HTTP head."""

MAX_INTERIM = 8
"""Interim (1xx) responses before the final one, a number (RFC 9110 §15.2 sets none)."""

MAX_RETAINED = 262_144
"""What a negotiation keeps before its last message is read: pipelined messages and early data of a few segments."""

# Layout: offsets and sizes in octets.

SOCKS4_HEAD = 8
"""VN CD DSTPORT DSTIP; the whole of a reply, and what precedes USERID in a request."""

SOCKS4A_MARKS = range(1, 256)
"""DSTIP 0.0.0.x with x not 0, as a number: a name follows the user id (SOCKS4A.protocol)."""

RESULT_HEAD = 2
"""VN and CD, VER and REP, VER and METHOD, or VER and STATUS: what every answer of a SOCKS server begins with."""

CODE_AT = 1
"""Where each of those answers has its code, and each request its command; a greeting has NMETHODS there."""

GREETING_HEAD = 2
"""VER NMETHODS (RFC 1928 §3)."""

ATYP_AT = 3
"""Where a SOCKS5 request, a reply and a datagram have ATYP (RFC 1928 §4, §6, §7)."""

FRAG_AT = 2
"""Where a datagram has FRAG, after two reserved octets (RFC 1928 §7)."""

ULEN_AT = 1
"""Where RFC 1929 has the length of the user; VER precedes it."""

PASSWORD_OK = 0
"""STATUS of RFC 1929 §2; every other value is a failure."""

PASSWORD_WRONG = 1
"""The failure that we send."""

CONTROLS = bytes((*range(0x20), 0x7F))
"""The control characters of ASCII."""

HTTP_STATUSES = range(100, 600)
"""What a status code may be (RFC 9110 §15)."""

HTTP_INTERIM = range(100, 200)
HTTP_SUCCESS = range(200, 300)

HTTP_CONNECT = b"CONNECT"
HTTP_LETTERS = range(ord("A"), ord("Z") + 1)
"""What an HTTP request begins with on a port that also speaks SOCKS: all methods in use are upper case."""

ERRNO_TO_REPLY = MappingProxyType(
    {
        errno.ECONNREFUSED: Reply5.CONNECTION_REFUSED,
        errno.ECONNRESET: Reply5.CONNECTION_REFUSED,
        errno.ENETUNREACH: Reply5.NETWORK_UNREACHABLE,
        errno.ENETDOWN: Reply5.NETWORK_UNREACHABLE,
        # The uplink went between its choice and the connection.
        errno.ENODEV: Reply5.NETWORK_UNREACHABLE,
        errno.EADDRNOTAVAIL: Reply5.NETWORK_UNREACHABLE,
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

REPLY4_TO_REPLY5: Mapping[int, Reply5] = MappingProxyType(
    {
        Reply4.GRANTED: Reply5.SUCCEEDED,
        Reply4.REJECTED: Reply5.GENERAL_FAILURE,
        Reply4.NO_IDENTD: Reply5.NOT_ALLOWED,
        Reply4.IDENT_MISMATCH: Reply5.NOT_ALLOWED,
    }
)
"""What a SOCKS4 server's answer means to us as its client; any other code is a general failure."""

REPLY5_TO_STATUS = MappingProxyType(
    {
        Reply5.SUCCEEDED: HTTPStatus.OK,
        Reply5.GENERAL_FAILURE: HTTPStatus.INTERNAL_SERVER_ERROR,
        Reply5.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
        Reply5.NETWORK_UNREACHABLE: HTTPStatus.BAD_GATEWAY,
        Reply5.HOST_UNREACHABLE: HTTPStatus.BAD_GATEWAY,
        Reply5.CONNECTION_REFUSED: HTTPStatus.BAD_GATEWAY,
        Reply5.TTL_EXPIRED: HTTPStatus.BAD_GATEWAY,
        Reply5.COMMAND_NOT_SUPPORTED: HTTPStatus.NOT_IMPLEMENTED,
        Reply5.ADDRESS_TYPE_NOT_SUPPORTED: HTTPStatus.BAD_GATEWAY,
    }
)
"""The status of an HTTP answer, as RFC 9209 §2.3 recommends for the like proxy errors: what is wrong with the target
is a 502, what is wrong with us a 500, a refusal by rule a 403. HOST_UNREACHABLE also says that a name is unknown
(``dns_error``), so it can not be the 504 of a timeout. A proxy that does not serve CONNECT has not implemented the
method (RFC 9110 §15.6.2); 405 would have to name another one."""

REPLY5_TO_TEXT = MappingProxyType(
    {
        Reply5.SUCCEEDED: "succeeded",
        Reply5.GENERAL_FAILURE: "the gateway could not serve the request",
        Reply5.NOT_ALLOWED: "the gateway's rules do not allow this connection",
        Reply5.NETWORK_UNREACHABLE: "the destination's network can not be reached",
        Reply5.HOST_UNREACHABLE: "the destination can not be reached, or its name is not known",
        Reply5.CONNECTION_REFUSED: "the destination refused the connection",
        Reply5.TTL_EXPIRED: "the way to the destination is too long",
        Reply5.COMMAND_NOT_SUPPORTED: "the gateway does not serve this command",
        Reply5.ADDRESS_TYPE_NOT_SUPPORTED: "the gateway has no addresses of the destination's kind",
    }
)
"""The same for people: the body of an HTTP failure."""

STATUS_TO_REPLY5: Mapping[int, Reply5] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: Reply5.NOT_ALLOWED,
        HTTPStatus.FORBIDDEN: Reply5.NOT_ALLOWED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: Reply5.NOT_ALLOWED,
        HTTPStatus.METHOD_NOT_ALLOWED: Reply5.COMMAND_NOT_SUPPORTED,
        HTTPStatus.NOT_IMPLEMENTED: Reply5.COMMAND_NOT_SUPPORTED,
        HTTPStatus.BAD_GATEWAY: Reply5.HOST_UNREACHABLE,
        HTTPStatus.SERVICE_UNAVAILABLE: Reply5.HOST_UNREACHABLE,
        HTTPStatus.GATEWAY_TIMEOUT: Reply5.HOST_UNREACHABLE,
    }
)
"""What an HTTP proxy's refusal means to us as its client; any other status is a general failure."""
