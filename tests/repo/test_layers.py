"""The layers of design(7), held: imports point down, siblings are strangers, third parties stay in their rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gateway"

LAYERS = {
    "errors": 1, "place": 1, "address": 1, "services": 1, "__init__": 1,
    "config": 2, "wire": 2,
    "policy": 3,
    "session": 4, "dns": 4, "uplink": 4,
    "net": 5, "netlink": 5, "control": 5, "system": 5,
    "daemon": 6, "client": 6,
    "cli": 7,
}  # fmt: skip
"""Room -> layer; an import may go to the same room or to a lower layer."""

FRIENDS = {("errors", "place"), ("address", "errors"), ("place", "errors")}
"""Imports within the lowest layer."""

THIRD_PARTIES = {
    "pyroute2": "netlink", "daemon": "system", "msgspec": None, "dns": "dns", "setproctitle": "system",
    "prometheus_client": "control",
}  # fmt: skip
"""Package -> the only room that may import it; None: any room."""

NO_OUTSIDE = {"wire", "config", "policy", "session", "dns", "uplink"}
OUTSIDE = {"socket", "select", "selectors", "asyncio", "time", "logging", "syslog", "subprocess", "threading", "signal"}
"""Sockets, clocks and logs come into those rooms by argument."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            yield node.module or "", node.lineno


def faults(module: Path) -> Iterator[str]:
    mine = room_of(module)
    for name, line in imports(module):
        top, _, rest = name.partition(".")
        where = f"{module.relative_to(ROOT)}:{line}"
        if top == "gateway":
            theirs = rest.partition(".")[0] or "__init__"
            below = LAYERS[theirs] < LAYERS[mine]
            if theirs != mine and not below and (mine, theirs) not in FRIENDS:
                yield f"{where}: {mine} may not import {theirs}"
        elif top in THIRD_PARTIES and THIRD_PARTIES[top] not in (mine, None):
            yield f"{where}: {top} is imported in {THIRD_PARTIES[top]} only"
        elif mine in NO_OUTSIDE and top in OUTSIDE:
            yield f"{where}: {mine} may not import {top}"


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.relative_to(ROOT)))
def test_imports_point_down(module: Path) -> None:
    assert list(faults(module)) == []


def test_every_room_has_its_layer() -> None:
    assert {room_of(module) for module in modules()} <= LAYERS.keys()


def test_a_wrong_import_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "gateway"
    (package / "wire").mkdir(parents=True)
    wrong = package / "wire" / "wrong.py"
    wrong.write_text(
        "import socket\nimport pyroute2\nfrom gateway.net import relay\nfrom gateway.config import rules\n"
    )
    monkeypatch.setattr(f"{__name__}.PACKAGE", package)
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert len(list(faults(wrong))) == 4
