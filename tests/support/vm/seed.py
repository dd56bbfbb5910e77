"""The small disk that an appliance reads at first: a few texts on FAT with a label (mkfs.fat(8), mcopy(1))."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LABEL = "SEED"
#: in KiB, as a floppy disk has
_SIZE = 1440


def seed_disk(disk: Path, texts: Mapping[str, str], label: str = LABEL) -> Path:
    """Write such a disk, name -> text; returns its path."""
    disk.unlink(missing_ok=True)
    # mformat(1) of mtools leaves the picture of a partition table, too
    _run("/usr/sbin/mkfs.vfat", "-C", "-n", label, str(disk), str(_SIZE))
    for name, text in texts.items():
        _run("mcopy", "-i", str(disk), "-", f"::{name}", text=text)
    return disk


def seed_toml(key: str, cards: Mapping[str, Mapping[str, object]], **more: object) -> str:
    """The text of seed.toml: whose ``key`` opens, the cards by their names, and other keys."""
    lines = [_line(name, value) for name, value in {"admin-keys": [key], **more}.items()]
    for name, table in cards.items():
        lines += ["", f"[{name}]", *(_line(key, value) for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, value: object) -> str:
    return f"{name.replace('_', '-')} = {_value(value)}"


def _value(value: object) -> str:
    """TOML 1.0: texts here have neither quotes nor backslashes."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return f'"{value}"'
        case Sequence():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            raise TypeError(f"no value of a seed: {value!r}")


def _run(*command: str, text: str | None = None) -> None:
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(command, input=text or "", text=True, check=True, capture_output=True, env=environment)
