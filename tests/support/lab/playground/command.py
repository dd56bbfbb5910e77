"""``lab COMMAND ...`` at the playground's prompt: what a person does to its cables, cards and hosts."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pyroute2.netlink.exceptions import NetlinkError

from tests.support.lab.capture import Packet, capture
from tests.support.lab.playground.ground import Ground, find
from tests.support.lab.playground.texts import THINGS_TO_TRY
from tests.support.lab.topology import GATEWAY


class _Wrong(Exception):
    """The command was not understood, or cannot be done; the message is for the person."""


class _Command(NamedTuple):
    arguments: str
    purpose: str
    do: Callable[[Ground, Sequence[str]], None]


def _to_card(change: str) -> Callable[[Ground, Sequence[str]], None]:
    def do(ground: Ground, words: Sequence[str]) -> None:
        getattr(ground.lab, change)(_card(ground, words))

    return do


def _card(ground: Ground, words: Sequence[str]) -> str:
    cards = [card.name for card in ground.lab.topology.host(GATEWAY).cards]
    if len(words) != 1 or words[0] not in cards:
        raise _Wrong(f"name one card of the gateway: {', '.join(cards)}")
    return words[0]


def _renumber(ground: Ground, words: Sequence[str]) -> None:
    if len(words) != 2:
        raise _Wrong("name a card and its new IPv4 address, such as: lab renumber wan1 192.0.2.77")
    card, new = _card(ground, words[:1]), words[1]
    shown = ground.lab.run(GATEWAY, "ip", "-o", "-4", "addr", "show", "dev", card).stdout.split()
    if len(shown) < 4:
        raise _Wrong(f"{card} has no IPv4 address")
    old = shown[3]
    ground.lab.replace_address(card, old, f"{new.partition('/')[0]}/{old.partition('/')[2]}")


def _on(ground: Ground, words: Sequence[str]) -> None:
    hosts = ground.lab.spaces
    if len(words) < 2 or words[0] not in hosts:
        raise _Wrong(f"name a host and a command for it; the hosts are {', '.join(hosts)}")
    command = [*hosts[words[0]].prefix, *words[1:]]
    os.execvp(command[0], command)


def _log(ground: Ground, words: Sequence[str]) -> None:
    os.execvp("tail", ["tail", *(words or ["-n", "20"]), str(ground.log)])


def _restart(ground: Ground, _: Sequence[str]) -> None:
    ground.stop_sockd()
    print(ground.start_sockd())


def _watch(ground: Ground, words: Sequence[str]) -> None:
    shown = 0
    with capture(ground.lab.spaces[GATEWAY], _card(ground, words)) as seen:
        while True:
            packets = seen.packets()
            for packet in packets[shown:]:
                print(_line(packet), flush=True)
            shown = len(packets)
            time.sleep(0.1)


def _line(packet: Packet) -> str:
    ends = f"{packet.source} {packet.source_port} -> {packet.destination} {packet.destination_port}"
    return f"{'out' if packet.outgoing else 'in '} {packet.protocol:5} {ends} {packet.flags}".rstrip()


def _help(_: Ground, __: Sequence[str]) -> None:
    print(usage() + "\n\n" + THINGS_TO_TRY)


_COMMANDS = {
    "pull": _Command("CARD", "pull the cable out at its far end", _to_card("pull")),
    "restore": _Command("CARD", "put it back", _to_card("restore")),
    "mute": _Command("CARD", "the far end falls silent, its link stays", _to_card("mute")),
    "unmute": _Command("CARD", "and speaks again", _to_card("unmute")),
    "remove": _Command("CARD", "take the card out of the gateway", _to_card("remove_card")),
    "insert": _Command("CARD", "put it back in", _to_card("insert_card")),
    "renumber": _Command("CARD ADDRESS", "another IPv4 address of its network, as from DHCP", _renumber),
    "watch": _Command("CARD", "show its packets until Ctrl-C", _watch),
    "on": _Command("HOST COMMAND", "run a command on inside, gateway, outside or outside2", _on),
    "log": _Command("[-f]", "the daemon's log; arguments are those of tail", _log),
    "restart": _Command("", "end sockd and start it, with its files as they are now", _restart),
    "help": _Command("", "this, and things to try", _help),
}


def usage() -> str:
    """One line a command."""
    lines = (f"  lab {f'{name} {command.arguments}':<22} {command.purpose}" for name, command in _COMMANDS.items())
    return "\n".join(lines)


def main(folder: Path, words: Sequence[str]) -> int:
    """Do one command; returns its exit status."""
    command = _COMMANDS.get(words[0] if words else "help")
    if command is None:
        print(f"lab: there is no command {words[0]!r}; lab help lists them", file=sys.stderr)
        return 2
    try:
        command.do(find(folder), words[1:])
    except FileNotFoundError as missing:
        return _failed(f"{missing.filename}: {missing.strerror}")
    except (_Wrong, LookupError) as wrong:
        return _failed(str(wrong))
    except NetlinkError as refused:
        return _failed(f"the kernel refused: {refused.args[-1]}; it may be so already")
    except KeyboardInterrupt:
        print()
    return 0


def _failed(reason: str) -> int:
    print(f"lab: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
