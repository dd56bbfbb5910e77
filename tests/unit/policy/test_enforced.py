"""Every restriction that can be written and is not held must refuse the file."""

from dataclasses import fields
from typing import Any

import pytest

from gateway.config.rules import AccessRule, Hours, Options, Quota
from gateway.errors import ConfigError
from gateway.place import Place, Problem
from gateway.policy.enforced import UNENFORCED, route_problems, rule_problems
from tests.support.routes import line as route
from tests.support.routes import route_file
from tests.support.rules import USERS, Users, file, rule

VALUES: dict[str, Any] = {
    "auth": frozenset({"password"}),
    "method": frozenset({"connect"}),
    "hours": (Hours(frozenset({0}), 0, 1440),),
    "rate": 1,
    "sessions": 1,
    "quota": Quota(1, "day"),
    "via": ("wan1",),
    "report": True,
}


def messages(*rules: AccessRule, users: Users = USERS, multihomed: bool = False) -> list[str]:
    return [str(problem) for problem in rule_problems(file(*rules).rules, users, multihomed=multihomed)]


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_every_option_is_either_enforced_or_refused(name: str) -> None:
    line = rule("deny ALL", options=Options(**{name: VALUES[name]}))
    wanted = [f"/etc/sockd.conf:1:1: {name}= is not enforced by this version; remove it"]
    assert messages(line, multihomed=True) == (wanted if name in UNENFORCED else [])


def test_via_is_refused_where_nothing_chooses_a_way_out() -> None:
    line = rule("permit ALL", options=Options(via=("wan1",)))
    wanted = (
        "/etc/sockd.conf:2:1: via= has no effect on a single-homed server; set [external] interface or [files] routes "
        "in gateway.toml"
    )
    assert messages(rule("permit ALL"), line) == [wanted]
    assert [str(problem) for problem in rule_problems(file(rule("deny ALL"), line).rules, USERS)] == [wanted]
    assert messages(rule("permit ALL"), line, multihomed=True) == []


def test_report_on_a_permit_line_is_refused() -> None:
    (message,) = messages(rule("permit ALL", options=Options(report=True)))
    assert message == "/etc/sockd.conf:1:1: report belongs to deny lines; remove it, or make the line a deny"


def test_a_name_as_source_is_refused_and_as_destination_is_not() -> None:
    (message,) = messages(rule("permit .example.com"), rule("permit ALL .example.com"))
    assert message.startswith("/etc/sockd.conf:1:1: a host name as source is not enforced")


def test_users_that_can_not_be_known_are_refused_each_with_its_line() -> None:
    assert messages(rule("permit ALL", user="@staff,@wheel"), rule("permit ALL", user="/etc/good,/etc/gone")) == [
        "/etc/sockd.conf:1:1: unknown group @wheel",
        "/etc/sockd.conf:2:1: Unable to open userfile (/etc/gone): No such file or directory",
    ]


def test_a_group_without_members_is_a_group() -> None:
    assert messages(rule("permit ALL", user="@nobody,/etc/empty")) == []


def test_a_user_file_with_mistakes_is_refused_by_the_line_that_names_it() -> None:
    class Broken(Users):
        def file(self, path: str) -> frozenset[str]:
            raise ConfigError([Problem(Place(path, 3, 1024), "a line of more than 1023 characters")])

    assert messages(rule("permit ALL", user="/etc/good"), users=Broken()) == [
        "/etc/sockd.conf:1:1: Unable to open userfile (/etc/good): a line of more than 1023 characters"
    ]


def test_user_lists_of_routes_are_held_to_the_same() -> None:
    lines = route_file(
        route("wan1", user="fred,@staff,/etc/good"), route("wan1", user="@wheel,/etc/gone"), route("wan1")
    )
    assert [str(problem) for problem in route_problems(lines.rules, USERS)] == [
        "/etc/sockd.route:2:1: unknown group @wheel",
        "/etc/sockd.route:2:1: Unable to open userfile (/etc/gone): No such file or directory",
    ]
