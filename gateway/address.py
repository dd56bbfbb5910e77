"""Host addresses and host names as plain values, in the one form that rules, logs and sockets share.

The standard ``ipaddress`` objects cost several microseconds each; the data path makes two a connection, so an address
here is a named tuple of a version and an integer. ``ipaddress`` still reads and writes IPv6 text.
"""

import ipaddress
import re
from functools import lru_cache
from socket import inet_ntoa
from typing import NamedTuple, NewType

from gateway.errors import BadName

Name = NewType("Name", str)
"""A host name in canonical form: lower case, letters, digits, hyphens and underscores, no dot at the end."""


@lru_cache(maxsize=4096)
def _quad(number: int) -> str:
    return inet_ntoa(number.to_bytes(4, "big"))


class Address(NamedTuple):
    """An IPv4 or IPv6 address: ``version`` is 4 or 6, ``number`` its value in host order."""

    version: int
    number: int

    def __str__(self) -> str:
        """Dotted quad, or the compressed form of RFC 5952."""
        if self.version == 4:
            return _quad(self.number)
        return str(ipaddress.IPv6Address(self.number))

    @property
    def packed(self) -> bytes:
        """The 4 or 16 bytes in network order."""
        return self.number.to_bytes(4 if self.version == 4 else 16, "big")

    @classmethod
    def from_packed(cls, packed: bytes) -> "Address":
        """From 4 or 16 bytes in network order."""
        return cls(4 if len(packed) == 4 else 6, int.from_bytes(packed, "big"))


class Endpoint(NamedTuple):
    """An address and a port; what a socket is bound or connected to."""

    address: Address
    port: int

    def __str__(self) -> str:
        """``10.0.0.1:80`` or ``[2001:db8::1]:80``."""
        return f"{self.address}:{self.port}" if self.address.version == 4 else f"[{self.address}]:{self.port}"


UNSPECIFIED = Endpoint(Address(4, 0), 0)
"""0.0.0.0 port 0: what a failure reply carries."""

_QUAD = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)


def parse_ipv4(text: str) -> Address | None:
    """A strict dotted quad: four decimal numbers of at most 255, no leading zeros (``010`` is octal to some)."""
    found = _QUAD.fullmatch(text)
    if found is None:
        return None
    number = 0
    for part in found.groups():
        value = int(part)
        if value > 255 or (part[0] == "0" and part != "0"):
            return None
        number = number << 8 | value
    return Address(4, number)


def parse_address(text: str) -> Address | None:
    """A strict dotted quad or an IPv6 address without zone and brackets; None for anything else."""
    if ":" not in text:
        return parse_ipv4(text)
    try:
        return Address(6, int(ipaddress.IPv6Address(text))) if "%" not in text else None
    except ValueError:
        return None


def plain(address: Address) -> Address:
    """The same host's IPv4 address for an IPv4-mapped one (``::ffff:0:0/96``, RFC 4291 §2.5.5.2), else unchanged."""
    if address.version == 6 and address.number >> 32 == 0xFFFF:
        return Address(4, address.number & 0xFFFF_FFFF)
    return address


def embedded_ipv4(address: Address) -> Address | None:
    """The IPv4 host that an IPv6 address leads to through a translator or tunnel, if it does.

    IPv4-compatible ``::/96`` (RFC 4291 §2.5.5.1), mapped ``::ffff:0:0/96``, translated ``::ffff:0:0:0/96`` (RFC 2765),
    NAT64 ``64:ff9b::/96`` (RFC 6052) and the local-use ``64:ff9b:1::/48`` (RFC 8215), 6to4 ``2002::/16`` (RFC 3056),
    Teredo ``2001::/32`` (RFC 4380 §4: the client's address, inverted), ISATAP interface ids (RFC 5214 §6.1).
    """
    if address.version == 4:
        return None
    number = address.number
    low = number & 0xFFFF_FFFF
    prefix96 = number >> 32
    if prefix96 in (0xFFFF, 0xFFFF_0000, 0x64_FF9B << 64) or (prefix96 == 0 and low > 1):
        return Address(4, low)
    if number >> 80 == 0x64_FF9B_0001:
        return Address(4, low)
    if number >> 112 == 0x2002:
        return Address(4, number >> 80 & 0xFFFF_FFFF)
    if number >> 96 == 0x2001_0000:
        return Address(4, low ^ 0xFFFF_FFFF)
    if number >> 32 & 0xFDFF_FFFF == 0x5EFE:
        return Address(4, low)
    return None


_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def canonical_host(raw: bytes) -> Address | Name:
    """What a client sent as a host name, in the one form that rules and resolvers see.

    An address written as text becomes an `Address`. One dot at the end is dropped. A last label that looks like a
    number is refused, since resolvers read ``127.1``, ``0x7f000001`` and ``2130706433`` as addresses
    (``spec/field-cases.md`` §1). Names follow RFC 1123 §2.1, with underscores, as they are in use.

    Raises BadName for everything else.
    """
    try:
        text = raw.decode("ascii").lower()
    except UnicodeDecodeError:
        raise BadName("a host name holds a byte that is not ASCII") from None
    address = parse_address(text)
    if address is not None:
        return address
    return canonical_name(text)


def canonical_name(text: str) -> Name:
    """The canonical form of a host name that is not an address; see `canonical_host`. Raises BadName."""
    name = text.lower().removesuffix(".")
    if not name:
        raise BadName("the host name is empty")
    if len(name) > 253:
        raise BadName("a host name is longer than 253 characters")
    labels = name.split(".")
    for label in labels:
        if _LABEL.fullmatch(label) is None:
            raise BadName(_label_fault(label))
    if _NUMERIC_LABEL.fullmatch(labels[-1]) is not None:
        raise BadName("a host name ends in a number but is no dotted quad")
    return Name(name)


def _label_fault(label: str) -> str:
    if not label:
        return "a host name has an empty label"
    if len(label) > 63:
        return "a label of a host name is longer than 63 characters"
    if label[0] == "-" or label[-1] == "-":
        return "a label of a host name begins or ends with a hyphen"
    return "a host name holds a character other than letters, digits, hyphen and underscore"
