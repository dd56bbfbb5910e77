"""What holds for every role: its variables are written down in all the places where somebody looks for them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.manual import manual_text
from tests.support.roles import TREE, defaults, load, options, role_names, task_files, tasks

ROLES = role_names()
PAGE = "gateway-ansible.7"
DESCRIBED = ("gateway", "resolver", "hardening")
"""The roles that the manual page is about."""

KEYWORDS = {
    "always", "args", "async", "become", "block", "changed_when", "check_mode", "delegate_to", "delay", "diff",
    "environment", "failed_when", "ignore_errors", "listen", "loop", "loop_control", "name", "no_log", "notify", "poll",
    "register", "rescue", "retries", "run_once", "tags", "throttle", "until", "vars", "when",
}  # fmt: skip
"""What a task may have beside its module (ansible-core 2.14, playbook keywords)."""


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_in_the_defaults_and_in_the_specification(role: str) -> None:
    assert sorted(defaults(role)) == sorted(options(role))


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_has_the_name_of_its_role_before_it(role: str) -> None:
    assert [name for name in defaults(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_described_and_has_a_type(role: str) -> None:
    bare = [name for name, option in options(role).items() if not option.get("description") or not option.get("type")]
    assert bare == []


@pytest.mark.parametrize("role", ROLES)
def test_where_the_specification_names_a_default_it_is_the_one(role: str) -> None:
    named = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert {name: defaults(role)[name] for name in named} == named


@pytest.mark.parametrize("role", ["gateway", "resolver"])
def test_every_default_has_its_comment_above_it(role: str) -> None:
    text = (TREE / "roles" / role / "defaults" / "main.yml").read_text()
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [block for block in blocks[1:] if not block[0].startswith("#")] == []


@pytest.mark.parametrize("role", DESCRIBED)
def test_the_manual_names_every_variable(role: str) -> None:
    entries = set(re.findall(r"^\.(?:TP|TQ)\n\.B (\w+)$", manual_text(PAGE), re.MULTILINE))
    assert {name for name in entries if name.startswith(f"{role}_")} == set(defaults(role))


@pytest.mark.parametrize("role", ["gateway", "resolver"])
def test_yes_and_no_may_be_texts_as_the_command_line_gives_them(role: str) -> None:
    switches = [name for name, option in options(role).items() if option["type"] == "bool"]
    words = re.compile(rf"\b({'|'.join(switches)})\b(?! \| bool)(?!:)")
    folder = TREE / "roles" / role
    paths = [*task_files(role), *folder.glob("templates/*"), *folder.glob("vars/*")]
    code = {
        str(path.relative_to(TREE)): [
            line for line in path.read_text().splitlines() if words.search(line) and not line.lstrip().startswith("#")
        ]
        for path in paths
    }
    assert {name: lines for name, lines in code.items() if lines} == {}


def _modules(path: Path) -> list[str]:
    return [key for task in tasks(load(path)) for key in task if key not in KEYWORDS]


@pytest.mark.parametrize(
    "path", [path for role in ROLES for path in task_files(role)], ids=lambda path: str(path.relative_to(TREE))
)
def test_every_module_is_one_of_ansible_core_by_its_full_name(path: Path) -> None:
    assert [name for name in _modules(path) if not name.startswith("ansible.builtin.")] == []


@pytest.mark.parametrize(
    "path", [path for role in ROLES for path in task_files(role)], ids=lambda path: str(path.relative_to(TREE))
)
def test_every_task_has_a_name(path: Path) -> None:
    unnamed: list[Any] = [task for task in tasks(load(path)) if not task.get("name")]
    assert unnamed == []


def test_no_collection_is_needed() -> None:
    assert load(TREE / "requirements.yml") == {"collections": []}
