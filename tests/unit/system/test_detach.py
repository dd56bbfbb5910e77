"""Leaving the terminal: what stays open, what the process is afterwards, and what its caller hears."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.system.detach import TEXT_BYTES, Starting
from tests.support.waiting import eventually

PRELUDE = """
import json, os, socket, sys, time
from gateway.system.detach import detach, fill_standard
def tell(path, facts):
    with open(path + ".new", "w") as out:
        json.dump(facts, out)
    os.rename(path + ".new", path)
"""

DETACHES = """
kept, dropped = socket.socket(), socket.socket()
numbers = kept.fileno(), dropped.fileno()
starting = detach([kept.fileno()])
def is_open(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False
tell(sys.argv[1], {
    "parent": os.getppid(), "session": os.getsid(0), "pid": os.getpid(), "cwd": os.getcwd(),
    "standard": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)],
    "kept": is_open(numbers[0]), "dropped": is_open(numbers[1]), "umask": os.umask(0),
})
starting.ready()
"""


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_a_daemon_has_its_own_session_and_keeps_what_it_was_told_to(tmp_path: Path) -> None:
    out = tmp_path / "facts"
    done = run(DETACHES, str(out))
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(out.read_text())  # at once: the caller has waited
    assert facts["standard"] == ["/dev/null"] * 3
    assert facts["cwd"] == "/"
    assert facts["session"] != facts["pid"], "a session leader could get a terminal again"
    assert (facts["kept"], facts["dropped"]) == (True, False)
    assert facts["umask"] == 0o022


LATE = """
starting = detach([])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
starting.ready()
"""


def test_the_caller_waits_until_the_daemon_is_ready(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with subprocess.Popen([sys.executable, "-c", PRELUDE + LATE, str(go)]) as caller:
        with pytest.raises(subprocess.TimeoutExpired):
            caller.wait(0.3)
        go.touch()
        assert caller.wait(10) == 0


OUTCOMES = [
    pytest.param("detach([]).failed('cannot listen')", (1, "sockd: cannot listen\n"), id="a failure is a line"),
    pytest.param("detach([]).failed('a\\nb\\0c')", (1, "sockd: a b c\n"), id="a failure is never two lines"),
    pytest.param("detach([]).failed('')", (1, "sockd: \n"), id="a failure without a reason is still one"),
    pytest.param("detach([]).failed('\\udcff')", (1, "sockd: \\udcff\n"), id="bytes of a file name are escaped"),
    pytest.param(
        "detach([]); os._exit(0)",
        (1, "sockd: it ended before it was ready; its log says why\n"),
        id="an end without a word is a failure, whatever its status",
    ),
    pytest.param("s = detach([]); s.ready(); s.failed('late')", (0, ""), id="the first word counts"),
    pytest.param("s = detach([]); s.failed('no'); s.ready()", (1, "sockd: no\n"), id="and so it does if it is bad"),
    pytest.param("print('once'); detach([]).ready()", (0, ""), id="what was printed before is printed once"),
]


@pytest.mark.parametrize(("program", "outcome"), OUTCOMES)
def test_what_the_caller_hears(program: str, outcome: tuple[int, str]) -> None:
    done = run(program)
    assert (done.returncode, done.stderr) == outcome
    assert done.stdout == ("once\n" if "print" in program else "")


def test_a_text_without_end_is_cut() -> None:
    done = run("detach([]).failed('x' * 100_000)")
    assert done.stderr == f"sockd: {'x' * TEXT_BYTES}\n"


CHILD_STAYS = """
starting = detach([])
if not os.fork():
    starting.close()
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    os._exit(0)
os._exit(9)
"""


def test_a_child_of_the_daemon_does_not_keep_the_caller_waiting(tmp_path: Path) -> None:
    go = tmp_path / "go"
    done = run(CHILD_STAYS, str(go))
    go.touch()
    assert done.returncode == 1
    assert "it ended before it was ready" in done.stderr


IMPATIENT = """
starting = detach([])
tell(sys.argv[1], os.getpid())
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
starting.ready()
tell(sys.argv[1] + ".end", "well")
"""


def test_a_caller_that_is_interrupted_says_so_and_the_daemon_goes_on(tmp_path: Path) -> None:
    told, go = tmp_path / "told", tmp_path / "go"
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + IMPATIENT, str(told), str(go)], stderr=subprocess.PIPE, text=True
    ) as caller:
        assert eventually(told.exists)
        caller.send_signal(signal.SIGINT)
        _, said = caller.communicate(timeout=10)
    assert (caller.returncode, said) == (
        1,
        "sockd: not waited for any longer; it goes on starting in the background\n",
    )
    go.touch()
    assert eventually((tmp_path / "told.end").exists), "a caller that has gone must not end the daemon"


def test_in_the_foreground_nobody_waits() -> None:
    starting = Starting()
    starting.ready()
    starting.failed("whatever")
    starting.close()


def test_a_word_closes_the_pipe() -> None:
    hears, speaks = os.pipe()
    Starting(speaks).ready()
    assert os.read(hears, 10) == b"\n"
    assert os.read(hears, 10) == b""
    os.close(hears)


STANDARD = """
fill_standard()
opened = os.open("/etc/passwd", os.O_RDONLY)
print("to nobody")
print("an error", file=sys.stderr)
tell(sys.argv[1], {
    "opened": opened, "standard": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)], "read": sys.stdin.read(),
    "inheritable": [os.get_inheritable(n) for n in range(3)],
})
detach([]).ready()
"""


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&-", "2>&-", ">&- 2>&-", "</dev/null"])
def test_what_was_closed_leads_nowhere(tmp_path: Path, closed: str) -> None:
    out = tmp_path / "facts"
    command = f'exec </dev/null {closed}; exec "$0" "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, "-c", PRELUDE + STANDARD, str(out)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    facts = json.loads(out.read_text())
    assert done.returncode == 0
    assert facts["opened"] > 2
    for number, sign in enumerate(("<&-", " >&-", "2>&-")):
        if sign in f" {closed}":
            assert facts["standard"][number] == "/dev/null"
    assert facts["inheritable"] == [True] * 3
    assert facts["read"] == ""
