"""``sockctl top --batch``: the same as plain text, look after look, for files and programs."""

import sys
import time

from gateway.cli.daemon import say
from gateway.cli.top.courier import Daemon
from gateway.cli.top.pace import pause
from gateway.cli.top.state import State
from gateway.cli.top.style import text_of
from gateway.cli.top.update import failed, looked
from gateway.cli.top.view import plain
from gateway.control.protocol import ControlError


def print_looks(state: State, daemon: Daemon, count: int) -> None:
    """One look after the other, an empty line between them; ``count`` of them, or for ever with 0.

    A daemon that is gone is told on stderr, once, and waited for.
    """
    _print(state)
    while not count or state.looks < count:
        time.sleep(pause(state.interval, state.sample.took))
        try:
            state = looked(state, daemon.look(state.sample.asked))
        except ControlError as error:
            if not state.trouble:
                say("top", f"{error}; trying again")
            state = failed(state, str(error))
        else:
            print()
            _print(state)


def _print(state: State) -> None:
    for line in plain(state):
        print(text_of(line).rstrip())
    sys.stdout.flush()
