"""Leaving the terminal: what stays open, and what the process is afterwards."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import eventually

DETACHES = """
import json, os, socket, sys
from gateway.system.detach import detach
kept, dropped = socket.socket(), socket.socket()
numbers = kept.fileno(), dropped.fileno()
detach([kept.fileno()])
def is_open(number):
    try:
        os.fstat(number)
        return True
    except OSError:
        return False
facts = {
    "parent": os.getppid(), "session": os.getsid(0), "pid": os.getpid(), "cwd": os.getcwd(),
    "standard": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)],
    "kept": is_open(numbers[0]), "dropped": is_open(numbers[1]), "umask": os.umask(0),
}
with open(sys.argv[1] + ".new", "w") as out:
    json.dump(facts, out)
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


def test_a_daemon_has_its_own_session_and_keeps_what_it_was_told_to(tmp_path: Path) -> None:
    out = tmp_path / "facts"
    done = subprocess.run(
        [sys.executable, "-c", DETACHES, str(out)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert eventually(out.exists)
    facts = json.loads(out.read_text())
    assert facts["standard"] == ["/dev/null"] * 3
    assert facts["cwd"] == "/"
    assert facts["session"] != facts["pid"], "a session leader could get a terminal again"
    assert (facts["kept"], facts["dropped"]) == (True, False)
    assert facts["umask"] == 0o022
