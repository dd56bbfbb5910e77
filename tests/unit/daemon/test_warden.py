"""The warden as a real process: what it opens, what it refuses, and that nothing that is asked of it ends it."""

import errno
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.address import Address
from gateway.daemon.messages import (
    Applied,
    Apply,
    Change,
    Dispatch,
    End,
    Listen,
    Open,
    Opened,
    Ready,
    Spare,
    channel,
    close_all,
    send,
)
from gateway.daemon.warden import WORDS_KEPT, Post
from gateway.netlink.model import KernelRoute, Prefix, RoutingRule
from gateway.system.reaper import become_reaper, reap_orphans
from tests.support.forked import forked
from tests.support.rules import address
from tests.support.waiting import eventually
from tests.unit.daemon.wardens import Hired, heard, post
from tests.unit.net.stage import descriptors

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

NAMES = ("gateway.toml", "good", "folder", "pipe", "gone", "link", "dangling", "door")


@pytest.fixture
def warden(tmp_path: Path) -> Iterator[Hired]:
    """One that may read `NAMES`, and append to two logs."""
    with Hired(post(tmp_path, files=NAMES, logs=("log", "pipe"))) as found:
        yield found


def opened(warden: Hired, path: object, way: str = "read") -> int | str:
    """The descriptor, or the name of the error."""
    answer, found = warden.ask(Open(str(path), way))  # type: ignore[arg-type]
    assert isinstance(answer, Opened)
    if answer.number:
        assert found == []
        return errno.errorcode[answer.number]
    assert len(found) == 1
    return int(found[0])


def is_alive(warden: Hired, path: Path) -> bool:
    """Whether it still opens what it may."""
    path.write_text("alive")
    found = opened(warden, path)
    assert isinstance(found, int)
    os.close(found)
    return True


# Files


def test_a_file_of_the_configuration_is_opened_for_reading_only(warden: Hired, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("permit ALL ALL\n")
    found = opened(warden, tmp_path / "good")
    assert isinstance(found, int)
    assert os.pread(found, 100, 0) == b"permit ALL ALL\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(found, b"x")
    os.close(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root reads what its owner lets it")
def test_a_file_is_opened_whoever_owns_it_and_whatever_its_mode_is(warden: Hired, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("mine")
    os.chown(tmp_path / "good", 65534, 65534)
    (tmp_path / "good").chmod(0)
    found = opened(warden, tmp_path / "good")
    assert isinstance(found, int)
    os.close(found)


def no_file(path: Path) -> None:
    """Nothing is there."""


def link_to_a_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


def door(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def device(path: Path) -> None:
    if os.geteuid():
        pytest.skip("devices are made by root")
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("this container makes no devices")


@pytest.mark.parametrize(
    ("make", "errors"),
    [
        pytest.param(no_file, {"ENOENT"}, id="missing"),
        pytest.param(Path.mkdir, {"EISDIR"}, id="a folder"),
        pytest.param(link_to_a_folder, {"EISDIR"}, id="a link to a folder"),
        pytest.param(os.mkfifo, {"EINVAL"}, id="a pipe that nobody writes to"),
        pytest.param(dangling, {"ENOENT"}, id="a link to nothing"),
        pytest.param(door, {"ENXIO"}, id="a socket"),
        pytest.param(device, {"EINVAL", "EACCES"}, id="a device"),
    ],
)
def test_what_is_no_file_is_refused_at_once_and_the_warden_goes_on(
    warden: Hired, tmp_path: Path, make: Callable[[Path], object], errors: set[str]
) -> None:
    before = len(os.listdir(f"/proc/{warden.pid}/fd"))
    make(tmp_path / "good")
    assert opened(warden, tmp_path / "good") in errors
    assert len(os.listdir(f"/proc/{warden.pid}/fd")) == before
    assert is_alive(warden, tmp_path / "gateway.toml")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("good\0", id="a NUL at its end"),
        pytest.param("\0good", id="a NUL at its begin"),
        pytest.param("x" * 5000, id="too long a name"),
        pytest.param("", id="no name"),
        pytest.param("../../etc/shadow", id="somewhere else"),
    ],
)
@pytest.mark.parametrize("way", ["read", "append"])
def test_no_path_ends_a_warden(tmp_path: Path, name: str, way: str) -> None:
    words = "good\0 \0good " + "x" * 5000 + " shadow"
    with Hired(post(tmp_path, words=words)) as warden:
        assert isinstance(opened(warden, f"{tmp_path}/{name}", way), str)
        assert is_alive(warden, tmp_path / "gateway.toml")


def test_what_no_file_of_the_configuration_names_is_refused(warden: Hired, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    assert opened(warden, tmp_path / "secret") == "EACCES"


def may_be_read(warden: Hired, *paths: Path | str) -> list[bool]:
    """Of each path, in this order."""
    found = [opened(warden, path) for path in paths]
    close_all([one for one in found if isinstance(one, int)])
    assert {one for one in found if isinstance(one, str)} <= {"EACCES"}
    return [isinstance(one, int) for one in found]


def write(folder: Path, **texts: str) -> None:
    """Files, by their names without what follows the dot of ``sockd_conf``."""
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        pytest.param("'new.conf'", "{folder}/new.conf", id="beside them"),
        pytest.param('"new.conf"', "{folder}/new.conf", id="in the other quotation marks"),
        pytest.param("'./new.conf'", "{folder}/./new.conf", id="with a step that leads nowhere"),
        pytest.param("'{folder}/new.conf'", "{folder}/new.conf", id="whole"),
    ],
)
def test_a_file_that_the_settings_come_to_name_may_be_read_as_soon_as_these_were(
    tmp_path: Path, written: str, path: str
) -> None:
    words, asked = written.format(folder=tmp_path), path.format(folder=tmp_path)
    with Hired(post(tmp_path)) as warden:
        write(tmp_path, new_conf="permit ALL ALL\n", gateway_toml=f"[files]\naccess = {words}\n")
        assert may_be_read(warden, asked, tmp_path / "gateway.toml", asked) == [False, True, True]


def test_a_user_file_that_rules_name_may_be_read_and_one_that_only_a_user_file_names_may_not(tmp_path: Path) -> None:
    users, more, rules = tmp_path / "users", tmp_path / "more", tmp_path / "sockd.conf"
    words = "[files]\naccess = 'sockd.conf'\n"
    with Hired(post(tmp_path, words=words, names={"sockd.conf": "permit ALL ALL\n"})) as warden:
        write(tmp_path, sockd_conf=f"permit julie,*={users},fred ALL ALL\n", users=f"{more}\n", more="fred\n")
        assert may_be_read(warden, users, more) == [False, False]
        assert may_be_read(warden, rules, users, more) == [True, True, False]
        assert may_be_read(warden, more) == [False]


def test_a_file_that_the_settings_name_no_more_names_nothing_that_was_not_named_before(tmp_path: Path) -> None:
    """What the supervisor may write, or what it made the warden read once, is not for it to choose from."""
    with Hired(post(tmp_path, words="[files]\naccess = 'sockd.conf'\n", files=("good",))) as warden:
        write(tmp_path, good=f"permit *={tmp_path}/users ALL ALL\n", users="fred\n")
        assert may_be_read(warden, tmp_path / "good", tmp_path / "users") == [True, False]


NAMES_OF_ETC = ("passwd", "group", "shadow", "gshadow", "shadow-")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("# passwd group shadow gshadow shadow-\ngroup = 'sockd' # passwd\n", id="words of a comment"),
        pytest.param("a = 'etc/passwd'\nb = 'xpasswd'\nc = 'passwdx'\nd = 'group.conf'\n", id="parts of names"),
        pytest.param("a = 'shadow'\nb = '{folder}/shadow'\nc = 'gshadow'\nd = 'shadow-'\n", id="what is never read"),
    ],
)
@pytest.mark.parametrize("place", ["beside the settings", "in /etc"])
def test_settings_that_speak_of_passwd_and_shadow_open_none_of_them(tmp_path: Path, words: str, place: str) -> None:
    write(tmp_path, gateway_toml=words.format(folder=tmp_path), **dict.fromkeys(NAMES_OF_ETC, "root:x:0:0:::\n"))
    folder = tmp_path if place == "beside the settings" else Path("/etc")
    with Hired(post(tmp_path, words=words.format(folder=tmp_path))) as warden:
        asked = [folder / name for name in NAMES_OF_ETC]
        assert may_be_read(warden, *asked) == [False] * len(asked)
        assert may_be_read(warden, tmp_path / "gateway.toml", *asked) == [True, *[False] * len(asked)]


@pytest.mark.parametrize("beside", ["x{}", "{}x", "-{}", "{}-", ".{}", "{}.1", "/x{}", "{}/y"])
def test_a_part_of_a_name_opens_nothing(tmp_path: Path, beside: str) -> None:
    users = tmp_path / "users"
    users.write_text("fred\n")
    rules = f"permit {beside.format(users)} ALL ALL\n"
    with Hired(post(tmp_path, words=f"a = '{beside.format('users')}'", names={"sockd.conf": rules})) as warden:
        assert may_be_read(warden, users) == [False]


def test_a_path_that_begins_nowhere_is_no_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, users="fred\n")
    with Hired(post(tmp_path, words="[files]\naccess = 'users'\n")) as warden:
        assert opened(warden, "users") == "EACCES"
        assert may_be_read(warden, tmp_path / "users") == [True]


def test_only_the_newest_of_the_files_that_name_others_are_remembered(tmp_path: Path) -> None:
    words = "".join(f"a{number} = 'rules{number}'\n" for number in range(WORDS_KEPT + 1))
    for number in range(WORDS_KEPT + 1):
        write(tmp_path, **{f"rules{number}": f"*={tmp_path}/users{number} ALL\n", f"users{number}": "fred\n"})
    with Hired(post(tmp_path, words=words)) as warden:
        rules = [tmp_path / f"rules{number}" for number in range(WORDS_KEPT + 1)]
        users = [tmp_path / f"users{number}" for number in range(WORDS_KEPT + 1)]
        assert may_be_read(warden, *rules) == [True] * len(rules)
        assert may_be_read(warden, *users) == [False] + [True] * WORDS_KEPT


def test_a_folder_that_is_a_link_is_read_where_it_leads_to_now(tmp_path: Path) -> None:
    """As deployments do it: ``current`` leads to another release from one moment to the next."""
    for release in ("r1", "r2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "gateway.toml").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("r1")
    settings = str(current / "gateway.toml")
    with Hired(Post(settings, b"", {}, frozenset({settings}), frozenset())) as warden:
        for release in ("r1", "r2", "r1"):
            (tmp_path / "next").symlink_to(release)
            (tmp_path / "next").rename(current)
            found = opened(warden, settings)
            assert isinstance(found, int)
            assert os.read(found, 10) == release.encode()
            os.close(found)


def test_logs_are_appended_to_and_made_when_they_are_missing(warden: Hired, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\n")
    for text in (b"two\n", b"three\n"):
        found = opened(warden, tmp_path / "log", "append")
        assert isinstance(found, int)
        os.write(found, text)
        os.close(found)
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree\n"
    (tmp_path / "log").unlink()
    found = opened(warden, tmp_path / "log", "append")
    assert isinstance(found, int)
    os.close(found)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o007 == 0


def test_only_logs_are_appended_to_and_a_log_is_not_read(warden: Hired, tmp_path: Path) -> None:
    for name in ("good", "log"):
        (tmp_path / name).write_text("x")
    assert opened(warden, tmp_path / "good", "append") == "EACCES"
    assert opened(warden, tmp_path / "log", "read") == "EACCES"


def test_a_log_that_is_a_pipe_without_reader_holds_nobody_up(warden: Hired, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert opened(warden, tmp_path / "pipe", "append") == "ENXIO"
    assert is_alive(warden, tmp_path / "gateway.toml")


# Ports


def listen(where: str = "127.0.0.1", port: int = 0, *, device: str = "", scope: int = 0) -> Listen:
    return Listen(address(where), port, 8, shared=False, device=device, scope=scope)


def test_a_port_is_listened_on(warden: Hired) -> None:
    answer, found = warden.ask(listen())
    assert answer == Opened()
    with socket.socket(fileno=found[0]) as listener, socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()


@pytest.mark.skipif(os.geteuid() != 0, reason="ports below 1024 take a privilege")
def test_a_port_below_1024_is_listened_on(warden: Hired) -> None:
    for port in range(1, 1024):
        answer, found = warden.ask(listen("127.77.0.1", port))
        close_all(found)
        if answer == Opened():
            return
        assert answer.number == errno.EADDRINUSE
    raise AssertionError("every port below 1024 is taken")


@pytest.mark.parametrize(
    ("wanted", "errors"),
    [
        pytest.param(listen("192.0.2.77", 8080), {"EADDRNOTAVAIL"}, id="an address of somebody else"),
        pytest.param(listen(port=65536), {"EINVAL"}, id="a port beyond the last one"),
        pytest.param(listen(port=-1), {"EINVAL"}, id="a port below the first one"),
        pytest.param(listen(port=1 << 40), {"EINVAL"}, id="a port that is no number of C"),
        pytest.param(listen(device="no-such-card"), {"ENODEV", "EPERM"}, id="an interface that is not there"),
        pytest.param(listen(device="x" * 300), {"ENODEV", "EPERM", "EINVAL"}, id="too long a name of an interface"),
        pytest.param(
            Listen(Address(4, 1 << 40), 0, 8, shared=False, device="", scope=0),
            {"EINVAL"},
            id="an address that is none",
        ),
    ],
)
def test_what_can_not_be_listened_on_is_said_and_the_warden_goes_on(
    warden: Hired, tmp_path: Path, wanted: Listen, errors: set[str]
) -> None:
    answer, found = warden.ask(wanted)
    assert isinstance(answer, Opened)
    assert errno.errorcode[answer.number] in errors
    assert found == []
    assert is_alive(warden, tmp_path / "gateway.toml")


def test_nothing_that_it_opened_stays_open_with_the_warden(warden: Hired, tmp_path: Path) -> None:
    before = len(os.listdir(f"/proc/{warden.pid}/fd")), descriptors()
    for _ in range(20):
        assert is_alive(warden, tmp_path / "gateway.toml")
        close_all(warden.ask(listen()).descriptors)
    # It closes what it has sent after it was sent.
    assert eventually(lambda: (len(os.listdir(f"/proc/{warden.pid}/fd")), descriptors()) == before)


# Routing, of which only what can not be is asked for here


HERE = Prefix(Address(4, 0), 0)
NONSENSE = {
    "nothing at all": Change("add", None, None),
    "a table that is no number of C": Change("add", KernelRoute(4, 1 << 40, HERE, None, 1, False, 0, None, 0), None),
    "an index that is no number of C": Change(
        "add", KernelRoute(4, 7777, HERE, None, 1 << 40, False, 0, None, 0), None
    ),
    "a version of IP that is none": Change("add", KernelRoute(5, 7777, HERE, None, 1, False, 0, None, 0), None),
    "a priority below the first one": Change("add", None, RoutingRule(4, -1, "lookup", 7777)),
    "too long a name of an interface": Change("add", None, RoutingRule(4, 7, "lookup", 7777, oif="x" * 70_000)),
    "a prefix that is longer than its address": Change(
        "add", None, RoutingRule(4, 7, "lookup", 7777, source=Prefix(Address(4, 0), 1000))
    ),
}


@pytest.mark.parametrize("change", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_changes_nothing_is_said_and_the_warden_goes_on(warden: Hired, tmp_path: Path, change: Change) -> None:
    answer = warden.ask(Apply((change,))).message
    assert isinstance(answer, Applied)
    assert answer.faults
    assert is_alive(warden, tmp_path / "gateway.toml")


def test_no_change_is_no_fault(warden: Hired) -> None:
    answer = warden.ask(Apply(())).message
    assert answer == Applied() or "netlink" in answer.faults[0]


# Other wardens, and the end


def test_it_ends_with_its_channel_and_when_it_is_told_to(tmp_path: Path) -> None:
    assert Hired(post(tmp_path)).end() == 0
    told = Hired(post(tmp_path))
    send(told.channel, End())
    assert eventually(lambda: os.waitid(os.P_PID, told.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
    assert told.end() == 0


def test_signals_of_its_group_are_the_supervisors(warden: Hired, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(warden.pid, number)
    assert is_alive(warden, tmp_path / "gateway.toml")


def test_a_spare_answers_belongs_to_the_reaper_and_ends_with_its_channel(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("here")

    def work() -> tuple[object, ...]:
        become_reaper()
        warden = Hired(post(tmp_path))
        before = len(os.listdir(f"/proc/{warden.pid}/fd"))
        mine, theirs = channel()
        answer = warden.ask(Spare(), [theirs.fileno()]).message
        theirs.close()
        ready = heard(mine).message
        assert isinstance(ready, Ready)
        parent = Path(f"/proc/{ready.pid}/stat").read_text().rpartition(")")[2].split()[1]
        same = ready.confinement == warden.confinement
        kept = len(os.listdir(f"/proc/{warden.pid}/fd")) - before
        status = warden.end()
        send(mine, Open(str(tmp_path / "gateway.toml"), "read"))
        read = [os.read(found, 10) for found in heard(mine).descriptors]
        mine.close()

        def gone() -> bool:
            reap_orphans(())
            return not os.path.exists(f"/proc/{ready.pid}")

        return answer == Applied(), int(parent) == os.getpid(), same, kept, status, read, eventually(gone)

    assert forked(work) == (True, True, True, 0, 0, [b"here"], True)


def test_a_warden_that_is_stopped_is_ended_by_its_spare(tmp_path: Path) -> None:
    def work() -> tuple[object, ...]:
        become_reaper()
        stopped = Hired(post(tmp_path))
        mine, theirs = channel()
        stopped.ask(Spare(), [theirs.fileno()])
        theirs.close()
        assert isinstance(heard(mine).message, Ready)
        os.kill(stopped.pid, signal.SIGSTOP)
        send(mine, Dispatch(stopped.pid))
        answer = heard(mine).message
        mine.close()
        return answer, stopped.end()

    assert forked(work) == (Applied(), -signal.SIGKILL)


def test_only_wardens_are_ended(tmp_path: Path) -> None:
    sleeper = os.fork()
    if not sleeper:
        time.sleep(60)
        os._exit(0)
    with Hired(post(tmp_path)) as warden:
        for pid in (sleeper, 1, 0, 1 << 40):
            answer = warden.ask(Dispatch(pid)).message
            assert isinstance(answer, Applied)
            assert len(answer.faults) == 1
            assert answer.faults[0].startswith(f"process {pid}")
        assert os.waitid(os.P_PID, sleeper, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    os.kill(sleeper, signal.SIGKILL)
    os.waitpid(sleeper, 0)
