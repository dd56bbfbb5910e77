"""A filter as one writes it: ``user=fred dest=.example.com rule=17``, into the protocol's `Filter` and back; pure."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from gateway.cli.top.words import visible
from gateway.control.protocol import Filter
from gateway.control.selection import Selection
from gateway.errors import GatewayError

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "user": "user",
        "source": "source",
        "dest": "destination",
        "rule": "rule",
        "egress": "egress",
        "session": "session",
        "destination": "destination",
        "from": "source",
        "to": "destination",
    }
)
"""Word -> field; of several words for one field the first is written back."""

_WORDS = "user= source= dest= rule= egress= session="


class BadFilter(GatewayError):
    """A word of a filter that is not understood."""


def parse(text: str) -> Filter:
    """The filter; words are split at blanks, and an empty text matches all. Raises BadFilter or ControlError."""
    found: dict[str, str] = {}
    for word in text.split():
        key, sign, value = word.partition("=")
        field = FIELDS.get(key)
        if not sign or field is None:
            raise BadFilter(f"{visible(word)}: write one of {_WORDS}")
        if not value or field in found:
            raise BadFilter(f"{key}= {'is there twice' if field in found else 'is empty'}")
        found[field] = value
    wanted = Filter(**found)
    # The daemon understands it by the same class, and would refuse it at every look.
    Selection.of(wanted)
    return wanted


def words(wanted: Filter) -> str:
    """The filter as `parse` takes it."""
    values: Mapping[str, str] = msgspec.structs.asdict(wanted)
    written = {field: key for key, field in reversed(list(FIELDS.items()))}
    return " ".join(f"{written[field]}={value}" for field, value in values.items() if value)
