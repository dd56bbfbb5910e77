"""Role gateway: its templates, as the daemon's own readers understand them."""

import tomllib
from typing import Any

import pytest

from gateway.address import Address
from gateway.config.access import parse_access
from gateway.config.rules import AddressPattern
from gateway.config.settings import LiveSessions, Settings, parse_settings
from gateway.errors import ConfigError
from gateway.services import parse_services
from tests.support.roles import TREE as ANSIBLE
from tests.support.roles import load, render, role_names, tasks

SERVICES = parse_services("http 80/tcp\nhttps 443/tcp\n")
CARDS = {"gateway_inside_interface": "eth1", "gateway_uplinks": ["wan1", "wan2"]}
PATH = "/etc/gateway.toml"


def settings(**given: Any) -> Settings:
    return parse_settings(toml(**given), PATH)


def toml(**given: Any) -> str:
    return render("gateway", "gateway.toml.j2", **{**CARDS, **given})


def rules(text: str) -> str:
    return render("gateway", "sockd.conf.j2", gateway_rules=text)


def test_the_two_cards_are_enough() -> None:
    made = settings()
    assert (made.internal.interface, made.internal.port) == ("eth1", 1080)
    assert made.external.interface == ("wan1", "wan2")
    assert made.multihomed
    assert (made.sockd.user, made.control.group) == ("sockd", "sockd")
    assert (made.files.access, made.files.routes, made.files.passwords) == ("/etc/sockd.conf", "/etc/sockd.route", "")


def test_the_files_are_found_beside_the_settings_wherever_they_are_checked() -> None:
    made = parse_settings(toml(gateway_passwords="fred:x\n"), "/tmp/new/gateway.toml")
    assert made.files.access == "/tmp/new/sockd.conf"
    assert made.files.routes == "/tmp/new/sockd.route"
    assert made.files.passwords == "/tmp/new/sockd.passwords"


def test_options_are_laid_over_what_the_role_writes() -> None:
    made = settings(
        gateway_options={
            "dialect": "1992",
            "internal": {"networks": ["10.0.0.0/8"]},
            "external": {"interval": 2.5, "fall": 4},
            "sockd": {"titles": False, "workers": 3},
            "uplinks": {"wan1": {"gateways": ["192.0.2.1"]}, "eth0.100": {"sessions": "cut", "probes": []}},
        }
    )
    assert (made.internal.interface, len(made.internal.networks)) == ("eth1", 1)
    assert (made.external.interval, made.external.fall) == (2.5, 4)
    assert (made.sockd.titles, made.sockd.workers, made.sockd.user) == (False, 3, "sockd")
    assert made.uplinks["wan1"].gateways == (Address(4, 0xC000_0201),)
    assert made.uplinks["eth0.100"].sessions is LiveSessions.CUT
    assert made.dialect.value == "1992"


def test_a_key_that_is_null_is_left_out() -> None:
    made = settings(gateway_options={"internal": {"interface": None, "addresses": ["10.1.0.1"]}})
    assert made.internal.interface == ""
    assert made.internal.addresses == (Address(4, 0x0A01_0001),)


@pytest.mark.parametrize("text", ['"', "\\", 'a "b" \\c', "ü😀", "a\tb", "{{ x }}", "#", "'''"])
def test_every_text_arrives_as_it_is_written(text: str) -> None:
    written = toml(gateway_options={"uplinks": {text: {"interface": text}}, "log": {"json": text}})
    read = tomllib.loads(written)
    assert read["uplinks"] == {text: {"interface": text}}
    assert read["log"] == {"json": text}


def test_texts_and_other_roles_parts_are_appended() -> None:
    made = settings(
        gateway_settings="[timeouts]\nidle = 60\n",
        gateway_parts={"resolver": '[resolver]\ndomain = "corp.example"\n[[resolver.zone]]\nname = "."\n', "other": ""},
    )
    assert made.timeouts.idle == 60
    assert (made.resolver.domain, len(made.resolver.zone)) == ("corp.example", 1)


def test_a_table_that_is_written_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="internal"):
        settings(gateway_settings="[internal]\nport = 1081\n")


@pytest.mark.parametrize("text", ["permit 10.1.0.0/24\npermitt ALL\n", "\n\n# a\nnonsense", "deny ALL ALL :\nx"])
def test_a_mistake_is_in_the_line_that_the_administrator_wrote(text: str) -> None:
    def lines(whole: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            parse_access(whole, "/etc/sockd.conf", SERVICES)
        return [str(problem) for problem in caught.value.problems]

    assert lines(rules(text)) == lines(text)


def test_without_rules_there_is_none() -> None:
    assert parse_access(rules(""), "/etc/sockd.conf", SERVICES).rules == ()
    made = parse_access(rules("permit 10.1.0.0/24 ALL eq https"), "/etc/sockd.conf", SERVICES)
    assert [rule.source for rule in made.rules] == [AddressPattern(4, 0x0A01_0000, 0xFFFF_FF00)]


def test_a_changed_rule_changes_one_line_of_the_file() -> None:
    old = rules("permit 10.1.0.0/24 ALL eq http\ndeny ALL\n").splitlines()
    new = rules("permit 10.1.0.0/24 ALL eq https\ndeny ALL\n").splitlines()
    assert [number for number, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]] == [0]


def test_the_check_comes_before_anything_is_written() -> None:
    names = [task["ansible.builtin.import_tasks"] for task in load(ANSIBLE / "roles/gateway/tasks/main.yml")
             if "ansible.builtin.import_tasks" in task]  # fmt: skip
    assert names.index("check.yml") < names.index("files.yml") < names.index("boot.yml")


def test_what_holds_secrets_is_never_shown() -> None:
    holding = [
        task
        for path in (ANSIBLE / "roles/gateway/tasks").glob("*.yml")
        for task in tasks(load(path))
        if "gateway_passwords }}" in str(task) and "block" not in task
    ]
    assert len(holding) == 2
    assert all(task["no_log"] is True and task["diff"] is False for task in holding)


def named(play: Any, part: str) -> list[str]:
    """The roles of one part of a play, with the file of the role that is meant, if it is one."""
    entries = play.get(part, ())
    if part != "roles":
        entries = [task["ansible.builtin.import_role"] for task in entries]
    return [":".join(filter(None, (entry.get("role") or entry["name"], entry.get("tasks_from")))) for entry in entries]


def test_what_may_be_refused_is_asked_before_anything_is_touched() -> None:
    (site,), (image,) = load(ANSIBLE / "site.yml"), load(ANSIBLE / "image.yml")
    assert named(site, "pre_tasks") == [
        "gateway:preflight",
        "hardening:preflight",
        "resolver",
        "gateway:install",
        "gateway:check",
        "resolver:unpoint",
    ]
    assert (named(site, "roles"), named(site, "post_tasks")) == (["hardening", "gateway"], ["resolver:host"])
    assert named(image, "roles") == ["hardening", "resolver", "gateway"]
    assert {"hardening", "resolver", "gateway"} <= set(role_names())


def test_parts_of_roles_have_their_variables_looked_at_before_they_begin() -> None:
    (site,) = load(ANSIBLE / "site.yml")
    parts = [name.split(":") for where in ("pre_tasks", "post_tasks") for name in named(site, where)]
    wanted = [(role, part[0]) for role, *part in parts if part and role != "hardening"]
    assert len(wanted) == 5
    for role, part in wanted:
        specification = load(ANSIBLE / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
        assert specification[part]["options"] == specification["main"]["options"]


def test_new_files_are_looked_for_before_those_of_old_runs_are_loaded() -> None:
    names = [task.get("ansible.builtin.import_tasks") for task in load(ANSIBLE / "roles/gateway/tasks/main.yml")]
    assert names.index("files.yml") < names.index("boot.yml") < names.index("renew.yml")
    (look,) = [task for task in load(ANSIBLE / "roles/gateway/tasks/boot.yml") if task.get("notify") == "Reload sockd"]
    assert "gateway_loaded_files" in str(look["ansible.builtin.command"])


def test_the_example_is_a_configuration_that_is_taken() -> None:
    group = load(ANSIBLE / "inventory/example.yml")["gateways"]["vars"]
    assert len(group) == 5
    part = render("resolver", "resolver.toml.j2", gateway_running=True, **group)
    made = settings(gateway_parts={"resolver": part}, **group)
    assert [zone.name for zone in made.resolver.zone] == ["corp.example", "."]
    assert len(parse_access(rules(group["gateway_rules"]), "/etc/sockd.conf", SERVICES).rules) == 3
