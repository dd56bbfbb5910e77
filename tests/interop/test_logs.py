"""The logs of a running daemon: the classes that are wanted, repetitions folded, journald's fields, and a full disk."""

import itertools
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.daemon import Sockd, sockd
from tests.support.logs import Journald
from tests.support.peers import Peer, closed_port, echo
from tests.support.rawsocks import Wire, connect5
from tests.support.waiting import eventually

RULES = "deny 127.0.0.0/8 127.0.0.9/32\npermit 127.0.0.0/8 127.0.0.0/8\n"

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare(1) for a mount namespace; `sudo make test` runs it",
)


def mounted(folder: Path, options: str = "") -> tuple[str, ...]:
    """A command that runs another one with a file system of its own there, which nobody else sees."""
    mount = f'mount -t tmpfs {options} none "$0" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, str(folder))


def seen_by(daemon: Sockd, path: Path) -> Path:
    """The path as the daemon sees it."""
    return Path(f"/proc/{daemon.pid}/root{path}")


def serve(daemon: Sockd, target: Peer) -> None:
    """A session that runs and ends."""
    with Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.1", target.port).code == 0
        wire.send(b"12345")
        assert wire.read(5) == b"12345"


def refuse(daemon: Sockd, port: int = 80) -> None:
    """One that a rule denies."""
    with Wire(daemon.port) as wire:
        assert connect5(wire, "127.0.0.9", port).code == 2


@pytest.mark.parametrize("wanted", ["denied", "connected", "resource"])
def test_only_lines_of_the_classes_that_are_wanted_are_written(tmp_path: Path, wanted: str) -> None:
    words = {"denied": "refused", "connected": "connected", "resource": "failed"}
    with Peer(echo) as target, closed_port() as closed:
        with sockd(tmp_path, RULES, settings={"log": {"classes": [wanted]}}) as daemon:
            serve(daemon, target)
            refuse(daemon)
            with Wire(daemon.port) as wire:
                assert connect5(wire, "127.0.0.1", closed).code == 5
            for result in ("connected", "refused", "failed"):
                daemon.wait_record(result=result)
            daemon.wait_log(f"{words[wanted]} -- ")
        found = set(re.findall(r"]: (\S+) -- (?:Connect|Bind)", daemon.log()))
    assert found - {"terminated"} == {words[wanted]}
    assert "ready -- " in daemon.log(), "what the daemon says of itself is always written"


def test_a_refusal_that_repeats_is_written_once_and_its_number_at_the_end(tmp_path: Path) -> None:
    with sockd(tmp_path, RULES) as daemon:
        for _ in range(5):
            refuse(daemon)
        assert eventually(lambda: len(daemon.records()) == 5)
        refuse(daemon, 81)
        daemon.wait_log("last line repeated 4 times")
    assert len(re.findall(r"refused -- .*\((?:http|80)\)", daemon.log())) == 1
    assert len(daemon.records()) == 6, "records are each their own"


class Ballast:
    """A file that fills a file system to its last byte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            file.writelines(itertools.repeat(bytes(4096)))

    def remove(self) -> None:
        """There is room again."""
        self._path.unlink()


@needs_mounts
@pytest.mark.parametrize("key", ["json", "classic"])
def test_a_full_disk_under_a_log_costs_no_session_and_is_one_line_and_so_is_its_end(tmp_path: Path, key: str) -> None:
    """Two workers meet it. Of the records the classic log says it, of the classic log standard error."""
    small = tmp_path / "small"
    small.mkdir()
    log = small / "log"
    with (
        Peer(echo) as target,
        sockd(
            tmp_path, RULES, workers=2, settings={"log": {key: str(log)}}, prefix=mounted(small, "-o size=64k")
        ) as daemon,
    ):

        def told() -> str:
            return daemon.log() if key == "json" else daemon.stderr()

        def served_until(words: str) -> bool:
            serve(daemon, target)
            return words in told()

        full = Ballast(seen_by(daemon, small) / "ballast")
        # What is left of the log's own last page is still written.
        assert eventually(lambda: served_until("No space left")), told()
        for _ in range(20):
            serve(daemon, target)
        line = f"{log}: No space left on device; what can not be written is lost and counted"
        assert told().count(line) == 1
        full.remove()
        assert eventually(lambda: served_until(f"{log}: can be written again; ")), told()
        (lost,) = re.findall(r"can be written again; (\d+) lines were lost meanwhile", told())
        assert int(lost) > 0
        assert told().count(line) == 1
        assert "were lost" in seen_by(daemon, log).read_text() or '{"lost":' in seen_by(daemon, log).read_text()


@needs_mounts
def test_journald_gets_the_fields_of_a_session_also_what_was_said_before_it_ran(tmp_path: Path) -> None:
    with (
        Peer(echo) as target,
        sockd(tmp_path, RULES, settings={"log": {"classic": "journald"}}, prefix=mounted(Path("/run"))) as daemon,
    ):
        serve(daemon, target)
        daemon.wait_record(result="connected")
        socket = seen_by(daemon, Path("/run/systemd/journal/socket"))
        socket.parent.mkdir(parents=True)
        journald = Journald(socket)
        journald.start()
        # Workers do not belong to root, and anybody may write to the host's.
        socket.chmod(0o666)
        entries: list[dict[str, str]] = []

        def is_told() -> bool:
            entries.extend(journald.read())
            return any("SOCKD_SESSION" in entry for entry in entries)

        told = eventually(is_told)
        journald.stop()
        (record,) = daemon.records()
    assert told, entries
    (ended,) = (entry for entry in entries if "SOCKD_SESSION" in entry)
    assert ended["MESSAGE"].startswith("terminated -- Connect from ")
    assert (ended["SYSLOG_IDENTIFIER"], ended["PRIORITY"]) == ("sockd", "5")
    assert {name for name in ended if name.startswith("SOCKD_")} == {
        f"SOCKD_{name.upper()}" for name, value in record.items() if value is not None
    }
    assert (ended["SOCKD_SESSION"], ended["SOCKD_SENT"]) == (record["session"], "5")
    assert any(entry["MESSAGE"].startswith("connected -- ") for entry in entries)
