"""Every file of the daemon is read and checked together."""

from pathlib import Path

import msgspec
import pytest

from gateway.address import parse_address
from gateway.config.rules import AddressPattern, Dialect
from gateway.daemon.configuration import Configuration, load, reproduce
from gateway.daemon.host import Texts
from gateway.errors import ConfigError
from gateway.policy.decision import Result
from tests.support.daemon import password_entry
from tests.support.rules import address, question

ACCESS = "permit 10.0.0.0 255.0.0.0\n"


def write(folder: Path, toml: str = "", access: str | None = ACCESS, passwords: str | None = None) -> str:
    (folder / "gateway.toml").write_text(toml or "[files]\naccess = 'sockd.conf'\n")
    if access is not None:
        (folder / "sockd.conf").write_text(access)
    if passwords is not None:
        (folder / "passwords").write_text(passwords)
        (folder / "passwords").chmod(0o600)
    return str(folder / "gateway.toml")


def silent(text: str) -> None:
    raise AssertionError(text)


def problems(path: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, silent)
    return [str(problem) for problem in caught.value.problems]


WITH_PASSWORDS = "[files]\naccess = 'sockd.conf'\npasswords = 'passwords'\n"


def test_good_files(tmp_path: Path) -> None:
    found = load(write(tmp_path, WITH_PASSWORDS, passwords=password_entry("fred", "geheim")), silent)
    assert isinstance(found, Configuration)
    assert len(found.access.rules) == 1
    assert found.passwords is not None
    assert found.passwords.verify(b"fred", b"geheim")
    assert found.settings.dialect is Dialect.CLASSIC
    assert found.policy.decide(question("10.1.2.3", "203.0.113.1")).result is Result.PERMIT
    assert found.policy.decide(question("11.1.2.3", "203.0.113.1")).result is Result.DENY
    assert found.warnings == ()


def test_the_mistakes_of_all_files_are_said_in_one_run(tmp_path: Path) -> None:
    toml = WITH_PASSWORDS + "[internal]\nport = 'many'\n[timeouts]\nidel = 3\n"
    path = write(tmp_path, toml, access="permt 10.0.0.0 255.0.0.0\npermit 10.0.0.0\n", passwords="fred\n")
    found = problems(path)
    assert {line.split(":")[0] for line in found} == {
        f"{tmp_path}/{name}" for name in ("gateway.toml", "sockd.conf", "passwords")
    }
    assert len(found) == 5
    assert [line.split(":")[1] for line in found] == ["5", "7", "1", "2", "1"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [("gateway.toml", "No such file or directory"), ("sockd.conf", "No such file"), ("passwords", "No such file")],
)
def test_a_file_that_is_missing(tmp_path: Path, name: str, fault: str) -> None:
    path = write(tmp_path, WITH_PASSWORDS, passwords="")
    (tmp_path / name).unlink()
    (line,) = problems(path)
    assert line.startswith(f"{tmp_path}/{name}")
    assert fault in line


def test_what_can_not_be_enforced_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, access="permit ALL ALL rate=10M\npermit *=@no-such-group 10.0.0.0/8\n")
    found = problems(path)
    assert [line.split(":")[1] for line in found] == ["1", "2"]


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o400, 0o440])
def test_a_passwords_file_that_only_its_owner_and_group_read_is_used(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, WITH_PASSWORDS, passwords=password_entry("fred", "geheim"))
    (tmp_path / "passwords").chmod(mode)
    assert load(path, silent).passwords is not None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o601, 0o777])
def test_a_passwords_file_that_others_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, WITH_PASSWORDS, passwords=password_entry("fred", "geheim"))
    (tmp_path / "passwords").chmod(mode)
    (line,) = problems(path)
    assert line.startswith(f"{tmp_path}/passwords: ")
    assert f"{mode:04o}" in line
    assert "chmod 600" in line
    assert "scrypt" not in line


def test_doubts_are_kept_beside_the_rules(tmp_path: Path) -> None:
    path = write(tmp_path, access="permit 10.0.0.0 255.0.0.0\npermit 10.1.0.0 255.255.0.0\n")
    found = load(path, silent)
    assert [str(warning).startswith(f"{tmp_path}/sockd.conf:2") for warning in found.warnings] == [True]


def test_the_hosts_own_addresses_are_guarded(tmp_path: Path) -> None:
    found = load(write(tmp_path, access="permit ALL ALL\n"), silent)
    decision = found.policy.decide(question("10.1.2.3", "127.0.0.1"))
    assert decision.result is Result.DENY
    assert address("127.0.0.1") in found.policy.guard.own


def test_the_inside_is_the_network_of_the_internal_address_or_what_is_written(tmp_path: Path) -> None:
    toml = "[files]\naccess = 'sockd.conf'\n[internal]\naddresses = ['127.0.0.1']\n"
    derived = load(write(tmp_path, toml), silent)
    assert derived.policy.guard.inside == (AddressPattern(4, 0x7F00_0000, 0xFF00_0000),)
    written = load(write(tmp_path, toml + "networks = ['10.0.0.0/8', 'fd00::/8']\n"), silent)
    assert [str(parse_address("10.0.0.0")), 2] == ["10.0.0.0", len(written.policy.guard.inside)]
    assert written.policy.guard.inside[0] == AddressPattern(4, 0x0A00_0000, 0xFF00_0000)


def test_the_1992_dialect_is_chosen_by_the_settings(tmp_path: Path) -> None:
    toml = "dialect = '1992'\n[files]\naccess = 'sockd.conf'\n"
    found = load(write(tmp_path, toml, access="permit 10.0.0.0 0.255.255.255\n"), silent)
    assert found.policy.decide(question("10.1.2.3", "203.0.113.1")).result is Result.PERMIT


# Two networks

ROUTED = "[files]\naccess = 'sockd.conf'\nroutes = 'sockd.route'\n"


def test_routes_and_default_make_a_router_that_knows_no_uplink_yet(tmp_path: Path) -> None:
    (tmp_path / "sockd.route").write_text("lo 10.0.0.0/8\n")
    found = load(write(tmp_path, ROUTED + "[external]\ninterface = 'wan1'\n"), silent)
    assert found.routes is not None
    assert found.router is not None
    assert [route.origin for route in found.router.routes] == ["sockd.route:1", "[external]"]
    assert found.router.uplinks == ()


def test_a_default_alone_makes_a_router_and_neither_makes_none(tmp_path: Path) -> None:
    alone = load(write(tmp_path, "[files]\naccess = 'sockd.conf'\n[external]\ninterface = 'lo'\n"), silent)
    assert alone.routes is None
    assert alone.router is not None
    single = load(write(tmp_path), silent)
    assert (single.routes, single.router) == (None, None)


def test_mistakes_of_the_routes_are_said_with_those_of_all_other_files(tmp_path: Path) -> None:
    (tmp_path / "sockd.route").write_text("wan1\nwan1 *=@no-such-group 10.0.0.0/8\n")
    toml = ROUTED + "passwords = 'passwords'\n[timeouts]\nidel = 3\n"
    found = problems(write(tmp_path, toml, access="permt ALL\n", passwords="fred\n"))
    assert [line.removeprefix(f"{tmp_path}/").split(":")[0] for line in found] == [
        "gateway.toml",
        "sockd.conf",
        "sockd.route",
        "passwords",
    ]


def test_users_of_the_routes_that_nobody_knows_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "sockd.route").write_text("wan1 *=@no-such-group 10.0.0.0/8\n")
    (line,) = problems(write(tmp_path, ROUTED))
    assert line == f"{tmp_path}/sockd.route:1:1: unknown group @no-such-group"


def test_doubts_come_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "sockd.route").write_text("lo ALL\nnosuch0 10.0.0.0/8\n")
    toml = ROUTED + "[internal]\ninterface = 'nosuch1'\n[uplinks.slow]\ninterface = 'nosuch2'\n"
    access = "permit 10.0.0.0 255.0.0.0\npermit 10.1.0.0 255.255.0.0\n"
    found = load(write(tmp_path, toml, access), silent)
    said = [str(warning).removeprefix(f"{tmp_path}/") for warning in found.warnings]
    assert [line.partition(": warning: ")[0] for line in said] == [
        "sockd.conf:2:1",
        "sockd.route:2:1",
        "sockd.route:2:1",
        "gateway.toml",
        "gateway.toml",
    ]
    assert "there is no interface nosuch0 now" in said[2]
    assert "[internal] interface: there is no interface nosuch1 now; nobody can connect" in said[3]
    assert "[uplinks.slow]: there is no interface nosuch2 now" in said[4]


@pytest.mark.parametrize(
    ("interface", "count"), [pytest.param("lo", 0, id="there"), pytest.param("nosuch1", 1, id="not there")]
)
def test_an_inside_interface_that_is_not_there_is_a_doubt_of_a_single_homed_server_too(
    tmp_path: Path, interface: str, count: int
) -> None:
    found = load(write(tmp_path, f"[files]\naccess = 'sockd.conf'\n[internal]\ninterface = '{interface}'\n"), silent)
    assert len(found.warnings) == count


@pytest.mark.parametrize(
    ("written", "found"),
    [
        pytest.param("control.sock", "{folder}/control.sock", id="beside the settings"),
        pytest.param("/run/sockd/here.sock", "/run/sockd/here.sock", id="elsewhere"),
        pytest.param("", "", id="none"),
    ],
)
def test_the_control_socket_is_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, found: str
) -> None:
    """A daemon leaves the folder in which it was started, and removes it there in the end."""
    path = write(tmp_path, f"[files]\naccess = 'sockd.conf'\n[control]\nsocket = '{written}'\n")
    monkeypatch.chdir("/")
    assert load(path, silent).settings.control.socket == found.format(folder=tmp_path)


# Made again from what was read


def test_from_the_same_texts_another_process_makes_the_same(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("fred\n")
    access = f"permit *={tmp_path}/users 10.0.0.0 255.0.0.0\ndeny ALL ALL : echo %u\n"
    path = write(tmp_path, WITH_PASSWORDS, access, password_entry("fred", "geheim"))
    first = load(path, silent)
    for name in ("gateway.toml", "sockd.conf", "passwords", "users"):
        (tmp_path / name).unlink()
    second = reproduce(msgspec.json.decode(msgspec.json.encode(first.texts), type=Texts), silent)
    assert (second.settings, second.access, second.texts) == (first.settings, first.access, first.texts)
    assert second.passwords is not None
    assert second.passwords.verify(b"fred", b"geheim")
    for user, result in (("fred", Result.PERMIT), ("julie", Result.DENY)):
        asked = question("10.1.2.3", "203.0.113.1", user=user)
        assert first.policy.decide(asked).result is second.policy.decide(asked).result is result


def test_the_passwords_are_among_the_secrets_and_nothing_else_is(tmp_path: Path) -> None:
    found = load(write(tmp_path, WITH_PASSWORDS, passwords=password_entry("fred", "geheim")), silent).texts
    assert found.secret == (str(tmp_path / "passwords"),)
    assert found.path == str(tmp_path / "gateway.toml")
    assert set(found.files) == {str(tmp_path / name) for name in ("gateway.toml", "sockd.conf", "passwords")}


def test_texts_with_a_mistake_are_refused_wherever_they_are_read(tmp_path: Path) -> None:
    texts = load(write(tmp_path), silent).texts
    access = str(tmp_path / "sockd.conf")
    with pytest.raises(ConfigError) as caught:
        reproduce(Texts(texts.path, {**texts.files, access: "permt ALL ALL\n"}), silent)
    assert str(caught.value.problems[0]).startswith(f"{access}:1")


# Zones

RESOLVER = (
    "[files]\naccess = 'sockd.conf'\n[internal]\naddresses = ['127.0.0.1']\n"
    "[[resolver.zone]]\nname = 'corp.example'\nhosts = 'hosts'\n"
)


def test_without_zones_there_are_none(tmp_path: Path) -> None:
    assert load(write(tmp_path), silent).zones is None


def test_zones_are_made_of_the_files_as_they_were_here_and_in_other_processes(tmp_path: Path) -> None:
    path = write(tmp_path, RESOLVER)
    (tmp_path / "hosts").write_text("10.0.0.9 printer\n")
    first = load(path, silent)
    (tmp_path / "hosts").write_text("no hosts file at all\n")
    assert first.zones is not None
    assert first.zones is first.zones
    assert len(first.zones.zones[0].local) == 2
    assert first.zones.view_of(address("127.0.0.1")) is not None
    second = reproduce(msgspec.json.decode(msgspec.json.encode(first.texts), type=Texts), silent)
    assert second.zones is not None
    assert [zone.identity for zone in second.zones.zones] == [zone.identity for zone in first.zones.zones]
    assert second.zones.view_of(address("127.0.0.1")) is None
    assert second.zones.for_inside(first.zones.clients).view_of(address("127.0.0.1")) is not None


def test_mistakes_in_the_files_of_zones_are_said_with_those_of_all_other_files(tmp_path: Path) -> None:
    path = write(tmp_path, RESOLVER + "[timeouts]\nidel = 3\n", access="permt ALL\n")
    (tmp_path / "hosts").write_text("printer\n")
    lines = [line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in problems(path)]
    assert lines == ["gateway.toml:9", "sockd.conf:1:1", "hosts:1"]


def test_doubts_about_zones_come_last(tmp_path: Path) -> None:
    toml = RESOLVER + "servers = ['127.0.0.1']\ninterface = 'nosuch0'\n"
    path = write(tmp_path, toml, access="permit 10.0.0.0 255.0.0.0\npermit 10.1.0.0 255.255.0.0\n")
    (tmp_path / "hosts").write_text("")
    said = [str(warning).removeprefix(f"{tmp_path}/") for warning in load(path, silent).warnings]
    assert [line.partition(": warning: ")[0] for line in said] == ["sockd.conf:2:1", "gateway.toml:8", "gateway.toml:9"]
