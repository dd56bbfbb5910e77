"""``make lab`` as an administrator meets it: its prompt, its commands, and that nothing stays however it ends."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import proc
from tests.support.lab.servers import ROOT, needs_lab
from tests.support.lab.topology import MANY
from tests.support.waiting import eventually

pytestmark = needs_lab
LAB = (sys.executable, "-m", "tests.support.lab.playground")
PROXY, AS_OPS = "socks5h://10.1.0.1:1080", "socks5h://ops:ops@10.1.0.1:1080"


def script(folder: Path, commands: str) -> "subprocess.CompletedProcess[str]":
    """A lab whose prompt is fed these lines, to its end."""
    return subprocess.run(
        [*LAB, str(folder)], cwd=ROOT, input=commands, capture_output=True, text=True, timeout=120, check=False
    )


def namespaces(pid: int) -> list[Path]:
    return list(Path("/run/netns").glob(f"*-{pid}-*"))


@contextlib.contextmanager
def running(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A lab that waits for commands; it is ready, and killed in the end if it still runs."""
    command = [*LAB, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any("Things to try" in line for line in process.stdout), "the lab did not come up"
            assert namespaces(process.pid)
            yield process
        finally:
            process.kill()


def test_commands_are_run_inside(tmp_path: Path) -> None:
    done = script(
        tmp_path / "lab",
        f"""
        echo "straight: $(curl --silent http://203.0.113.10/)."
        echo "proxy: $(curl --silent --proxy {PROXY} http://203.0.113.10/)"
        curl --silent --interface 10.1.0.3 --proxy {PROXY} telnet://203.0.113.10:7 </dev/null; echo "refused: $?"
        lab on gateway sockctl check gateway.toml && echo "the files are right"
        sed -i s/1080/1081/ gateway.toml; lab restart
        lab log -n 99
        exit 5
        """,
    )
    assert done.returncode == 5, done.stderr
    said = done.stdout.partition("Things to try")[2]
    for wanted in (
        r"straight: \.",
        r'proxy: \{"host": "outside", "source": "192.0.2.10", "target": "203.0.113.10"\}',
        r"refused: 97",
        r"the files are right",
        r"ready -- 10\.1\.0\.1:1081",
        r"refused -- Connect from \(unknown\)@10\.1\.0\.3 to 203\.0\.113\.10",
    ):
        assert re.search(wanted, said), f"{wanted} is missing in:\n{done.stdout}\n{done.stderr}"
    assert not (tmp_path / "lab").exists()


def test_the_uplinks_are_what_the_things_to_try_say(tmp_path: Path) -> None:
    done = script(
        tmp_path / "lab",
        f"""
        from() {{ curl --silent --max-time 3 --proxy "$@" | sed 's/.*"source": "\\([^"]*\\)".*/\\1/'; }}
        until_from() {{ for i in $(seq 100); do [ "$(from {PROXY} $2)" = $1 ] && echo "$3" && break; sleep 0.1; done; }}
        until_logged() {{ for i in $(seq 100); do lab log -n 99 | grep -q "$1" && break; sleep 0.1; done; }}
        echo "A: $(from {PROXY} http://203.0.113.10/). B: $(from {PROXY} http://203.0.113.20/)."
        echo "ops: $(from {AS_OPS} http://203.0.113.10/)."
        lab renumber wan1 192.0.2.77; until_from 192.0.2.77 http://www.example/ renumbered
        lab pull wan1; until_from 198.51.100.10 http://203.0.113.10/ pulled
        lab on gateway sockctl routes -f gateway.toml
        lab on gateway sockctl explain -f gateway.toml --from 10.1.0.2 --to 203.0.113.10:80
        lab pull wan2; until_logged "uplink wan2 is down"; echo "ops: $(from {AS_OPS} http://203.0.113.10/)."
        lab log -n 99
        exit 0
        """,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.partition("Things to try")[2]
    for wanted in (
        r"A: 192\.0\.2\.10\. B: 198\.51\.100\.10\.",
        r"ops: 198\.51\.100\.10\.",
        r"renumbered",
        r"pulled",
        r"^wan1 +wan1 +down +.*link is down$",
        r"way out: by wan2 from 198\.51\.100\.10: wan2 by \[external\], because wan1 is down: link is down",
        r"ops: \.",
        r"uplink wan1: address 192\.0\.2\.10 is replaced by 192\.0\.2\.77",
        r"no usable way out by sockd\.route:\d+: wan2 is down: link is down",
    ):
        assert re.search(wanted, said, re.MULTILINE), f"{wanted} is missing in:\n{done.stdout}\n{done.stderr}"


def test_names_are_looked_up_by_the_gateway(tmp_path: Path) -> None:
    done = script(
        tmp_path / "lab",
        """
        first() { echo "$1 is $(getent ahostsv4 $1 | head -n 1)."; }
        for name in corp.example www.example partner.corp.example printer.lan nowhere.corp.example; do first $name; done
        echo "outside: $(lab on outside getent ahostsv4 corp.example | head -n 1)"
        getent hosts intranet; getent hosts 10.1.0.3; getent hosts fd00:1::2
        for name in many.corp.example many.example; do echo "$name: $(getent ahostsv4 $name | grep -c STREAM)"; done
        lab pull wan1; first b.example; lab pull wan2; first second.corp.example
        lab on gateway sockctl resolve -f gateway.toml --from 10.1.0.2 corp.example
        exit 0
        """,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.partition("Things to try")[2]
    for wanted in (
        r"^corp\.example is 10\.1\.0\.80 ",
        r"^www\.example is 203\.0\.113\.10 ",
        r"^partner\.corp\.example is 203\.0\.113\.10 ",
        r"^printer\.lan is 10\.1\.0\.3 ",
        r"^nowhere\.corp\.example is \.$",
        r"^outside: 203\.0\.113\.10 ",
        r"^10\.1\.0\.80 +intranet\.corp\.example",
        r"^10\.1\.0\.3 +second\.corp\.example$",
        r"^fd00:1::2 +client\.corp\.example$",
        rf"^many\.corp\.example: {MANY}$",
        rf"^many\.example: {MANY}$",
        r"^b\.example is 203\.0\.113\.20 ",
        r"^second\.corp\.example is 10\.1\.0\.3 ",
        r"^corp\.example\. \d+ A 10\.1\.0\.80$",
    ):
        assert re.search(wanted, said, re.MULTILINE), f"{wanted} is missing in:\n{done.stdout}\n{done.stderr}"


def test_wrong_commands_of_the_lab_are_told(tmp_path: Path) -> None:
    wrong = ("paint", "pull", "pull wan3", "on mars ls", "on inside", "renumber wan1", "mute wan1; lab mute wan1")
    done = script(tmp_path / "lab", "\n".join(f"lab {command}; echo status $?" for command in wrong))
    assert done.stdout.count("status 0") == 0
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == [
        "lab: there is no command 'paint'",
        "lab: name one card of the gateway: eth1, wan1, wan2",
        "lab: name one card of the gateway: eth1, wan1, wan2",
        "lab: name a host and a command for it",
        "lab: name a host and a command for it",
        "lab: name a card and its new IPv4 address, such as: lab renumber wan1 192.0.2.77",
        "lab: the kernel refused: File exists",
    ]


def test_a_second_lab_is_told_of_the_first(tmp_path: Path) -> None:
    with running(tmp_path / "lab") as first:
        second = script(tmp_path / "lab", "")
        assert (second.returncode, second.stdout) == (1, "")
        assert re.fullmatch("a lab is running already, .*\n", second.stderr)
        first.communicate("exit 0\n", timeout=60)
        assert first.returncode == 0
    assert script(tmp_path / "lab", "exit 0\n").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_removes_everything(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "lab") as process:
        daemon = int((tmp_path / "lab" / "sockd.pid").read_text())
        assert proc.session_members(daemon)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert namespaces(process.pid) == []
        assert proc.session_members(daemon) == []
    assert not (tmp_path / "lab").exists()


def test_what_a_killed_lab_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with running(tmp_path / "lab") as process:
        daemon = int((tmp_path / "lab" / "sockd.pid").read_text())
        process.kill()
        process.wait(10)
    assert namespaces(process.pid)
    assert script(tmp_path / "lab", "exit 0\n").returncode == 0
    assert namespaces(process.pid) == []
    assert eventually(lambda: not proc.session_members(daemon))


# --- a terminal


_NOTHING = "(?!)"


class Terminal:
    """A lab on a terminal of its own, started as ``make lab`` starts it."""

    def __init__(self, folder: Path) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "tests.support.foreground", *LAB, str(folder)])
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def shows(self, pattern: str, within: float) -> bool:
        """Read until a pattern is shown that was not there before, and forget all before its end."""
        deadline = time.monotonic() + within
        while not (found := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            try:
                self.shown += os.read(self.master, 1 << 16).decode(errors="replace")
            except OSError:
                pytest.fail(f"the lab ended before {pattern} was shown:\n{self.shown}")
        self.shown = self.shown[found.end() :]
        return True

    def expect(self, pattern: str, within: float = 60.0) -> None:
        """The same, which must come to pass."""
        assert self.shows(pattern, within), f"{pattern} is not shown:\n{self.shown}"

    def answers(self) -> None:
        """The prompt runs commands; typed as by a person, as a Ctrl-C may take along what follows it at once."""
        for _ in range(20):
            self.shows(_NOTHING, within=0.2)
            self.type("\necho $((6 * 7))\n")
            if self.shows(r"42\r\n", within=0.5):
                return
        pytest.fail(f"the prompt does not answer:\n{self.shown}")

    def status(self) -> int:
        """Its exit status, within a minute."""
        ended: list[tuple[int, int]] = []

        def look() -> bool:
            ended.append(os.waitpid(self.pid, os.WNOHANG))
            return ended[-1][0] != 0

        assert eventually(look, within=60), "the lab did not end"
        return os.waitstatus_to_exitcode(ended[-1][1])


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path / "lab")
    yield made
    with contextlib.suppress(OSError):
        os.close(made.master)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(made.pid, signal.SIGKILL)
        os.waitpid(made.pid, 0)


def spaces(folder: Path) -> list[Path]:
    return [Path("/run/netns") / name for name in json.loads((folder / "hosts.json").read_text()).values()]


def test_a_person_at_the_prompt(tmp_path: Path, terminal: Terminal) -> None:
    terminal.expect("Things to try")
    terminal.expect("inside# ")
    made = spaces(tmp_path / "lab")
    terminal.answers()
    terminal.type("\x03")
    terminal.answers()
    terminal.type("sh -c 'echo $((3 * 5)); exec sleep 60'\n")
    terminal.expect(r"15\r\n")
    terminal.type("\x03")
    terminal.answers()
    assert all(path.exists() for path in made)
    terminal.type("false; exit\n")
    assert terminal.status() == 0
    assert not any(path.exists() for path in (tmp_path / "lab", *made))


def test_a_closed_terminal_removes_everything(tmp_path: Path, terminal: Terminal) -> None:
    terminal.expect("inside# ")
    made = spaces(tmp_path / "lab")
    os.close(terminal.master)
    terminal.status()
    assert eventually(lambda: not any(path.exists() for path in (tmp_path / "lab", *made)))


def test_ctrl_c_while_it_is_built_removes_everything(tmp_path: Path, terminal: Terminal) -> None:
    assert eventually(lambda: (tmp_path / "lab").exists(), within=30)
    terminal.type("\x03")
    assert terminal.status() == 128 + signal.SIGINT
    assert not (tmp_path / "lab").exists()


# --- who cannot have it


def test_an_ordinary_user_is_told_what_it_needs(tmp_path: Path) -> None:
    program = f"import os, runpy, sys; os.geteuid = lambda: 1000; sys.argv[1:] = [{str(tmp_path / 'lab')!r}]; "
    program += f"runpy.run_module({LAB[2]!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the lab needs root, for network namespaces (sudo make lab)\n"
    assert not (tmp_path / "lab").exists()


def test_make_tells_an_ordinary_user_before_it_installs_anything() -> None:
    """The script that ``make lab`` begins with, read from its input as its folder need not be everybody's."""
    with (ROOT / "tests/support/debian.sh").open() as code:
        command = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-s", "root", "nsd"]
        done = subprocess.run(command, stdin=code, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("This needs root, .*: sudo make lab.*: nsd\n", done.stderr)
