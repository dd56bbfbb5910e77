"""The OPT record (RFC 6891): ours as it goes out, and the options of others.

No option of a client goes to a name server, none comes back, and none is echoed: cookies (RFC 7873) are ignored as by
a server without them, client subnets (RFC 7871) tell nobody where the inside's hosts are. The one that we write is the
extended error.
"""

import struct

from gateway.dns.constants import DO, OPT, UDP_PAYLOAD

OPT_BYTES = 11
"""Of an OPT record without options."""

EDE_OPTION = 15
"""The extended error (RFC 8914 §2)."""

EDE_BYTES = 6
"""Of that option without a text."""

MAX_OPTIONS = 100
"""In one record; no honest message comes near (field-cases D6)."""

_RECORD = struct.Struct("!BHHBBHH")
_OPTION = struct.Struct("!HH")
_OPTION_HEAD = _OPTION.unpack_from

PLAIN = _RECORD.pack(0, OPT, UDP_PAYLOAD, 0, 0, 0, 0)
WITH_DO = _RECORD.pack(0, OPT, UDP_PAYLOAD, 0, 0, DO, 0)
"""Ours, as nearly every message carries it: version 0, no error, no options."""


def opt_record(do: bool, extended: int = 0, options: bytes = b"") -> bytes:
    """An OPT record of ours; ``extended`` is a whole rcode, of which it carries the upper eight bits (RFC 6891 §6.1.3).

    The DO bit goes back as it came (RFC 3225 §3); no other flag does.
    """
    return _RECORD.pack(0, OPT, UDP_PAYLOAD, extended >> 4, 0, DO if do else 0, len(options)) + options


def extended_error(code: int, text: str, room: int) -> bytes:
    """The option that says why, of at most ``room`` octets; a text that is too long is cut between characters.

    Without room for the code: no option.
    """
    if room < EDE_BYTES:
        return b""
    words = text.encode(errors="replace")[: room - EDE_BYTES].decode(errors="ignore").encode()
    return _OPTION.pack(EDE_OPTION, len(words) + 2) + code.to_bytes(2, "big") + words


def options_end_well(data: bytes, at: int, end: int) -> bool:
    """Whether the options between these places fill them exactly, and are not too many."""
    for _ in range(MAX_OPTIONS):
        if at + 4 > end:
            break
        at += 4 + _OPTION_HEAD(data, at)[1]
    return at == end


def first_error(data: bytes, at: int, end: int) -> tuple[int, str] | None:
    """The code and the text of the first extended error among these options, which end well; the text is a stranger's.

    None: there is none, or none that holds a code.
    """
    while at < end:
        option, length = _OPTION_HEAD(data, at)
        at += 4
        if option == EDE_OPTION and length >= 2:
            text = data[at + 2 : at + length].rstrip(b"\0").decode(errors="replace")
            return int.from_bytes(data[at : at + 2], "big"), text
        at += length
    return None
