"""Landlock: what can be opened after it, on this kernel and, by what would be said to them, on older ones."""

import errno
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.system import landlock
from gateway.system.landlock import OF_A_FILE, READ, WRITE, Access, NoLandlock, Scope, restrict
from gateway.system.privileges import privileges_of
from tests.support.forked import forked


def this_abi() -> int:
    """The ABI of this kernel; 0 when it has none."""
    try:
        return landlock._abi(landlock.syscall)
    except NoLandlock:
        return 0


def since(abi: int) -> pytest.MarkDecorator:
    return pytest.mark.skipif(this_abi() < abi, reason=f"needs a kernel with Landlock ABI {abi} or newer")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Two folders with a file each."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path


def restricted(
    attempt: Callable[[], Any],
    readable: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    executable: Sequence[Path] = (),
    scopes: Scope = Scope.NOTHING,
) -> Any:
    """What comes of an attempt in a process that is restricted to these."""

    def life() -> Any:
        restrict(texts(readable), texts(writable), texts(executable), scopes)
        return attempt()

    return forked(life)


def texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def rename(old: Path, new: Path) -> str:
    old.rename(new)
    return "let"


def write(path: Path) -> int:
    with path.open("a") as file:
        return file.write("more")


def fork_and_run(program: str) -> int:
    return subprocess.run([program], check=False).returncode


@since(1)
def test_a_file_below_a_readable_folder_is_read_and_not_written(house: Path) -> None:
    inside = house / "inside"
    assert restricted((inside / "file").read_text, [inside]) == "inside"
    assert restricted(lambda: os.listdir(inside), [inside]) == ["file"]
    assert restricted(lambda: write(inside / "file"), [inside]) == "EACCES"
    assert restricted(lambda: (inside / "new").touch(), [inside]) == "EACCES"


@since(1)
def test_all_else_is_closed_also_for_root(house: Path) -> None:
    inside, outside = house / "inside", house / "outside"
    assert restricted((outside / "file").read_text, [inside]) == "EACCES"
    assert restricted(lambda: os.listdir(house), [inside]) == "EACCES"
    assert restricted((inside / ".." / "outside" / "file").read_text, [inside]) == "EACCES"


@since(1)
def test_a_link_out_of_the_folder_leads_nowhere(house: Path) -> None:
    (house / "inside" / "link").symlink_to(house / "outside" / "file")
    assert restricted((house / "inside" / "link").read_text, [house / "inside"]) == "EACCES"
    assert restricted((house / "inside" / "link").read_text, [house / "inside", house / "outside"]) == "outside"


@since(1)
def test_a_file_that_was_put_in_place_of_another_is_readable(house: Path) -> None:
    """As editors do with a configuration, while the process that will read it is restricted already."""
    inside = house / "inside"
    (inside / "draft").write_text("new")

    def replaced() -> str:
        release.send(b"x")
        done.recv(1)
        return (inside / "file").read_text()

    hold, release = socket.socketpair()
    done, tell = socket.socketpair()
    with hold, release, done, tell:
        editor = os.fork()
        if editor == 0:
            try:
                release.close()
                hold.recv(1)
                (inside / "draft").rename(inside / "file")
                tell.send(b"x")
            finally:
                os._exit(0)
        assert restricted(replaced, [inside]) == "new"
        os.waitpid(editor, 0)


@since(1)
def test_one_file_can_be_named(house: Path) -> None:
    file = house / "inside" / "file"
    (house / "inside" / "other").touch()
    assert restricted(file.read_text, [file]) == "inside"
    assert restricted((house / "inside" / "other").read_text, [file]) == "EACCES"
    assert restricted(lambda: write(file), [], [file]) == 4


@since(1)
def test_a_device_can_be_named() -> None:
    assert restricted(lambda: write(Path("/dev/null")), [], [Path("/dev/null")]) == 4


@since(1)
def test_a_writable_folder_takes_new_files_and_gives_old_ones_away(house: Path) -> None:
    inside = house / "inside"
    assert restricted(lambda: write(inside / "new"), [], [inside]) == 4
    assert restricted((inside / "file").unlink, [], [inside]) is None
    assert restricted((inside / "folder").mkdir, [], [inside]) is None
    assert restricted(lambda: write(house / "outside" / "file"), [], [inside]) == "EACCES"
    assert restricted(lambda: os.mknod(inside / "device", 0o600 | 0o020000, os.makedev(1, 3)), [], [inside]) in {
        "EACCES",
        "EPERM",
    }


@since(2)
def test_a_file_moves_between_writable_folders_only(house: Path) -> None:
    inside, outside = house / "inside", house / "outside"
    assert restricted(lambda: rename(inside / "file", outside / "new"), [outside], [inside]) in {"EACCES", "EXDEV"}
    assert restricted(lambda: rename(inside / "file", outside / "new"), [], [inside, outside]) == "let"


@since(3)
def test_a_file_that_is_only_readable_is_not_cut(house: Path) -> None:
    file = house / "inside" / "file"
    assert restricted(lambda: os.truncate(file, 0), [file]) == "EACCES"
    assert restricted(lambda: os.truncate(file, 0), [], [file]) is None


@since(1)
def test_programs_run_from_executable_folders_only() -> None:
    assert restricted(lambda: fork_and_run("/bin/true"), [Path("/")]) == "EACCES"
    assert restricted(lambda: fork_and_run("/bin/true"), [], [], [Path("/")]) == 0


@since(1)
def test_what_is_open_already_stays_usable(house: Path) -> None:
    with (house / "outside" / "file").open("r+") as file:
        assert restricted(lambda: (file.read(), file.write("more"))) == ("outside", 4)


@since(1)
def test_paths_that_do_not_exist_are_left_out(house: Path) -> None:
    inside = house / "inside"
    missing = [house / "missing", inside / "file" / "below", inside]
    assert restricted((inside / "file").read_text, missing) == "inside"


@since(1)
def test_a_pipe_can_be_opened_anew(house: Path) -> None:
    """As the log does with a standard error that is a pipe, so that writing never blocks."""
    reading, writing = os.pipe()
    try:
        opened = restricted(lambda: os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK) > 2, [house])
        assert opened is True
    finally:
        os.close(reading)
        os.close(writing)


@since(1)
def test_a_socket_with_a_path_is_reached_anywhere(house: Path) -> None:
    """As syslog's is: whether it may be is for its permissions to say."""
    path = str(house / "outside" / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        assert restricted(lambda: datagram_to(path), [house / "inside"]) == 5


def datagram_to(address: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        return sock.send(b"hello")


@since(6)
def test_an_abstract_socket_is_reached_unless_it_is_out_of_scope() -> None:
    name = f"\0gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(name)
        assert restricted(lambda: datagram_to(name), [Path("/")]) == 5
        assert restricted(lambda: datagram_to(name), [Path("/")], scopes=Scope.ABSTRACT_UNIX_SOCKET) == "EPERM"


@since(6)
def test_signals_go_out_unless_that_is_out_of_scope() -> None:
    parent = os.getpid()
    assert restricted(lambda: os.kill(parent, 0), [Path("/")]) is None
    assert restricted(lambda: os.kill(parent, 0), [Path("/")], scopes=Scope.SIGNAL) == "EPERM"


@since(6)
def test_children_are_signalled_in_every_scope() -> None:
    def life() -> int:
        child = os.fork()
        if child == 0:
            signal.pause()
        os.kill(child, signal.SIGKILL)
        return os.WTERMSIG(os.waitpid(child, 0)[1])

    assert restricted(life, [Path("/")], scopes=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) == signal.SIGKILL


@since(1)
def test_a_second_restriction_only_takes_away(house: Path) -> None:
    inside, outside = house / "inside", house / "outside"

    def life() -> str:
        restrict([str(house)], [])
        restrict([str(inside)], [])
        assert (inside / "file").read_text() == "inside"
        return (outside / "file").read_text()

    assert forked(life) == "EACCES"


@since(1)
def test_the_abi_in_force_is_told_and_nothing_but_the_restriction_is_left() -> None:
    def life() -> tuple[int, bool, bool]:
        before = os.listdir("/proc/self/fd")
        return restrict(["/"], []), os.listdir("/proc/self/fd") == before, privileges_of().no_new_privs

    assert forked(life) == (this_abi(), True, True)


# Other kernels


class Kernel:
    """A kernel of some ABI that notes what it is told."""

    def __init__(self, abi: int) -> None:
        self.abi = abi
        self.handled = Access(0)
        self.scopes = Scope.NOTHING
        self.rules: list[Access] = []
        self.restricted = False

    def __call__(self, number: int, *arguments: Any) -> int:
        if number == landlock.CREATE_RULESET:
            return self._create(*arguments)
        if number == landlock.ADD_RULE:
            assert arguments[1] == landlock.RULE_PATH_BENEATH
            access, beneath = struct.unpack("=Qi", arguments[2])
            os.fstat(beneath)
            self.rules.append(Access(access))
        elif number == landlock.RESTRICT_SELF:
            self.restricted = True
        return 0

    def _create(self, attributes: bytes | None, size: int, flags: int) -> int:
        if flags:
            assert (attributes, size, flags) == (None, 0, landlock.CREATE_RULESET_VERSION)
            return self.abi
        assert attributes is not None
        assert len(attributes) == size
        files, ports, scopes = struct.unpack("=QQQ", attributes)
        self.handled, self.scopes = Access(files), Scope(scopes)
        assert ports == 0
        return os.open("/dev/null", os.O_RDONLY)


HANDLED = [
    pytest.param(1, 0x1FFF, Scope.NOTHING, id="Linux 5.13 knows neither moving, nor cutting, nor devices"),
    pytest.param(2, 0x3FFF, Scope.NOTHING, id="Linux 5.19 knows moving"),
    pytest.param(3, 0x7FFF, Scope.NOTHING, id="Linux 6.2 knows cutting"),
    pytest.param(4, 0x7FFF, Scope.NOTHING, id="Linux 6.7 knows ports, which are not restricted"),
    pytest.param(5, 0xFFFF, Scope.NOTHING, id="Linux 6.10 knows devices"),
    pytest.param(6, 0xFFFF, Scope.SIGNAL, id="Linux 6.12 knows scopes"),
    pytest.param(99, 0xFFFF, Scope.SIGNAL, id="a kernel of the future is told what we know"),
]


@pytest.mark.parametrize(("abi", "handled", "scopes"), HANDLED)
def test_a_kernel_is_told_only_what_it_knows(abi: int, handled: int, scopes: Scope, house: Path) -> None:
    def life() -> Kernel:
        kernel = Kernel(abi)
        folder, file = str(house / "inside"), str(house / "inside" / "file")
        assert restrict([folder, file], [folder, file], [folder, file], Scope.SIGNAL, kernel) == abi
        return kernel

    kernel = forked(life)
    assert kernel.restricted
    assert kernel.handled == handled
    assert kernel.scopes == scopes
    kinds = (READ, WRITE, READ | Access.EXECUTE)
    assert kernel.rules == [access & handled & mask for access in kinds for mask in (0xFFFF, OF_A_FILE)]


REFUSALS = [
    pytest.param(errno.ENOSYS, "this kernel has no Landlock", id="older than 5.13, or built without"),
    pytest.param(errno.EOPNOTSUPP, "Landlock was not chosen at boot; add landlock to lsm=", id="not in lsm="),
    pytest.param(errno.EPERM, "the kernel refuses Landlock: Operation not permitted", id="refused by a container"),
]


@pytest.mark.parametrize(("number", "why"), REFUSALS)
def test_a_kernel_without_it_is_told_apart(number: int, why: str) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    with pytest.raises(NoLandlock, match=why):
        restrict(["/"], [], call=refuse)


def test_a_rule_that_the_kernel_refuses_leaves_the_process_as_it_was() -> None:
    kernel = Kernel(3)

    def refuse(number: int, *arguments: Any) -> int:
        if number == landlock.ADD_RULE:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return kernel(number, *arguments)

    before = os.listdir("/proc/self/fd")
    with pytest.raises(NoLandlock, match="the kernel refuses a Landlock rule: Invalid argument"):
        restrict(["/"], [], call=refuse)
    assert not kernel.restricted
    assert os.listdir("/proc/self/fd") == before
