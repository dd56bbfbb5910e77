"""The whole screen as lines of styled text, never wider or longer than it: state in, lines out; pure."""

from collections.abc import Iterator, Sequence

from gateway.cli.daemon import destination, span
from gateway.cli.top import filters, table
from gateway.cli.top.heading import heading
from gateway.cli.top.scroll import height, is_listed
from gateway.cli.top.state import Asking, Editing, Page, State
from gateway.cli.top.style import Line, Span, Style, fitted, line
from gateway.cli.top.words import cut, cut_front, rate, target, visible
from gateway.control.protocol import Filter, Live

AGREE = "? (y/n)"
HINTS = (
    "h help",
    "q quit",
    "k kill",
    "/ filter",
    "b a r u d sort",
    "R reverse",
    "enter details",
    "p pause",
    "+ - pace",
)
BACK = ("q back", "k kill", "p pause")

HELP = (
    ("up down page-up page-down", "move the cursor; home end too, or Ctrl-F Ctrl-B g G"),
    ("b a r u d", "sort by bytes, age, rate, user, destination"),
    ("< >", "sort by the column before, or the next one"),
    ("R", "sort the other way round"),
    ("/", "filter: user=fred source=10.0.0.0/8 dest=.example.com"),
    ("", "        rule=17 egress=wan1 session=ID; empty: all"),
    ("enter", "all that is known of the session under the cursor"),
    ("k", "end the session under the cursor (asks first)"),
    ("K", "end all sessions that the filter matches (asks first)"),
    ("p", "pause: what is shown stays; again to go on"),
    ("+ -", "look less often, more often"),
    ("Ctrl-L", "draw the screen anew"),
    ("h ?", "this page; any key leaves it"),
    ("q", "quit"),
)


def render(state: State) -> list[Line]:
    """As many lines as the screen has, each at most as wide."""
    body = _PAGES[state.page](state)
    room = max(state.size.lines - 1, 0)
    filled = [*body[:room], *[()] * (room - len(body))]
    return [*filled, _last(state)][-state.size.lines :]


def _table(state: State) -> list[Line]:
    width = state.size.columns
    places = table.layout(width)
    shown = state.rows[state.top : state.top + height(state)]
    lines = table.rows(places, shown, state.cursor - state.top, width)
    if not lines:
        lines = [line(_nothing(state), Style.FAINT, width=width)]
    return [*heading(state), table.head(places, state.sort, width), *lines]


def _nothing(state: State) -> str:
    if not is_listed(state) or state.table.matched:
        return "..."
    return "no sessions" if state.filter == Filter() else "no sessions that the filter matches"


def plain(state: State) -> list[Line]:
    """The heading and all sessions, on as many lines as they need, for a file or another program."""
    width = state.size.columns
    places = table.layout(width)
    lines = table.rows(places, state.rows, -1, width)
    return [*heading(state), table.head(places, state.sort, width), *lines]


# The last line


def _last(state: State) -> Line:
    width = state.size.columns
    if isinstance(state.prompt, Asking):
        question = cut(visible(state.prompt.question), max(width - len(AGREE), 0))
        return line(question + AGREE, Style.PROMPT, width=width)
    if isinstance(state.prompt, Editing):
        return _editing(state.prompt, width)
    if state.message:
        return line(state.message, Style.PROMPT, width=width)
    if state.page is Page.TABLE:
        return fitted([Span(text, Style.FAINT) for text in (*_where(state), *HINTS)], width)
    return fitted([Span(text, Style.FAINT) for text in BACK if state.page is Page.DETAILS], width)


def _editing(editing: Editing, width: int) -> Line:
    """What was written last must be seen; what is wrong with it, as far as there is room."""
    written = cut_front(f"filter: {visible(editing.text)}_", width)
    if not editing.error:
        return (Span(written, Style.PROMPT),)
    return fitted(
        [Span(written, Style.PROMPT), Span(cut(visible(editing.error), max(width - len(written) - 2, 0)))], width
    )


def _where(state: State) -> Iterator[str]:
    """Which sessions these are, of how many, and in which order."""
    first, last = state.top + 1, min(state.top + height(state), len(state.rows))
    matched = state.table.matched if is_listed(state) else 0
    yield f"{first}-{last} of {matched}" if last >= first else f"0 of {matched}"
    yield f"by {state.sort.value}{' reversed' if state.reverse else ''}"
    if state.filter != Filter():
        yield cut(filters.words(state.filter), max(state.size.columns // 2, 1))


# The other pages


def _help(state: State) -> list[Line]:
    width = state.size.columns
    keys = max(len(key) for key, _ in HELP)
    left = keys if width >= 80 else 10
    lines = [line("sockctl top: the sessions of sockd, live", Style.TITLE, width=width), ()]
    return lines + [line(f"{cut(key, left):{left}}  {meaning}", width=width) for key, meaning in HELP]


def _details(state: State) -> list[Line]:
    row = state.details
    if row is None:
        return []
    width = state.size.columns
    title = f"session {row.live.session}"
    lines = [fitted([Span(title, Style.TITLE), *([Span("HAS ENDED", Style.WARNING)] if state.gone else [])], width), ()]
    if state.trouble:
        lines.insert(1, line(f"! {state.trouble}", Style.BAD, width=width))
    pairs = [
        *_known(row.live),
        ("sent", f"{row.live.sent} bytes, {rate(row.sent)}/s"),
        ("received", f"{row.live.received} bytes, {rate(row.received)}/s"),
        ("age", f"{span(row.live.seconds)} ({row.live.seconds:.1f} s)"),
    ]
    return lines + [line(f"{name:12} {value}", width=width) for name, value in pairs]


def _known(live: Live) -> Sequence[tuple[str, str]]:
    return [
        ("state", live.state),
        ("worker", str(live.worker)),
        ("client", live.client),
        ("protocol", live.protocol or "-"),
        ("command", live.command or "-"),
        ("user", live.user or "-"),
        ("destination", target(live)),
        ("address", destination(None, live.address, live.port)),
        ("rule", live.rule or "-"),
        ("uplink", live.uplink or "-"),
        ("leaves from", live.egress or "-"),
    ]


_PAGES = {Page.TABLE: _table, Page.DETAILS: _details, Page.HELP: _help}
