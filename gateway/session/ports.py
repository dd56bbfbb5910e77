"""What a session wants done, as calls on two ports that come in by argument; the net layer carries them out.

Calls rather than lists of values: a session makes about ten of them, and the difference is a tenth of what a new
connection may cost. A test gives ports that write the calls down.
"""

from typing import Protocol

from gateway.address import Endpoint, Name
from gateway.policy.command import Job
from gateway.policy.egress import Hop
from gateway.session.record import Record


class Actions(Protocol):
    """What is done for one client before its relay. Answers come back as events of the session."""

    def send(self, data: bytes) -> None:
        """Bytes for the client."""

    def check_password(self, user: bytes, password: bytes) -> None:
        """Verify a password; answered by `password_checked`."""

    def ask_ident(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Ask the client's identd whose the connection is; answered by `ident_answered` with the same endpoints."""

    def resolve(self, name: Name) -> None:
        """Look a name up; answered by `resolved` or `lookup_failed`."""

    def dial(self, hops: tuple[Hop, ...]) -> None:
        """Connect to the first that answers, each strictly by its way; answered by `connected`, `connect_failed`."""

    def run_command(self, job: Job) -> None:
        """Run a shell command that a line of ``sockd.conf`` asks for; nothing waits for it."""

    def start_relay(self, early: bytes) -> None:
        """Join client and target; ``early`` is what came after the request. The last action, besides the journal's."""

    def close(self) -> None:
        """No more for this client: let what was sent arrive, then close."""


class Journal(Protocol):
    """Where sessions are written down: classic lines of three classes, and records. Look a method up for each call.

    ``record`` is that of the session if it ends with the line; it is kept also where lines of the class are not.
    """

    def connected(self, text: str) -> None:
        """A line about a session that is connected."""

    def terminated(self, text: str, record: Record) -> None:
        """One about a session that was; of the same class."""

    def denied(self, text: str, record: Record | None = None) -> None:
        """One about a client that is not served for what it is, asks or does."""

    def failed(self, text: str, record: Record | None = None) -> None:
        """One about what a resource or the network did not give."""

    def record(self, record: Record) -> None:
        """The record of a session that ends without a line."""
