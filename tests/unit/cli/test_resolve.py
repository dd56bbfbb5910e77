"""``sockctl resolve``: what is asked, how the answer reads, and when there is none."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import resolve
from gateway.control.protocol import Resolve, Resolved
from tests.support.fakesockd import FakeSockd, fake_sockd, resolved
from tests.unit.cli.fakecontrol import FakeControl, Ran, done, run

WWW = resolved(
    "www.corp.example.",
    "www.corp.example. 300 CNAME host.corp.example.",
    "host.corp.example. 35 A 10.0.0.9",
    cache="fresh, 35 s left of 300",
)
DEAD = resolved(
    "db.corp.example.",
    rcode="SERVFAIL",
    server="",
    egress="",
    why="no name server answered",
    ede="no reachable authority: zone corp.example: 10.0.0.53 timed out 40 s ago",
    seconds=0.0,
)


def ask(answer: Resolved, tmp_path: Path, capsys: Any, *words: str) -> Ran:
    """By that name and type."""
    with fake_sockd(tmp_path) as fake:
        fake.names[answer.name, answer.type] = answer
        return run(resolve, capsys, "-s", fake.path, "-t", answer.type, *words, answer.name)


def asked(tmp_path: Path, capsys: Any, *words: str) -> object:
    """What the daemon hears."""
    with fake_sockd(tmp_path) as fake:
        run(resolve, capsys, "-s", fake.path, *words)
        (question,) = fake.questions
    return question


def test_the_records_come_first_and_then_where_they_are_from(tmp_path: Path, capsys: Any) -> None:
    ran = ask(WWW, tmp_path, capsys)
    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.splitlines() == [
        "www.corp.example. 300 CNAME host.corp.example.",
        "host.corp.example. 35 A 10.0.0.9",
        "",
        "answer   NOERROR for www.corp.example. A in 1.5 ms",
        "zone     corp.example, as view 0 has it",
        "server   10.0.0.54",
        "way out  eth1",
        "cache    fresh, 35 s left of 300",
    ]


def test_what_no_server_answers_says_why_and_is_status_1(tmp_path: Path, capsys: Any) -> None:
    ran = ask(DEAD, tmp_path, capsys)
    assert (ran.status, ran.errors) == (1, "")
    assert ran.lines == [
        "answer SERVFAIL for db.corp.example. A in 0.0 ms",
        "zone corp.example, as view 0 has it",
        "server none was asked",
        "cache miss",
        "why no name server answered",
        "error no reachable authority: zone corp.example: 10.0.0.53 timed out 40 s ago",
    ]


def test_a_name_of_no_zone_says_so(tmp_path: Path, capsys: Any) -> None:
    refused = resolved("x.", rcode="REFUSED", zone="")
    assert "zone none, as view 0 has it" in ask(refused, tmp_path, capsys).lines


NO_SUCH = "NOERROR, but no such records, for"


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        pytest.param(WWW, 0, "NOERROR for", id="records behind an alias"),
        pytest.param(resolved("x."), 1, NO_SUCH, id="no records"),
        pytest.param(resolved("x.", "x. 5 CNAME y."), 1, NO_SUCH, id="an alias that leads to none"),
        pytest.param(resolved("x.", "x. 5 CNAME y.", type="CNAME"), 0, "NOERROR for", id="the alias itself"),
        pytest.param(resolved("x.", "x. 5 CNAME y.", type="ANY"), 0, "NOERROR for", id="anything"),
        pytest.param(resolved("x.", r"\# 3 c00c00"), 1, NO_SUCH, id="what can not be read"),
        pytest.param(resolved("x.", "x. 5 A 192.0.2.1", rcode="NXDOMAIN"), 1, "NXDOMAIN for", id="no such name"),
    ],
)
def test_the_status_tells_whether_there_are_such_records(
    answer: Resolved, status: int, words: str, tmp_path: Path, capsys: Any
) -> None:
    ran = ask(answer, tmp_path, capsys)
    assert ran.status == status
    assert f"answer {words} {answer.name} {answer.type} in 1.5 ms" in ran.lines


def test_the_steps_are_shown_when_they_are_asked_for(tmp_path: Path, capsys: Any) -> None:
    steps = ["    0.0 ms  in zone corp.example", "    1.5 ms  10.0.0.54 answered", ""]
    assert ask(WWW, tmp_path, capsys, "--trace").output.splitlines()[:3] == steps
    assert "in zone" not in ask(WWW, tmp_path, capsys).output


def test_steps_that_come_with_the_answer_only_are_shown_too(tmp_path: Path, capsys: Any) -> None:
    with FakeControl(tmp_path / "c.sock", lambda _: [done(WWW)]):
        ran = run(resolve, capsys, "-s", str(tmp_path / "c.sock"), "--trace", "www.corp.example")
    assert ran.output.startswith("    0.0 ms  in zone corp.example\n")


def test_bytes_for_the_terminal_do_not_reach_it(tmp_path: Path, capsys: Any) -> None:
    ran = ask(resolved("x.", "x. 5 A 192.0.2.1\x1b[2J", ede="a\rb"), tmp_path, capsys)
    assert r"\x1b[2J" in ran.output
    assert r"error    a\x0db" in ran.output


def test_json_is_what_the_daemon_answers(tmp_path: Path, capsys: Any) -> None:
    ran = ask(WWW, tmp_path, capsys, "--json", "--trace")
    assert ran.status == 0
    assert json.loads(ran.output) == json.loads(msgspec.json.encode(WWW))
    assert ask(DEAD, tmp_path, capsys, "--json").status == 1


@pytest.mark.parametrize(
    ("words", "question"),
    [
        pytest.param(("WWW.Corp.Example",), Resolve("www.corp.example.", "A"), id="a name"),
        pytest.param(("-t", "aaaa", "x."), Resolve("x.", "AAAA"), id="a type in small letters"),
        pytest.param(("-t", "TYPE28", "x"), Resolve("x.", "AAAA"), id="a type by its number"),
        pytest.param(("-t", "TYPE65280", "x"), Resolve("x.", "TYPE65280"), id="a type without a name"),
        pytest.param(("-t", "NS", "."), Resolve(".", "NS"), id="the root"),
        pytest.param(("--from", "10.1.2.3", "x"), Resolve("x.", "A", "10.1.2.3"), id="a client"),
        pytest.param(("--from", "FD00:0::1", "x"), Resolve("x.", "A", "fd00::1"), id="a client by IPv6"),
        pytest.param(("10.0.0.9",), Resolve("9.0.0.10.in-addr.arpa.", "PTR"), id="an address"),
        pytest.param(
            ("-t", "NS", "10.0.0.9"), Resolve("9.0.0.10.in-addr.arpa.", "NS"), id="of an address not its name"
        ),
        pytest.param(("fd00::1",), Resolve("1" + 29 * ".0" + ".d.f.ip6.arpa.", "PTR"), id="an address of IPv6"),
        pytest.param((r"a\.b.example",), Resolve(r"a\.b.example.", "A"), id="a dot in a label"),
    ],
)
def test_what_is_asked_for(words: tuple[str, ...], question: Resolve, tmp_path: Path, capsys: Any) -> None:
    assert asked(tmp_path, capsys, *words) == question


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param(("",), "is no name", id="an empty name"),
        pytest.param(("a..b",), "is no name", id="an empty label"),
        pytest.param((64 * "a",), "is no name", id="a label that is too long"),
        pytest.param(("-t", "BOGUS", "x"), "'BOGUS' is no type of records", id="no type"),
        pytest.param(("-t", "TYPE65536", "x"), "is no type of records", id="a number beyond the last type"),
        pytest.param(("--from", "client", "x"), "'client' is no address", id="no address"),
        pytest.param(("--from", "", "x"), "'' is no address", id="an empty address"),
    ],
)
def test_what_can_not_be_asked_is_status_2(words: tuple[str, ...], fault: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        run(resolve, capsys, "-s", str(tmp_path), *words)
    assert ended.value.code == 2
    assert fault in capsys.readouterr().err


def test_a_daemon_without_a_resolver_says_so_in_a_line(tmp_path: Path, capsys: Any) -> None:
    with FakeSockd(str(tmp_path / "c.sock"), refusal="there is no resolver: no [[resolver.zone]] is written") as fake:
        ran = run(resolve, capsys, "-s", fake.path, "x")
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == "sockctl resolve: there is no resolver: no [[resolver.zone]] is written\n"
