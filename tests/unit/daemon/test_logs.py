"""Log files that were moved away: the next line is in the new one, and no descriptor stays behind."""

import os
from pathlib import Path

import pytest

from gateway.daemon.logs import reopen
from gateway.daemon.messages import Received, Reopen
from gateway.system.journal import FileSink, Journal
from gateway.system.sinks import LOG_FLAGS
from tests.unit.net.stage import descriptors


def opened(path: Path) -> int:
    return os.open(path, LOG_FLAGS, 0o600)


class Logs:
    """Both logs of one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classic = FileSink(opened(folder / "classic"))
        self.journal = Journal(self.classic, None)

    def line_in(self, name: str, text: str) -> bool:
        self.journal.line(text)
        self.journal.flush()
        path = self.folder / name
        return path.exists() and text in path.read_text()


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_lines_go_on_in_the_file_that_came(logs: Logs, tmp_path: Path) -> None:
    assert logs.line_in("classic", "one")
    (tmp_path / "classic").rename(tmp_path / "classic.1")
    assert logs.line_in("classic.1", "two")
    before = descriptors()
    reopen(logs.journal, Received(Reopen(classic=True, records=False), [opened(tmp_path / "classic")]))
    assert logs.line_in("classic", "three")
    assert "three" not in (tmp_path / "classic.1").read_text()
    assert descriptors() == before
    os.close(logs.classic.fd)


def test_nothing_came_and_the_old_one_goes_on(logs: Logs) -> None:
    before = descriptors()
    reopen(logs.journal, Received(Reopen(classic=False, records=False), []))
    assert logs.line_in("classic", "still here")
    assert descriptors() == before
    os.close(logs.classic.fd)


def test_a_file_for_a_log_that_this_process_has_not_is_closed(logs: Logs, tmp_path: Path) -> None:
    before = descriptors()
    both = [opened(tmp_path / "classic"), opened(tmp_path / "records")]
    reopen(logs.journal, Received(Reopen(classic=True, records=True), both))
    assert logs.line_in("classic", "one")
    assert (tmp_path / "records").read_text() == ""
    assert descriptors() == before
    os.close(logs.classic.fd)
