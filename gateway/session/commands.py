"""What a session wants done: frozen values that the net layer carries out, in order."""

from typing import NamedTuple

from gateway.address import Endpoint, Name
from gateway.session.record import Record


class Send(NamedTuple):
    """Bytes for the client."""

    data: bytes


class CheckPassword(NamedTuple):
    """Verify a password; answer with `password_checked`."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        """Without the password."""
        return f"CheckPassword(user={self.user!r})"


class AskIdent(NamedTuple):
    """Ask the client's identd who owns the connection; answer with `ident_answered`, which gets the endpoints back."""

    endpoints: tuple[Endpoint, ...]


class Resolve(NamedTuple):
    """Look a name up; answer with `resolved` or `lookup_failed`."""

    name: Name


class Dial(NamedTuple):
    """Connect to the first of these checked endpoints that answers; answer with `connected` or `connect_failed`."""

    endpoints: tuple[Endpoint, ...]


class StartRelay(NamedTuple):
    """Join client and target; ``early`` is what the client sent after its request and goes to the target first."""

    early: bytes


class RunCommand(NamedTuple):
    """Run a shell command that a line of ``sockd.conf`` asks for; nothing waits for it."""

    command: str


class Log(NamedTuple):
    """A classic line."""

    line: str


class Write(NamedTuple):
    """The session's record, once, at its end."""

    record: Record


class Close(NamedTuple):
    """No more for this client: let what was sent arrive, then close."""


Command = Send | CheckPassword | AskIdent | Resolve | Dial | StartRelay | RunCommand | Log | Write | Close
