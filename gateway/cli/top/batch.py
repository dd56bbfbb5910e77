"""``sockctl top --batch``: the same as plain text or JSON, look after look, for files and programs."""

import sys
import time
from collections.abc import Callable

import msgspec

from gateway.cli.daemon import say
from gateway.cli.top.courier import Daemon
from gateway.cli.top.pace import pause
from gateway.cli.top.state import State
from gateway.cli.top.style import text_of
from gateway.cli.top.update import failed, looked
from gateway.cli.top.view import plain
from gateway.control.protocol import ControlError

Print = Callable[[State], None]


def print_looks(state: State, daemon: Daemon, count: int, write: Print) -> None:
    """One look after the other, by ``write``; ``count`` of them, or for ever with 0.

    A daemon that is gone is told on stderr, once, and waited for.
    """
    write(state)
    while not count or state.looks < count:
        time.sleep(pause(state.interval, state.sample.took))
        try:
            state = looked(state, daemon.look(state.sample.asked))
        except ControlError as error:
            if not state.trouble:
                say("top", f"{error}; trying again")
            state = failed(state, str(error))
        else:
            write(state)


def as_text(state: State) -> None:
    """The heading and the table, an empty line before all but the first."""
    if state.looks > 1:
        print()
    for line in plain(state):
        print(text_of(line).rstrip())
    sys.stdout.flush()


def as_json(state: State) -> None:
    """A JSON object on a line: the report, the sessions with their rates, and how many there are of such."""
    sessions = [
        {**msgspec.to_builtins(row.live), "sent_per_second": row.sent, "received_per_second": row.received}
        for row in state.rows
    ]
    look = {"status": state.sample.report, "matched": state.sample.matched, "sessions": sessions}
    print(msgspec.json.encode(look).decode(), flush=True)
