"""What the setup of this boot has to say, for the page of the console: a file in /run."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/run/appliance")
VOLATILE: Final = FOLDER / "volatile"
"""The initramfs leaves here why nothing is kept."""


@dataclass(frozen=True, slots=True)
class Report:
    """``seed`` is where the one in effect came from, empty without one; ``cards`` are names and their addresses."""

    seed: str = ""
    cards: Mapping[str, str] | None = None
    problems: tuple[str, ...] = ()


def write(report: Report, folder: Path = FOLDER) -> None:
    """Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "setup").write_text(json.dumps(asdict(report)))


def read(folder: Path = FOLDER) -> Report:
    """What was written, or an empty one."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        raw = json.loads((folder / "setup").read_text())
        return Report(raw["seed"], raw["cards"], tuple(raw["problems"]))
    return Report()
