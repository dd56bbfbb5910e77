"""Every number of DNS messages, once, and how numbers are written for people.

Plain integers, not enumerations: they are compared with what `struct` gives, on the path of every query.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

# Types of records (RFC 1035 §3.2.2 and the documents named).
A = 1
NS = 2
MD = 3
MF = 4
CNAME = 5
SOA = 6
MB = 7
MG = 8
MR = 9
PTR = 12
HINFO = 13
MINFO = 14
MX = 15
TXT = 16
RP = 17  # RFC 1183
AFSDB = 18  # RFC 1183
RT = 21  # RFC 1183
PX = 26  # RFC 2163
AAAA = 28  # RFC 3596
SRV = 33  # RFC 2782
NAPTR = 35  # RFC 3403
KX = 36  # RFC 2230
DNAME = 39  # RFC 6672
OPT = 41  # RFC 6891
DS = 43  # RFC 4034
RRSIG = 46  # RFC 4034
NSEC = 47  # RFC 4034
DNSKEY = 48  # RFC 4034
NSEC3 = 50  # RFC 5155
NSEC3PARAM = 51  # RFC 5155
SVCB = 64  # RFC 9460
HTTPS = 65  # RFC 9460
NXNAME = 128  # RFC 9824
TKEY = 249  # RFC 2930
TSIG = 250  # RFC 8945
IXFR = 251  # RFC 1995
AXFR = 252  # RFC 5936
MAILB = 253
MAILA = 254
ANY = 255

# Classes (RFC 1035 §3.2.4, RFC 2136 §1.3).
IN = 1
CH = 3
NONE = 254

# Response codes (RFC 1035 §4.1.1; BADVERS: RFC 6891 §9).
NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
BADVERS = 16

# The flags word of the header (RFC 1035 §4.1.1; AD, CD: RFC 4035 §3).
QR = 0x8000
OPCODE_MASK = 0x7800
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
AD = 0x0020
CD = 0x0010
RCODE_MASK = 0x000F

#: of the EDNS flags (RFC 3225 §3)
DO = 0x8000

HEADER_BYTES = 12
#: type, class, TTL and length, which follow the owner of a record
FIXED_BYTES = 10
#: of a name on the wire, with all lengths and the root's; of one label (RFC 1035 §3.1)
MAX_NAME = 255
MAX_LABEL = 63
#: the two high bits of a length that is a pointer (RFC 1035 §4.1.4)
POINTER = 0xC0
#: what fits any path unfragmented, both ways (field-cases D10)
UDP_PAYLOAD = 1232
#: what anybody takes by UDP (RFC 1035 §4.2.1)
CLASSIC_PAYLOAD = 512
MAX_MESSAGE = 65535
#: TTLs beyond are nought (RFC 2181 §8)
MAX_TTL = 0x7FFF_FFFF


class Ede(enum.IntEnum):
    """Extended errors (RFC 8914 §4)."""

    OTHER = 0
    UNSUPPORTED_DNSKEY_ALGORITHM = 1
    UNSUPPORTED_DS_DIGEST = 2
    STALE_ANSWER = 3
    FORGED_ANSWER = 4
    DNSSEC_INDETERMINATE = 5
    DNSSEC_BOGUS = 6
    SIGNATURE_EXPIRED = 7
    SIGNATURE_NOT_YET_VALID = 8
    DNSKEY_MISSING = 9
    RRSIGS_MISSING = 10
    NO_ZONE_KEY_BIT_SET = 11
    NSEC_MISSING = 12
    CACHED_ERROR = 13
    NOT_READY = 14
    BLOCKED = 15
    CENSORED = 16
    FILTERED = 17
    PROHIBITED = 18
    STALE_NXDOMAIN = 19
    NOT_AUTHORITATIVE = 20
    NOT_SUPPORTED = 21
    NO_REACHABLE_AUTHORITY = 22
    NETWORK_ERROR = 23
    INVALID_DATA = 24


_TYPES: Mapping[int, str] = MappingProxyType({
    A: "A", NS: "NS", MD: "MD", MF: "MF", CNAME: "CNAME", SOA: "SOA", MB: "MB", MG: "MG", MR: "MR", 10: "NULL",
    11: "WKS", PTR: "PTR", HINFO: "HINFO", MINFO: "MINFO", MX: "MX", TXT: "TXT", RP: "RP", AFSDB: "AFSDB", RT: "RT",
    PX: "PX", AAAA: "AAAA", 29: "LOC", SRV: "SRV", NAPTR: "NAPTR", KX: "KX", 37: "CERT", DNAME: "DNAME", OPT: "OPT",
    42: "APL", DS: "DS", 44: "SSHFP", 45: "IPSECKEY", RRSIG: "RRSIG", NSEC: "NSEC", DNSKEY: "DNSKEY", 49: "DHCID",
    NSEC3: "NSEC3", NSEC3PARAM: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    62: "CSYNC", 63: "ZONEMD", SVCB: "SVCB", HTTPS: "HTTPS", 99: "SPF", NXNAME: "NXNAME", TKEY: "TKEY", TSIG: "TSIG",
    IXFR: "IXFR", AXFR: "AXFR", MAILB: "MAILB", MAILA: "MAILA", ANY: "ANY", 256: "URI", 257: "CAA",
})  # fmt: skip
_TYPE_NUMBERS: Mapping[str, int] = MappingProxyType({text: number for number, text in _TYPES.items()})

_RCODES: Mapping[int, str] = MappingProxyType({
    NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", NOTIMP: "NOTIMP",
    REFUSED: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", BADVERS: "BADVERS",
    17: "BADKEY", 18: "BADTIME", 23: "BADCOOKIE",
})  # fmt: skip


def type_text(number: int) -> str:
    """``A``; ``TYPE65280`` for one without a name here (RFC 3597 §5)."""
    return _TYPES.get(number) or f"TYPE{number}"


def parse_type(text: str) -> int | None:
    """The number of ``aaaa``, ``AAAA`` or ``TYPE28``, in any letter case; None for what is no type (RFC 3597 §5)."""
    upper = text.upper()
    digits = upper.removeprefix("TYPE")
    if digits != upper and digits.isascii() and digits.isdecimal() and len(digits) <= 5 and int(digits) <= 0xFFFF:
        return int(digits)
    return _TYPE_NUMBERS.get(upper)


def rcode_text(number: int) -> str:
    """``NXDOMAIN``; ``RCODE11`` for one without a name here."""
    return _RCODES.get(number) or f"RCODE{number}"
