"""Whether the firewall will let in the ssh connection that carries a play; run by role hardening on the gateway.

    admitted.py SSH_CONNECTION INSIDE MANAGEMENT PORT [NETWORK ...]

SSH_CONNECTION is as in ssh(1): client, its port, server, its port. Says why not and exits with 1, else with 0. Knows
Debian's Python and ip(8) only.
"""

import ipaddress
import json
import subprocess
import sys


def card_of(address: str) -> str:
    """The card that has this address of the host; empty when none has it."""
    shown = subprocess.run(["ip", "-json", "address", "show"], stdout=subprocess.PIPE, check=True).stdout
    wanted = ipaddress.ip_address(address)
    for link in json.loads(shown):
        for entry in link.get("addr_info", ()):
            if ipaddress.ip_address(entry["local"]) == wanted:
                return str(link["ifname"])
    return ""


def way_to(client: str, server: str) -> str:
    """The card by which an answer of this host's address ``server`` leaves; empty when none does."""
    command = ["ip", "-json", "route", "get", client, "from", server]
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    found = json.loads(shown.stdout or "[]") if shown.returncode == 0 else []
    return str(found[0].get("dev", "")) if found else ""


def plain(address: str) -> str:
    """An address without the zone that a link-local one has, and without the IPv6 form of IPv4."""
    bare = ipaddress.ip_address(address.partition("%")[0])
    mapped = bare.ipv4_mapped if bare.version == 6 else None
    return str(mapped or bare)


def refusal(connection: str, inside: str, management: str, port: int, networks: "list[str]") -> str:
    """Why the rules will not let it in; empty when they will."""
    client, _, server, server_port = connection.split()
    client, server = plain(client), plain(server)
    card = card_of(server)
    if int(server_port) != port:
        return f"it came to port {server_port}, and hardening_ssh_port is {port}"
    if card == "lo":
        return ""
    if card not in (inside, management):
        return f"it came from {client} by {card or 'no card of this host'}"
    # a link-local address is of the link that it came by
    way = card if ipaddress.ip_address(client).is_link_local else way_to(client, server)
    if way == "lo":  # the host itself
        return ""
    if way != card:
        return f"it came from {client} by {card}, and the way back is by {way or 'no card'}, so it counts as forged"
    if card == management:
        return ""
    named = [ipaddress.ip_network(network, strict=False) for network in networks]
    if named and not any(ipaddress.ip_address(client) in network for network in named):
        return f"it came from {client}, which is in none of {', '.join(networks)}"
    return ""


if __name__ == "__main__":
    why = refusal(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    if why:
        print(why)
    sys.exit(1 if why else 0)
