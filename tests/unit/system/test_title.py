"""Titles as ps(1) sees them: of real processes, in real /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.system.title import NAME_BYTES, ROOM, Title, short_name
from tests.support.forked import forked


def shown() -> str:
    """What ps(1) reads of this process."""
    return Path("/proc/self/cmdline").read_bytes().rstrip(b"\0").decode()


def titled(name: str, *doing: str, live: bool = True) -> str:
    """The title of a process of its own after all that."""

    def work() -> str:
        title = Title(name, live=live)
        for words in doing:
            title.show(words)
        return shown()

    return str(forked(work))


def test_the_name_is_shown_at_once_and_what_it_does_behind_it() -> None:
    assert titled("worker 2") == "sockd: worker 2"
    assert titled("worker 2", "14 sessions") == "sockd: worker 2: 14 sessions"
    assert titled("worker 2", "14 sessions", "1 session") == "sockd: worker 2: 1 session"


def test_a_setting_turns_off_what_it_does_and_not_what_it_is() -> None:
    assert titled("worker 2", "14 sessions", live=False) == "sockd: worker 2"


def test_what_is_shown_already_is_not_written_again() -> None:
    def work() -> str:
        title = Title("worker 2")
        title.show("busy")
        Title("other")
        title.show("busy")
        return shown()

    assert forked(work) == "sockd: other"


@pytest.mark.parametrize(
    ("words", "visible"),
    [
        pytest.param("a\x1b[2Jb", r"a\x1b[2Jb", id="an escape sequence"),
        pytest.param("a\nb\r\tc", r"a\x0ab\x0d\x09c", id="line ends and tabs"),
        pytest.param("a\0b", r"a\x00b", id="a NUL, which would end it"),
        pytest.param("a\x7f\x9bb", r"a\x7f\x9bb", id="DEL and the one-byte CSI"),
        pytest.param("a\u202eb", r"a\x202eb", id="a mark that turns the direction of writing"),
        pytest.param("a\ud800b", r"a\xd800b", id="half of a surrogate pair"),
        pytest.param("b\xfccher", "b\xfccher", id="letters stay"),
    ],
)
def test_control_bytes_never_reach_a_terminal(words: str, visible: str) -> None:
    assert titled("x", words) == f"sockd: x: {visible}"


def test_a_title_that_is_longer_than_its_room_is_cut() -> None:
    found = titled("x", "y" * 100_000)
    assert found.startswith("sockd: x: yyy")
    assert set(found.removeprefix("sockd: x: ")) == {"y"}


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("gateway", "sockd: gateway"),
        ("watcher", "sockd: watcher"),
        ("warden", "sockd: warden"),
        ("worker 1", "sockd: worker 1"),
        ("worker 12", "sockd: worker12"),
        ("worker 99", "sockd: worker99"),
    ],
)
def test_the_kernels_name_of_a_process_tells_it_from_others(name: str, short: str) -> None:
    assert short_name(name) == short
    assert len(short) <= NAME_BYTES

    def work() -> str:
        Title(name).show("busy")
        return Path("/proc/self/comm").read_text().rstrip("\n")

    assert forked(work) == short


# Room

SCRIPT = f"""
import os, subprocess, sys
from gateway.system.title import Title, make_room
make_room()
title = Title("worker 1")
title.show("x" * {ROOM - 30})
cmdline = open("/proc/self/cmdline", "rb").read().rstrip(b"\\0")
environment = subprocess.run(["/usr/bin/env"], capture_output=True, check=True).stdout
print(len(cmdline), b"SOCKD_TITLE" in environment, "SOCKD_TITLE" in os.environ, os.environ.get("MARK"), *sys.argv[1:])
"""


@pytest.mark.parametrize("options", [[], ["-I"], ["-B", "-X", "utf8"]], ids=["plain", "isolated", "options"])
def test_with_a_small_environment_the_program_is_started_anew_with_room_and_its_children_do_not_see_it(
    options: list[str],
) -> None:
    found = run([*options, "-c", SCRIPT, "-c", "two words"], {"MARK": "kept"})
    assert found == f"{len('sockd: worker 1: ') + ROOM - 30} False False kept -c two words"


def test_with_a_large_environment_it_goes_on_as_it_is() -> None:
    found = run(["-c", SCRIPT], {"MARK": "kept", "LONG": "y" * 2 * ROOM})
    assert found.startswith(f"{len('sockd: worker 1: ') + ROOM - 30} False False kept")


def test_it_is_the_same_process_afterwards() -> None:
    script = "import os; from gateway.system.title import make_room; print(os.getpid()); make_room()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script], env={}, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    output, _ = process.communicate(timeout=60)
    assert set(map(int, output.split())) == {process.pid}
    assert process.returncode == 0


def run(arguments: list[str], environment: dict[str, str]) -> str:
    """What the script printed, in that environment."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert os.path.exists("/usr/bin/env")
    return done.stdout.strip()
