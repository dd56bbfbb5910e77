"""The original's test program: its own twelve tests on the installed program, and what they leave open."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.test_sockd_conf import run

PROGRAM = Path(sys.executable).with_name("test_sockd_conf")
VECTORS = tomllib.loads((Path(__file__).parents[2] / "vectors" / "test_sockd_conf.toml").read_text())
named_services = pytest.mark.skipif(
    not Path("/etc/services").exists(), reason="this host has no /etc/services (Debian package netbase)"
)
PORTS = {"ftp": 21, "telnet": 23, "70": 70}


@named_services
@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["args"]) for vector in VECTORS["test"]])
def test_the_distributions_own_tests(vector: dict[str, Any], tmp_path: Path) -> None:
    config, route, mailbox = tmp_path / "sockd.conf", tmp_path / "sockd.route", tmp_path / "mail"
    config.write_text(VECTORS["config"].lstrip("\n"))
    route.write_text(VECTORS["route"].lstrip("\n"))
    done = subprocess.run(
        [PROGRAM, "-C", config, "-R", route, *vector["args"].split()],
        env={**os.environ, "MAILBOX": str(mailbox)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr.splitlines() == expected(vector, str(route))
    assert done.returncode == vector["exit"]
    assert done.stdout == ""
    assert (mailbox.read_text().rstrip("\n") if mailbox.exists() else None) == vector.get("mail")


def expected(vector: dict[str, Any], route: str) -> list[str]:
    """The whole of what the program says."""
    *_, user, source, destination, port = vector["args"].split()
    config, routes = (VECTORS[name].strip("\n").split("\n") for name in ("config", "route"))
    said = [f"USER:{user},  SRC:{source},  DST:{destination}, PORT:{PORTS[port]}"]
    said += [f"Line {number}: {config[number - 1]}" for number in vector["lines"]]
    said += [vector["says"]] if "says" in vector else []
    if "route" in vector:
        said += [f"==== Checking routing file ({route})...", f"Line {vector['route']}: {routes[vector['route'] - 1]}"]
    return said


Runner = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs the program in this process with these files; its exit code and what it says after the first line."""
    monkeypatch.setenv("OUT", str(tmp_path / "out"))

    def start(arguments: str, config: str, route: str | None = "192.0.2.1 0.0.0.0 0.0.0.0\n") -> tuple[int, list[str]]:
        (tmp_path / "sockd.conf").write_text(config)
        files = ["-C", str(tmp_path / "sockd.conf"), "-R", str(tmp_path / "sockd.route")]
        if route is not None:
            (tmp_path / "sockd.route").write_text(route)
        status = run([*files, *arguments.split()])
        return status, capsys.readouterr().err.splitlines()[1:]

    return start


ASK = "fred 10.0.0.1 192.0.2.9 80"


class TestIdent:
    """`spec/socks4.md` §8: a line's ``?=`` goes before the option, and only permit lines ask at all."""

    @pytest.mark.parametrize(
        ("option", "level", "status"),
        [
            pytest.param("", "?=I", 1, id="without an option identd is not asked"),
            pytest.param("-i", "", 1, id="-i lets pass"),
            pytest.param("-I", "", 0, id="-I does not"),
            pytest.param("-B", "", 0, id="-B does not"),
            pytest.param("-i", "?=I", 0, id="a strict line goes before -i"),
            pytest.param("-I", "?=i", 1, id="a lenient line goes before -I"),
            pytest.param("-I", "?=n", 1, id="a line without ident goes before -I"),
            pytest.param("-B", "?=n", 1, id="a line without ident goes before -B"),
            pytest.param("-B", "?=i", 0, id="a mismatch does not pass a lenient line"),
        ],
    )
    def test_levels(self, program: Runner, option: str, level: str, status: int) -> None:
        assert program(f"{option} {ASK}", f"permit {level} 10.0.0.0/8\n")[0] == status

    def test_a_deny_line_never_asks(self, program: Runner) -> None:
        config = "deny 10.0.0.0/8\n#NO_IDENTD: echo asked >$OUT\n"
        assert program(f"-I {ASK}", config) == (0, ["Line 1: deny 10.0.0.0/8"])

    @pytest.mark.parametrize(
        ("option", "written"),
        [
            pytest.param("", "own fred", id="no option: %U is the user"),
            pytest.param("-i", "special unknown own unknown", id="-i: the special line, then the line's own"),
            pytest.param("-I", "special unknown", id="-I: the line's own command does not run"),
            pytest.param("-B", "bad unknown", id="-B: the other special line only"),
        ],
    )
    def test_which_commands_run_and_in_which_order(
        self, program: Runner, tmp_path: Path, option: str, written: str
    ) -> None:
        config = (
            "permit 10.0.0.0/8 : echo own %U >>$OUT\n"
            "#NO_IDENTD: echo special %U >>$OUT\n#BAD_ID: echo bad %U >>$OUT\n#BAD_ID: echo second >>$OUT\n"
        )
        program(f"{option} {ASK}", config)
        assert (tmp_path / "out").read_text().split() == written.split()


class TestCommands:
    @named_services
    def test_every_code(self, program: Runner, tmp_path: Path) -> None:
        config = "permit 10.0.0.0/8 : echo '%A %a %c %S %s %U %u %Z %z %%' >$OUT\n"
        program("fr;ed 10.0.0.1 192.0.2.9 ftp", config)
        assert (tmp_path / "out").read_text() == "10.0.0.1 10.0.0.1 connect ftp 21 fr_ed fr_ed 192.0.2.9 192.0.2.9 %\n"

    def test_the_status_of_a_command_is_ignored(self, program: Runner) -> None:
        assert program(ASK, "permit 10.0.0.0/8 : exit 3\n")[0] == 1

    def test_a_command_sees_no_terminal_and_no_output(self, program: Runner, tmp_path: Path) -> None:
        config = "permit 10.0.0.0/8 : readlink /proc/self/fd/0 >$OUT; echo loud; echo louder >&2\n"
        _, said = program(ASK, config)
        assert (tmp_path / "out").read_text() == "/dev/null\n"
        assert not any(line.startswith("loud") for line in said)

    def test_a_command_that_is_too_long_is_not_run_and_said(self, program: Runner) -> None:
        config = "permit 10.0.0.0/8 : echo " + "%u" * 200 + "\n"
        _, said = program(f"{'x' * 50} 10.0.0.1 192.0.2.9 80", config)
        assert said[1].startswith("shell command too long: echo xxxx")


class TestRoute:
    def test_a_destination_without_a_line_is_denied(self, program: Runner) -> None:
        status, said = program(ASK, "permit 10.0.0.0/8\n", "192.0.2.1 10.0.0.0 255.0.0.0\n")
        assert status == 0
        assert said[-1] == "***Cannot find appropriate interface to communicate with 192.0.2.9"

    def test_a_denied_request_needs_no_route(self, program: Runner) -> None:
        assert program(ASK, "deny 10.0.0.0/8\n", None) == (0, ["Line 1: deny 10.0.0.0/8"])

    def test_a_route_file_that_can_not_be_opened_denies(self, program: Runner) -> None:
        status, said = program(ASK, "permit 10.0.0.0/8\n", None)
        assert status == 0
        assert said[2].startswith("Unable to open routing file (")

    def test_a_route_file_with_mistakes_is_an_error(self, program: Runner) -> None:
        status, said = program(ASK, "permit 10.0.0.0/8\n", "192.0.2.1 10.0.0.0\n")
        assert status == 255
        assert "sockd.route:1:11: a line has 3 fields, not 2" in said[-1]


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param(
                "fred 10.0.0.1 192.0.2.9 nosuch", "Unknown service or illegal port number 'nosuch'", id="port"
            ),
            pytest.param("fred 10.0.0.1 192.0.2.9 65536", "Unknown service or illegal port number '65536'", id="range"),
            pytest.param("fred 10.0.0.1 127.1 80", "Unknown host '127.1'", id="a destination that is no host"),
            pytest.param("fred 10.0.0.x/8 192.0.2.9 80", "Unknown host '10.0.0.x/8'", id="a source that is no host"),
        ],
    )
    def test_an_argument_that_makes_no_sense(
        self, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["-C", "/dev/null", *arguments.split()]) == 255
        assert capsys.readouterr().err.startswith(f"test_sockd_conf: {message}")

    @pytest.mark.parametrize("arguments", ["", "fred 10.0.0.1 192.0.2.9", f"-x {ASK}", f"{ASK} more", f"-C {ASK[:4]}"])
    def test_a_wrong_command_line_shows_the_usage(self, arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            run(arguments.split())
        assert caught.value.code == 255
        assert capsys.readouterr().err.splitlines()[0] == (
            "usage: test_sockd_conf [-i] [-I] [-B] [-C conf_file] [-R route_file] user src_addr dst_addr {service,port}"
        )

    def test_a_config_file_that_can_not_be_opened_denies(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["-C", "/nonexistent/sockd.conf", *ASK.split()]) == 0
        assert capsys.readouterr().err.splitlines()[1] == "Unable to open config file (/nonexistent/sockd.conf)"

    def test_a_config_file_with_mistakes_is_an_error(self, program: Runner) -> None:
        status, said = program(ASK, "permit 10.0.0.0/8\npermitt 10.0.0.0/8\nallow\n")
        assert status == 255
        assert len(said) == 2

    def test_what_is_not_enforced_is_an_error(self, program: Runner) -> None:
        status, said = program(ASK, "permit 10.0.0.0/8 rate=10M\n")
        assert status == 255
        assert said[0].endswith("rate= is not enforced by this version; remove it")


def test_the_guard_does_not_apply(program: Runner) -> None:
    assert program("fred 10.0.0.1 127.0.0.1 80", "permit 10.0.0.0/8\n")[0] == 1


def test_a_host_may_be_a_name_as_in_the_original(program: Runner) -> None:
    config = "permit 127.0.0.0/8 .localhost\npermit ::1 .localhost\n"
    status, said = program("fred localhost localhost 80", config, "192.0.2.1 127.0.0.0 255.0.0.0\n")
    assert status == 1
    assert said[0].startswith("Line ")


def test_a_joined_line_is_shown_joined(program: Runner) -> None:
    _, said = program(ASK, "# rules\npermit 10.0.0.0/8 \\\n  eq 80\n")
    assert said[0] == "Line 2: permit 10.0.0.0/8   eq 80"
