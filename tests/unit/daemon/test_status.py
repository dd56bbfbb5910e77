"""The status file: whole or not there, true or not believed, and never written where somebody else leads."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.daemon.messages import Network
from gateway.daemon.status import Status, StatusFile, read_status
from tests.support.playbook import TIME
from tests.support.routes import uplink
from tests.support.rules import address

NETWORK = Network((uplink("wan1", "192.0.2.10", "2001:db8::10"),), (address("192.0.2.10"),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sockd.status"


@pytest.fixture
def file(path: Path) -> Iterator[StatusFile]:
    made = StatusFile(str(path))
    yield made
    made.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_written_is_read(file: StatusFile, path: Path) -> None:
    file.write(NETWORK, TIME)
    assert read_status(str(path)) == Status(1, os.getpid(), TIME, NETWORK)
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_it_is_one_line_of_json_with_the_names_of_the_manual(file: StatusFile, path: Path) -> None:
    file.write(NETWORK, TIME)
    text = path.read_text()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    found = json.loads(text)
    assert list(found) == ["version", "pid", "time", "network"]
    assert found["network"]["uplinks"][0]["standing"] == "up"


def test_the_next_one_replaces_it_and_nothing_else_is_left(file: StatusFile, path: Path) -> None:
    file.write(Network(), TIME)
    before = descriptors()
    file.write(NETWORK, TIME)
    found = read_status(str(path))
    assert found is not None
    assert found.network == NETWORK
    assert descriptors() == before
    assert os.listdir(path.parent) == [path.name]


def test_an_empty_path_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    StatusFile("").write(NETWORK, TIME)
    assert os.listdir(tmp_path) == []
    assert read_status("") is None


def test_many_may_read_it_at_once(file: StatusFile, path: Path) -> None:
    file.write(NETWORK, TIME)
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert read_status(str(path)) is not None


# Not true any more


def test_when_its_writer_has_closed_it_nobody_believes_it(file: StatusFile, path: Path) -> None:
    file.write(NETWORK, TIME)
    file.close()
    file.close()
    assert path.exists()
    assert read_status(str(path)) is None


WRITER = """
import os, signal, sys
from gateway.daemon.messages import Network
from gateway.daemon.status import StatusFile
StatusFile(sys.argv[1]).write(Network(), "now")
print("written", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_of_another_process_it_is_true_until_that_ends_however_it_ends(path: Path, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        found = read_status(str(path))
        assert found is not None
        assert found.pid == writer.pid
        writer.send_signal(number)
        writer.wait(30)
    assert read_status(str(path)) is None


@pytest.mark.parametrize(
    "pid",
    [
        pytest.param(os.getpid(), id="ours: the number of a process that has ended is given to another one"),
        pytest.param(1, id="another user's"),
        pytest.param(0, id="no process"),
        pytest.param(-1, id="every process"),
        pytest.param(1 << 70, id="more than a number of a process can be"),
    ],
)
def test_a_file_that_nobody_holds_is_not_believed_whatever_process_it_names(path: Path, pid: int) -> None:
    path.write_text(json.dumps({"version": 1, "pid": pid, "time": TIME, "network": {}}))
    assert read_status(str(path)) is None


def test_a_reader_that_meets_a_replacement_reads_the_new_one(
    file: StatusFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its opening and its look at the lock."""
    file.write(Network(), TIME)
    flock, replaced = fcntl.flock, list[bool]()

    def meanwhile(descriptor: object, operation: int) -> None:
        if not replaced:
            replaced.append(True)
            file.write(NETWORK, TIME)
        flock(descriptor, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    found = read_status(str(path))
    assert found is not None
    assert found.network == NETWORK


# No status at all


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"version":1,"pid":7,"time":"now","netw', id="half of one"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(b'{"version":1,"pid":1,"time":"\xff","network":{}}', id="text that is not UTF-8"),
        pytest.param(b"[]", id="something else"),
        pytest.param(b'{"x":' + b"[" * 100_000, id="deeper than can be read"),
        pytest.param(b'{"version":2,"pid":1,"time":"now","network":{}}', id="of a later version"),
        pytest.param(b'{"version":1,"pid":true,"time":"now","network":{}}', id="a pid that is no number"),
    ],
)
def test_what_is_no_status_is_none_even_if_somebody_holds_it(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert read_status(str(path)) is None


def test_keys_that_are_not_known_are_no_matter(path: Path) -> None:
    path.write_text('{"version":1,"pid":7,"time":"now","network":{"more":1},"later":{}}')
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert read_status(str(path)) == Status(1, 7, "now", Network())


def test_what_can_not_be_opened_is_none(path: Path) -> None:
    assert read_status(str(path)) is None
    assert read_status(str(path.parent)) is None
    os.mkfifo(path)
    assert read_status(str(path)) is None, "and nobody waits for a writer"


# Where it can not be written


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        StatusFile(str(tmp_path / "gone" / "status")).write(NETWORK, TIME)
    assert descriptors() == before


def test_a_folder_in_its_place_keeps_it_out_and_nothing_is_left(file: StatusFile, path: Path) -> None:
    path.mkdir()
    before = descriptors()
    with pytest.raises(IsADirectoryError):
        file.write(NETWORK, TIME)
    assert os.listdir(path.parent) == [path.name]
    assert descriptors() == before


def test_a_full_disk_leaves_the_old_one_as_it_is(file: StatusFile, path: Path) -> None:
    file.write(NETWORK, TIME)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=r"No space left|File too large"):
            file.write(Network(), TIME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    found = read_status(str(path))
    assert found is not None
    assert found.network == NETWORK
    assert os.listdir(path.parent) == [path.name]


def test_a_link_where_the_new_one_is_made_leads_nowhere(file: StatusFile, path: Path, tmp_path: Path) -> None:
    """In a folder that others write to, a link would let them choose which file is overwritten."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(f"{path}.new").symlink_to(victim)
    file.write(NETWORK, TIME)
    assert victim.read_text() == "precious"
    assert read_status(str(path)) is not None


def test_a_link_that_is_put_there_again_and_again_keeps_it_out(
    file: StatusFile, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(f"{path}.new").symlink_to(victim)
    monkeypatch.setattr(os, "unlink", lambda _path: None)
    with pytest.raises(FileExistsError):
        file.write(NETWORK, TIME)
    assert victim.read_text() == "precious"


def test_a_link_in_its_place_is_replaced_and_not_followed(file: StatusFile, path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    file.write(NETWORK, TIME)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_what_a_writer_left_that_was_killed_is_no_hindrance(file: StatusFile, path: Path) -> None:
    Path(f"{path}.new").write_text('{"vers')
    file.write(NETWORK, TIME)
    assert read_status(str(path)) is not None
    assert os.listdir(path.parent) == [path.name]
