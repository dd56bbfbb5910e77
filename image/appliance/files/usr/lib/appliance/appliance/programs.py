"""Running the programs of the system that do the work: mount(8), ip(8), sfdisk(8) and the like."""

import subprocess
from collections.abc import Sequence
from typing import Final

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SECONDS: Final = 120.0


class ProgramFailed(Exception):
    """One line: which program, and the last thing that it said; ``said`` has all of its lines."""

    def __init__(self, program: str, said: Sequence[str]) -> None:
        super().__init__(f"{program}: {said[-1]}")
        self.said = tuple(said)


def run(*command: str, text: str = "", seconds: float = SECONDS) -> str:
    """Run it to its end with ``text`` as its standard input; what it printed. Raises ProgramFailed."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            env=ENVIRONMENT,
            timeout=seconds,
        )
    except FileNotFoundError:
        raise ProgramFailed(command[0], ["it is not installed"]) from None
    except subprocess.TimeoutExpired:
        raise ProgramFailed(command[0], [f"no end after {seconds:g} s"]) from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ProgramFailed(command[0], said or [f"status {done.returncode}"])
    return done.stdout


def found(*command: str) -> str:
    """The same for a question whose answer may be that there is nothing: then the text is empty."""
    try:
        return run(*command).strip()
    except ProgramFailed:
        return ""
