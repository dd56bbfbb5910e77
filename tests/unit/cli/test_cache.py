"""``sockctl cache``: what is forgotten, what is shown, and what is not meant."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import cache
from gateway.control.protocol import MAX_ROWS, CacheDump, CacheFlush
from tests.support.fakesockd import FakeSockd, cached, fake_sockd
from tests.unit.cli.fakecontrol import Ran, run

WWW = cached("www.corp.example.", "www.corp.example. 35 CNAME a.corp.example.", "a.corp.example. 35 A 10.0.0.9")
GONE = cached("gone.corp.example.", rcode="NXDOMAIN", seconds_left=-125, view=2)
FAR = cached("www.example.", "www.example. 7260 A 203.0.113.7", zone=".", seconds_left=7260, origin="")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSockd]:
    """With these three."""
    with fake_sockd(tmp_path) as found:
        found.cache += [WWW, GONE, FAR]
        yield found


def ask(fake: FakeSockd, capsys: Any, *words: str) -> Ran:
    action, options = words[:1], words[1:]
    return run(cache, capsys, *action, *(("-s", fake.path) if action else ()), *options)


def test_a_dump_can_be_read_as_a_zone_file(fake: FakeSockd, capsys: Any) -> None:
    ran = ask(fake, capsys, "dump")
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.splitlines() == [
        "; www.corp.example. A: NOERROR, 35s left, zone corp.example, view 0, from 10.0.0.54",
        "www.corp.example. 35 CNAME a.corp.example.",
        "a.corp.example. 35 A 10.0.0.9",
        "; gone.corp.example. A: NXDOMAIN, expired 2m05s ago, zone corp.example, view 2, from 10.0.0.54",
        "; www.example. A: NOERROR, 2h01m left, zone ., view 0, from nobody",
        "www.example. 7260 A 203.0.113.7",
    ]


@pytest.mark.parametrize(("left", "words"), [(1, "1s left"), (0, "expired 0s ago"), (-1, "expired 1s ago")])
def test_the_second_at_which_it_expires(left: int, words: str, fake: FakeSockd, capsys: Any) -> None:
    fake.cache[:] = [msgspec.structs.replace(WWW, seconds_left=left)]
    assert f"NOERROR, {words}," in ask(fake, capsys, "dump").output


@pytest.mark.parametrize(
    ("words", "question"),
    [
        pytest.param(("dump",), CacheDump(), id="all"),
        pytest.param(("dump", "WWW.Corp.Example"), CacheDump(name="www.corp.example."), id="a name"),
        pytest.param(("dump", "--zone", "Corp.Example."), CacheDump("corp.example"), id="a zone"),
        pytest.param(("dump", "--zone", "."), CacheDump("."), id="the root's zone"),
        pytest.param(("dump", "-n", "1"), CacheDump(limit=1), id="one"),
        pytest.param(("dump", "-n", str(MAX_ROWS)), CacheDump(limit=MAX_ROWS), id="as many as there may be"),
        pytest.param(("flush",), CacheFlush(), id="flush all"),
        pytest.param(
            ("flush", "--zone", "corp.example", "a.corp.example"),
            CacheFlush("corp.example", "a.corp.example."),
            id="flush a name of a zone",
        ),
        pytest.param(
            ("flush", "a.corp.example", "--zone", "corp.example"),
            CacheFlush("corp.example", "a.corp.example."),
            id="flush a name of a zone, the other way round",
        ),
    ],
)
def test_what_is_asked_for(
    words: tuple[str, ...], question: CacheDump | CacheFlush, fake: FakeSockd, capsys: Any
) -> None:
    ask(fake, capsys, *words)
    assert fake.questions == [question]


def test_what_is_forgotten_is_counted_and_gone(fake: FakeSockd, capsys: Any) -> None:
    assert ask(fake, capsys, "flush", "www.corp.example").output == "1 answer forgotten\n"
    assert fake.cache == [GONE, FAR]
    assert ask(fake, capsys, "flush").output == "2 answers forgotten\n"
    ran = ask(fake, capsys, "flush")
    assert (ran.status, ran.output) == (1, "0 answers forgotten\n")


def test_nothing_to_show_is_status_1_and_a_line(fake: FakeSockd, capsys: Any) -> None:
    ran = ask(fake, capsys, "dump", "nobody.example")
    assert (ran.status, ran.output, ran.errors) == (1, "", "sockctl cache: nothing of that is in it\n")


def test_more_than_are_shown_are_told_of(fake: FakeSockd, capsys: Any) -> None:
    ran = ask(fake, capsys, "dump", "-n", "2")
    assert ran.status == 0
    assert ran.errors == "sockctl cache: 2 answers of 3 shown; -n NUMBER shows more\n"


def test_json_is_what_the_daemon_answers(fake: FakeSockd, capsys: Any) -> None:
    lines = ask(fake, capsys, "dump", "--json").output.splitlines()
    assert [json.loads(line) for line in lines] == json.loads(msgspec.json.encode([WWW, GONE, FAR]))
    assert json.loads(ask(fake, capsys, "flush", "--json").output) == {"flushed": 3}


def test_bytes_for_the_terminal_do_not_reach_it(fake: FakeSockd, capsys: Any) -> None:
    fake.cache[:] = [cached("x.", "x. 1 TXT \x1b[2J")]
    assert "\x1b" not in ask(fake, capsys, "dump").output


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param(("flush", ""), "it is empty", id="a name that is empty"),
        pytest.param(("flush", "--zone", ""), "it is empty", id="a zone that is empty"),
        pytest.param(("dump", "a..b"), "is no name", id="no name"),
        pytest.param(("dump", "-n", "0"), "is no number from 1 to", id="none"),
        pytest.param(("dump", "-n", str(MAX_ROWS + 1)), "is no number from 1 to", id="too many"),
        pytest.param(("flush", "-n", "5"), "unrecognized arguments", id="a number that flush would not hold"),
        pytest.param(("dump", "--zon", "x"), "unrecognized arguments", id="half an option"),
        pytest.param(("fill",), "invalid choice", id="another word"),
        pytest.param((), "required", id="no word"),
    ],
)
def test_a_command_line_that_is_not_understood_is_status_2(
    words: tuple[str, ...], fault: str, fake: FakeSockd, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as ended:
        ask(fake, capsys, *words)
    assert ended.value.code == 2
    assert fault in capsys.readouterr().err
    assert fake.questions == []
