"""The manual pages as tests read them: they must say what the programs do."""

import re
from pathlib import Path

import gateway

_FOLDER = Path(gateway.__file__).parent / "man"


def manual_text(name: str) -> str:
    """The page without the marks of the typesetter that stand within words."""
    return (_FOLDER / name).read_text().replace("\\(dq", '"').replace("\\-", "-").replace("\\e", "\\")


def manual_examples(name: str) -> list[str]:
    """The texts between .EX and .EE."""
    return re.findall(r"^\.EX\n(.*?)^\.EE$", manual_text(name), re.DOTALL | re.MULTILINE)
