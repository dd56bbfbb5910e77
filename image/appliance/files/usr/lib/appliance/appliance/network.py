"""The files of the network by a seed: interfaces(5), systemd.link(5), resolv.conf(5), hosts(5), nft(8).

Pure: texts only. Who writes them, and when they are read, is no matter here.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from appliance.seed import INSIDE, Address, Card, Interface, Network, Seed

WRITTEN: Final = (
    "# Written by appliance-setup from the seed, once for each seed; changes stay until there is another one."
)


LOOPBACK: Final = "127.0.0.1"
METRICS: Final = {"outside": 100, "outside2": 200}
"""The host itself leaves by the first uplink; sockd finds the gateway of the other one in its default route."""

OWN_TABLE: Final = 108
OWN_PRIORITY: Final = 100
"""Of the rules for the inside networks: before those of sockd, from 20000 on, and before the table main."""


def interfaces(seed: Seed) -> str:
    """/etc/network/interfaces."""
    blocks = ["auto lo\niface lo inet loopback", *(_block(card) for card in seed.cards)]
    return "\n\n".join([WRITTEN, *blocks]) + "\n"


def _block(card: Card) -> str:
    return "\n".join([f"auto {card.name}", *(_by_dhcp(card.name) if card.dhcp else _by_hand(card))])


def _by_dhcp(name: str) -> Iterator[str]:
    """In the background from the start: the method dhcp of ifupdown holds up the boot until a server answers."""
    files = f"-pf /run/dhclient.{name}.pid -lf /var/lib/dhcp/dhclient.{name}.leases"
    yield f"iface {name} inet manual"
    yield f"    pre-up ip link set dev {name} up"
    yield f"    up dhclient -4 -nw -e IF_METRIC={METRICS[name]} {files} {name}"
    yield f"    down dhclient -4 -r {files} {name}"
    yield f"    post-down ip link set dev {name} down"
    yield f"iface {name} inet6 auto"
    yield "    dad-attempts 0"


def _by_hand(card: Card) -> Iterator[str]:
    """Each address in a stanza of its own; ifupdown adds them up.

    It would take a card for broken whose duplicate address detection does not end, as it does not without a cable.
    """
    seen: set[int] = set()
    quiet = (
        f"    pre-up sysctl -q -e -w net.ipv6.conf.{card.name}.accept_ra=0"  # before the card is up for the first time
    )
    for number, address in enumerate(card.addresses):
        version = address.version
        yield f"iface {card.name} inet{'6' if version == 6 else ''} static"
        yield f"    address {address.with_prefixlen}"
        if number == 0:
            yield quiet
        if version == 6:
            yield "    dad-attempts 0"
        if version not in seen:
            yield from (f"    up {_route(card, gateway)}" for gateway in card.gateways if gateway.version == version)
        seen.add(version)
        if card.name == INSIDE and not any(address.network == other.network for other in card.addresses[:number]):
            yield from _kept_inside(address)


def _kept_inside(address: Interface) -> Iterator[str]:
    """An inside network stays inside, whatever a DHCP server or a router of the outside says of it.

    Their routes go into the table main, and a longer prefix wins there; a rule before it does not ask how long.
    """
    network, ip = address.network, f"ip -{address.version}"
    if network.is_link_local:
        return
    source = f" src {address.ip}" if address.version == 4 else ""  # IPv6 takes none that is still tentative
    rule = f"to {network} lookup {OWN_TABLE} pref {OWN_PRIORITY}"
    yield f"    up {ip} route replace {network} dev {INSIDE}{source} table {OWN_TABLE}"
    yield f"    up {ip} rule del {rule} 2>/dev/null || true"
    yield f"    up {ip} rule add {rule}"
    yield f"    down {ip} rule del {rule} || true"
    yield f"    down {ip} route del {network} dev {INSIDE} table {OWN_TABLE} || true"


def _route(card: Card, gateway: Address) -> str:
    return f"ip -{gateway.version} route replace default via {gateway} dev {card.name} metric {METRICS[card.name]}"


def link(name: str, mac: str) -> str:
    """/etc/systemd/network/10-NAME.link."""
    return f"{WRITTEN}\n[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nName={name}\n"


def resolv_conf(servers: Sequence[Address]) -> str:
    """/etc/resolv.conf; with no server it is this host, as resolv.conf(5) has it: sockd starts and answers SERVFAIL."""
    named = [str(server) for server in servers] or [LOOPBACK]
    return "".join(f"{line}\n" for line in (WRITTEN, *(f"nameserver {server}" for server in named)))


def dhclient_hook() -> str:
    """For dhclient-script(8): name servers that are written are not replaced by those of a lease."""
    return f"{WRITTEN}\nmake_resolv_conf() {{\n    :\n}}\n"


def hosts(seed: Seed) -> str:
    """/etc/hosts; the host's own name is its first inside address, as others know it."""
    names = " ".join(dict.fromkeys((seed.hostname, seed.hostname.partition(".")[0])))
    inside = next(card for card in seed.cards if card.name == INSIDE)
    lines = (
        WRITTEN,
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        f"{inside.addresses[0].ip} {names}",
    )
    return "".join(f"{line}\n" for line in lines)


def ssh_from(networks: Sequence[Network]) -> str:
    """For nft(8): ssh from these networks only, in a table of its own; what the firewall refuses it does not let in.

    Without networks the table is removed.
    """
    lines = [WRITTEN, "table inet appliance", "delete table inet appliance"]
    if networks:
        lines += [
            "table inet appliance {",
            "    chain input {",
            "        type filter hook input priority filter - 5; policy accept;",
            '        iif "lo" accept',
            *(f"        {_FAMILIES[network.version]} saddr {network} tcp dport 22 accept" for network in networks),
            "        tcp dport 22 drop",
            "    }",
            "}",
        ]
    return "".join(f"{line}\n" for line in lines)


_FAMILIES: Final = {4: "ip", 6: "ip6"}
