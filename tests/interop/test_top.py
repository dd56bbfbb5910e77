"""The real ``sockctl top`` in a terminal of its own, against a daemon that only pretends: what a person at it sees."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from gateway.control.protocol import MAX_ROWS, Filter, Kill, Sessions
from tests.support import proc
from tests.support.fakesockd import REPORT, FakeSockd, fake_sockd, live
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid(1) of util-linux")

SOCKCTL = str(Path(sys.executable).with_name("sockctl"))
DOWN, PAGE_DOWN, HOME, END = b"\x1bOB", b"\x1b[6~", b"\x1bOH", b"\x1bOF"
DONE, ENDED = 0, 128 + signal.SIGTERM
HEADING = 5
"""Lines above the sessions at 80x24: four of the daemon, and the titles."""

SESSIONS = (
    live(3, user="wilma", host="ftp.uu.net", port=21, uplink="wan2", sent=9 << 20, seconds=10.0),
    live(2, user="fred", host="a.example", sent=5 << 20, seconds=4000.0),
    live(1, user="barney", host="www.example.com", sent=1 << 20, seconds=300.0),
)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSockd]:
    with fake_sockd(tmp_path, *SESSIONS) as made:
        yield made


@contextmanager
def top(
    fake: FakeSockd, *words: str, term: str = "vt100", more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Terminal]:
    """The program, ten times as fast as usual, when it has drawn its screen."""
    environment = {"PATH": os.environ["PATH"], "TERM": term, **more}
    command = [SOCKCTL, "top", "-s", fake.path, "-d", "0.1", *words]
    with Terminal(command, environment) as terminal:
        assert eventually(lambda: b"SESSION" in terminal.read()), terminal.output
        yield terminal


def users(terminal: Terminal) -> list[str]:
    """Of the sessions on the screen, from the top."""
    return [line.split()[1] for line in terminal.lines()[HEADING:-1] if line.startswith("~")]


def come_to_be(terminal: Terminal, *wanted: str) -> bool:
    return eventually(lambda: users(terminal) == list(wanted))


def test_the_screen_of_a_usual_terminal(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        assert come_to_be(terminal, "wilma", "fred", "barney")
        lines = terminal.lines()
        assert lines[0].startswith("sockd 0.9.0  up ")
        assert lines[1] == "sessions 3/16000  connections 87/s  sent 12M/s  received 118M/s"
        assert lines[3] == "uplinks  wan2 down  wan1 up"
        assert lines[4] == "SESSION  USER     DESTINATION            UPLINK    AGE  SENT RECVD SENT/s RECV/s"
        assert lines[HEADING].startswith("~1a3-1-3 wilma    ftp.uu.net:21          wan2 ")
        assert lines[-1] == "1-3 of 3  by bytes  h help  q quit  k kill  / filter  b a r u d sort  R reverse"
        assert terminal.shows("1.0K   1.0M"), "rates are there from the second look on"


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        (b"a", ["fred", "barney", "wilma"]),
        (b"u", ["barney", "fred", "wilma"]),
        (b"d", ["fred", "wilma", "barney"]),
        (b"r", ["barney", "wilma", "fred"]),
        (b"ub", ["wilma", "fred", "barney"]),
        (b"uR", ["wilma", "fred", "barney"]),
        (b"<", ["fred", "barney", "wilma"]),
    ],
)
def test_keys_sort(fake: FakeSockd, keys: bytes, order: list[str]) -> None:
    with top(fake) as terminal:
        terminal.type(keys)
        assert come_to_be(terminal, *order), terminal.lines()


def test_the_session_under_the_cursor_is_killed_when_one_says_yes(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        terminal.type(DOWN + b"k")
        assert terminal.shows("end 6920f1a3-1-2: fred, 10.1.2.3:40002 to a.example:443? (y/n)")
        assert fake.kills == []
        terminal.type(b"y")
        assert terminal.shows("1 session ended")
        assert fake.kills == [Kill(filter=Filter(session="6920f1a3-1-2"))]
        assert come_to_be(terminal, "wilma", "barney")


def test_nothing_is_killed_when_one_says_no(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        terminal.type(b"k")
        assert terminal.shows("? (y/n)")
        terminal.type(b"n")
        assert terminal.shows("nothing was ended")
        assert fake.kills == []


def test_all_of_a_filter_are_killed(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        terminal.type(b"/dest=:443 source=10.0.0.0/8\r")
        assert come_to_be(terminal, "fred", "barney")
        terminal.type(b"K")
        assert terminal.shows("end all 2 sessions of source=10.0.0.0/8 dest=:443? (y/n)")
        terminal.type(b"y")
        assert terminal.shows("2 sessions ended")
        assert fake.kills == [Kill(filter=Filter(destination=":443", source="10.0.0.0/8"))]
        terminal.type(b"/\x15\r")
        assert come_to_be(terminal, "wilma")


def test_details_and_help(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        terminal.type(b"\r")
        assert terminal.shows("leaves from  192.0.2.10:40000")
        assert terminal.shows("received     ")
        terminal.type(b"qh")
        assert terminal.shows("Ctrl-L")
        terminal.type(b"\x1b")
        assert come_to_be(terminal, "wilma", "fred", "barney")


def test_a_new_size_is_obeyed_at_once(fake: FakeSockd) -> None:
    with top(fake, "-d", "3600") as terminal:
        terminal.resize(200, 50)
        assert terminal.shows("connected 118000 of 120345")
        assert any("STATE" in line for line in terminal.lines())
        assert eventually(lambda: terminal.lines()[-1].startswith("1-3 of 3"))
        terminal.resize(40, 10)
        assert terminal.shows("USER      DESTINATION             RECV/s")
        assert eventually(lambda: terminal.lines()[-1] == "1-3 of 3  by bytes  h help  q quit")


def test_many_sessions_are_asked_for_as_they_come_to_be_seen(fake: FakeSockd) -> None:
    fake.sessions = [live(number, user=f"user{number}", host="still.example") for number in range(500, 0, -1)]
    with top(fake, term="xterm") as terminal:
        assert terminal.shows("1-18 of 500")
        assert {asked.limit for asked in fake.lists} == {100}
        terminal.type(PAGE_DOWN * 5)
        assert terminal.shows("user410")
        assert eventually(lambda: fake.lists[-1].limit == 200)
        terminal.type(END)
        assert terminal.shows("-500 of 500")
        assert terminal.shows("user1 ")
        terminal.type(HOME)
        assert terminal.shows("user500")
        terminal.type(b"\x06\x06\x06G")
        assert terminal.shows("user1 ")
        terminal.type(b"g")
        assert terminal.shows("user500")
        terminal.type(b"u")
        assert eventually(lambda: fake.lists[-1] == Sessions(sort="bytes", limit=MAX_ROWS))


def test_a_pause_stops_the_looks(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        terminal.type(b"p")
        assert terminal.shows("PAUSED")
        looks = len(fake.lists)
        time.sleep(0.5)
        assert len(fake.lists) <= looks + 1, "one may have been on its way"
        looks = len(fake.lists)
        terminal.type(b"p")
        assert eventually(lambda: len(fake.lists) > looks)


def test_a_daemon_that_goes_and_comes_back(fake: FakeSockd) -> None:
    with top(fake) as terminal:
        fake.go()
        assert terminal.shows("NO ANSWER since ")
        assert terminal.shows("! no sockd answers on ")
        assert "wilma" in users(terminal), "what was seen last stays"
        fake.come()
        assert eventually(lambda: not any("NO ANSWER" in line for line in terminal.lines()))


def test_keys_are_obeyed_while_the_daemon_does_not_answer(fake: FakeSockd) -> None:
    with top(fake) as terminal, fake.stuck():
        terminal.type(b"u")
        assert come_to_be(terminal, "barney", "fred", "wilma")
        terminal.type(b"q")
        assert terminal.wait() == DONE
        assert terminal.is_restored()


def end_by_key(terminal: Terminal) -> None:
    terminal.type(b"q")


def end_by_ctrl_c(terminal: Terminal) -> None:
    terminal.type(b"\x03")


def end_by_term(terminal: Terminal) -> None:
    terminal.signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(end_by_key, DONE, id="q"),
        pytest.param(end_by_ctrl_c, DONE, id="Ctrl-C"),
        pytest.param(end_by_term, ENDED, id="SIGTERM"),
    ],
)
def test_the_terminal_is_restored(fake: FakeSockd, end: Callable[[Terminal], None], status: int) -> None:
    with top(fake, term="xterm") as terminal:
        assert eventually(lambda: not terminal.is_restored()), "it was changed while it ran"
        assert b"\x1b[?1049h" in terminal.output
        end(terminal)
        assert terminal.wait() == status
        assert terminal.is_restored()
        assert terminal.output.rindex(b"\x1b[?1049l") > terminal.output.rindex(b"\x1b[?1049h")
        assert terminal.output.rindex(b"\x1b[?25h") > terminal.output.rindex(b"\x1b[?25l"), "the cursor is seen again"
        assert b"Traceback" not in terminal.output


def test_the_terminal_is_restored_before_the_trace_of_a_mistake(fake: FakeSockd, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from gateway.cli.top import live\n"
        "from gateway.cli.sockctl import main\n"
        "def broken(state, key): raise RuntimeError('a bug')\n"
        "live.pressed = broken\n"
        "main()\n"
    )
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    command = [sys.executable, str(tmp_path / "broken.py"), "top", "-s", fake.path]
    with Terminal(command, environment) as terminal:
        assert eventually(lambda: b"wilma" in terminal.read())
        terminal.type(b"u")
        assert terminal.wait() == 1
        assert terminal.is_restored()
        assert terminal.output.rindex(b"\x1b[?1049l") < terminal.output.index(b"Traceback")


def test_stopped_by_ctrl_z_and_continued(fake: FakeSockd) -> None:
    shell = f"{SOCKCTL} top -s {fake.path} -d 0.1; echo stopped; read answer; fg >/dev/null"
    with Terminal(["sh", "-mc", shell], {"PATH": os.environ["PATH"], "TERM": "vt100"}) as terminal:
        assert terminal.shows("SESSION")
        terminal.type(b"\x1a")
        assert terminal.shows("stopped")
        assert terminal.is_restored(), "the shell has its terminal"
        terminal.type(b"\n")
        assert eventually(lambda: not terminal.is_restored())
        terminal.type(b"u")
        assert come_to_be(terminal, "barney", "fred", "wilma")
        terminal.type(b"q")
        assert terminal.wait() == DONE


def test_so_many_looks(fake: FakeSockd) -> None:
    with top(fake, "-n", "3") as terminal:
        assert terminal.wait() == DONE
        assert len(fake.lists) == 3


@pytest.mark.parametrize(
    ("term", "more", "coloured"),
    [
        pytest.param("xterm", {}, True, id="colours"),
        pytest.param("xterm", {"NO_COLOR": "1"}, False, id="NO_COLOR"),
        pytest.param("xterm", {"NO_COLOR": ""}, True, id="an empty NO_COLOR does not count"),
        pytest.param("vt100", {}, False, id="a terminal without colours"),
    ],
)
def test_colours(fake: FakeSockd, term: str, more: dict[str, str], coloured: bool) -> None:
    fake.report = msgspec.structs.replace(REPORT, troubles=("wan2 is down",))
    with top(fake, term=term, more=more) as terminal:
        terminal.type(b"q")
        terminal.wait()
        assert (b"\x1b[31m" in terminal.output) is coloured
        assert b"wan2 is down" in terminal.output


@pytest.mark.parametrize("term", ["dumb", "no-such-terminal", ""])
def test_a_terminal_whose_cursor_can_not_be_moved_gets_plain_text(fake: FakeSockd, term: str) -> None:
    with top(fake, "-n", "1", term=term) as terminal:
        assert terminal.wait() == DONE
        assert b"\x1b" not in terminal.output
        assert terminal.shows("wilma")


def test_it_does_not_spin(fake: FakeSockd) -> None:
    with top(fake, "-d", "3600") as terminal:
        before = proc.cpu_seconds(terminal.process.pid)
        time.sleep(0.4)
        assert proc.cpu_seconds(terminal.process.pid) - before < 0.1


def test_a_window_that_is_closed_ends_it(fake: FakeSockd) -> None:
    with top(fake, "-d", "3600") as terminal:
        terminal.hang_up()
        assert eventually(lambda: terminal.process.poll() is not None)
