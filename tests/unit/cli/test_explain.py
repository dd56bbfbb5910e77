"""``sockctl explain``: what it prints, and its exit status."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import basis, daemon, explain
from gateway.daemon import host as daemon_host
from gateway.daemon.messages import Network
from gateway.net.lookup import LookupFailed
from gateway.policy.egress import Standing
from gateway.session.tcp import NO_ROUTE
from tests.support.daemon import Toml, write_files
from tests.support.routes import uplink
from tests.unit.cli.fakecontrol import HASH, LOADED, FakeControl, daemon_of, done
from tests.unit.daemon.hosts import HOST, addresses

RULES = """\
# who may go where
deny *=joe 10.0.0.0/8
deny 10.0.0.0/8 .evil.example
deny 10.0.0.0/8 198.51.100.0/24 eq 443 report
permit 10.0.0.0/8 127.0.0.1/32 eq 8080
permit 10.0.0.0/8 ALL in 80,443 \\
   hours=Mon-Fri/08:00-18:00
permit 10.0.0.0/8 auth=password method=udp
"""


class Runner:
    """Runs ``sockctl explain`` on a ``sockd.conf``; status, output, errors."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        path.write_text(RULES)

    def __call__(
        self, *words: str, source: str = "10.1.2.3", at: str = "Mon 14:30", rules: str | None = None
    ) -> tuple[int, str, str]:
        if rules is not None:
            self.path.write_text(rules)
        parser = argparse.ArgumentParser()
        explain.add_arguments(parser)
        options = parser.parse_args(["-C", str(self.path), "--from", source, "--at", at, *words])
        return explain.run(options), *self._capsys.readouterr()


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("LOCALDOMAIN", "")  # set by the command itself; this gives it back
    return Runner(tmp_path / "sockd.conf", capsys)


def test_a_permitted_address_with_everything_there_is_to_say(command: Runner) -> None:
    status, out, errors = command("--to", "198.51.100.7:443", "--user", "fred")
    assert (status, errors) == (0, "")
    assert (
        out
        == f"""\
rules    {command.path} alone
request  connect from 10.1.2.3 to 198.51.100.7 port 443 (user 'fred', auth=none, Mon 14:30)
address  198.51.100.7
  PERMIT: permitted by sockd.conf:6
  line 6: permit 10.0.0.0/8 ALL in 80,443    hours=Mon-Fri/08:00-18:00
  guard: 198.51.100.7 is not guarded
  would be denied, if it did not only report, by
    line 4: deny 10.0.0.0/8 198.51.100.0/24 eq 443 report
  nearly matched before:
    line 2: deny *=joe 10.0.0.0/8
      user 'fred' is not on its list
    line 3: deny 10.0.0.0/8 .evil.example
      the request has the address 198.51.100.7, not the name .evil.example
    line 5: permit 10.0.0.0/8 127.0.0.1/32 eq 8080
      destination 198.51.100.7 is not in 127.0.0.1/32
      port 443 is not eq 8080
result   PERMIT
"""
    )


def test_a_name_is_shown_before_and_after_its_look_up(command: Runner) -> None:
    status, out, _ = command("--to", "WWW.example.com.:80", "--address", "127.0.0.1", "--address", "192.0.2.9")
    assert status == 0
    lines = out.splitlines()
    assert lines[2:4] == ["name     www.example.com", "  RESOLVE: sockd.conf:6 could permit it, its addresses decide"]
    assert "  DENY: guard: 127.0.0.1 is loopback, and sockd.conf:6 does not name it" in lines
    assert "  PERMIT: permitted by sockd.conf:6" in lines


def test_names_are_looked_up_as_the_daemon_does(command: Runner) -> None:
    status, out, _ = command("--to", "localhost:80")
    assert status == 1
    assert "is loopback, and sockd.conf:6 does not name it" in out


def test_a_name_that_can_not_be_looked_up_can_not_be_told(command: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> list[Any]:
        assert name == "nosuch.example"
        raise LookupFailed("it is unknown")

    monkeypatch.setattr(explain, "system_lookup", refuse)
    status, out, errors = command("--to", "nosuch.example:80")
    assert (status, out) == (2, "")
    assert errors.startswith("sockctl explain: nosuch.example can not be looked up: it is unknown; --address")


def test_a_denied_name_is_not_looked_up(command: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "system_lookup", lambda name: pytest.fail(f"{name} was looked up"))
    status, out, _ = command("--to", "x.evil.example:80")
    assert status == 1
    assert "  DENY: denied by sockd.conf:3\n  line 3: deny 10.0.0.0/8 .evil.example\n" in out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(["--to", "192.0.2.1:80"], 0, id="in hours"),
        pytest.param(["--to", "192.0.2.1:80", "--at", "Sun 14:30"], 1, id="on another day"),
        pytest.param(["--to", "192.0.2.1:80", "--at", "Mon 17:59"], 0, id="the last minute"),
        pytest.param(["--to", "192.0.2.1:80", "--at", "Mon 18:00"], 1, id="the minute after it"),
        pytest.param(["--to", "192.0.2.1:80", "--user", "joe"], 1, id="another user"),
        pytest.param(["--to", "192.0.2.1:80", "--from", "11.0.0.1"], 1, id="another source"),
        pytest.param(["--to", "192.0.2.1:80", "--from", "::ffff:10.0.0.1"], 0, id="a mapped source"),
        pytest.param(["--to", "192.0.2.1:5060", "--method", "udp"], 1, id="udp without a password"),
        pytest.param(["--to", "192.0.2.1:5060", "--method", "udp", "--auth", "password"], 0, id="udp with a password"),
        pytest.param(["--to", "[::ffff:127.0.0.1]:8080"], 0, id="a mapped destination that is named"),
        pytest.param(["--to", "[2001:db8::1]:443"], 0, id="an IPv6 destination"),
        pytest.param(["--to", "127.1:80"], 1, id="a name that no rule shall see"),
        pytest.param(["--to", "[::1]:80"], 1, id="the guard"),
    ],
)
def test_the_exit_status(command: Runner, words: list[str], status: int) -> None:
    assert command(*words)[0] == status


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--to", "192.0.2.1"], "HOST:PORT is expected", id="no port"),
        pytest.param(["--to", "192.0.2.1:"], "no port", id="an empty port"),
        pytest.param(["--to", "192.0.2.1:65536"], "no port", id="a port over 65535"),
        pytest.param(["--to", "2001:db8::1:443"], "an IPv6 address in brackets", id="IPv6 without brackets"),
        pytest.param(["--to", "[example.com]:443"], "no IPv6 address between the brackets", id="a name in brackets"),
        pytest.param(["--to", "192.0.2.1:80", "--address", "192.0.2.2"], "has an address already", id="two addresses"),
    ],
)
def test_what_can_not_be_asked(command: Runner, words: list[str], message: str) -> None:
    status, out, errors = command(*words)
    assert (status, out) == (2, "")
    assert errors.startswith("sockctl explain: ")
    assert message in errors


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--to", "a.b:1", "--from", "10.0.0"], id="a source that is no address"),
        pytest.param(["--to", "a.b:1", "--at", "Mon 24:00"], id="an hour over 23"),
        pytest.param(["--to", "a.b:1", "--at", "mon 12:00"], id="a day in small letters"),
        pytest.param(["--to", "a.b:1", "--auth", "gssapi"], id="a method that is not served"),
        pytest.param(["--to", "a.b:1", "-f", "gateway.toml"], id="both kinds of files"),
        pytest.param([], id="no destination"),
    ],
)
def test_a_wrong_command_line_ends_with_2(command: Runner, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command(*words)
    assert caught.value.code == 2


def test_mistakes_of_the_file_are_all_told(command: Runner) -> None:
    status, out, errors = command("--to", "192.0.2.1:80", rules="permitt ALL\npermit 10.0.0.0\n")
    assert (status, out) == (2, "")
    assert len(errors.splitlines()) == 2


def test_what_is_not_enforced_is_told(command: Runner) -> None:
    status, _, errors = command("--to", "192.0.2.1:80", rules="permit 10.0.0.0/8 rate=10M\n")
    assert status == 2
    assert errors.endswith("sockd.conf:1:1: rate= is not enforced by this version; remove it\n")


def test_the_dialect_of_1992(command: Runner) -> None:
    rules = "permit 10.0.0.0 0.255.255.255\n"
    assert command("--to", "192.0.2.1:80", "--dialect", "1992", rules=rules)[0] == 0
    assert command("--to", "192.0.2.1:80", rules=rules)[0] == 1


def test_json(command: Runner) -> None:
    status, out, _ = command(
        "--to", "a.example:443", "--json", "--address", "198.51.100.7", "--address", "2002:7f00:1::"
    )
    found = json.loads(out)
    assert (status, found["result"]) == (0, "permit")
    assert found["request"] == {
        "source": "10.1.2.3",
        "host": "a.example",
        "port": 443,
        "user": "",
        "auth": "none",
        "method": "connect",
        "at": "Mon 14:30",
    }
    assert found["name"]["result"] == "resolve"
    first, second = found["addresses"]
    assert first["line"] == {
        "label": "sockd.conf:6",
        "number": 6,
        "text": "permit 10.0.0.0/8 ALL in 80,443    hours=Mon-Fri/08:00-18:00",
    }
    assert first["would_deny"]["number"] == 4
    assert [near["line"]["number"] for near in first["near"]] == [2, 3, 5]
    assert second["result"] == "deny"
    assert second["reason"].endswith("for 127.0.0.1 within 2002:7f00:1::")


def test_json_of_a_name_that_no_rule_sees(command: Runner) -> None:
    status, out, _ = command("--to", "127.1:443", "--json")
    assert (status, json.loads(out)["result"]) == (1, "deny")


def test_settings_name_the_file_the_networks_and_the_dialect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sockd.conf").write_text("permit 10.0.0.0 0.255.255.255\n")
    (tmp_path / "gateway.toml").write_text(
        'dialect = "1992"\n[internal]\nnetworks = ["172.16.0.0/12"]\n[files]\naccess = "sockd.conf"\n'
    )
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    words = ["-f", str(tmp_path / "gateway.toml"), "--from", "10.0.0.1", "--to"]
    assert explain.run(parser.parse_args([*words, "192.0.2.1:80"])) == 0
    assert explain.run(parser.parse_args([*words, "172.16.0.1:80"])) == 1
    assert "172.16.0.1 is on the inside, and sockd.conf:1 does not name it" in capsys.readouterr().out


def test_a_missing_file_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    words = ["-f", "/nonexistent/gateway.toml", "--from", "10.0.0.1", "--to", "192.0.2.1:80"]
    assert explain.run(parser.parse_args(words)) == 2
    assert capsys.readouterr().err == "/nonexistent/gateway.toml: cannot read: No such file or directory\n"


# Ways out

LINES = "wan2 *=ops ALL\nwan1,wan2 203.0.113.0/24\nwan2 2001:db8::/32\nwan9,wan2 .example.com\nwan9 198.51.100.0/24\n"
Multihomed = Callable[..., tuple[int, str]]


@pytest.fixture
def multihomed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Multihomed:
    """Runs ``sockctl explain`` on a gateway with two uplinks of which the first has IPv6 too; status, output."""
    monkeypatch.setattr(daemon_host, "read_kernel", lambda: HOST)

    def start(
        to: str, *words: str, lines: str | None = LINES, rules: str = "permit ALL ALL\n", default: str = "wan1"
    ) -> tuple[int, str]:
        settings: Toml = {"external": {"interface": default}} if lines else {}
        path = write_files(tmp_path, rules, routes=lines, settings=settings)
        parser = argparse.ArgumentParser()
        explain.add_arguments(parser)
        status = explain.run(parser.parse_args(["-f", str(path), "--from", "10.1.2.3", "--to", to, *words]))
        output, errors = capsys.readouterr()
        assert errors == ""
        return status, output

    return start


def ways(output: str) -> list[str]:
    """The lines that speak of ways out, and the result."""
    return [line.strip() for line in output.splitlines() if line.startswith(("  way out:", "    not by", "result"))]


def test_the_way_out_is_told_and_why_it_is_no_other(multihomed: Multihomed) -> None:
    status, output = multihomed("203.0.113.9:80")
    assert status == 0
    assert ways(output) == [
        "way out: by wan1 from 192.0.2.10: wan1 by sockd.route:2",
        "not by wan2: another one comes first",
        "result   PERMIT",
    ]
    lines = output.splitlines()
    assert lines.index("address  203.0.113.9") < lines.index("    not by wan2: another one comes first")


def test_what_no_line_is_for_goes_by_the_default(multihomed: Multihomed) -> None:
    assert ways(multihomed("192.0.2.200:80")[1])[0] == "way out: by wan1 from 192.0.2.10: wan1 by [external]"


def test_the_user_counts(multihomed: Multihomed) -> None:
    _, output = multihomed("203.0.113.9:80", "--user", "ops")
    assert ways(output)[0] == "way out: by wan2 from 198.51.100.10: wan2 by sockd.route:1"


def test_via_of_the_deciding_rule_counts(multihomed: Multihomed) -> None:
    _, output = multihomed("203.0.113.9:80", rules="deny ALL 192.0.2.0/24\npermit ALL ALL via=wan2\n")
    assert ways(output)[0] == "way out: by wan2 from 198.51.100.10: wan2 by via= of sockd.conf:2"


def test_the_name_counts_that_was_asked_for(multihomed: Multihomed) -> None:
    status, output = multihomed("www.example.com:80", "--address", "192.0.2.200")
    assert status == 0
    assert ways(output) == [
        "way out: by wan2 from 198.51.100.10: wan2 by sockd.route:4, because wan9 is down: no such interface",
        "not by wan9: wan9 is down: no such interface",
        "result   PERMIT",
    ]


def test_what_is_permitted_and_has_no_usable_way_is_refused(multihomed: Multihomed) -> None:
    status, output = multihomed("198.51.100.9:80")
    assert status == 1
    assert "  PERMIT: permitted by sockd.conf:1" in output.splitlines()
    assert ways(output) == [
        "way out: none: no usable way out by sockd.route:5: wan9 is down: no such interface",
        "not by wan9: wan9 is down: no such interface",
        "result   REFUSED: no way out",
    ]


def test_the_family_of_the_address_counts(multihomed: Multihomed) -> None:
    status, output = multihomed("[2001:db8::80]:80")
    assert status == 1
    assert "way out: none: no usable way out by sockd.route:3: wan2 has no IPv6 address" in ways(output)
    assert multihomed("[::ffff:203.0.113.9]:80")[0] == 0


@pytest.mark.parametrize("order", [("198.51.100.9", "203.0.113.9"), ("203.0.113.9", "198.51.100.9")])
def test_a_name_with_one_address_that_there_is_a_way_to_is_permitted(
    multihomed: Multihomed, order: tuple[str, str]
) -> None:
    words = [word for text in order for word in ("--address", text)]
    status, output = multihomed("www.example.org:80", *words)
    assert status == 0
    assert sum(line.startswith("way out: none: ") for line in ways(output)) == 1
    assert ways(output)[-1] == "result   PERMIT"


def test_a_name_of_which_no_address_has_a_way_is_refused(multihomed: Multihomed) -> None:
    words = ("--address", "198.51.100.9", "--address", "2001:db8::80")
    status, output = multihomed("www.example.org:80", *words)
    assert (status, ways(output)[-1]) == (1, "result   REFUSED: no way out")
    assert json.loads(multihomed("www.example.org:80", "--json", *words)[1])["result"] == "refused"


def test_an_address_that_is_denied_has_no_way(multihomed: Multihomed) -> None:
    rules = "permit ALL 203.0.113.9/32\n"
    status, output = multihomed("a.example.org:80", "--address", "203.0.113.8", rules=rules)
    assert (status, ways(output)) == (1, ["result   DENY"])
    words = ("--address", "203.0.113.8", "--address", "203.0.113.9", "--json")
    status, output = multihomed("a.example.org:80", *words, rules=rules)
    found = json.loads(output)
    assert (status, found["result"]) == (0, "permit")
    assert ["way_out" in entry for entry in found["addresses"]] == [False, True]


def test_a_denied_request_is_denied_and_not_refused(multihomed: Multihomed) -> None:
    status, output = multihomed("198.51.100.9:80", "--json", rules="deny ALL\n")
    assert (status, json.loads(output)["result"]) == (1, "deny")


def test_without_any_line_for_it_the_daemons_words_are_told(multihomed: Multihomed) -> None:
    status, output = multihomed("192.0.2.200:80", default="")
    assert (status, ways(output)) == (1, [f"way out: none: {NO_ROUTE}", "result   REFUSED: no way out"])


def test_what_the_running_daemon_knows_counts(multihomed: Multihomed, tmp_path: Path) -> None:
    """Both settle: the first is taken, and what is said of it is not said against it."""
    known = (
        uplink("wan1", "192.0.2.10", standing=Standing.SETTLING, cause="link is up"),
        uplink("wan2", "198.51.100.10", standing=Standing.SETTLING, cause="link is up"),
    )
    path = write_files(tmp_path, "permit ALL ALL\n", routes=LINES, settings={"external": {"interface": "wan1"}})
    with daemon_of(path, Network(known)):
        _, output = multihomed("203.0.113.9:80")
        found = json.loads(multihomed("203.0.113.9:80", "--json")[1])
    assert output.splitlines()[0] == "rules    the files as they are now, the uplinks as sockd knows them"
    assert ways(output)[1] == "not by wan2: wan2 is settling: link is up"
    way = found["addresses"][0]["way_out"]
    assert way["egress"]["uplink"] == "wan1"
    assert way["against"] == [{"word": "wan2", "why": "wan2 is settling: link is up"}]
    assert (found["from"]["rules"], found["from"]["uplinks"]) == ("files", "sockd")


def test_a_single_homed_server_has_nothing_to_say_of_ways(multihomed: Multihomed) -> None:
    status, output = multihomed("203.0.113.9:80", lines=None)
    assert (status, ways(output)) == (0, ["result   PERMIT"])
    found = json.loads(multihomed("203.0.113.9:80", "--json", lines=None)[1])
    assert "way_out" not in found["addresses"][0]


def test_the_way_out_as_json_has_what_the_text_has(multihomed: Multihomed) -> None:
    found = json.loads(multihomed("203.0.113.9:80", "--json")[1])
    assert found["addresses"][0]["way_out"] == {
        "egress": {"uplink": "wan1", "device": "wan1", "source": "192.0.2.10"},
        "reason": "wan1 by sockd.route:2",
        "against": [{"word": "wan2", "why": "another one comes first"}],
    }
    found = json.loads(multihomed("198.51.100.9:80", "--json")[1])
    assert found["addresses"][0]["way_out"] == {
        "egress": None,
        "reason": "no usable way out by sockd.route:5: wan9 is down: no such interface",
        "against": [{"word": "wan9", "why": "wan9 is down: no such interface"}],
    }


def test_two_words_for_the_way_that_is_taken_are_not_against_it(multihomed: Multihomed) -> None:
    found = json.loads(multihomed("203.0.113.9:80", "--json", lines="wan1,192.0.2.10,wan2 ALL\n")[1])
    assert [other["word"] for other in found["addresses"][0]["way_out"]["against"]] == ["wan2"]


def test_a_rule_file_alone_says_nothing_of_ways(command: Runner) -> None:
    status, output, _ = command("--to", "192.0.2.1:80", rules="permit 10.0.0.0/8 ALL via=nowhere\n")
    assert (status, ways(output)) == (0, ["result   PERMIT"])


# The daemon's own rules


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs ``sockctl explain`` by its defaults, on a host whose usual settings are in a folder of the test."""
    monkeypatch.setattr(daemon_host, "read_kernel", lambda: HOST)
    monkeypatch.setattr(daemon, "SETTINGS_PATH", str(tmp_path / "gateway.toml"))
    monkeypatch.setattr(basis, "SETTINGS_PATH", str(tmp_path / "gateway.toml"))

    def start(*words: str, to: str = "203.0.113.9:80") -> tuple[int, list[str], str]:
        parser = argparse.ArgumentParser()
        explain.add_arguments(parser)
        status = explain.run(parser.parse_args(["--from", "10.1.2.3", "--to", to, *words]))
        output, errors = capsys.readouterr()
        return status, output.splitlines(), errors

    return start


WANS = Network((uplink("wan1", "192.0.2.10"), uplink("wan2", "198.51.100.10", standing=Standing.DOWN)))


def test_the_daemons_own_rules_decide_and_a_change_of_the_files_is_told(asked: Any, tmp_path: Path) -> None:
    path = write_files(tmp_path, "permit ALL ALL\n", routes="wan2,wan1 ALL\n")
    with daemon_of(path, WANS):
        same = asked()
        (tmp_path / "sockd.conf").write_text("deny ALL\n")
        changed, found = asked(), json.loads("\n".join(asked("--json")[1]))
        by_files, named = asked("--files"), asked("-f", str(path))
    assert (same[0], same[2]) == (0, "")
    loaded = f"rules    as the running sockd has it: configuration 0123456789ab by {path}, loaded {LOADED}"
    assert same[1][0] == changed[1][0] == loaded
    assert same[1][1].startswith("request  ")
    assert changed[0] == 0
    assert changed[1][1] == (
        f"note     the files have changed since they were loaded; `sockctl reload` loads them: {tmp_path}/sockd.conf"
    )
    assert "  line 1: permit ALL ALL" in changed[1]
    assert ways("\n".join(changed[1]))[0].startswith(
        "way out: by wan1 from 192.0.2.10: wan1 by sockd.route:1, because wan2"
    )
    assert found["from"]["configuration"] == HASH
    assert found["from"]["changed"] == [f"{tmp_path}/sockd.conf"]
    for status, lines, _ in (by_files, named):
        assert (status, lines[-1]) == (1, "result   DENY")
        assert lines[0] == "rules    the files as they are now, the uplinks as sockd knows them"


def test_the_guard_is_the_daemons_too(asked: Any, tmp_path: Path) -> None:
    path = write_files(tmp_path, "permit ALL ALL\n", routes="wan1 ALL\n")
    network = Network(WANS.uplinks, own=addresses("203.0.113.77"))
    with daemon_of(path, network):
        assert asked(to="203.0.113.77:80")[0] == 1
        assert asked(to="203.0.113.78:80")[0] == 0
    assert asked(to="203.0.113.77:80")[0] == 0


def test_passwords_user_files_and_groups_do_not_hinder(asked: Any, tmp_path: Path) -> None:
    """The daemon tells no passwords; a line may need all the rest."""
    users = tmp_path / "users"
    users.write_text("fred\n")
    path = write_files(
        tmp_path,
        f"permit *={users},@root ALL ALL auth=password\n",
        {"fred": "secret"},
        routes="wan1 *=@root,fred ALL\n",
    )
    with daemon_of(path, WANS) as fake:
        assert asked("--user", "fred", "--auth", "password")[0] == 0
        assert asked("--user", "joe", "--auth", "password")[0] == 1
        users.unlink()
        status, lines, errors = asked("--user", "fred", "--auth", "password")
    assert len(fake.asked) == 3
    assert (status, errors) == (0, "")
    assert lines[1].endswith(f": {users}")


def test_without_a_daemon_the_files_decide_and_that_is_told(asked: Any, tmp_path: Path) -> None:
    write_files(tmp_path, "permit ALL ALL\n")
    status, lines, errors = asked()
    assert (status, errors) == (0, "")
    assert lines[0].startswith(f"rules    the files as they are now; no sockd answers on {tmp_path}/control.sock: ")


def test_a_socket_that_is_named_must_answer(asked: Any, tmp_path: Path) -> None:
    status, lines, errors = asked("-s", str(tmp_path / "x.sock"))
    assert (status, lines) == (2, [])
    assert errors.startswith(f"sockctl explain: no sockd answers on {tmp_path}/x.sock: ")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"files": {}}, id="no text of the settings"),
        pytest.param({"network": {"uplinks": 1}}, id="no networks"),
        pytest.param({"configuration": 1}, id="another kind of answer"),
    ],
)
def test_an_answer_that_is_not_understood_is_said(asked: Any, tmp_path: Path, broken: dict[str, Any]) -> None:
    path = write_files(tmp_path, "permit ALL ALL\n")
    answer = {"path": str(path), "configuration": HASH, "loaded": LOADED, "network": {}}
    answer["files"] = {str(path): path.read_text(), str(tmp_path / "sockd.conf"): "deny ALL\n"}
    with FakeControl(tmp_path / "control.sock", lambda _: [done(answer | broken)]):
        status, lines, errors = asked("-s", str(tmp_path / "control.sock"))
        whole = asked() if broken else None
    assert (status, lines, errors.count("\n")) == (2, [], 1)
    assert "not understood" in errors
    assert whole is not None
    assert whole[0] == 0
    assert "not understood" in whole[1][0]
