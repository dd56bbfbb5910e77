"""The seed: what an administrator tells a new appliance, as text in TOML 1.0, checked whole before anything is done.

Pure: text in, a frozen Seed or all the mistakes out. Where the text came from, and what is written because of it, are
the matter of others. appliance(7) describes the keys; whoever changes one changes the other.
"""

import base64
import binascii
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar, cast

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Where: TypeAlias = Callable[[str, str], str]
"""(table, key) -> how a message names that place; the table is empty outside any, the key for the table itself."""

INSIDE: Final = "inside"
CARDS: Final = (INSIDE, "outside", "outside2")
"""The tables of a seed, and the names that their cards get."""

DEFAULT_HOSTNAME: Final = "gateway"
KEY_TYPES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_KERNEL_NAME = re.compile(r"[^\s/:]{1,15}")
_CRYPTED = re.compile(r"\$(y|gy|7|6|5|2b)\$[./A-Za-z0-9$=,]+")
_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")


class SeedError(Exception):
    """A seed that is refused whole; ``problems`` has a line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Card:
    """One table of a card; ``card`` is an address in lower case, or a name of the kernel's."""

    name: str
    card: str
    addresses: tuple[Interface, ...] = ()
    gateways: tuple[Address, ...] = ()
    dhcp: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """A whole seed that has no mistake in itself; ``admin_password`` is a hash of crypt(5), or empty."""

    cards: tuple[Card, ...]
    hostname: str = DEFAULT_HOSTNAME
    admin_keys: tuple[str, ...] = ()
    admin_password: str = ""
    dns: tuple[Address, ...] = ()
    ssh_from: tuple[Network, ...] = ()


def parse(text: str, path: str) -> Seed:
    """A seed by the text of a file; ``path`` is how messages name it. Raises SeedError."""
    try:
        raw = tomllib.loads(text)
    except ValueError as error:  # a date or a number that can not be is no TOMLDecodeError
        raise SeedError([_syntax(str(error), path, text)]) from None
    except RecursionError:
        raise SeedError([f"{path}: lists or tables are nested too deeply"]) from None
    return checked(raw, lambda table, key: _place(text, path, table, key))


def checked(raw: Mapping[str, object], where: Where) -> Seed:
    """A seed by keys and values as tomllib gives them. Raises SeedError with all mistakes, in the order of the keys."""
    problems: list[str] = []
    top = _read("", raw, _TOP, CARDS, where, problems)
    cards = tuple(_card(name, raw[name], where, problems) for name in CARDS if name in raw)
    problems += [_missing(name, where) for name in ("inside", "outside") if name not in raw]
    if not problems:
        problems += _contradictions(cards, where)
        problems += _own_servers(cast(tuple[Address, ...], top.get("dns", ())), cards, where)
    if problems:
        raise SeedError(problems)
    return Seed(
        cards=cards,
        hostname=cast(str, top.get("hostname", DEFAULT_HOSTNAME)),
        admin_keys=cast(tuple[str, ...], top.get("admin-keys", ())),
        admin_password=cast(str, top.get("admin-password", "")),
        dns=cast(tuple[Address, ...], top.get("dns", ())),
        ssh_from=cast(tuple[Network, ...], top.get("ssh-from", ())),
    )


def _missing(name: str, where: Where) -> str:
    return f"{where('', '')}: there is no [{name}]; a gateway has an inside and an outside card"


def _card(name: str, raw: object, where: Where, problems: list[str]) -> Card:
    if not isinstance(raw, dict):
        problems.append(f"{where('', name)}: {name} is a table: [{name}]")
        return Card(name, "")
    found = _read(name, raw, _INSIDE if name == INSIDE else _OUTSIDE, (), where, problems)
    card = Card(
        name,
        cast(str, found.get("card", "")),
        cast(tuple[Interface, ...], found.get("addresses", ())),
        cast(tuple[Address, ...], found.get("gateways", ())),
        cast(bool, found.get("dhcp", False)),
    )
    if "card" not in raw:
        problems.append(f'{where(name, "")}: which card? card = "52:54:00:12:34:56", or the kernel\'s name of it')
    if "addresses" not in raw and not card.dhcp:
        dhcp = "" if name == INSIDE else ", or dhcp = true"
        problems.append(f'{where(name, "")}: no addresses; write addresses = ["192.0.2.10/24"]{dhcp}')
    if card.dhcp and (card.addresses or card.gateways):
        problems.append(f"{where(name, 'dhcp')}: with dhcp = true, addresses and gateways are not written")
    return card


def _contradictions(cards: Sequence[Card], where: Where) -> list[str]:
    """What is wrong only in several values together."""
    found = []
    for place, card in enumerate(cards):
        for gateway in card.gateways:
            mine = [address for address in card.addresses if address.version == gateway.version]
            if not mine or not (gateway.is_link_local or any(gateway in address.network for address in mine)):
                found.append(f"{where(card.name, 'gateways')}: gateways: {gateway} is in no network of {card.name}")
            elif any(gateway == address.ip for address in mine):
                found.append(f"{where(card.name, 'gateways')}: gateways: {gateway} is an address of {card.name} itself")
        for other in cards[:place]:
            if other.card == card.card:
                found.append(f"{where(card.name, 'card')}: card: {card.card} is the card of {other.name} already")
            found += [
                f"{where(card.name, 'addresses')}: addresses: {one} overlaps {another} of {other.name}"
                for one in card.addresses
                for another in other.addresses
                if _overlap(one.network, another.network)
            ]
    return found


def _own_servers(servers: Sequence[Address], cards: Sequence[Card], where: Where) -> list[str]:
    """Names would be asked for in a ring: sockd asks the servers of resolv.conf."""
    own = {address.ip for card in cards for address in card.addresses}
    return [
        f"{where('', 'dns')}: dns: {server} is this machine itself; write the name servers of the uplinks"
        for server in servers
        if server.is_loopback or server in own
    ]


def _overlap(one: Network, another: Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(another, ipaddress.IPv4Network) and one.overlaps(another)
    return isinstance(another, ipaddress.IPv6Network) and one.overlaps(another)


# Values: each function returns what is meant, or raises ValueError with what is wrong.

Value = TypeVar("Value")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('a text in quotes is needed, as in "gw1"')
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is true or false, without quotes")
    return value


def _list(one: Callable[[object], Value]) -> Callable[[object], tuple[Value, ...]]:
    def several(value: object) -> tuple[Value, ...]:
        if not isinstance(value, list):
            raise ValueError('a list is needed, as in ["one", "two"]')
        found = tuple(one(each) for each in value)
        if twice := [each for place, each in enumerate(found) if each in found[:place]]:
            raise ValueError(f"{twice[0]} is there twice")
        return found

    return several


def _some(one: Callable[[object], Value]) -> Callable[[object], tuple[Value, ...]]:
    def several(value: object) -> tuple[Value, ...]:
        if not (found := _list(one)(value)):
            raise ValueError("the list is empty")
        return found

    return several


def _hostname(value: object) -> str:
    name = _text(value)
    if len(name) > 64 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{name!r} is no host name: letters, digits and '-', 64 at most, with dots between labels")
    return name.lower()


def _key(value: object) -> str:
    """As in authorized_keys of sshd(8), without options."""
    text = _text(value)
    kind, _, rest = text.partition(" ")
    data, _, comment = rest.strip().partition(" ")
    if kind not in KEY_TYPES:
        raise ValueError(f"{kind[:40]!r} is no type of a public key; a key is one line of a .pub file")
    try:
        inner = base64.b64decode(data, validate=True)
    except binascii.Error:
        inner = b""
    length = int.from_bytes(inner[:4], "big")
    if len(inner) <= 4 + length or inner[4 : 4 + length] != kind.encode():
        raise ValueError(f"the {kind} key is not whole; a key is one line of a .pub file")
    if not comment.isprintable():
        raise ValueError(f"the comment of the {kind} key has control characters")
    return " ".join(filter(None, (kind, data, comment.strip())))


def _crypted(value: object) -> str:
    text = _text(value)
    if not _CRYPTED.fullmatch(text):
        raise ValueError("this is no hash of a password; `mkpasswd` or `openssl passwd -6` prints one")
    return text


def _address(value: object) -> Address:
    text = _text(value)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 or IPv6 address") from None
    if (
        address.is_unspecified
        or address.is_multicast
        or (isinstance(address, ipaddress.IPv6Address) and address.scope_id)
    ):
        raise ValueError(f"{text} is no address of a host")
    return address


def _interface(value: object) -> Interface:
    text = _text(value)
    address, slash, _ = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} has no length of its network, as in 192.0.2.10/24")
    _address(address)
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address with the length of its network, as in 192.0.2.10/24") from None
    network = found.network
    ends = {network.network_address, network.broadcast_address}
    if found.version == 4 and network.prefixlen < 31 and found.ip in ends:
        raise ValueError(f"{text} is the network or its broadcast address, not one of a host")
    return found


def _network(value: object) -> Network:
    text = _text(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network: {error}") from None


def _one_each(value: object) -> tuple[Address, ...]:
    found = _list(_address)(value)
    if len({address.version for address in found}) < len(found):
        raise ValueError("there is one gateway for IPv4 and one for IPv6 at most")
    return found


def _which(value: object) -> str:
    text = _text(value)
    if _MAC.fullmatch(text):
        return text.lower()
    if not _KERNEL_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no address of a card, as in 52:54:00:12:34:56, and no name of one, as in eth0")
    return text


_Readers: TypeAlias = Mapping[str, Callable[[object], object]]
_TOP: _Readers = {
    "hostname": _hostname,
    "admin-keys": _some(_key),
    "admin-password": _crypted,
    "dns": _list(_address),
    "ssh-from": _some(_network),
}
_INSIDE: _Readers = {"card": _which, "addresses": _some(_interface)}
_OUTSIDE: _Readers = {**_INSIDE, "gateways": _one_each, "dhcp": _truth}


def _read(
    table: str,
    raw: Mapping[str, object],
    readers: _Readers,
    tables: Sequence[str],
    where: Where,
    problems: list[str],
) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in raw.items():
        if key in tables:
            continue
        if key not in readers:
            inside = f"[{table}]" if table else "a seed"
            known = ", ".join([*readers, *(f"[{name}]" for name in tables)])
            problems.append(f"{where(table, key)}: {inside} has no key {key!r}; it has {known}")
            continue
        try:
            found[key] = readers[key](value)
        except ValueError as error:
            problems.append(f"{where(table, key)}: {key}: {error}")
    return found


def _syntax(message: str, path: str, text: str) -> str:
    if found := _AT_LINE.search(message):
        return f"{path}:{found[1]}:{found[2]}: {message[: found.start()]}"
    return f"{path}:{max(1, len(text.splitlines()))}: {message}"


def _place(text: str, path: str, table: str, key: str) -> str:
    """``path:line`` of a key or of the head of a table, as they are mostly written; else the path alone."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\s*\"?([^\]\"]+?)\"?\s*\]", line):
            current = head[1]
            if (key in ("", current) and table in ("", current)) and (key or table):
                return f"{path}:{number}"
        elif key and current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return f"{path}:{number}"
    return path
