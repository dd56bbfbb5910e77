"""Each kind of process breaks out by intention and fails; what it needs, it can do."""

import asyncio
import contextlib
import ctypes
import errno
import faulthandler
import fcntl
import hashlib
import importlib
import mmap
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.system import landlock, sandbox, seccomp
from gateway.system.landlock import NoLandlock
from gateway.system.privileges import CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW, Account, drop, privileges_of
from gateway.system.sandbox import Confinement, Kind, confine, filter_of
from gateway.system.seccomp import Argument, Filter, NoSeccomp, Rule
from tests.support.forked import forked

NOBODY = Account(65534, 65534)
OF_THE_WARDEN = (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW)
ALL = tuple(Kind)
INHERITED = (Kind.WORKER, Kind.WATCHER, Kind.HELPER)
NOT_FORKING = (Kind.WORKER, Kind.WATCHER)
SERVING = (Kind.WORKER, Kind.WATCHER, Kind.WARDEN)


def what_there_is() -> Confinement:
    """What this machine can put into force."""
    found = forked(lambda: confine(Kind.WORKER))
    assert isinstance(found, Confinement)
    return found


HERE = what_there_is()
ABI = int(HERE.landlock.removeprefix("ABI ")) if HERE.landlock.startswith("ABI ") else 0

needs_both = pytest.mark.skipif(HERE.seccomp != "on" or not ABI, reason=f"needs seccomp and Landlock; here: {HERE}")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whom permissions do not stop; run it as root")
pytestmark = needs_both


def confined(kind: Kind, attempt: Callable[[], Any], readable: tuple[Path, ...] = (), **options: Any) -> Any:
    """What comes of an attempt in a process of a kind, without capabilities but those of the warden.

    It stays this user, so that it is Landlock and the filter that stop it; with ``account`` it becomes another.
    """
    writable = tuple(map(str, options.get("writable", ())))

    def life() -> Any:
        drop(options.get("account"), OF_THE_WARDEN if kind is Kind.WARDEN else ())
        found = confine(kind, tuple(map(str, readable)), writable)
        assert found == HERE, found
        return attempt()

    return forked(life)


def child_of_the_supervisor(kind: Kind, attempt: Callable[[], Any]) -> Any:
    """The same in a process whose parent was confined before."""

    def life() -> Any:
        drop(None)
        assert confine(Kind.SUPERVISOR) == HERE
        return confined(kind, attempt)

    return forked(life)


def outcomes(*attempts: Callable[[], object]) -> list[str]:
    """``let``, or the name of the error's number, for each."""
    return [_outcome(attempt) for attempt in attempts]


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "let"


# Breaking out: system calls


LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None) -> int:
    """A function of the C library. Raises OSError."""
    values = (value if isinstance(value, bytes | None) else ctypes.c_long(value) for value in arguments)
    result = int(LIBC[name](*values))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def by_name(name: str, *arguments: int | bytes | None) -> int:
    """A system call that the C library may not have. Raises OSError."""
    return landlock.syscall(seccomp._number(seccomp._functions(seccomp.LIBRARY), name), *arguments)


def make(family: int, kind: int, protocol: int = 0) -> str:
    with socket.socket(family, kind, protocol):
        return "let"


def listen() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()


def bind_low() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 80))


def fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def own(command: int, argument: int | bytes) -> None:
    """fcntl(2) on a socket, about the signals that its descriptor has sent, and to whom."""
    with socket.socket() as sock:
        fcntl.fcntl(sock, command, argument)


def own_by_ioctl(request: int) -> None:
    """The same by ioctl(2), to the parent."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, request, struct.pack("i", os.getppid()))


def with_a_file(act: Callable[[int], object]) -> None:
    """On an open file with content."""
    descriptor = os.memfd_create("gateway")
    try:
        os.write(descriptor, b"secret")
        act(descriptor)
    finally:
        os.close(descriptor)


def punch(descriptor: int) -> None:
    """fallocate(2) with FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE."""
    call("fallocate", descriptor, 0x03, 0, 6)


F_SETOWN_EX, F_OWNER_TID = 15, 0
FIOSETOWN, SIOCSPGRP = 0x8901, 0x8902
NETFILTER, GENERIC = 12, 16
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PTRACE_TRACEME, PTRACE_SEIZE = 0, 0x4206
TIOCSTI = 0x5412

BREAK_OUTS: list[tuple[str, Callable[[], object], tuple[Kind, ...]]] = [
    ("run a program", lambda: os.execv("/bin/true", ["true"]), SERVING),
    ("run a program from memory", lambda: by_name("execveat", 3, b"", None, None, 0x1000), SERVING),
    ("fork", fork, NOT_FORKING),
    ("trace another process", lambda: call("ptrace", PTRACE_SEIZE, os.getppid(), 0, 0), ALL),
    ("be traced", lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0), ALL),
    ("read another process's memory", lambda: call("process_vm_readv", os.getppid(), None, 0, None, 0, 0), ALL),
    ("signal the parent", lambda: os.kill(os.getppid(), 0), NOT_FORKING),
    ("signal the parent's thread", lambda: by_name("tgkill", os.getppid(), os.getppid(), 0), NOT_FORKING),
    ("have the parent signalled", lambda: own(fcntl.F_SETOWN, os.getppid()), SERVING),
    ("have its thread signalled", lambda: own(F_SETOWN_EX, struct.pack("ii", F_OWNER_TID, os.getppid())), SERVING),
    ("have SIGKILL sent", lambda: own(fcntl.F_SETSIG, signal.SIGKILL), SERVING),
    ("have the parent signalled by ioctl", lambda: own_by_ioctl(FIOSETOWN), SERVING),
    ("have the parent signalled as its group", lambda: own_by_ioctl(SIOCSPGRP), SERVING),
    ("empty an open file", lambda: with_a_file(lambda file: os.ftruncate(file, 0)), SERVING),
    ("empty a part of an open file", lambda: with_a_file(punch), SERVING),
    ("mount", lambda: call("mount", b"none", b"/nonexistent", b"tmpfs", 0, None), ALL),
    ("unmount", lambda: call("umount2", b"/nonexistent", 0), ALL),
    ("leave for a user namespace", lambda: call("unshare", CLONE_NEWUSER), ALL),
    ("leave for a network namespace", lambda: call("unshare", CLONE_NEWNET), ALL),
    ("fork into a user namespace", lambda: by_name("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0), ALL),
    ("enter a namespace", lambda: call("setns", 0, 0), ALL),
    ("change the root", lambda: os.chroot("/"), ALL),
    ("load a program into the kernel", lambda: by_name("bpf", 0, None, 0), ALL),
    ("load a module", lambda: by_name("init_module", None, 0, b""), ALL),
    ("use a key", lambda: by_name("keyctl", 0, 0, 0, 0, 0), ALL),
    ("use a ring", lambda: by_name("io_uring_setup", 1, bytes(120)), ALL),
    ("count another's events", lambda: by_name("perf_event_open", None, 0, 0, 0, 0), ALL),
    ("handle page faults", lambda: by_name("userfaultfd", 0), ALL),
    ("set the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()), ALL),
    ("reboot", lambda: by_name("reboot", 0, 0, 0, None), ALL),
    ("name the host", lambda: call("sethostname", None, 1), ALL),
    ("read the kernel's log", lambda: call("klogctl", 3, bytes(16), 16), ALL),
    ("take another's descriptor", lambda: by_name("pidfd_getfd", 0, 0, 0), ALL),
    ("limit another process", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU), ALL),
    ("listen", listen, NOT_FORKING),
    ("open a raw socket", lambda: make(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), ALL),
    ("open a raw socket of IPv6", lambda: make(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6), ALL),
    ("open a packet socket", lambda: make(socket.AF_PACKET, socket.SOCK_RAW, 0), ALL),
    ("open a packet socket for datagrams", lambda: make(socket.AF_PACKET, socket.SOCK_DGRAM, 0), ALL),
    ("open a netlink socket", lambda: make(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE), (Kind.WORKER,)),
    ("reach the packet filter", lambda: make(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER), ALL),
    ("reach generic netlink", lambda: make(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC), ALL),
    ("open a virtual machine's socket", lambda: make(socket.AF_VSOCK, socket.SOCK_STREAM), ALL),
    ("open a socket of the crypto interface", lambda: make(socket.AF_ALG, socket.SOCK_SEQPACKET), ALL),
    ("type on a terminal", lambda: fcntl.ioctl(0, TIOCSTI, b"x"), SERVING),
    ("let itself be dumped", lambda: call("prctl", 4, 1, 0, 0, 0), SERVING),
    ("load a filter", lambda: by_name("seccomp", 1, 0, None), SERVING),
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_a_process_can_not(kind: Kind) -> None:
    assert let_through(kind, partial(confined, kind)) == {}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_a_process_can_not_by_the_filter_alone(kind: Kind) -> None:
    """As on a kernel without Landlock, and with all that root may do."""

    def filtered(attempt: Callable[[], Any]) -> Any:
        def life() -> Any:
            seccomp.load(filter_of(kind, os.getpid()))
            return attempt()

        return forked(life)

    assert let_through(kind, filtered) == {}


def let_through(kind: Kind, run: Callable[[Callable[[], Any]], Any]) -> dict[str, str]:
    """The attempts that are not refused, with their outcomes."""
    mine = [(what, attempt) for what, attempt, kinds in BREAK_OUTS if kind in kinds]
    results = run(lambda: outcomes(*(attempt for _, attempt in mine)))
    return {what: result for (what, _), result in zip(mine, results, strict=True) if result != "EPERM"}


@pytest.mark.skipif("cap_sys_admin" not in privileges_of().capabilities, reason="needs all powers of root")
def test_the_same_can_be_done_by_root_that_is_not_confined() -> None:
    """Else the attempts would prove nothing: here they succeed, or fail for another reason."""
    risky = {"run a program", "set the clock", "fork into a user namespace", "type on a terminal",
             "trace another process"}  # fmt: skip
    mine = [(what, attempt) for what, attempt, _ in BREAK_OUTS if what not in risky]
    refused = {what for what, attempt in mine if forked(partial(outcomes, attempt)) == ["EPERM"]}
    assert refused <= {"use a ring", "load a module", "load a program into the kernel"}  # some hosts switch them off


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_clone3_is_answered_as_by_a_kernel_that_does_not_have_it(kind: Kind) -> None:
    assert confined(kind, lambda: by_name("clone3", bytes(64), 64)) == "ENOSYS"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_calls_of_future_kernels_are_answered_as_by_this_one(kind: Kind) -> None:
    assert confined(kind, lambda: outcomes(*(partial(landlock.syscall, number) for number in (470, 511)))) == [
        "ENOSYS",
        "ENOSYS",
    ]


@needs_root
@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not Kind.WARDEN], ids=lambda kind: kind.value)
def test_a_port_of_the_system_can_not_be_bound_by_an_ordinary_user(kind: Kind) -> None:
    low = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    if int(low) <= 80:
        pytest.skip("this host lets everybody bind port 80")
    assert confined(kind, bind_low, account=NOBODY) == "EACCES"


# Breaking out: files


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with a file that only Landlock keeps anybody from."""
    (tmp_path / "file").write_text("secret")
    return tmp_path


@pytest.fixture
def home() -> Iterator[Path]:
    """The same where commands may not write either."""
    place = Path(tempfile.mkdtemp(prefix=".gateway-test-", dir="/root"))
    try:
        (place / "file").write_text("secret")
        yield place
    finally:
        shutil.rmtree(place)


@needs_root
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_the_passwords_of_the_host_can_not_be_read(kind: Kind) -> None:
    account = None if kind is Kind.WARDEN else NOBODY
    assert confined(kind, Path("/etc/shadow").read_text, account=account) == "EACCES"


@pytest.mark.parametrize("kind", SERVING, ids=lambda kind: kind.value)
def test_a_file_can_not_be_read_outside_of_the_folders(kind: Kind, house: Path) -> None:
    assert confined(kind, (house / "file").read_text) == "EACCES"
    assert confined(kind, (house / "file").read_text, (house,)) == "secret"


@pytest.mark.parametrize("kind", SERVING, ids=lambda kind: kind.value)
def test_a_file_can_not_be_written_outside_of_the_folders(kind: Kind, house: Path) -> None:
    leave_alone(kind, house)


@needs_root
@pytest.mark.parametrize("kind", [Kind.SUPERVISOR, Kind.HELPER], ids=lambda kind: kind.value)
def test_a_file_can_not_be_written_where_commands_do_not_write(kind: Kind, home: Path) -> None:
    leave_alone(kind, home)


def leave_alone(kind: Kind, place: Path) -> None:
    """All that could be done to a folder which is readable for it."""
    attempts = (
        partial((place / "file").write_text, "mine"),
        partial((place / "new").write_text, "mine"),
        (place / "file").unlink,
        partial((place / "file").rename, place / "new"),
        (place / "folder").mkdir,
        partial((place / "link").symlink_to, "file"),
    )
    found = confined(kind, lambda: outcomes(*attempts), (place,))
    assert set(found) <= {"EACCES", "EPERM"}
    assert (place / "file").read_text() == "secret"
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize("kind", SERVING, ids=lambda kind: kind.value)
def test_no_place_for_files_is_left(kind: Kind) -> None:
    places = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm", "/run") if os.access(place, os.W_OK)]
    attempts = [partial((place / f"gateway-test-{os.getpid()}").write_text, "mine") for place in places]
    assert set(confined(kind, lambda: outcomes(*attempts))) == {"EACCES"}


@pytest.mark.parametrize("kind", NOT_FORKING, ids=lambda kind: kind.value)
def test_other_processes_can_not_be_looked_into(kind: Kind) -> None:
    other = f"/proc/{os.getpid()}"
    assert confined(kind, lambda: outcomes(lambda: Path(f"{other}/status").read_text(), *[
        partial(os.open, f"{other}/{name}", os.O_RDONLY) for name in ("mem", "environ", "cmdline")
    ])) == ["EACCES"] * 4  # fmt: skip


@pytest.mark.skipif(ABI < 6, reason="needs Landlock ABI 6, as of Linux 6.12")
@pytest.mark.parametrize("kind", [Kind.WARDEN, Kind.HELPER], ids=lambda kind: kind.value)
def test_who_may_signal_can_not_signal_beyond_its_own_children(kind: Kind) -> None:
    parent = os.getpid()
    assert confined(kind, partial(os.kill, parent, 0)) == "EPERM"
    assert confined(Kind.SUPERVISOR, partial(os.kill, parent, 0)) is None


@pytest.mark.skipif(ABI < 6, reason="needs Landlock ABI 6, as of Linux 6.12")
def test_abstract_sockets_are_for_the_supervisor_and_for_commands() -> None:
    name = f"\0gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        found = {kind: confined(kind, partial(datagram_to, name)) for kind in ALL}
    assert found == {
        Kind.SUPERVISOR: "let",
        Kind.HELPER: "let",
        Kind.WARDEN: "EPERM",
        Kind.WATCHER: "EPERM",
        Kind.WORKER: "EPERM",
        Kind.RESOLVER: "EPERM",
    }


def datagram_to(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        return "let"


# What is needed


def threads() -> object:
    with contextlib.ExitStack() as stack:
        from concurrent.futures import ThreadPoolExecutor

        pool = stack.enter_context(ThreadPoolExecutor(2))
        return list(pool.map(lambda number: number + 1, range(4)))


def scrypt() -> object:
    return len(hashlib.scrypt(b"password", salt=b"salt", n=16, r=8, p=1))


def look_up() -> object:
    found = {name[4][0] for name in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    return not found.isdisjoint({"127.0.0.1", "::1"})


def look_up_in_a_loop() -> object:
    async def life() -> bool:
        return bool(await asyncio.get_running_loop().getaddrinfo("localhost", 80))

    return asyncio.run(life())


def serve_and_connect() -> object:
    async def life() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            theirs.send(b"hello\n")
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line

    return asyncio.run(life())


def connect_nowhere() -> object:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock.connect_ex(sock.getsockname()) == 0  # to itself: TCP's simultaneous open


def pass_a_descriptor() -> object:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [0])
        data, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        os.close(descriptors[0])
        credentials = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return data, len(descriptors), len(credentials)


def tell_the_time() -> object:
    time.tzset()
    return time.localtime(0).tm_year in {1969, 1970}


def import_late() -> object:
    for name in [name for name in sys.modules if name.startswith("wsgiref")]:
        del sys.modules[name]
    return importlib.import_module("wsgiref.util").__name__


def load_a_library() -> object:
    return bool(ctypes.CDLL("libanl.so.1"))


def use_memory() -> object:
    with mmap.mmap(-1, 1 << 20) as shared:
        shared[:5] = b"hello"
        return shared[:5]


def pass_a_file_that_nobody_can_change() -> object:
    """As journald and the workers are given them."""
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    with os.fdopen(os.memfd_create("gateway", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+b") as file:
        file.write(b"hello")
        file.flush()
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        return os.pread(file.fileno(), 16, 0), fcntl.fcntl(file, fcntl.F_GET_SEALS) == seals


def command_descriptors() -> object:
    """What libraries do to theirs."""
    reading, writing = os.pipe()
    with socket.socket() as sock, open(os.devnull) as null, open(reading), open(writing, "a"):
        fcntl.fcntl(sock, fcntl.F_SETFL, fcntl.fcntl(sock, fcntl.F_GETFL) | os.O_NONBLOCK)
        fcntl.fcntl(sock, fcntl.F_SETFD, fcntl.fcntl(sock, fcntl.F_GETFD))
        fcntl.lockf(null, fcntl.LOCK_SH)
        os.close(os.dup(sock.fileno()))
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 16)
        return os.get_blocking(sock.fileno()), fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)


def use_descriptors() -> object:
    for descriptor in (os.eventfd(1), os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else os.dup(0)):
        os.close(descriptor)
    return len(os.urandom(8)), bool(os.listdir("/proc/self/fd")), os.cpu_count() is not None


def read_state() -> object:
    return privileges_of().seccomp


def raise_limits() -> object:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return hard >= soft


def hear_a_signal() -> object:
    heard: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    signal.raise_signal(signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    return len(heard)


def name_itself() -> object:
    name = ctypes.create_string_buffer(b"sockd: test")
    call("prctl", 15, ctypes.addressof(name), 0, 0, 0)
    return Path("/proc/self/comm").read_text().strip()


def write_to_nothing() -> object:
    with open(os.devnull, "w") as null:
        return null.write("x")


def read_its_folders() -> object:
    return [os.path.isdir(folder) and os.access(folder, os.R_OK) for folder in ("/etc", "/usr")]


def leave_the_event_loop_nothing_to_miss() -> object:
    with open("/etc/hosts") as hosts:
        return len(hosts.read()) > 0


NEEDED: list[tuple[str, Callable[[], object], object, tuple[Kind, ...]]] = [
    ("start threads", threads, [1, 2, 3, 4], ALL),
    ("hash passwords", scrypt, 64, ALL),
    ("run a loop", serve_and_connect, b"hello\n", ALL),
    ("look up names", look_up, True, NOT_FORKING),
    ("look up names in a thread", look_up_in_a_loop, True, (*NOT_FORKING, Kind.HELPER)),
    ("read the host's files", leave_the_event_loop_nothing_to_miss, True, NOT_FORKING),
    ("connect", connect_nowhere, True, ALL),
    ("pass descriptors", pass_a_descriptor, (b"x", 1, 12), ALL),
    ("tell the time", tell_the_time, True, ALL),
    ("import modules", import_late, "wsgiref.util", ALL),
    ("load libraries", load_a_library, True, ALL),
    ("use memory", use_memory, b"hello", ALL),
    ("pass a file that nobody can change", pass_a_file_that_nobody_can_change, (b"hello", True), ALL),
    ("command descriptors", command_descriptors, (False, 1 << 16), ALL),
    ("use descriptors", use_descriptors, (8, True, True), ALL),
    ("read its own state", read_state, "filter", ALL),
    ("raise its own limits", raise_limits, True, ALL),
    ("hear signals", hear_a_signal, 3, ALL),
    ("name itself", name_itself, "sockd: test", ALL),
    ("write to nothing", write_to_nothing, 1, ALL),
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_a_process_can(kind: Kind) -> None:
    check_needs(kind, partial(confined, kind))


@pytest.mark.parametrize("kind", INHERITED, ids=lambda kind: kind.value)
def test_a_child_of_the_supervisor_can(kind: Kind) -> None:
    check_needs(kind, partial(child_of_the_supervisor, kind))


def check_needs(kind: Kind, run: Callable[[Callable[[], Any]], Any]) -> None:
    mine = [(what, act, wanted) for what, act, wanted, kinds in NEEDED if kind in kinds]
    results = run(lambda: [answer(act) for _, act, _ in mine])
    found = {what: (result, wanted) for (what, _, wanted), result in zip(mine, results, strict=True)}
    assert {what: both for what, both in found.items() if both[0] != both[1]} == {}


def answer(act: Callable[[], object]) -> object:
    try:
        return act()
    except Exception as error:
        return repr(error)


def as_nobody(path: str) -> None:
    """Open a file."""
    drop(NOBODY)
    with open(path):
        pass


@needs_root
@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not Kind.WARDEN], ids=lambda kind: kind.value)
def test_an_ordinary_user_can(kind: Kind) -> None:
    if forked(partial(as_nobody, os.__file__)) == "EACCES":
        pytest.skip("ordinary users can not read this Python; install one that they can")
    check_needs(kind, partial(confined, kind, account=NOBODY))


@pytest.mark.skipif(not hasattr(os, "splice"), reason="needs splice(2)")
def test_a_worker_splices() -> None:
    def relay() -> bytes:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        ours, theirs = socket.socketpair()
        ours.send(b"hello")
        moved = os.splice(theirs.fileno(), writing, 1 << 16, flags=0x1)
        os.splice(reading, theirs.fileno(), moved)
        return ours.recv(16)

    assert confined(Kind.WORKER, relay) == b"hello"
    assert confined(Kind.WATCHER, relay) == "EPERM"


def test_who_does_routes_opens_netlink() -> None:
    def addresses() -> bool:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.bind((0, 0))
            return socket.if_nametoindex("lo") == 1

    found = {kind: confined(kind, addresses) for kind in (Kind.WATCHER, Kind.WARDEN)}
    assert found == {Kind.WATCHER: True, Kind.WARDEN: True}


def test_syslog_is_reached_wherever_its_socket_is(house: Path) -> None:
    path = str(house / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        assert {confined(kind, partial(datagram_to, path)) for kind in ALL} == {"let"}


@needs_root
def test_a_warden_opens_ports_and_logs_and_files(house: Path) -> None:
    (house / "log").mkdir()

    def work() -> tuple[str, bool, list[str]]:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        with (house / "log" / "new").open("a") as log:
            os.fchmod(log.fileno(), 0o640)
            log.write("line\n")
        fork()
        refused = outcomes(partial((house / "file").write_text, "x"), partial(os.mkdir, house / "folder"))
        return (house / "file").read_text(), os.access(house / "log" / "new", os.F_OK), refused

    result = confined(Kind.WARDEN, work, (house,), writable=(house / "log",))
    assert result == ("secret", True, ["EACCES", "EACCES"])
    assert (house / "log" / "new").read_text() == "line\n"


@needs_root
def test_a_warden_binds_a_port_of_the_system() -> None:
    def bind() -> str:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return _outcome(partial(sock.bind, ("127.0.0.71", 80)))

    assert confined(Kind.WARDEN, bind) == "let"


def test_a_spare_that_a_warden_forks_is_confined_already() -> None:
    def spare() -> list[str]:
        return forked(lambda: outcomes(lambda: os.execv("/bin/true", ["true"]), Path("/etc/passwd").read_text))  # type: ignore[no-any-return]

    assert confined(Kind.WARDEN, spare) == ["EPERM", "EACCES"]


def test_late_modules_are_found_wherever_python_looks_but_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "here", "/", "//", "/tmp/..", "/opt/modules"])
    package = str(Path(sandbox.__file__).parents[1])
    assert sandbox._imports() == (package, "/opt/modules")


def test_a_file_of_etc_that_is_a_link_is_read_where_it_is(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (house / "far").mkdir()
    (house / "far" / "resolv.conf").write_text("nameserver 127.0.0.1")
    link = house / "resolv.conf"
    link.symlink_to(house / "far" / "resolv.conf")
    assert confined(Kind.WORKER, link.read_text) == "EACCES"
    monkeypatch.setattr(sandbox, "LINKS", (str(link),))
    assert confined(Kind.WORKER, link.read_text) == "nameserver 127.0.0.1"
    assert confined(Kind.WARDEN, link.read_text) == "EACCES"
    link.unlink()
    link.symlink_to("/resolv.conf")
    assert confined(Kind.WORKER, (house / "file").read_text) == "EACCES"


COMMANDS = [
    pytest.param("echo hello", "hello\n", id="echo"),
    pytest.param("printf '%s' a b | tr a-z A-Z | sed s/A/X/", "XB", id="a pipeline"),
    pytest.param("cat /etc/hostname > {}/copy && wc -l < {}/copy | tr -d ' '", "1\n", id="files in /tmp"),
    pytest.param("ls / | grep -c '^etc$'; id -u > /dev/null; date > /dev/null; sleep 0", "1\n", id="small programs"),
    pytest.param("trap 'echo caught' USR1; kill -USR1 $$", "caught\n", id="a signal to itself"),
    pytest.param("sleep 60 & kill $!; wait $! 2>&-; echo $?", "143\n", id="a signal to its child"),
    pytest.param("umask 077; mkdir {}/d && touch {}/d/f && mv {}/d/f {}/g && rm -r {}/d && ls {}", "g\n", id="folders"),
    pytest.param("ulimit -n 64 && ulimit -n", "64\n", id="limits"),
]


@pytest.mark.parametrize(("command", "output"), COMMANDS)
def test_a_helper_runs_commands_below_a_confined_supervisor(command: str, output: str, tmp_path: Path) -> None:
    line = command.replace("{}", str(tmp_path))

    async def run() -> str:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )  # fmt: skip
        said, _ = await process.communicate()
        return said.decode()

    assert child_of_the_supervisor(Kind.HELPER, lambda: asyncio.run(run())) == output


def test_a_helper_ends_the_commands_that_it_started() -> None:
    def life() -> int:
        with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as process:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    assert child_of_the_supervisor(Kind.HELPER, life) == -signal.SIGKILL


@pytest.mark.parametrize("kind", INHERITED, ids=lambda kind: kind.value)
def test_a_confined_supervisor_watches_and_ends_its_children(kind: Kind) -> None:
    def life() -> tuple[str, int]:
        drop(None)
        confine(Kind.SUPERVISOR)
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            confine(kind)
            os.write(theirs, b"x")
            signal.pause()
        os.read(ours, 1)
        os.close(os.pidfd_open(pid))
        state = privileges_of(pid).seccomp
        os.kill(pid, signal.SIGTERM)
        return state, os.WTERMSIG(os.waitpid(pid, 0)[1])

    assert forked(life) == ("filter", signal.SIGTERM)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_a_process_that_aborts_ends_at_once(kind: Kind) -> None:
    def abort() -> None:
        faulthandler.disable()
        os.abort()

    with pytest.raises(AssertionError, match=f"ended with -{signal.SIGABRT.value} "):
        confined(kind, abort)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.value)
def test_where_a_process_crashed_is_written(kind: Kind) -> None:
    def where(file: int) -> None:
        faulthandler.enable(file)
        os.abort()

    with tempfile.TemporaryFile() as file:
        with pytest.raises(AssertionError, match="and no answer"):
            confined(kind, partial(where, file.fileno()))
        file.seek(0)
        assert b"in where" in file.read()


# The tables


def implies(narrow: Rule, wide: Rule) -> bool:
    """Whether whatever the one lets through the other lets through as well."""
    return narrow.error == wide.error and all(
        any(
            mine.place == theirs.place and mine.mask & theirs.mask == theirs.mask
            and mine.value & theirs.mask == theirs.value
            for mine in narrow.conditions
        )
        for theirs in wide.conditions
    )  # fmt: skip


def wider(held: Filter, rule: Rule, name: str | int) -> bool:
    return any(name in other.calls and implies(rule, other) for other in held.rules)


@pytest.mark.parametrize("kind", INHERITED, ids=lambda kind: kind.value)
def test_the_supervisor_may_do_all_that_its_children_may(kind: Kind) -> None:
    held = filter_of(Kind.SUPERVISOR, 1)
    missing = [
        (name, rule.conditions)
        for rule in filter_of(kind, 2).rules
        for name in rule.calls
        if not wider(held, rule, name)
    ]
    assert missing == []
    ours, theirs = sandbox.PROFILES[Kind.SUPERVISOR], sandbox.PROFILES[kind]
    assert "/" in ours.executable
    assert set(theirs.writable) <= {*ours.writable, *sandbox.NULL}
    assert theirs.scopes & ours.scopes == ours.scopes


def test_a_narrower_supervisor_would_be_seen() -> None:
    held = Filter((Rule(("read",)), Rule(("socket",), (Argument(0, 1),))))
    assert wider(held, Rule(("read",), (Argument(0, 5),)), "read")
    assert not wider(held, Rule(("write",)), "write")
    assert not wider(held, Rule(("socket",)), "socket")
    assert not wider(held, Rule(("socket",), (Argument(0, 2),)), "socket")
    assert wider(held, Rule(("socket",), (Argument(0, 1), Argument(1, 2))), "socket")


X86_64, AARCH64 = 0xC000003E, 0xC00000B7


def known(name: str) -> bool:
    """Whether any architecture has this call."""
    return seccomp._number(seccomp._functions(seccomp.LIBRARY), name) != seccomp.NO_SUCH_NAME


def number_on(architecture: int, name: str) -> int:
    functions = seccomp._functions(seccomp.LIBRARY)
    functions.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return int(functions.seccomp_syscall_resolve_name_arch(architecture, name.encode()))


def test_every_name_in_the_tables_is_a_system_call() -> None:
    names = {name for kind in ALL for rule in filter_of(kind, 1).rules for name in rule.calls if isinstance(name, str)}
    assert {name for name in names if not known(name)} == set()


NEVER_REFUSED = ("futex", "rt_sigreturn", "exit_group", "exit", "restart_syscall", "munmap", "close")
HOT = (
    "read write writev close recvfrom recvmsg sendto sendmsg connect accept4 setsockopt getsockopt getsockname "
    "getpeername shutdown bind epoll_ctl epoll_pwait epoll_pwait2 splice pipe2 futex clock_gettime getpid"
)


@pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=["x86-64", "arm64"])
def test_what_would_hang_a_process_is_never_refused(architecture: int) -> None:
    for kind in ALL:
        plain = filter_of(kind, 1).rules[0]
        assert plain.conditions == ()
        assert {name for name in NEVER_REFUSED if name not in plain.calls} == set()
    assert all(number_on(architecture, name) >= 0 for name in NEVER_REFUSED)


@pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=["x86-64", "arm64"])
def test_the_data_path_makes_no_call_whose_arguments_are_looked_at(architecture: int) -> None:
    plain = filter_of(Kind.WORKER, 1).rules[0]
    assert {name for name in HOT.split() if name not in plain.calls} == set()
    assert all(number_on(architecture, name) >= 0 for name in HOT.split())


# What is told of it


def told(seccomp_state: str, landlock_state: str = "ABI 7") -> Confinement:
    """As another process says it. Raises ValidationError."""
    return msgspec.convert({"seccomp": seccomp_state, "landlock": landlock_state}, Confinement)


def test_what_another_process_tells_of_itself_is_short_and_can_be_shown() -> None:
    assert told("off: " + 195 * "x") == Confinement("off: " + 195 * "x", "ABI 7")
    for text in ("off: " + 196 * "x", "off\x1b[31m", "off\n", "\n", "off\u202e", "off\x7f", "\u00e9"):
        with pytest.raises(msgspec.ValidationError):
            told(text)
        with pytest.raises(msgspec.ValidationError):
            told("on", text)


def test_what_is_in_force_and_every_reason_why_not_can_be_told() -> None:
    assert told(HERE.seccomp, HERE.landlock) == HERE
    for number in errno.errorcode:
        for reason in (f"off: the kernel refuses a seccomp filter: {os.strerror(number)}",
                       f"off: {landlock._WHY.get(number, os.strerror(number))}"):  # fmt: skip
            assert told(reason, reason) == Confinement(reason, reason)


# Without one or the other


def without(calls: tuple[str, ...], number: int) -> Filter:
    """A supervisor's filter on a kernel that answers these calls with an error."""
    held = filter_of(Kind.SUPERVISOR, 1)
    rules = (Rule(tuple(name for name in rule.calls if name not in calls), rule.conditions, rule.error)
             for rule in held.rules)  # fmt: skip
    return Filter((*rules, Rule(calls, error=number)))


LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        pytest.param(errno.ENOSYS, "off: this kernel has no Landlock", id="older than 5.13"),
        pytest.param(errno.EOPNOTSUPP, "off: Landlock was not chosen at boot", id="not in lsm="),
        pytest.param(errno.EACCES, "off: the kernel refuses Landlock: Permission denied", id="in a container"),
    ],
)
def test_without_landlock_the_filter_holds_and_the_reason_is_told(number: int, why: str) -> None:
    def life() -> tuple[Confinement, str]:
        seccomp.load(without(LANDLOCK, number))
        return confine(Kind.WORKER), _outcome(lambda: make(socket.AF_NETLINK, socket.SOCK_RAW))

    found, outcome = forked(life)
    assert found.seccomp == "on"
    assert found.landlock.startswith(why)
    assert outcome == "EPERM"


def test_without_filters_landlock_holds_and_the_reason_is_told(house: Path) -> None:
    def life() -> tuple[Confinement, str]:
        seccomp.load(without(("seccomp",), errno.EINVAL))
        return confine(Kind.WORKER), _outcome((house / "file").read_text)

    found, outcome = forked(life)
    assert found == Confinement("off: this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)", HERE.landlock)
    assert outcome == "EACCES"


def test_with_neither_the_process_runs_and_both_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_: Filter) -> None:
        raise NoSeccomp("no library")

    def no_kernel(*_: object) -> int:
        raise NoLandlock("no kernel")

    monkeypatch.setattr(seccomp, "load", no_library)
    monkeypatch.setattr(landlock, "restrict", no_kernel)
    assert confine(Kind.WORKER) == Confinement("off: no library", "off: no kernel")


def test_descriptors_that_ran_out_are_a_reason_like_others() -> None:
    def life() -> Confinement:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        return confine(Kind.WORKER)

    assert forked(life).landlock == "off: the kernel refuses a Landlock rule: Too many open files"
