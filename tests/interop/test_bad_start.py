"""Bad input of every kind ends with one clear line a mistake and a status that is not 0; never with a traceback.

And the starts that are only questions: ``-ver``, ``-n``, ``-h``.
"""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.daemon import LOOPBACK, PROGRAM, Toml, run_sockd, sockd, write_files
from tests.support.peers import closed_port
from tests.support.rawsocks import Wire, greeting

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another user; `sudo make test` runs it")

#: a command that runs another one as a user to whom the kernel says no, as to any other (capabilities(7))
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if ROOT else ()


BOTH_WAYS = [pytest.param("-n", id="checked"), pytest.param("-d", id="started")]


def lines_of(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What it said on stderr, after checking that it failed by itself and said nothing elsewhere."""
    assert done.returncode > 0, f"status {done.returncode}: {done.stderr}"
    assert done.stdout == ""
    return done.stderr.splitlines()


def start(tmp_path: Path, prefix: Sequence[str] = ()) -> list[str]:
    return lines_of(run_sockd("-d", "-f", str(tmp_path / "gateway.toml"), prefix=prefix))


# --- questions -----------------------------------------------------------------------------------------------------


def test_version_is_two_lines_in_the_originals_words() -> None:
    done = run_sockd("-ver")
    assert done.returncode == 0
    assert re.fullmatch(
        r"CSTC (single|multi)-homed, stand-alone SOCKS proxy server version \S+\.\n"
        r"(Supports|Does not support) clients that use Rrcmd\(\)\.\n",
        done.stdout,
    )
    assert done.stderr == ""


def test_check_of_good_files(tmp_path: Path) -> None:
    path = write_files(tmp_path, LOOPBACK)
    done = run_sockd("-n", "-f", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "configuration OK\n", "")


def test_check_opens_no_port_and_no_log(tmp_path: Path) -> None:
    """So that it can run beside the daemon whose files it checks."""
    with sockd(tmp_path) as daemon:
        path = write_files(tmp_path, LOOPBACK, settings={"internal": {"port": daemon.port}})
        assert run_sockd("-n", "-f", str(path)).returncode == 0
    (tmp_path / "sockd.log").unlink()
    (tmp_path / "sockd.json").unlink()
    assert run_sockd("-n", "-f", str(path)).returncode == 0
    assert not (tmp_path / "sockd.log").exists()
    assert not (tmp_path / "sockd.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--no-such-option"], id="an unknown option"),
        pytest.param(["-f"], id="-f without a file"),
        pytest.param(["-i", "-I"], id="-i and -I together"),
        pytest.param(["surplus"], id="a surplus argument"),
    ],
)
def test_wrong_command_line(arguments: list[str]) -> None:
    lines = lines_of(run_sockd(*arguments))
    assert lines[-1].startswith("sockd: ")
    assert arguments[0].lstrip("-")[:1] in lines[-1]


# --- gateway.toml --------------------------------------------------------------------------------------------------

GOOD = '[internal]\naddresses = ["127.0.0.1"]\nport = 0\n[files]\naccess = "sockd.conf"\n'

NOT_TOML = (
    ("[internal\n", r"gateway\.toml:1(:\d+)?: .*TOML", "an unclosed bracket"),
    (GOOD + "[internal]\nport = 1\n", r"gateway\.toml:6(:\d+)?: .*TOML", "a table twice"),
    (GOOD + "[surplus]\nx = 1\n", r"gateway\.toml:6: .*surplus", "an unknown table"),
    (GOOD.replace("port = 0", "port = 65536"), r"gateway\.toml:3: .*port.*65536", "a port above 65535"),
)

#: one mistake a line; what the message must hold
WRONG_LINES = (
    ('dialect = "1993"', "dialect.*1993"),
    ("[internal]", ""),
    ('addresses = ["127.0.0.300"]', "addresses.*127.0.0.300"),
    ("port = true", "port.*true"),
    ("nework = []", "nework"),
    ("[files]", ""),
    ("access = 5", "access.*5"),
    ("[sockd]", ""),
    ("workers = -2", "workers.*-2"),
    ('sessions = "many"', "sessions.*many"),
    ("[timeouts]", ""),
    ("handshake = 0", "handshake.*0"),
    ("connect = -1.5", "connect.*-1.5"),
    ("idle = nan", "idle.*nan"),
    ('lookup = "2h"', "lookup.*2h"),
    ("[log]", ""),
    ('classic = "here"', "classic.*here"),
    ('json = "/tmp/a\\u0000b"', "json"),
)


@pytest.mark.parametrize(("text", "line"), [pytest.param(text, line, id=title) for text, line, title in NOT_TOML])
def test_mistake_in_the_settings(tmp_path: Path, text: str, line: str) -> None:
    write_files(tmp_path, LOOPBACK)
    (tmp_path / "gateway.toml").write_text(text)
    (said,) = lines_of(run_sockd("-n", "-f", str(tmp_path / "gateway.toml")))
    assert re.search(line, said)


@pytest.mark.parametrize("option", BOTH_WAYS)
def test_each_mistake_in_the_settings_is_one_line(tmp_path: Path, option: str) -> None:
    (tmp_path / "gateway.toml").write_text("".join(f"{text}\n" for text, _ in WRONG_LINES))
    said = lines_of(run_sockd(option, "-f", str(tmp_path / "gateway.toml")))
    wrong = [(number, pattern) for number, (_, pattern) in enumerate(WRONG_LINES, 1) if pattern]
    assert len(said) == len(wrong)
    for line, (number, pattern) in zip(said, wrong, strict=True):
        assert re.match(rf"{tmp_path}/gateway\.toml:{number}(:\d+)?: .*{pattern}", line)


def make_missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00[internal]\n")


def make_unreadable(path: Path) -> None:
    path.chmod(0)


def make_loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("name", "spoil", "option"),
    [
        pytest.param("gateway.toml", make_missing, "-n", id="settings missing, checked"),
        pytest.param("gateway.toml", make_missing, "-d", id="settings missing, started"),
        pytest.param("gateway.toml", make_unreadable, "-d", id="settings unreadable"),
        pytest.param("gateway.toml", make_folder, "-n", id="settings a folder"),
        pytest.param("gateway.toml", make_binary, "-n", id="settings not text"),
        pytest.param("gateway.toml", make_loop, "-n", id="settings a link to itself"),
        pytest.param("sockd.conf", make_missing, "-d", id="rules missing"),
        pytest.param("sockd.conf", make_unreadable, "-n", id="rules unreadable"),
        pytest.param("sockd.conf", make_binary, "-n", id="rules not text"),
        pytest.param("passwords", make_missing, "-n", id="passwords missing"),
        pytest.param("passwords", make_unreadable, "-d", id="passwords unreadable"),
        pytest.param("passwords", make_folder, "-n", id="passwords a folder"),
    ],
)
def test_file_that_can_not_be_read(tmp_path: Path, name: str, spoil: Callable[[Path], None], option: str) -> None:
    """One line, which names the file with its whole path."""
    write_files(tmp_path, LOOPBACK, passwords={"fred": "x"})
    spoil(tmp_path / name)
    prefix = POWERLESS if spoil is make_unreadable else ()
    (said,) = lines_of(run_sockd(option, "-f", str(tmp_path / "gateway.toml"), prefix=prefix))
    assert str(tmp_path / name) in said


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(0o640, id="0640 is fine"),
        pytest.param(0o644, id="0644 is not"),
        pytest.param(0o660, id="0660 is not"),
    ],
)
def test_passwords_that_others_could_read_or_change_are_refused(tmp_path: Path, mode: int) -> None:
    path = write_files(tmp_path, LOOPBACK, passwords={"fred": "x"})
    (tmp_path / "passwords").chmod(mode)
    done = run_sockd("-n", "-f", str(path))
    assert (done.returncode == 0) is (mode == 0o640)
    if done.returncode:
        (said,) = lines_of(done)
        assert str(tmp_path / "passwords") in said


# --- all mistakes in one run ---------------------------------------------------------------------------------------

THREE_MISTAKES = (
    "permit 10.0.0.0 255.0.0.0\n"
    "permitt 10.0.0.0 255.0.0.0\n"
    "# a comment\n"
    "deny 10.0.0.300 255.0.0.0\n"
    "permit 10.0.0.0 255.0.0.0 eq no-such-service\n"
    "deny 0.0.0.0 0.0.0.0\n"
)


@pytest.mark.parametrize("option", BOTH_WAYS)
def test_three_mistakes_in_the_rules_are_shown_in_one_run(tmp_path: Path, option: str) -> None:
    path = write_files(tmp_path, THREE_MISTAKES)
    said = lines_of(run_sockd(option, "-f", str(path)))
    for line, wrong in ((2, "permitt"), (4, "10.0.0.300"), (5, "no-such-service")):
        (found,) = (text for text in said if f"{tmp_path}/sockd.conf:{line}:" in text)
        assert wrong in found
    assert len(said) == 3


def test_mistakes_of_all_files_are_shown_in_one_run(tmp_path: Path) -> None:
    """Two in the settings, three in the rules, one in the passwords: six lines, each with its file and line."""
    write_files(tmp_path, THREE_MISTAKES, passwords={"fred": "x"})
    with (tmp_path / "passwords").open("a") as passwords:
        passwords.write("barney:plain-text-secret\n")
    with (tmp_path / "gateway.toml").open("a") as settings:
        settings.write('[timeouts]\nidle = "long"\nslowness = 1\n')
    said = lines_of(run_sockd("-n", "-f", str(tmp_path / "gateway.toml")))
    places = [re.sub(r"(.*/)([^/:]+):(\d+).*", r"\2:\3", line) for line in said]
    length = len((tmp_path / "gateway.toml").read_text().splitlines())
    expected = [f"gateway.toml:{length - 1}", f"gateway.toml:{length}", *(f"sockd.conf:{n}" for n in (2, 4, 5))]
    assert sorted(places) == sorted([*expected, "passwords:2"])
    assert "plain-text-secret" not in "".join(said)


def test_warnings_are_shown_and_do_not_refuse(tmp_path: Path) -> None:
    path = write_files(tmp_path, "permit 127.0.0.0/8\ndeny 127.0.0.1/32\n")
    done = run_sockd("-n", "-f", str(path))
    assert done.returncode == 0
    assert re.search(r"sockd\.conf:2(:\d+)?: warning: ", done.stdout + done.stderr)
    assert done.stdout.endswith("configuration OK\n")


# --- the machine says no -------------------------------------------------------------------------------------------


def test_port_in_use_by_another_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        write_files(tmp_path, LOOPBACK, settings={"internal": {"port": port}})
        (said,) = start(tmp_path)
    assert f"127.0.0.1:{port}" in said
    assert "in use" in said.lower()


def test_port_in_use_by_another_sockd(tmp_path: Path) -> None:
    """Workers share a port among themselves (SO_REUSEPORT), which must not let a second daemon slip in beside them."""
    (tmp_path / "first").mkdir()
    with sockd(tmp_path / "first", workers=2) as first:
        write_files(tmp_path, LOOPBACK, workers=2, settings={"internal": {"port": first.port}})
        (said,) = start(tmp_path)
        assert f"127.0.0.1:{first.port}" in said
        for _ in range(4):
            with Wire(first.port) as wire:
                wire.send(greeting(0))
                assert wire.read(2) == b"\x05\x00"


def test_second_address_in_use_leaves_nothing_behind(tmp_path: Path) -> None:
    """The first address was free and is free again: a start is whole or not at all."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        write_files(tmp_path, LOOPBACK, addresses=("127.0.0.1", "127.0.0.2"), settings={"internal": {"port": port}})
        (said,) = start(tmp_path)
        assert f"127.0.0.2:{port}" in said
        socket.create_server(("127.0.0.1", port)).close()


def test_port_that_only_root_may_open(tmp_path: Path) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 1:
        pytest.skip("this host lets every user open every port (net.ipv4.ip_unprivileged_port_start)")
    settings: Toml = {"internal": {"port": min(80, first - 1)}, "log": {"classic": "stderr", "json": "none"}}
    write_files(tmp_path, LOOPBACK, settings=settings)
    (said,) = start(tmp_path, POWERLESS)
    assert f"127.0.0.1:{min(80, first - 1)}" in said
    assert "permi" in said.lower()


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_address_that_this_host_does_not_have(tmp_path: Path, address: str) -> None:
    write_files(tmp_path, LOOPBACK, addresses=(address,))
    (said,) = start(tmp_path)
    assert address in said


@pytest.mark.parametrize(
    ("key", "name"),
    [
        pytest.param("classic", "missing/sockd.log", id="the classic one, in a folder that does not exist"),
        pytest.param("json", "missing/sockd.json", id="the records, in a folder that does not exist"),
        pytest.param("classic", "", id="the classic one, a folder itself"),
        pytest.param("json", "gateway.toml/log", id="the records, below a file"),
    ],
)
def test_log_that_can_not_be_written(tmp_path: Path, key: str, name: str) -> None:
    write_files(tmp_path, LOOPBACK, settings={"log": {key: str(tmp_path / name)}})
    (said,) = start(tmp_path)
    assert str(tmp_path / name) in said


def test_log_that_the_user_may_not_write(tmp_path: Path) -> None:
    write_files(tmp_path, LOOPBACK, settings={"log": {"classic": "/proc/version", "json": "none"}})
    (said,) = start(tmp_path, POWERLESS)
    assert "/proc/version" in said


@needs_root
def test_unknown_user(tmp_path: Path) -> None:
    write_files(tmp_path, LOOPBACK, settings={"sockd": {"user": "no-such-user"}})
    (said,) = start(tmp_path)
    assert "no-such-user" in said


def test_too_few_descriptors_to_run_at_all(tmp_path: Path) -> None:
    """A limit that leaves nothing for clients: either it says so, or it runs; it does not die on the way."""
    path = write_files(tmp_path, LOOPBACK)
    command = ["prlimit", "--nofile=8:8", "timeout", "3", PROGRAM, "-d", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) >= 1


def test_the_daemon_in_the_background_reports_before_it_detaches(tmp_path: Path) -> None:
    """Without -d the command ends when the daemon is ready or has failed; a failure is its own status and line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings: Toml = {"internal": {"port": other.getsockname()[1]}, "sockd": {"pidfile": str(tmp_path / "pid")}}
        write_files(tmp_path, LOOPBACK, settings=settings)
        (said,) = lines_of(run_sockd("-f", str(tmp_path / "gateway.toml")))
    assert "in use" in said.lower()


def test_closed_port_is_free_for_the_daemon(tmp_path: Path) -> None:
    """The other side of "in use": a fixed port that nobody holds is taken, and named in the ready line."""
    with closed_port() as port:
        pass
    with sockd(tmp_path, settings={"internal": {"port": port}}) as daemon:
        assert daemon.endpoints == [("127.0.0.1", port)]


def test_settings_whose_path_can_not_be_shown_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"n\xff")
    folder.mkdir()
    write_files(folder, LOOPBACK)
    (line,) = lines_of(run_sockd("-d", "-f", str(folder / "gateway.toml")))
    assert line.startswith("sockd: the path of the settings is not UTF-8: ")
