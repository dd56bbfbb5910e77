"""``sockctl password``: makes the line of the passwords file for a user; changes no file itself.

The password comes from the terminal without echo, or from the first line of standard input; never from the command
line, where ps(1) would show it.
"""

import argparse
import getpass
import os
import sys

from gateway.errors import GatewayError
from gateway.policy.passwords import SALT_OCTETS, make_entry


class _NoPassword(GatewayError):
    """No password was given, or two different ones."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl password``."""
    parser.add_argument("user", metavar="USER", help="the user id; its line is printed, to be put into the file")


def run(arguments: argparse.Namespace) -> int:
    """Print the user's line; 0, or 2 when there is no usable user or password."""
    try:
        print(make_entry(arguments.user, _read_password(), os.urandom(SALT_OCTETS)))
    except (GatewayError, KeyboardInterrupt, EOFError) as error:
        print(f"sockctl password: {error or 'ended'}", file=sys.stderr)
        return 2
    return 0


def _read_password() -> str:
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline().decode("utf-8", "surrogateescape")
        return line.removesuffix("\n").removesuffix("\r")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise _NoPassword("the two passwords differ; nothing was made")
    return password
