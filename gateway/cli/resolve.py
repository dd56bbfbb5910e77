"""``sockctl resolve``: what a client is told about a name, by which zone, name server and way out, and why."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.address import Address, parse_address
from gateway.cli.daemon import (
    DONE,
    REFUSED,
    add_json,
    add_socket,
    print_object,
    understood,
    visible,
    with_daemon,
)
from gateway.control.client import ControlClient
from gateway.control.protocol import Resolve, Resolved, Step
from gateway.dns.constants import parse_type, type_text
from gateway.dns.names import BadName, reverse_name, text_name, wire_name

_ALIASES = frozenset({"CNAME", "DNAME", "RRSIG"})
"""Records that an answer has besides what was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl resolve``."""
    parser.add_argument("name", metavar="NAME", type=_name, help="the name; or an address, whose name is looked for")
    add_socket(parser)
    add_json(parser)
    parser.add_argument("-t", dest="type", metavar="TYPE", type=_type, help="the type (default A; of an address PTR)")
    parser.add_argument("--from", dest="client", metavar="CLIENT", type=_client, help="as this client would ask")
    parser.add_argument("--trace", action="store_true", help="show each step, with its time")


def run(arguments: argparse.Namespace) -> int:
    """Print the answer and where it is from; 0 when there are such records, 1 when there are none or no answer."""
    name, default = arguments.name

    def work(client: ControlClient) -> int:
        rows, done = client.ask(Resolve(name, arguments.type or default, arguments.client or ""))
        resolved = understood(done, Resolved)
        if arguments.json:
            print_object(done)
        else:
            steps = _steps(rows, resolved) if arguments.trace else ()
            print("\n".join(visible(line) for line in (*steps, *_as_text(resolved))))
        return DONE if _is_answer(resolved) else REFUSED

    return with_daemon("resolve", arguments, work)


# What goes in


def _name(text: str) -> tuple[str, str]:
    """The name, and the type that is meant without ``-t``."""
    address = parse_address(text)
    if address is not None:
        return text_name(reverse_name(address)), "PTR"
    try:
        return text_name(wire_name(text)), "A"
    except BadName as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name: {error}") from None


def _type(text: str) -> str:
    number = parse_type(text)
    if number is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no type of records; write A, AAAA, MX ... or TYPE and its number"
        )
    return type_text(number)


def _client(text: str) -> str:
    found: Address | None = parse_address(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no address")
    return str(found)


# What comes out


def _is_answer(resolved: Resolved) -> bool:
    """There are records of the type, and not aliases only that lead to none."""
    if resolved.rcode != "NOERROR":
        return False
    found = {type for type in map(_type_of, resolved.records) if type}
    return resolved.type in found or bool(found - _ALIASES) or bool(found and resolved.type == "ANY")


def _type_of(line: str) -> str:
    """Of a record as a zone file has it, where blanks in names are escaped; empty for what could not be read."""
    words = line.split(maxsplit=3)
    return words[2] if len(words) > 2 and words[0] != r"\#" else ""


def _steps(rows: Sequence[Any], resolved: Resolved) -> Iterator[str]:
    yield from [understood(row, Step).text for row in rows] or resolved.steps
    yield ""


def _as_text(resolved: Resolved) -> Iterator[str]:
    yield from resolved.records
    if resolved.records:
        yield ""
    facts = {
        "answer": f"{_outcome(resolved)} in {resolved.seconds * 1000:.1f} ms",
        "zone": f"{resolved.zone or 'none'}, as view {resolved.view} has it",
        "server": resolved.server or "none was asked",
        "way out": resolved.egress,
        "cache": resolved.cache,
        "why": resolved.why,
        "error": resolved.ede,
    }
    yield from (f"{label:<8} {fact}" for label, fact in facts.items() if fact)


def _outcome(resolved: Resolved) -> str:
    asked = f"{resolved.name} {resolved.type}"
    if resolved.rcode == "NOERROR" and not _is_answer(resolved):
        return f"NOERROR, but no such records, for {asked}"
    return f"{resolved.rcode} for {asked}"
