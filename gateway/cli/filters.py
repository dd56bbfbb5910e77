"""The options that say which sessions are meant; the daemon understands what is written after them."""

import argparse
from types import MappingProxyType

from gateway.control.protocol import Filter

EVERY_SESSION = Filter(session="*")
"""What is said when all are meant: a filter without a word is refused by those who end sessions."""

_FIELDS = MappingProxyType(
    {
        "--user": ("user", "NAME", "of this user id"),
        "--from": ("source", "ADDRESS", "of this client, or of the clients in a prefix such as 10.0.0.0/8"),
        "--to": (
            "destination",
            "DESTINATION",
            "to this address, prefix or name, .example.com for all below; with :PORT, or :PORT alone",
        ),
        "--rule": ("rule", "LINE", "that this line permitted: sockd.conf:17, or 17"),
        "--egress": ("egress", "UPLINK", "by this uplink or outgoing address"),
        "--session": ("session", "ID", "the one with this id"),
    }
)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options, each at most once; several must all hold."""
    group = parser.add_argument_group("which sessions", "those for which all of these hold")
    for option, (field, metavar, text) in _FIELDS.items():
        group.add_argument(option, dest=field, metavar=metavar, type=_written, help=text)


def _written(text: str) -> str:
    """An empty word, as an unset variable of a shell leaves it, must not make the filter a wider one."""
    if not text:
        raise argparse.ArgumentTypeError("a value is missing")
    return text


def filter_of(arguments: argparse.Namespace) -> Filter:
    """What was asked for."""
    return Filter(**{field: getattr(arguments, field) or "" for field, _, _ in _FIELDS.values()})
