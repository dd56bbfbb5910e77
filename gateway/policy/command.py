"""The commands of ``sockd.conf``: their ``%`` codes filled in, so that no client's word reaches the shell unseen.

``spec/socks4.md`` §3.6. Running the command is not done here.
"""

import re
from types import MappingProxyType
from typing import NamedTuple

from gateway.errors import GatewayError

LENGTH_LIMIT = 8192
"""Characters of a command after substitution; the original's buffer is BUFSIZ, which is this much on Linux."""

UNKNOWN_USER = "unknown"
"""What ``%U`` is before, or without, an answer of identd."""


class CommandRefused(GatewayError):
    """A command that is not run; the message is the line for the log."""


class Substitutions(NamedTuple):
    """What the codes stand for, as text. Client bytes may be in here: `expand` makes them harmless."""

    #: ``%A``: the client's host name if known, else its address
    client_name: str
    #: ``%a``
    client_address: str
    #: ``%c``: ``connect`` or ``bind``
    command: str
    #: ``%p``: the daemon's process id
    process: str
    #: ``%S``: the service's name if known, else the port
    service: str
    #: ``%s``
    port: str
    #: ``%u``: the user id that the client sent
    user: str
    #: ``%Z``: the destination's host name if known, else its address
    destination_name: str
    #: ``%z``
    destination_address: str
    #: ``%U``: the user id that identd gave
    ident: str = UNKNOWN_USER


class Job(NamedTuple):
    """A command that is to be run.

    Whoever runs it takes the words of the command from the file itself, by ``origin``, and only the values from here:
    who has clients' bytes in his hands can not make up a command.
    """

    #: the line that asks for it, as ``sockd.conf:17``
    origin: str
    values: Substitutions
    #: the command with the values filled in
    command: str
    #: which of the configurations that ever ruled the line is from: another one may rule when the command is run
    ruling: int = 0


CODES = MappingProxyType(
    {
        "A": "client_name",
        "a": "client_address",
        "c": "command",
        "p": "process",
        "S": "service",
        "s": "port",
        "U": "ident",
        "u": "user",
        "Z": "destination_name",
        "z": "destination_address",
    }
)
"""The letter after ``%`` -> the field of `Substitutions`."""

_CODE = re.compile(r"%(.?)", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9!@%\-_=+:,./]")
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]")


def sanitised(value: str) -> str:
    """The value with ``_`` for every character outside ``A-Za-z0-9!@%-_=+:,./``.

    The original leaves a backslash too; one at the end of a client's user id would take away the quote behind it.
    """
    return _UNSAFE.sub("_", value)


def expand(template: str, values: Substitutions) -> str:
    """The command to run: ``%%`` is ``%``, an unknown code is removed, values are `sanitised`.

    Raises CommandRefused when it is longer than `LENGTH_LIMIT`, or has no letter or digit at all.
    """
    if len(template) > LENGTH_LIMIT:
        raise _too_long(template)
    command = _CODE.sub(lambda found: _value(found[1], values), template)
    if len(command) > LENGTH_LIMIT:
        raise _too_long(command)
    if _ALPHANUMERIC.search(command) is None:
        raise CommandRefused(f'error -- shell command "{command}" contains no alphanumeric characters.')
    return command


def _value(code: str, values: Substitutions) -> str:
    if code == "%":
        return "%"
    name = CODES.get(code)
    # A value longer than a whole command is refused with the command; cutting bounds the work before that.
    return "" if name is None else sanitised(getattr(values, name)[: LENGTH_LIMIT + 1])


def _too_long(command: str) -> CommandRefused:
    return CommandRefused(f"shell command too long: {command[:30]}...")
