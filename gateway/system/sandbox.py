"""What each kind of process of the daemon may still do after its start: system calls, sockets, files.

Tables first; `confine` puts them into force by gateway.system.seccomp and gateway.system.landlock. They are the last
lines of defence, behind an own user and no capabilities: they hold for a process that somebody else has taken over.

A process inherits what its parent is held to and can only be held to more. The supervisor starts workers, resolvers,
watcher and helper after it was confined, so it may do all that these may. The warden is started before, and its spare,
which it forks, is confined already.

What remains to a worker that was taken over, as no filter can tell it from its work: to shut down the sockets that it
has (the supervisor opens others), and to write over lines of the log file that it has open, since F_SETFL also takes
O_APPEND away. A log that must withstand this goes to syslog, to journald or to another host.
"""

import enum
import errno
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from gateway.system import landlock, seccomp
from gateway.system.landlock import Scope
from gateway.system.seccomp import Argument, Filter, Rule


class Kind(enum.Enum):
    """The kinds of processes; the supervisor is ``gateway`` in the process list."""

    SUPERVISOR = "supervisor"
    WARDEN = "warden"
    WATCHER = "watcher"
    WORKER = "worker"
    HELPER = "helper"
    RESOLVER = "resolver"


State = Annotated[str, Meta(max_length=200, pattern=r"\A[ -~]*\Z")]
"""Its bounds hold where it comes from another process, which may not be what it was: it is shown as it is."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What is in force, for the administrator: ``on`` or ``ABI 7``, or ``off: `` and the reason."""

    seccomp: State
    landlock: State


# System calls. Each group has the names of all architectures: those that one does not have are left out. A call that
# the data path makes all the time stands here, and not below in a rule with conditions (see gateway.system.seccomp).

ENDING = "exit exit_group rt_sigreturn sigreturn restart_syscall"
"""Refused, these would hang or crash a process in place of telling it."""

THREADS = """futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue set_robust_list get_robust_list rseq
    set_tid_address gettid membarrier sched_yield sched_getaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min arch_prctl getcpu set_thread_area set_tls"""
"""Locks and threads; the C library ends a process whose futex(2) fails in an unknown way. How they start: `_births`."""

SIGNALS = """rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack
    signalfd signalfd4 pause"""
"""Receiving them. Sending: `_signals`."""

MEMORY = """brk mmap mmap2 munmap mprotect mremap madvise mincore msync mseal map_shadow_stack memfd_create
    riscv_flush_icache cacheflush"""
"""The interpreter's memory, and the code of modules that are imported late. A file in memory grows by being written."""

CLOCKS = """clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64
    nanosleep gettimeofday time times getitimer setitimer alarm timerfd_create timerfd_settime timerfd_settime64
    timerfd_gettime timerfd_gettime64 timer_create timer_settime timer_settime64 timer_gettime timer_gettime64
    timer_getoverrun timer_delete"""
"""Mostly answered without the kernel, but not on every machine (vdso(7))."""

ITSELF = """getpid getppid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32
    getresuid getresuid32 getresgid getresgid32 getpgid getpgrp getsid getrlimit ugetrlimit getrusage getpriority uname
    sysinfo getrandom capget umask setrlimit"""
"""Who am I, and how is the machine."""

FILES = """open openat openat2 read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek
    stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64 access
    faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd fadvise64 fadvise64_64 fsync fdatasync flock"""
"""Which files may be opened, and how, is for landlock to say: here flags can be hidden (``openat2``)."""

DESCRIPTORS = "close close_range dup dup2 dup3 pipe pipe2 eventfd eventfd2"
"""What is done to those that are open: `FCNTLS`."""

WAITING = """epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 poll
    ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 pidfd_open"""

SOCKETS = """connect bind accept accept4 getsockname getpeername getsockopt setsockopt shutdown send sendto sendmsg
    sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64"""
"""Everything on a socket but making it (`Family`), and listening."""

COMMON = (ENDING, THREADS, SIGNALS, MEMORY, CLOCKS, ITSELF, FILES, DESCRIPTORS, WAITING, SOCKETS)

RELAYING = "splice tee"
"""Bytes from socket to socket that never come here."""

LISTENING = "listen"

CHILDREN = """fork vfork wait4 waitpid waitid pidfd_send_signal kill tkill tgkill rt_sigqueueinfo
    rt_tgsigqueueinfo setpgid setsid"""
"""For who starts processes; whose they must be to be signalled is for landlock to say (`Scope.SIGNAL`)."""

LOGS = "fchmod fchmodat fchmodat2 mkdir mkdirat"
"""Opening a log file that is not there yet, with its folder."""

PROGRAMS = """execve execveat chdir fchdir chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32
    fchownat creat mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat unlink unlinkat rename renameat
    renameat2 truncate truncate64 ftruncate ftruncate64 fallocate fcntl fcntl64 ioctl utime utimes utimensat
    utimensat_time64 futimesat copy_file_range sendfile sendfile64 sync syncfs sync_file_range readahead getxattr
    lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat setxattr lsetxattr fsetxattr setxattrat
    removexattr lremovexattr fremovexattr removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
    setpriority nice ioprio_get ioprio_set sched_setaffinity sched_setparam sched_setscheduler sched_setattr
    sched_getattr sched_rr_get_interval mlock mlock2 munlock mlockall munlockall get_mempolicy set_mempolicy mbind
    cachestat pkey_alloc pkey_free pkey_mprotect vmsplice setuid setuid32 setgid setgid32 setreuid setreuid32 setregid
    setregid32 setresuid setresuid32 setresgid setresgid32 setgroups setgroups32 setfsuid setfsuid32 setfsgid setfsgid32
    capset"""
"""What a shell, mail(1), logger(1) or curl(1) need: all that is harmless to the host from a user without capabilities.

Not there: mounts, namespaces, modules, bpf, keys, other processes' memory, raw hardware, io_uring, System V IPC.
"""

FURTHER = "prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"
"""Being held to more than now: the supervisor's children, and programs that confine themselves."""


class Family(enum.Enum):
    """Sockets that may be made, as conditions on the arguments of socket(2): family, type, protocol."""

    UNIX = ((Argument(0, socket.AF_UNIX),),)
    INET = tuple(
        (Argument(0, family), Argument(1, kind, 0xF))  # no raw ones; the type's other bits are flags
        for family in (socket.AF_INET, socket.AF_INET6)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    )
    ROUTE = ((Argument(0, socket.AF_NETLINK), Argument(2, socket.NETLINK_ROUTE)),)
    """Netlink about addresses and routes; the packet filter's and all other netlink is not."""


CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x7E020000
"""clone(2): ``CLONE_NEWNS``, ``NEWCGROUP``, ``NEWUTS``, ``NEWIPC``, ``NEWUSER``, ``NEWPID`` and ``NEWNET``."""

TCGETS2 = 0x802C542A
SIOCATMARK, SIOCGIFNAME, SIOCGIFINDEX = 0x8905, 0x8910, 0x8933
IOCTLS = (
    termios.TCGETS, TCGETS2, termios.TIOCGWINSZ,  # is it a terminal? asked by every open()
    termios.FIONBIO, termios.FIONREAD, termios.TIOCOUTQ, termios.FIOCLEX, termios.FIONCLEX, SIOCATMARK,
    SIOCGIFNAME, SIOCGIFINDEX,
)  # fmt: skip
"""Requests of ioctl(2): among the many others are some that type on a terminal."""

FCNTLS = (
    fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL,
    fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_GETLK64, fcntl.F_SETLK64, fcntl.F_SETLKW64,
    fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW,
    fcntl.F_GETPIPE_SZ, fcntl.F_SETPIPE_SZ, fcntl.F_ADD_SEALS, fcntl.F_GET_SEALS,
)  # fmt: skip
"""Commands of fcntl(2): none by which a descriptor has signals sent, as F_SETOWN, F_SETOWN_EX and F_SETSIG.

Their receiver may be any process of the same user, and the signal SIGKILL; Landlock sees to it only as of Linux 6.12
(`Scope.SIGNAL`). Who may call kill(2) as it likes gains nothing by them, and may have all of fcntl(2).
"""

PRCTLS = {
    "PR_SET_PDEATHSIG": 1,
    "PR_GET_PDEATHSIG": 2,
    "PR_GET_DUMPABLE": 3,
    "PR_SET_NAME": 15,
    "PR_GET_NAME": 16,
    "PR_CAPBSET_READ": 23,
    "PR_GET_NO_NEW_PRIVS": 39,
    "PR_SET_VMA": 0x53564D41,
}
"""Options of prctl(2): the name in the process list, the death of the parent, names of memory for /proc/PID/maps."""

YOUNGER = tuple(range(470, 512))
"""Calls that no kernel had when this list was made: answered as by such a kernel, so that a new C library goes back."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a kind of process may do: groups of system calls, sockets, folders, and what leaves its own processes."""

    calls: tuple[str, ...]
    families: tuple[Family, ...]
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    executable: tuple[str, ...] = ()
    scopes: Scope = Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL


NAMES = ("/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman", "/run/netconfig")
"""Hosts, users and rules. Files there are replaced by new ones, so it must be the folders; permissions hold as well."""

LINKS = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime")
"""Files of those that are links on many hosts, to folders that are then needed too."""

MODULES = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", sys.prefix, sys.base_prefix)
"""Programs and data of the system, the time zones among them; `_imports` adds where else Python's modules are."""

KERNEL = ("/proc/self", "/proc/meminfo", "/sys/devices/system/cpu", "/dev/urandom", "/dev/random")
"""/proc/self is this one process, by its number: not another one, nor a child."""

AUTHORITIES = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/localtime")
"""Whose certificates count, for DNS over TLS, and the time zone of the log."""

NULL = ("/dev/null",)

EVERYWHERE = ("/",)

PLACES_FOR_FILES = ("/tmp", "/var", "/run", "/dev", "/home", "/srv", "/mnt", "/media", "/opt")
"""Where commands of ``sockd.conf`` write, if the permissions of the files let them."""

PROFILES = {
    Kind.WORKER: Profile((*COMMON, RELAYING), (Family.INET, Family.UNIX), (*NAMES, *MODULES, *KERNEL), NULL),
    Kind.RESOLVER: Profile(COMMON, (Family.INET, Family.UNIX), (*AUTHORITIES, *MODULES, *KERNEL), NULL),
    Kind.WATCHER: Profile(COMMON, (Family.INET, Family.UNIX, Family.ROUTE), (*NAMES, *MODULES, *KERNEL), NULL),
    Kind.WARDEN: Profile(
        (*COMMON, LISTENING, CHILDREN, LOGS),
        (Family.INET, Family.UNIX, Family.ROUTE),
        # It is root: of /etc it sees what it is told to. Its spare is another process in /proc.
        ("/etc/localtime", "/proc", *MODULES, *KERNEL),
        NULL,
    ),
    Kind.HELPER: Profile(
        (*COMMON, RELAYING, LISTENING, CHILDREN, PROGRAMS, FURTHER),
        (Family.INET, Family.UNIX, Family.ROUTE),
        readable=(),
        writable=PLACES_FOR_FILES,
        executable=EVERYWHERE,
        scopes=Scope.SIGNAL,
    ),
    Kind.SUPERVISOR: Profile(
        (*COMMON, RELAYING, LISTENING, CHILDREN, PROGRAMS, FURTHER),
        (Family.INET, Family.UNIX, Family.ROUTE),
        readable=(),
        writable=PLACES_FOR_FILES,
        executable=EVERYWHERE,
        # systemd may listen on an abstract socket, and the warden, started before, is signalled.
        scopes=Scope.NOTHING,
    ),
}


def confine(kind: Kind, readable: Sequence[str] = (), writable: Sequence[str] = ()) -> Confinement:
    """Hold this process to its kind, for ever; to be called after capabilities were given up, before threads start.

    ``readable`` and ``writable`` are absolute paths of further files and folders, as they are after symbolic links.
    Where the kernel or a library lacks something the rest is in force, and the reason is in the value. A child that
    was forked by a confined process of the same kind is confined already.
    """
    # Landlock first: the filter lets few call it.
    return Confinement(landlock=_hold_to_files(kind, readable, writable), seccomp=_hold_to_calls(kind))


def _hold_to_files(kind: Kind, readable: Sequence[str], writable: Sequence[str]) -> str:
    profile = PROFILES[kind]
    reading = (*profile.readable, *_beyond(profile), *_imports(), *readable)
    try:
        abi = landlock.restrict(reading, (*profile.writable, *writable), profile.executable, profile.scopes)
    except (landlock.NoLandlock, OSError) as error:
        return f"off: {error}"
    return f"ABI {abi}"


def _hold_to_calls(kind: Kind) -> str:
    try:
        seccomp.load(filter_of(kind, os.getpid()))
    except (seccomp.NoSeccomp, OSError) as error:
        return f"off: {error}"
    return "on"


def _imports() -> tuple[str, ...]:
    """Where modules come from that are imported late; this package may be in a folder of its own."""
    return _folders(os.path.dirname(os.path.dirname(__file__)), *sys.path)


def _beyond(profile: Profile) -> tuple[str, ...]:
    """Where the links lead to, for who may read the folder that they are in."""
    if "/etc" not in profile.readable:
        return ()
    return _folders(*(os.path.dirname(os.path.realpath(link)) for link in LINKS))


def _folders(*paths: str) -> tuple[str, ...]:
    """Those that are absolute, and not everything: the root gets into ``sys.path`` as the folder of a start there."""
    return tuple(path for path in paths if os.path.isabs(path) and os.path.realpath(path) != "/")


def filter_of(kind: Kind, pid: int) -> Filter:
    """The system calls of a kind, for the process of that number."""
    profile = PROFILES[kind]
    names = frozenset(" ".join(profile.calls).split())
    narrow = (
        *_births("fork" in names),
        *_signals(pid),
        *(Rule(("socket",), conditions) for family in profile.families for conditions in family.value),
        Rule(("socketpair",), (Argument(0, socket.AF_UNIX),)),
        *(Rule(("fcntl", "fcntl64"), (Argument(1, command),)) for command in FCNTLS),
        *(Rule(("ioctl",), (Argument(1, request),)) for request in IOCTLS),
        *(Rule(("prctl",), (Argument(0, option),)) for option in PRCTLS.values()),
        Rule(("prlimit64",), (Argument(0, 0),)),  # its own limits, not those of the user's other processes
        Rule(YOUNGER, error=errno.ENOSYS),
    )
    # Who may make a call with any arguments needs no narrower rule.
    return Filter((Rule(tuple(sorted(names))), *(rule for rule in narrow if names.isdisjoint(rule.calls))))


def _births(forks: bool) -> tuple[Rule, ...]:
    """Threads, and processes for who ``forks``; never a namespace."""
    place = 1 if os.uname().machine.startswith("s390") else 0  # clone(2), "C library/kernel differences"
    flags = Argument(place, 0, NEW_NAMESPACES)
    if not forks:
        flags = Argument(place, CLONE_THREAD, NEW_NAMESPACES | CLONE_THREAD)
    # The flags of clone3 are in memory, where a filter can not look: the C library goes back to clone.
    return Rule(("clone",), (flags,)), Rule(("clone3",), error=errno.ENOSYS)


def _signals(pid: int) -> tuple[Rule, ...]:
    """Signals to itself: abort(3), raise(3), pthread_kill(3)."""
    return (Rule(("kill",), (Argument(0, pid),)), Rule(("tgkill",), (Argument(0, pid),)))
