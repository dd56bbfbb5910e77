"""Where the cursor stands and which sessions the screen shows; and so, which of them the daemon is asked for; pure."""

from dataclasses import replace

from gateway.cli.top.heading import heading
from gateway.cli.top.sample import Row
from gateway.cli.top.sorting import ORDERS, Sort
from gateway.cli.top.state import Page, Size, State
from gateway.control.protocol import MAX_ROWS, Filter, Sessions

STEP = 100
"""Sessions are asked for in such portions: the next lines are there before the cursor is."""


def height(state: State) -> int:
    """How many sessions the screen shows: what the heading, the titles and the last line leave."""
    return max(state.size.lines - len(heading(state)) - 2, 0)


def is_listed(state: State) -> bool:
    """Whether the daemon has answered to the filter that is set now."""
    return state.table.asked.filter == state.filter


def count(state: State) -> int:
    """How many sessions the cursor can go to: more than are here already, where the daemon listed only the first."""
    listed = len(state.rows)
    if not is_listed(state) or state.table.asked.limit >= MAX_ROWS:
        return listed
    return max(listed, min(state.table.matched, MAX_ROWS))


def selected(state: State) -> Row | None:
    """The session under the cursor, or that of the details."""
    if state.page is Page.DETAILS:
        return state.details
    return state.rows[state.cursor] if state.cursor < len(state.rows) else None


def move(state: State, to: int) -> State:
    """The cursor on another line; it stays with the session there, but on the first line with the line."""
    moved = settled(replace(state, cursor=to, held=""))
    row = selected(moved)
    return replace(moved, held=row.live.session) if row is not None and moved.cursor else moved


def settled(state: State) -> State:
    """With the cursor on its session, or near to where it was, and the lines around it on the screen."""
    if state.held:
        cursor = next((at for at, row in enumerate(state.rows) if row.live.session == state.held), state.cursor)
    else:
        cursor = state.cursor
    cursor = min(max(cursor, 0), max(count(state) - 1, 0))
    lines = max(height(state), 1)
    top = min(max(state.top, cursor - lines + 1), cursor)
    return replace(state, cursor=cursor, top=max(min(top, count(state) - lines), 0))


def wanted(state: State) -> Sessions:
    """What the next look asks for: the details' session, the first lines in the daemon's order, or all to be sorted."""
    if state.page is Page.DETAILS and state.details is not None:
        return Sessions(filter=Filter(session=state.details.live.session), limit=1)
    below = max(state.top, state.cursor) + 2 * height(state)
    return _first(state.sort, state.reverse, state.filter, below)


def first_look(sort: Sort, chosen: Filter, size: Size) -> Sessions:
    """What is asked for when there is no state yet."""
    return _first(sort, False, chosen, size.lines)


def _first(sort: Sort, reverse: bool, chosen: Filter, below: int) -> Sessions:
    """The first lines in an order that the daemon has; all of them where they are to be sorted here."""
    asked = ORDERS[sort].asked
    if asked is None or reverse:
        return Sessions(filter=chosen, sort="bytes", limit=MAX_ROWS)
    return Sessions(filter=chosen, sort=asked, limit=min(STEP * (below // STEP + 1), MAX_ROWS))


def lacks(state: State, asked: Sessions) -> bool:
    """Whether to look at once: the last look asked for something else than is to be shown now."""
    now = wanted(state)
    if state.paused:
        return not is_listed(state) and now.filter != asked.filter
    if now.filter != asked.filter:
        return True
    complete = state.table.matched <= len(state.table.live)
    return not complete and (now.sort != asked.sort or now.limit > asked.limit)


def is_live(state: State) -> bool:
    """Whether to look again after the pause."""
    return not state.paused or not is_listed(state)
