"""The page of the console as lines, by what was seen: cards, processes, what is wrong, and what is to be done next.

Pure. Looking and drawing are in the module ``page``, which also knows the terminal. What others may have put into a
text, such as the title of a process, is shown as plain ASCII.
"""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.report import Report

Status = Mapping[str, object]

INSIDE: Final = "inside"
MANUAL: Final = "appliance(7)"


@dataclass(frozen=True, slots=True)
class Shown:
    """A card; ``link`` is "up", "no link" or "down"."""

    name: str
    mac: str
    link: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """All that was seen at one look.

    ``status`` is what ``sockctl status --json`` printed, None if sockd did not answer, and ``why`` says it then; before
    the first answer ``why`` is empty.
    ``rules`` is the number of lines of sockd.conf that permit something, None if that can not be known.
    """

    host: str
    version: str
    cards: tuple[Shown, ...] = ()
    titles: tuple[str, ...] = ()
    status: Status | None = None
    why: str = ""
    rules: int | None = None
    report: Report = field(default_factory=Report)
    volatile: str = ""
    writable: bool = False
    """/ was left writable."""
    restart: bool = False


def plain(text: str | bytes) -> str:
    """Printable ASCII; every other byte as \\xNN."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data)


def cards_of(links: Sequence[Mapping[str, object]]) -> tuple[Shown, ...]:
    """The cards in what ``ip -json address`` printed; inside and outside come first."""
    found = []
    for link in links:
        if link.get("link_type") != "ether":
            continue
        flags = link.get("flags")
        is_up, has_link = (isinstance(flags, list) and flag in flags for flag in ("UP", "LOWER_UP"))
        state = "down" if not is_up else "up" if has_link else "no link"
        found.append(Shown(_word(link, "ifname"), _word(link, "address"), state, tuple(_addresses(link))))
    return tuple(sorted(found, key=lambda card: (not card.name.startswith(("inside", "outside")), card.name)))


def _word(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) else ""


def _addresses(link: Mapping[str, object]) -> Iterator[str]:
    """Without those that the card has given itself."""
    infos = link.get("addr_info")
    for info in infos if isinstance(infos, list) else ():
        if info.get("scope") != "link":
            yield f"{info.get('local')}/{info.get('prefixlen')}"


def permits(conf: str) -> int:
    """How many lines of a sockd.conf permit something."""
    lines = (line.split(None, 1) for line in conf.splitlines())
    return sum(1 for words in lines if words and words[0].lower() in ("permit", "allow"))


def troubles(view: View) -> tuple[str, ...]:
    """What an administrator must know, the worst first."""
    found = []
    if view.volatile:
        found.append(f"NOTHING IS KEPT after the next boot: {view.volatile}")
    found += view.report.problems
    if view.status is None:
        found += [f"sockd: {view.why}"] if view.why else []
    else:
        said = view.status.get("troubles")
        found += [f"sockd: {line}" for line in said] if isinstance(said, list) else []
    for card in view.cards:
        if card.name in (view.report.cards or {}) and card.link != "up":
            found.append(f"the card {card.name} has no link" if card.link == "no link" else f"{card.name} is down")
    if view.writable:
        found.append("/ can be written to, and no package is being changed: appliance-root ro, or a restart, ends it")
    if view.restart:
        found.append("restart to run the new kernel")
    return tuple(found)


def next_step(view: View) -> str:
    """The one thing to do now: the first of ``STEPS`` that is not done yet."""
    return next(text for text in (step(view) for step in STEPS) if text)


def _mend(view: View) -> str:
    return "mend what is said above, then reboot" if view.report.problems else ""


def _seed(view: View) -> str:
    if view.report.seed or any(card.name == INSIDE for card in view.cards):
        return ""
    return f"give it a seed: a disk labelled SEED with a file seed.toml on it, then reboot; see {MANUAL}"


def _memory(view: View) -> str:
    return f"give it its state partition back: {MANUAL}" if view.volatile else ""


def _service(view: View) -> str:
    if view.status is not None:
        return ""
    return "look why sockd does not answer: service sockd status; sockctl check" if view.why else "sockd is asked ..."


def _rules(view: View) -> str:
    return "everything is refused: write /etc/sockd.conf, then sockctl reload" if view.rules == 0 else ""


def _look(view: View) -> str:
    return "look after what is said above; sockctl status has more" if troubles(view) else ""


def _clients(view: View) -> str:
    listening = view.status.get("listening") if view.status else None
    for address in listening if isinstance(listening, list) else ():
        if not str(address).startswith(("[fe80:", "127.", "[::1]")):
            return f"point clients to socks5h://{address}"
    return "sockd listens nowhere that the inside can reach: look at [internal] of /etc/gateway.toml"


STEPS: Final[tuple[Callable[[View], str], ...]] = (_mend, _seed, _memory, _service, _rules, _look, _clients)


def page(view: View, width: int, height: int) -> list[str]:
    """The lines of the page, none longer than the screen is wide and not more than it has lines."""
    wrong = troubles(view)
    head = ["Multihomed gateway" + (f" {view.version}" if view.version else "") + f" on {view.host}", ""]
    middle = [*_card_lines(view.cards), "", *(view.titles or ("no process of sockd runs",))]
    foot = [f"TROUBLE: {line}" for line in wrong] + [f"Next: {next_step(view)}", "Enter: log in"]
    foot = ["", *(line for text in foot for line in textwrap.wrap(plain(text), width, subsequent_indent="    "))]
    room = max(0, height - len(head) - len(foot))
    if len(middle) > room:
        middle = [*middle[: max(0, room - 1)], f"... {len(middle) - max(0, room - 1)} more"][:room]
    lines = [plain(line)[:width] for line in (*head, *middle, *foot)]
    return lines if len(lines) <= height else [lines[0], *lines[len(lines) - height + 1 :]]


def _card_lines(cards: Sequence[Shown]) -> list[str]:
    if not cards:
        return ["this machine has no network card"]
    wide = max(len(card.name) for card in cards)
    return [
        f"{card.name:{wide}}  {card.mac}  {card.link:7}  {' '.join(card.addresses) or 'no address'}" for card in cards
    ]


def changes(before: Sequence[str], after: Sequence[str]) -> str:
    """What turns one page on a VT100 into the other: only lines that differ, and nothing if none does."""
    count = max(len(before), len(after))
    old, new = ([*lines, *[""] * (count - len(lines))] for lines in (before, after))
    return "".join(f"\x1b[{row + 1};1H{new[row]}\x1b[K" for row in range(count) if new[row] != old[row])


def whole(lines: Sequence[str]) -> str:
    """The page on a screen that may show anything."""
    return "\x1b[m\x1b[H\x1b[2J" + "\r\n".join(lines)
