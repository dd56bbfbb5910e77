"""Domain names as messages hold them, and as people write them.

A *wire name* is bytes: each label after its length, the root's zero at the end, never compressed, in lower case
(RFC 1035 §3.1, RFC 4343). As such it is compared, cut at its labels, and used as a key; ``b"\\0"`` is the root.
Labels may hold any octet here (RFC 2181 §11): what a host's name may look like is `gateway.address`'s business.
"""

import re
from collections.abc import Iterator

from gateway import errors
from gateway.address import Address
from gateway.config.rules import AddressPattern
from gateway.dns.constants import MAX_LABEL, MAX_NAME
from gateway.policy.pattern import is_prefix

ROOT = b"\0"

_PIECE = re.compile(r"\\\d{3}|\\\D|[^\\]", re.ASCII | re.DOTALL)
_SPECIAL = frozenset(b'.\\"();@$')
_SHOWN = tuple(
    f"\\{octet:c}" if octet in _SPECIAL else chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03d}"
    for octet in range(256)
)
"""Each octet of a label as master files write it (RFC 1035 §5.1)."""

_TREES = {4: (b"\7in-addr\4arpa\0", 8), 6: (b"\3ip6\4arpa\0", 4)}
"""Version of an address -> the top of its reverse names, and how many bits one label of them stands for."""


class BadName(errors.BadName, ValueError):
    """A text that is no domain name; the message says which part is wrong."""


def wire_name(text: str) -> bytes:
    """The wire name of ``Corp.Example``, ``corp.example.`` or ``.``; raises BadName.

    ``\\.`` is a dot within a label, ``\\DDD`` the octet of that decimal number (RFC 1035 §5.1).
    """
    if text == ".":
        return ROOT
    if not text.isascii():
        raise BadName(f"{text!a} is not ASCII; write such names as they are in DNS: xn--...")
    labels = _escaped_labels(text) if "\\" in text else text.encode().split(b".")
    if labels[-1] == b"":
        labels.pop()
    for label in labels:
        if not 0 < len(label) <= MAX_LABEL:
            raise BadName(_label_fault(text, label))
    name = b"".join([len(label).to_bytes(1, "big") + label for label in labels]).lower() + ROOT
    if len(name) > MAX_NAME or name == ROOT:
        raise BadName(f"{text[:80]!a}... is longer than {MAX_NAME} octets" if labels else "the name is empty")
    return name


def _label_fault(text: str, label: bytes) -> str:
    if label:
        return f"a label of {text[:80]!a} is longer than {MAX_LABEL} octets"
    return f"{text[:80]!a} has an empty label" if text else "the name is empty"


def _escaped_labels(text: str) -> list[bytes]:
    """Cut at the dots that are not escaped, with the escapes read."""
    labels = [bytearray()]
    pieces = _PIECE.findall(text)
    if sum(map(len, pieces)) != len(text):
        raise BadName(f"{text[:80]!a} has a backslash without the character or the three digits it escapes")
    for piece in pieces:
        if piece == ".":
            labels.append(bytearray())
        else:
            labels[-1].append(_octet(piece, text))
    return [bytes(label) for label in labels]


def _octet(piece: str, text: str) -> int:
    """Of one character or one escape."""
    if len(piece) < 4:
        return ord(piece[-1])
    number = int(piece[1:])
    if number > 255:
        raise BadName(f"{piece} in {text[:80]!a} is more than an octet holds")
    return number


def text_name(name: bytes) -> str:
    """``corp.example.`` of a wire name, ``.`` of the root; what is not printable is escaped (RFC 1035 §5.1)."""
    if name == ROOT:
        return "."
    parts = []
    at = 0
    while length := name[at]:
        parts += [_SHOWN[octet] for octet in name[at + 1 : at + 1 + length]]
        parts.append(".")
        at += length + 1
    return "".join(parts)


def parents(name: bytes) -> Iterator[bytes]:
    """The name itself first, then what is left without its first label, and so on; the root last."""
    at = 0
    while length := name[at]:
        yield name[at:]
        at += length + 1
    yield ROOT


def is_below(name: bytes, apex: bytes) -> bool:
    """Whether a wire name is the other one, or below it."""
    if not name.endswith(apex):
        return False
    # The same octets could be the end of a label.
    at, start = 0, len(name) - len(apex)
    while at < start:
        at += name[at] + 1
    return at == start


def label_count(name: bytes) -> int:
    """How many labels a wire name has, the root's not counted."""
    count = at = 0
    while length := name[at]:
        count += 1
        at += length + 1
    return count


def reverse_name(address: Address) -> bytes:
    """The wire name that a PTR record for this address has (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return _reverse(address.version, address.number, 32 if address.version == 4 else 128)


def reverse_zones(pattern: AddressPattern) -> tuple[bytes, ...]:
    """The fewest reverse names that cover a network exactly, in the order of its addresses; at most 128.

    ``10.0.0.0/8`` has one, ``172.16.0.0/12`` sixteen; of a network smaller than a /24 they are the names of its single
    addresses. Raises BadName for a mask with holes.
    """
    if not is_prefix(pattern):
        raise BadName("a network whose mask has holes has no reverse zones")
    _, step = _TREES[pattern.version]
    width = 32 if pattern.version == 4 else 128
    length = pattern.mask.bit_count()
    covered = -(-length // step) * step  # up to the next end of a label
    start = pattern.number & pattern.mask
    return tuple(
        _reverse(pattern.version, start | index << (width - covered), covered) for index in range(1 << covered - length)
    )


def _reverse(version: int, number: int, bits: int) -> bytes:
    """The reverse name of the first bits of an address; they end where a label does."""
    top, step = _TREES[version]
    width = 32 if version == 4 else 128
    values = [number >> (width - end) & ((1 << step) - 1) for end in range(bits, 0, -step)]
    texts = [b"%d" % value if version == 4 else b"%x" % value for value in values]
    return b"".join([b"%c%b" % (len(text), text) for text in texts]) + top
