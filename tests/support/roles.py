"""The roles of the Ansible tree as tests look at them: their variables, their tasks, and their templates rendered.

Templates are rendered by Jinja as Ansible does it (the same trimming, undefined names are errors), with the filters and
tests of Ansible that our templates use written here in the sense that its documentation gives them; Ansible itself is
not needed. Variables are the role's own, those of other roles must be given.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

TREE = Path(__file__).resolve().parents[2] / "ansible"
_WANTED = "needs {}: .venv/bin/pip install ansible-core"
jinja2: Any = pytest.importorskip("jinja2", reason=_WANTED.format("Jinja"))
nativetypes: Any = pytest.importorskip("jinja2.nativetypes")
yaml: Any = pytest.importorskip("yaml", reason=_WANTED.format("PyYAML"))


def role_names() -> list[str]:
    """All roles of the tree."""
    return sorted(folder.name for folder in (TREE / "roles").iterdir() if (folder / "tasks").is_dir())


def load(path: Path) -> Any:
    """What a YAML file holds; nothing if it is not there."""
    return yaml.safe_load(path.read_text()) if path.exists() else None


def defaults(role: str) -> dict[str, Any]:
    """The variables of a role and what they are if nobody says otherwise; values may be templates."""
    return load(TREE / "roles" / role / "defaults" / "main.yml") or {}


def options(role: str) -> dict[str, Any]:
    """What the role says of its variables in its argument specification."""
    found: dict[str, Any] = load(TREE / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return found


def task_files(role: str) -> list[Path]:
    """The files with tasks and handlers of a role."""
    folder = TREE / "roles" / role
    return sorted([*(folder / "tasks").glob("*.yml"), *(folder / "handlers").glob("*.yml")])


def tasks(entries: Any) -> Iterator[Mapping[str, Any]]:
    """Every task of a list of tasks, those in blocks too, and the blocks."""
    for entry in entries or ():
        yield entry
        for part in ("block", "rescue", "always"):
            yield from tasks(entry.get(part))


def render(role: str, template: str, **given: Any) -> str:
    """A template with the role's variables, of which some are ``given``."""
    written = {**defaults(role), **(load(TREE / "roles" / role / "vars" / "main.yml") or {})}
    values = _resolved({**written, **given})
    environment = _environment(jinja2.Environment)
    text: str = environment.from_string((TREE / "roles" / role / "templates" / template).read_text()).render(values)
    return text


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    """The values with those that are templates of others filled in; what is not used may name what is not there."""
    environment = _environment(nativetypes.NativeEnvironment)
    open_ones = {name for name, value in values.items() if isinstance(value, str) and "{{" in value}
    for _ in range(len(open_ones)):
        known = {name: value for name, value in values.items() if name not in open_ones}
        for name in sorted(open_ones):
            value = _value(environment, values[name], known)
            if not isinstance(value, jinja2.Undefined):
                values[name] = value
                open_ones.discard(name)
    return values


def _value(environment: Any, template: str, known: Mapping[str, Any]) -> Any:
    """Of one that is a template; undefined where it needs what is not known."""
    try:
        return environment.from_string(template.strip()).render(known)
    except jinja2.UndefinedError:
        return jinja2.Undefined()


def _environment(kind: Any) -> Any:
    environment = kind(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(
        bool=_truth,
        combine=_combine,
        from_json=json.loads,
        regex_replace=lambda text, pattern, new: re.sub(pattern, new, text),
        to_json=lambda value, **options: json.dumps(value, **options),
        **_filters(),
    )
    environment.tests.update(
        match=lambda text, pattern: re.match(pattern, text) is not None,
        search=lambda text, pattern: re.search(pattern, text) is not None,
    )
    return environment


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("yes", "on", "true", "1")


def _combine(first: Mapping[str, Any], *others: Mapping[str, Any], recursive: bool = False) -> dict[str, Any]:
    made = dict(first)
    for other in others:
        for key, value in other.items():
            deep = recursive and isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
            made[key] = _combine(made[key], value, recursive=True) if deep else value
    return made


def _filters() -> dict[str, Any]:
    """Those that the roles bring along."""
    found: dict[str, Any] = {}
    for path in TREE.glob("roles/*/filter_plugins/*.py"):
        space: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), space)
        found.update(space["FilterModule"]().filters())
    return found
