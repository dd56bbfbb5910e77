"""``python -m tests.support.lab.playground FOLDER``: build the lab, start sockd in it, and give a prompt inside.

Whatever ends the shell, its exit, Ctrl-C, a closed terminal or SIGTERM, everything is removed. Commands from a standard
input that is no terminal are run in its place. FOLDER is made, holds all files while the lab runs, and goes with it.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.support.lab.build import lab
from tests.support.lab.playground.ground import Ground, lay_out
from tests.support.lab.playground.texts import PICTURE, THINGS_TO_TRY
from tests.support.lab.servers import NSD, ROOT, serving
from tests.support.lab.topology import INSIDE, SPLIT_DNS

_ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_STOPS = (signal.SIGTSTP, signal.SIGTTOU)


class _CannotRun(Exception):
    """Why there can be no lab, in one line."""


class _Ending:
    """The first signal that ends the lab. It is noted only: an exception in the middle of building could be lost.

    Later ones do nothing, nor do they to a child that is started then, so that none can end the cleaning.
    """

    def __init__(self) -> None:
        #: the exit status that it asks for, 0 while there was none
        self.status = 0
        self._heard, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell)
        for number in _ENDINGS:
            signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.ignore()
        self.status = 128 + number

    def ignore(self) -> None:
        """From now on no signal of these does anything."""
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)

    def wait_for(self, process: "subprocess.Popen[bytes]") -> None:
        """Return when the process has ended, or such a signal has come."""
        child = os.pidfd_open(process.pid)
        try:
            select.select([child, self._heard], [], [])
        finally:
            os.close(child)


def main(folder: Path) -> int:
    """The exit status of commands that were read, 0 after a prompt; 1 when there can be no lab."""
    ending = _Ending()
    try:
        _check_needs()
        with _alone(folder), _ground(folder) as ground:
            _greet(ground)
            return _shell(ground, ending)
    except (Exception, pytest.skip.Exception) as error:
        if ending.status:  # a Ctrl-C also ends the ip(8) that we wait for
            return ending.status
        if not isinstance(error, _CannotRun | pytest.skip.Exception):
            raise
        print(error, file=sys.stderr)
        return 1


def _check_needs() -> None:
    programs = {"bash": shutil.which("bash"), "curl": shutil.which("curl"), "ip": shutil.which("ip"), "nsd": NSD}
    missing = [name for name, path in programs.items() if path is None]
    needs = ["root, for network namespaces (sudo make lab)"] if os.geteuid() else []
    needs += [f"{' '.join(missing)} (Debian: apt-get install bash curl iproute2 nsd)"] if missing else []
    if needs:
        raise _CannotRun(f"the lab needs {'; and '.join(needs)}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One lab a folder; the lock is on the folder above it, and goes with this process, however it ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise _CannotRun(f"a lab is running already, with its files in {folder}: leave its shell first") from None
    finally:
        os.close(lock)


@contextlib.contextmanager
def _ground(folder: Path) -> Iterator[Ground]:
    """Everything that runs; all of it gone on leaving."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with lab(SPLIT_DNS) as made, serving(made, folder / "names"):
            ground = lay_out(folder, made)
            _write_helper(folder)
            try:
                yield ground
            finally:
                ground.stop_sockd()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_helper(folder: Path) -> None:
    """``lab`` as a command of the prompt."""
    helper = folder / "bin" / "lab"
    helper.parent.mkdir()
    program = f'"{sys.executable}" -m tests.support.lab.playground.command "{folder}"'
    helper.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {program} "$@"\n')
    helper.chmod(0o755)


def _greet(ground: Ground) -> None:
    print(f"{PICTURE}\n\nsockd's log: {ground.log}\n{ground.start_sockd()}\n\n{THINGS_TO_TRY}\n", flush=True)
    if sys.stdin.isatty():
        print("exit or Ctrl-D ends the lab; nothing of it stays.", flush=True)


def _shell(ground: Ground, ending: _Ending) -> int:
    """A shell in the inside network; the shell is bash, which reads commands from whatever its input is."""
    if ending.status:
        return ending.status
    paths = (str(ground.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    environment = {**os.environ, "PATH": ":".join(paths), "PS1": "inside# "}
    for number in _STOPS:  # a shell with jobs wants what `tests.support.foreground` has switched off
        signal.signal(number, signal.SIG_DFL)
    shell = subprocess.Popen(
        [*ground.lab.spaces[INSIDE].prefix, "bash", "--norc", "--noprofile"], cwd=ground.folder, env=environment
    )
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    ending.wait_for(shell)
    ending.ignore()
    _end_shell(shell)
    if ending.status or sys.stdin.isatty():
        return ending.status  # of a person's last command nothing depends
    return shell.returncode if shell.returncode >= 0 else 128 - shell.returncode


def _end_shell(shell: "subprocess.Popen[bytes]") -> None:
    """As if its terminal had gone; what it leaves behind ends with its namespace."""
    if shell.poll() is None:
        shell.send_signal(signal.SIGHUP)
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(1)
        shell.kill()
        shell.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
