"""The errors of this package, one base per layer. What else escapes from a parser or a codec is a bug of ours."""

from collections.abc import Sequence

from gateway.place import Problem


class GatewayError(Exception):
    """Base of every error that this package raises on purpose."""


class ProtocolError(GatewayError):
    """Base of the wire errors; raised only as one of its two subclasses."""


class LocalProtocolError(ProtocolError):
    """Our own side asked for something that the protocol does not allow now."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    ``reply`` holds the bytes that the protocol wants the peer to get before the connection is closed; it may be empty.
    """

    def __init__(self, fact: str, reply: bytes = b"") -> None:
        super().__init__(fact)
        self.fact = fact
        self.reply = reply


class BadName(GatewayError):
    """A host name that no rule and no resolver shall ever see; the message says which part is wrong."""


class ConfigError(GatewayError):
    """A file that is refused whole; ``problems`` holds every mistake found in it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class StartError(GatewayError):
    """The daemon can not start; the message is the one line that the administrator sees."""
