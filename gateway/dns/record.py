"""What is written down about one query: who asked what, what he was told, and which name server said so.

As the classic log has it, a line, and as one JSON object for programs. It is made only for queries that are logged.
"""

from collections.abc import Container

import msgspec

_PLAIN = frozenset(map(chr, range(0x21, 0x7F)))
_VISIBLE = _PLAIN | {" "}


class QueryRecord(msgspec.Struct, frozen=True, gc=False):
    """One query, as its JSON object shows it."""

    #: when it was answered, RFC 3339 in UTC
    time: str
    #: the client's address
    client: str
    #: by `gateway.dns.names.text_name`, which escapes what a client may have put into it
    name: str
    type: str
    #: what the client was told: ``NOERROR``, ...
    rcode: str
    #: as in the settings; None: the query came to no zone
    zone: str | None
    #: ``hit``, ``miss``, ``stale``, ``local``, ``coalesced``, or ``none`` for what was refused
    cache: str
    #: the name server that was asked, and by which way out; None: none was
    server: str | None
    egress: str | None
    #: the extended error (RFC 8914) and why
    ede: str | None
    #: from the query to its answer
    milliseconds: float

    def line(self) -> str:
        """``query 10.1.2.3 www.corp.example. A: NOERROR (corp.example, miss, 10.0.0.53 by eth1, 12.3 ms)``.

        With an extended error behind it. A name is one word, so that it can not pass itself off as more of the line.
        """
        server = (self.server or "") + (f" by {self.egress}" if self.egress else "")
        facts = (self.zone or "no zone", self.cache, server, f"{self.milliseconds:.1f} ms")
        ede = f": {escape(self.ede, _VISIBLE)}" if self.ede else ""
        start = f"query {self.client} {escape(self.name)} {self.type}: {self.rcode}"
        return f"{start} ({', '.join(filter(None, facts))}){ede}"


def escape(text: str, allowed: Container[str] = _PLAIN) -> str:
    r"""As one word of a line: blanks, and what is not visible ASCII, as ``\DDD`` (RFC 1035 §5.1)."""
    return "".join(
        char if char in allowed else "".join(f"\\{octet:03d}" for octet in char.encode(errors="backslashreplace"))
        for char in text
    )
