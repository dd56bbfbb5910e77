"""``sockd`` as far as it starts nothing: what it says of its version, and of files with two networks."""

from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import sockd
from gateway.daemon import host as daemon_host
from gateway.netlink.kernel import KernelRefused
from gateway.netlink.model import KernelState
from tests.support.daemon import Toml, write_files
from tests.unit.daemon.hosts import HOST

RULES = "permit 10.0.0.0/8 ALL\n"
SECOND = "Does not support clients that use Rrcmd().\n"


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with eth1, wan1 and wan2."""
    monkeypatch.setattr(daemon_host, "read_kernel", lambda: HOST)


class Ran:
    """One run of ``sockd``: its status and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        with pytest.raises(SystemExit) as ended:
            sockd.main(words)
        self.status = ended.value.code
        self.output, self.errors = capsys.readouterr()


def first(homes: str) -> str:
    return f"CSTC {homes}-homed, stand-alone SOCKS proxy server version {__version__}.\n"


@pytest.mark.parametrize(
    ("text", "homes"),
    [
        pytest.param("", "single", id="nothing is written"),
        pytest.param('[external]\ninterface = "wan1"\n', "multi", id="a default way out"),
        pytest.param('[files]\nroutes = "sockd.route"\n', "multi", id="a route file, which need not be there"),
        pytest.param('[external]\ninterface = ""\n[files]\nroutes = ""\n', "single", id="neither, in so many words"),
        pytest.param('[external]\ninterface = "wan1"\n[timeouts]\nidel = 1\n', "multi", id="a mistake elsewhere"),
        pytest.param("[external]\ninterface = 7\n", "single", id="a mistake just there"),
        pytest.param('[files]\naccess = 7\nroutes = "x"\n', "single", id="files that can not be told"),
        pytest.param("[external\n", "single", id="no TOML at all"),
        pytest.param("\0", "single", id="no text at all"),
    ],
)
def test_the_version_says_how_many_homes_the_settings_give_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, homes: str
) -> None:
    (tmp_path / "gateway.toml").write_text(text)
    ran = Ran(capsys, "-ver", "-f", str(tmp_path / "gateway.toml"))
    assert (ran.status, ran.output, ran.errors) == (0, first(homes) + SECOND, "")


def test_the_version_needs_no_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "missing", tmp_path):
        ran = Ran(capsys, "-ver", "-f", str(path))
        assert (ran.status, ran.output, ran.errors) == (0, first("single") + SECOND, "")


def check(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    routes: str | None,
    rules: str = RULES,
    settings: Toml | None = None,
) -> Ran:
    return Ran(capsys, "-n", "-f", str(write_files(folder, rules, routes=routes, settings=settings)))


def test_good_files_of_two_networks_are_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = check(tmp_path, capsys, "wan1,wan2 ALL\n")
    assert (ran.status, ran.output, ran.errors) == (0, "configuration OK\n", "")


def test_doubts_about_routes_are_said_and_the_files_are_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: Toml = {"internal": {"interface": "eth7"}, "uplinks.slow": {"interface": "ppp0"}}
    path = write_files(tmp_path, RULES, addresses=(), routes="wan1 ALL\nwan9 10.0.0.0/8\n", settings=settings)
    ran = Ran(capsys, "-n", "-f", str(path))
    assert (ran.status, ran.errors) == (0, "")
    said = [line.removeprefix(f"{tmp_path}/")[:75] for line in ran.output.splitlines()]
    assert said == [
        "sockd.route:2:1: warning: this line never matches: sockd.route:1 matches ev",
        "sockd.route:2:1: warning: there is no interface wan9 now, and no [uplinks.w",
        "gateway.toml: warning: [internal] interface: there is no interface eth7 now",
        "gateway.toml: warning: [uplinks.slow]: there is no interface ppp0 now; what",
        "configuration OK",
    ]


@pytest.mark.parametrize(
    ("routes", "rules", "places"),
    [
        pytest.param("wan1\nwan1 10.0.0.0/33\n", RULES, ["sockd.route:1", "sockd.route:2"], id="two mistakes"),
        pytest.param("wan1\n", "permitt ALL\n", ["sockd.conf:1", "sockd.route:1"], id="one in each file"),
        pytest.param("wan1 ALL\n", "permitt ALL\n", ["sockd.conf:1"], id="good routes, and broken rules"),
        pytest.param("wan1 *=@no-such-group ALL\n", RULES, ["sockd.route:1"], id="a group that nobody knows"),
        pytest.param(None, "permit ALL ALL via=wan1\n", ["sockd.conf:1"], id="via= with one network"),
    ],
)
def test_mistakes_of_both_files_are_told_in_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], routes: str | None, rules: str, places: list[str]
) -> None:
    ran = check(tmp_path, capsys, routes, rules)
    assert (ran.status, ran.output) == (1, "")
    found = [":".join(line.removeprefix(f"{tmp_path}/").split(":")[:2]) for line in ran.errors.splitlines()]
    assert found == places


def test_a_route_file_that_is_missing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_files(tmp_path, RULES, routes="wan1 ALL\n")
    (tmp_path / "sockd.route").unlink()
    ran = Ran(capsys, "-n", "-f", str(path))
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == f"{tmp_path}/sockd.route: cannot read: No such file or directory\n"


def test_a_kernel_that_does_not_answer_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> KernelState:
        raise KernelRefused("cannot open a netlink socket: Operation not permitted")

    monkeypatch.setattr(daemon_host, "read_kernel", refuse)
    ran = check(tmp_path, capsys, "wan1 ALL\n")
    assert (ran.status, ran.output) == (1, "")
    assert ran.errors == "sockd: cannot open a netlink socket: Operation not permitted\n"
