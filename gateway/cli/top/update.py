"""What a key, an answer of the daemon or a new size of the terminal makes of the state; pure.

Whatever must be done outside is returned as a command, so that a test can look at it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from gateway.cli.daemon import counted
from gateway.cli.top import filters
from gateway.cli.top.pace import faster, slower
from gateway.cli.top.sample import Row, Sample, row_of, rows_of
from gateway.cli.top.scroll import count, height, is_listed, move, selected, settled
from gateway.cli.top.sorting import Sort, in_order, neighbour
from gateway.cli.top.state import Asking, Editing, Page, Size, State
from gateway.cli.top.words import target
from gateway.control.protocol import Filter, Kill
from gateway.errors import GatewayError

FILTER_LENGTH = 400


class Quit(NamedTuple):
    """The end of the program."""


class Turn(NamedTuple):
    """What a key does: the state after it, and what is to be done outside."""

    state: State
    command: Kill | Quit | None = None


def begin(size: Size, sample: Sample, interval: float, sort: Sort, wanted: Filter) -> State:
    """The state after the first look."""
    empty = State(size=size, sample=sample, table=sample, interval=interval, sort=sort, filter=wanted)
    return replace(looked(empty, sample), before=None)


# What the daemon answers


def looked(state: State, sample: Sample) -> State:
    """After a look. Sessions that a filter of before has chosen are not shown any more."""
    state = replace(state, sample=sample, before=state.sample, trouble="", looks=state.looks + 1)
    if state.details is not None and sample.asked.filter == Filter(session=state.details.live.session):
        live = next(iter(sample.live), None)
        details = state.details if live is None else row_of(live, state.details)
        state = replace(state, details=details, gone=live is None)
    if state.page is Page.DETAILS or sample.asked.filter != state.filter:
        return settled(state)
    before = {row.live.session: row for row in state.rows}
    rows = in_order(rows_of(sample.live, before).values(), state.sort, state.reverse)
    return settled(replace(state, table=sample, rows=rows))


def failed(state: State, why: str) -> State:
    """After a look that was not answered: what was seen last stays on the screen."""
    return settled(replace(state, trouble=f"{why}; trying again", looks=state.looks + 1))


def killed(state: State, number: int) -> State:
    """After sessions were ended."""
    if number == 0:
        return replace(state, message="no session ended: it was over already")
    return replace(state, message=f"{counted(number, 'session')} ended")


def not_killed(state: State, why: str) -> State:
    """After an order to end sessions that was not obeyed."""
    return replace(state, message=f"not ended: {why}")


def resized(state: State, size: Size) -> State:
    """In a terminal of another size."""
    return settled(replace(state, size=size))


# What a key does


def pressed(state: State, key: str) -> Turn:
    """A key by its name: a character, or one of ``up down page-up page-down home end enter escape backspace``."""
    state = replace(state, message="")
    if isinstance(state.prompt, Asking):
        return _answered(replace(state, prompt=None), state.prompt, key)
    if isinstance(state.prompt, Editing):
        return Turn(_edited(state, state.prompt, key))
    if key == "q" and state.page is Page.TABLE:
        return Turn(state, Quit())
    if state.page is Page.HELP:
        return Turn(replace(state, page=Page.TABLE))
    handlers = _IN_DETAILS if state.page is Page.DETAILS else _IN_TABLE
    handler = handlers.get(key)
    return Turn(state if handler is None else handler(state))


def _answered(state: State, asking: Asking, key: str) -> Turn:
    if key in ("y", "Y"):
        return Turn(state, asking.kill)
    return Turn(replace(state, message="nothing was ended"))


def _edited(state: State, editing: Editing, key: str) -> State:
    """One more character of the filter, or its end."""
    if key == "enter":
        return _filtered(state, editing.text)
    if key == "escape":
        return replace(state, prompt=None)
    if key in _ERASERS:
        return replace(state, prompt=Editing(_ERASERS[key](editing.text)))
    if len(key) == 1 and key.isascii() and key.isprintable() and len(editing.text) < FILTER_LENGTH:
        return replace(state, prompt=Editing(editing.text + key))
    return state


_ERASERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "backspace": lambda text: text[:-1],
        "\x15": lambda _: "",  # Ctrl-U
        "\x17": lambda text: text.rstrip().rpartition(" ")[0],  # Ctrl-W
    }
)


def _filtered(state: State, text: str) -> State:
    """With the new filter; what is here of the old one's sessions is not shown, the next look brings the others."""
    try:
        wanted = filters.parse(text)
    except GatewayError as error:
        return replace(state, prompt=Editing(text, str(error)))
    state = replace(state, prompt=None)
    if wanted == state.filter:
        return state
    return settled(replace(state, filter=wanted, rows=(), cursor=0, top=0, held=""))


def _sort_by(sort: Sort) -> Callable[[State], State]:
    return lambda state: _sorted(state, sort, False)


def _sorted(state: State, sort: Sort, reverse: bool) -> State:
    rows = in_order(state.rows, sort, reverse)
    return settled(replace(state, sort=sort, reverse=reverse, rows=rows))


def _ask_for_one(state: State) -> State:
    row = selected(state)
    if row is None or (state.page is Page.DETAILS and state.gone):
        return replace(state, message="there is no session to end")
    kill = Kill(filter=Filter(session=row.live.session))
    return replace(state, prompt=Asking(f"end {_naming(row)}", kill))


def _naming(row: Row) -> str:
    live = row.live
    user = f"{live.user}, " if live.user else ""
    return f"{live.session}: {user}{live.client} to {target(live)}"


def _ask_for_all(state: State) -> State:
    """Those that the filter shows; without one it would be everybody, and that is what `sockctl drain` is for."""
    if state.filter == Filter():
        return replace(state, message="K ends all sessions that a filter shows; write one with / first")
    if not is_listed(state):
        return replace(state, message="the filter is new and nothing is listed yet; press K again")
    if state.table.matched == 0:
        return replace(state, message="there is no session to end")
    number = state.table.matched
    these = "the one session" if number == 1 else f"all {counted(number, 'session')}"
    return replace(state, prompt=Asking(f"end {these} of {filters.words(state.filter)}", Kill(filter=state.filter)))


def _show_details(state: State) -> State:
    row = selected(state)
    return state if row is None else replace(state, page=Page.DETAILS, details=row, gone=False)


def _show_table(state: State) -> State:
    return settled(replace(state, page=Page.TABLE, details=None, gone=False))


def _at_pace(state: State, interval: float) -> State:
    return replace(state, interval=interval, message=f"every {interval:g} s")


_Handler = Callable[[State], State]

_PACE: Mapping[str, _Handler] = MappingProxyType(
    {
        "p": lambda state: replace(state, paused=not state.paused),
        "+": lambda state: _at_pace(state, slower(state.interval)),
        "-": lambda state: _at_pace(state, faster(state.interval)),
        "k": _ask_for_one,
    }
)
_IN_TABLE: Mapping[str, _Handler] = MappingProxyType(
    {
        **_PACE,
        "up": lambda state: move(state, state.cursor - 1),
        "down": lambda state: move(state, state.cursor + 1),
        "page-up": lambda state: move(state, state.cursor - height(state)),
        "page-down": lambda state: move(state, state.cursor + height(state)),
        "home": lambda state: move(state, 0),
        "end": lambda state: move(state, count(state) - 1),
        "g": lambda state: move(state, 0),
        "G": lambda state: move(state, count(state) - 1),
        "b": _sort_by(Sort.BYTES),
        "a": _sort_by(Sort.AGE),
        "r": _sort_by(Sort.RATE),
        "u": _sort_by(Sort.USER),
        "d": _sort_by(Sort.DESTINATION),
        "<": lambda state: _sorted(state, neighbour(state.sort, -1), False),
        ">": lambda state: _sorted(state, neighbour(state.sort, 1), False),
        "R": lambda state: _sorted(state, state.sort, not state.reverse),
        "/": lambda state: replace(state, prompt=Editing(filters.words(state.filter))),
        "K": _ask_for_all,
        "enter": _show_details,
        "h": lambda state: replace(state, page=Page.HELP),
        "?": lambda state: replace(state, page=Page.HELP),
    }
)
_IN_DETAILS: Mapping[str, _Handler] = MappingProxyType(
    {**_PACE, "q": _show_table, "enter": _show_table, "escape": _show_table}
)
