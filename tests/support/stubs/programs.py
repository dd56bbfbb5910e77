"""The programs, built where they can be, and what each says of some names."""

import ipaddress
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.netns import Namespace

_HERE = Path(__file__).resolve().parent
_FLAGS = ("-O1", "-Wall", "-Wextra", "-Werror")


class Program(NamedTuple):
    """A program that prints a line ``NAME ADDRESS`` for each address of a name, or one with its error: ``error: none``
    (there is no such thing) or ``error: again`` (it may be there, ask later).
    """

    prepare: Callable[[Path], Sequence[str]]
    """Builds it in a folder; returns the command, in which ``{resolver}`` is whom to ask, if that has to be said."""
    #: what must be here for it, and the package that has it
    needs: str
    package: str
    #: whether it asks again by TCP where an answer does not fit into a datagram
    has_tcp: bool = True


def _compiled(name: str, source: str, compiler: str, *options: str) -> Callable[[Path], Sequence[str]]:
    def prepare(folder: Path) -> Sequence[str]:
        made = folder / name
        _run(compiler, *_FLAGS, "-o", str(made), str(_HERE / source), *options)
        return (str(made),)

    return prepare


def _java(mode: str) -> Callable[[Path], Sequence[str]]:
    def prepare(folder: Path) -> Sequence[str]:
        _run("javac", "-d", str(folder), str(_HERE / "Resolve.java"))
        return ("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", str(folder), "Resolve", mode)

    return prepare


def _musl_has_tcp() -> bool:
    """It does since 1.2.4; before, what has come in a datagram is all."""
    loader = next(Path("/lib").glob("ld-musl-*"), None)
    shown = subprocess.run([str(loader)], capture_output=True, text=True, check=False).stderr if loader else ""
    found = re.search(r"Version (\d+)\.(\d+)\.(\d+)", shown)
    return found is not None and tuple(map(int, found.groups())) >= (1, 2, 4)


PROGRAMS: Mapping[str, Program] = {
    "glibc": Program(_compiled("glibc", "resolve.c", "gcc"), "gcc", "gcc libc6-dev"),
    "musl": Program(_compiled("musl", "resolve.c", "musl-gcc", "-static"), "musl-gcc", "musl-tools", _musl_has_tcp()),
    "c-ares": Program(_compiled("cares", "cares.c", "gcc", "-lcares"), "/usr/include/ares.h", "gcc libc-ares-dev"),
    "java jndi": Program(_java("{resolver}"), "javac", "default-jdk-headless"),
    "java net": Program(_java("system"), "javac", "default-jdk-headless"),
}


class Stub:
    """A program that is ready to ask."""

    def __init__(self, program: Program, folder: Path) -> None:
        if shutil.which(program.needs) is None and not Path(program.needs).is_file():
            pytest.skip(f"needs {program.needs}: apt-get install {program.package}")
        folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        self._command = program.prepare(folder)

    def ask(self, space: Namespace, resolver: str, names: Collection[str]) -> dict[str, set[str]]:
        """The addresses that it finds for each name, or its error."""
        command = [word.format(resolver=resolver) for word in self._command]
        done = subprocess.run(
            [*space.prefix, *command, *names], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, set[str]] = {name: set() for name in names}
        for name, _, said in (line.partition(" ") for line in done.stdout.splitlines()):
            found[name].add(_plain(said))
        return found


def _plain(said: str) -> str:
    return said if said.startswith("error") else str(ipaddress.ip_address(said))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
