"""The passwords file: ``user:$scrypt$ln=14,r=8,p=1$salt$hash``, one user a line, and the check of a password.

The hash is scrypt (RFC 7914) in the modular crypt form that other tools write too: salt and hash in base64 without
padding. Whether the file may be trusted (its owner and mode) is the caller's matter; the check blocks for some
hundredths of a second and does not belong on the data path.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

from gateway.errors import ConfigError, GatewayError
from gateway.place import Place, Problem

LINE_LIMIT = 1023
OCTETS_LIMIT = 255
"""Octets of a user id and of a password (RFC 1929 §2)."""

MEMORY_LIMIT = 64 * 1024 * 1024
"""Bytes that one check may take: 128 * r * 2^ln."""

WORK_LIMIT = 4
"""How many times that work: p."""

SALT_OCTETS = 16
HASH_OCTETS = 32

_ENTRY = re.compile(r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,3}),p=([0-9]{1,3})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")
_USER = re.compile(r"[^\s:#\x00-\x20\x7f][^:\x00-\x1f\x7f]*")


class Cost(NamedTuple):
    """scrypt's parameters (RFC 7914 §2): memory ``128 * r * 2**ln`` bytes, ``p`` times."""

    ln: int = 14
    r: int = 8
    p: int = 1


DEFAULT_COST = Cost()
"""16 MiB and about a twentieth of a second."""


class Entry(NamedTuple):
    """One user's salted hash."""

    cost: Cost
    salt: bytes
    digest: bytes


class BadPassword(GatewayError):
    """A user id or a password that no client could send; the message says why."""


class PasswordFile(NamedTuple):
    """Users and their hashes. ``absent`` is what a user who is not in the file is checked against."""

    entries: Mapping[bytes, Entry]
    absent: Entry

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether this is the user's password.

        A user that does not exist takes the same time: it is hashed against `absent`, whose cost is the file's
        highest.
        """
        entry = self.entries.get(user)
        known = self.absent if entry is None else entry
        matches = hmac.compare_digest(_hash(password, known.salt, known.cost, len(known.digest)), known.digest)
        # HMAC, and so scrypt, takes a key and the same key with NULs behind it for one (RFC 2104 §2).
        return matches and entry is not None and b"\0" not in password


def parse_passwords(text: str, path: str) -> PasswordFile:
    """The passwords of a file; empty lines and those that begin with ``#`` are passed over.

    Raises ConfigError with every mistake of the file. No message holds a hash.
    """
    entries: dict[bytes, Entry] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        try:
            user, entry = _parse_line(line)
            if user in entries:
                raise BadPassword(f"a second line for user {user.decode()!r}")
            entries[user] = entry
        except BadPassword as fault:
            problems.append(Problem(Place(path, number, 1), str(fault)))
    if problems:
        raise ConfigError(problems)
    costs = {entry.cost for entry in entries.values()} or {DEFAULT_COST}
    dearest = max(costs, key=lambda cost: (cost.r << cost.ln) * cost.p)
    return PasswordFile(entries, Entry(dearest, bytes(SALT_OCTETS), bytes(HASH_OCTETS)))


def make_entry(user: str, password: str, salt: bytes, cost: Cost = DEFAULT_COST) -> str:
    """The line for a user, without its end. ``salt`` is random, 16 octets by custom.

    Raises BadPassword for what no client could send or no file could hold.
    """
    _check_user(user)
    octets = password.encode("utf-8", "surrogateescape")
    if not 0 < len(octets) <= OCTETS_LIMIT:
        raise BadPassword(f"a password has 1 to {OCTETS_LIMIT} octets (RFC 1929)")
    digest = _hash(octets, salt, cost, HASH_OCTETS)
    return f"{user}:$scrypt$ln={cost.ln},r={cost.r},p={cost.p}${_encode(salt)}${_encode(digest)}"


def _parse_line(line: str) -> tuple[bytes, Entry]:
    if len(line) > LINE_LIMIT:
        raise BadPassword(f"a line of more than {LINE_LIMIT} characters")
    user, colon, hashed = line.partition(":")
    if not colon:
        raise BadPassword("no ':' between the user and the hash; `sockctl password USER` makes such a line")
    _check_user(user)
    found = _ENTRY.fullmatch(hashed)
    if found is None:
        raise BadPassword(f"the hash of {user!r} is not $scrypt$ln=..,r=..,p=..$salt$hash; use `sockctl password`")
    cost = Cost(int(found[1]), int(found[2]), int(found[3]))
    _check_cost(cost, user)
    return user.encode(), Entry(cost, _decode(found[4], user, (8, 64)), _decode(found[5], user, (16, 64)))


def _check_user(user: str) -> None:
    if _USER.fullmatch(user) is None or user != user.strip():
        raise BadPassword(
            f"{user!r} is no user id: one is not empty, has no ':' and no control characters, does not begin with '#', "
            "and does not begin or end with a blank"
        )
    if len(user.encode("utf-8", "surrogateescape")) > OCTETS_LIMIT:
        raise BadPassword(f"a user id of more than {OCTETS_LIMIT} octets (RFC 1929)")


def _check_cost(cost: Cost, user: str) -> None:
    """RFC 7914 §2 and our own bounds; a check must neither be trivial nor take the machine down."""
    if not (10 <= cost.ln < 16 * cost.r and 1 <= cost.p <= WORK_LIMIT):
        raise BadPassword(f"the hash of {user!r}: ln is at least 10 and less than 16 * r, p is 1 to {WORK_LIMIT}")
    if (128 * cost.r) << cost.ln > MEMORY_LIMIT:
        raise BadPassword(f"the hash of {user!r} needs more than {MEMORY_LIMIT >> 20} MiB; use a smaller ln or r")


def _hash(password: bytes, salt: bytes, cost: Cost, length: int) -> bytes:
    n = 1 << cost.ln
    # OpenSSL counts the block of p and some overhead beside the big array.
    memory = 128 * cost.r * (n + cost.p + 2) + 65536
    return hashlib.scrypt(password, salt=salt, n=n, r=cost.r, p=cost.p, maxmem=memory, dklen=length)


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


def _decode(text: str, user: str, bounds: tuple[int, int]) -> bytes:
    text = text.rstrip("=")
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise BadPassword(f"salt or hash of {user!r} is not base64") from None
    if not bounds[0] <= len(octets) <= bounds[1]:
        raise BadPassword(f"salt or hash of {user!r} has {len(octets)} octets; {bounds[0]} to {bounds[1]} are expected")
    return octets
