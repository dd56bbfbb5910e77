"""appliance-setup: at each boot, before the network; a seed is carried out once, and a wrong one changes nothing.

What is kept is small: the hash of the last seed and the addresses of its cards. It is written last, so a setup that
loses its power is done again. Cards get their names at every boot.
"""

import contextlib
import grp
import json
import os
import pwd
import socket
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance import cards, network, sources
from appliance.files import File, put
from appliance.programs import ProgramFailed, found, run
from appliance.report import FOLDER, Report, write
from appliance.seed import CARDS, Seed, SeedError
from appliance.sources import GATEWAY_FILES, Source

KEPT: Final = "/etc/appliance/seed"
"""Beside what it is about: /etc and /var are kept, or lost, each by itself."""
SSH_FROM: Final = "/etc/appliance/ssh-from.nft"
DHCLIENT_HOOK: Final = "/etc/dhcp/dhclient-enter-hooks.d/appliance-names"
"""They are read by the order of their names: this one after appliance-lease."""
NET: Final = Path("/sys/class/net")
HOSTNAME: Final = "/etc/hostname"
LINKS: Final = "/etc/systemd/network"
GATEWAY: Final = Path("/etc/gateway.toml")
AUTHORIZED_KEYS: Final = "/home/admin/.ssh/authorized_keys"
ADMIN: Final = "admin"
NO_PASSWORD: Final = "*"
"""What no password fits; the keys of sshd(8) still do."""
SECOND: Final = "outside2"
PATIENCE: Final = 5.0
"""Seconds that a slow disk has to come, while there never was a seed, or where there are disks by USB."""
USB: Final = Path("/sys/bus/usb/drivers/usb-storage")
GROUP: Final = "sockd"
HOST_KEYS: Final = ("rsa", "ecdsa", "ed25519")
"""What ssh-keygen -A makes, as Debian has it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done last: by a seed of which hash, from where, and which card has which name."""

    digest: str = ""
    source: str = ""
    cards: Mapping[str, str] | None = None

    def text(self) -> str:
        """As it is kept."""
        return json.dumps({"digest": self.digest, "source": self.source, "cards": dict(self.cards or {})}) + "\n"


def read_kept(text: str) -> Kept:
    """Of ``Kept.text``; what can not be read counts as nothing kept, and the seed is carried out again."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raw = json.loads(text)
        return Kept(str(raw["digest"]), str(raw["source"]), {str(name): str(mac) for name, mac in raw["cards"].items()})
    return Kept()


def pinned(seed: Seed, nics: Sequence[cards.Nic]) -> Mapping[str, str]:
    """The address of each card of the seed. Raises SeedError for cards that are not there, or are there twice."""
    problems = []
    pins: dict[str, str] = {}
    for card in seed.cards:
        nic = cards.find(card.card, nics)
        if nic is None:
            there = ", ".join(map(str, nics)) or "none"
            problems.append(f"[{card.name}] card: this machine has no card {card.card}; it has {there}")
        elif nic.mac in pins.values():
            problems.append(f"[{card.name}] card: {nic} is the card of another table already")
        else:
            pins[card.name] = nic.mac
    if problems:
        raise SeedError(problems)
    return pins


def system_files(seed: Seed, pins: Mapping[str, str], admin: tuple[int, int]) -> tuple[File, ...]:
    """The files of the system by a seed; ``admin`` are the numbers of that user and its group."""
    files = [
        File(HOSTNAME, f"{seed.hostname}\n"),
        File("/etc/hosts", network.hosts(seed)),
        File("/etc/network/interfaces", network.interfaces(seed)),
        File(SSH_FROM, network.ssh_from(seed.ssh_from)),
        *(File(f"{LINKS}/10-{name}.link", network.link(name, mac)) for name, mac in pins.items()),
        File("/etc/resolv.conf", network.resolv_conf(seed.dns)),  # without any: a lease may write its own
    ]
    if seed.dns:
        files.append(File(DHCLIENT_HOOK, network.dhclient_hook()))
    if seed.admin_keys:
        keys = "".join(f"{key}\n" for key in seed.admin_keys)
        files.append(File(AUTHORIZED_KEYS, keys, 0o600, admin, 0o700))
    return tuple(files)


def gateway_files(source: Source, group: int) -> tuple[File, ...]:
    """The files of sockd that came with the seed, with the owners and modes that role gateway gives them."""
    return tuple(
        File(f"/etc/{name}", source.files[name], 0o640, (0, group)) for name in GATEWAY_FILES if name in source.files
    )


def with_uplinks(text: str, second: bool) -> str:
    """gateway.toml with the uplinks of a seed, where its line of them is still that of the image, or ours."""
    ours = {False: 'interface = ["outside"]', True: f'interface = ["outside", "{SECOND}"]'}
    lines = text.split("\n")
    table = ""
    for number, line in enumerate(lines):
        if line.startswith("["):
            table = line.strip()
        elif table == "[external]" and line in ours.values():
            lines[number] = ours[second]
    return "\n".join(lines)


def names_second(text: str) -> bool:
    """Whether such settings of sockd name outside2; what can not be read does not."""
    try:
        interface = tomllib.loads(text)["external"]["interface"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return False
    return interface == SECOND or (isinstance(interface, list) and SECOND in interface)


# From here on everything touches the machine.


def check_gateway(files: Sequence[File]) -> None:
    """Have sockd itself check these files in the places where they will be, before they are there. Raises SeedError.

    They are laid over /etc in a mount namespace that nobody else sees.
    """
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="check.", dir=FOLDER) as name:
        for file in files:
            put(File(Path("/", Path(file.path).name).as_posix(), file.text), Path(name))
        Path(name).chmod(0o755)
        script = 'mount -t overlay -o "lowerdir=$1:/etc" check /etc && exec sockd -n -f /etc/gateway.toml'
        try:
            run("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", name)
        except ProgramFailed as error:
            raise SeedError(["sockd refuses the files of the seed:", *error.said]) from None


def carry_out(source: Source, nics: Sequence[cards.Nic]) -> Kept:
    """Check all of a seed, then do it. Raises SeedError before anything is changed."""
    seed = source.seed()
    pins = pinned(seed, nics)
    admin = pwd.getpwnam(ADMIN)
    brought = gateway_files(source, grp.getgrnam(GROUP).gr_gid)
    if GATEWAY.name not in source.files:
        brought += changed_settings(SECOND in pins)
    check_gateway(brought)
    for file in (*system_files(seed, pins, (admin.pw_uid, admin.pw_gid)), *brought):
        put(file)
    if not seed.dns:
        Path(DHCLIENT_HOOK).unlink(missing_ok=True)
    for name in set(CARDS) - set(pins):
        Path(f"{LINKS}/10-{name}.link").unlink(missing_ok=True)
    if not seed.admin_keys:
        Path(AUTHORIZED_KEYS).unlink(missing_ok=True)
    run("chpasswd", "--encrypted", text=f"{ADMIN}:{seed.admin_password or NO_PASSWORD}\n")
    os.sync()
    kept = Kept(source.digest(), source.name, pins)
    put(File(KEPT, kept.text()))
    return kept


def changed_settings(second: bool) -> tuple[File, ...]:
    """The settings of sockd that are there, if they must name other uplinks now."""
    try:
        before = GATEWAY.read_text()
    except (OSError, ValueError):
        return ()
    after = with_uplinks(before, second)
    if after == before:
        return ()
    was = GATEWAY.stat()
    return (File(str(GATEWAY), after, was.st_mode & 0o777, (was.st_uid, was.st_gid)),)


def unused(pins: Mapping[str, str]) -> tuple[str, ...]:
    """A line for a second uplink that sockd does not know of."""
    if SECOND not in pins or (GATEWAY.exists() and names_second(GATEWAY.read_text(errors="replace"))):
        return ()
    return (f"{SECOND} is not used until [external] interface of {GATEWAY} names it",)


def make_host_keys(folder: Path = Path("/etc/ssh")) -> None:
    """Make the keys of sshd that are missing, or empty after a power cut. Raises ProgramFailed or OSError."""
    if all(_is_full(folder / f"ssh_host_{kind}_key") for kind in HOST_KEYS):
        return
    with tempfile.TemporaryDirectory(prefix="keys.", dir=FOLDER) as name:
        made = Path(name, "etc/ssh")
        made.mkdir(parents=True)
        run("ssh-keygen", "-A", "-f", name)
        for file in sorted(made.iterdir(), reverse=True):  # the .pub file first: the key itself says that all is there
            private = not file.name.endswith(".pub")
            if not _is_full(folder / file.name.removesuffix(".pub")):
                put(File(str(folder / file.name), file.read_text(), 0o600 if private else 0o644))


def _is_full(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def name_cards(pins: Mapping[str, str], nics: Sequence[cards.Nic]) -> None:
    """Rename those that have not their names. Raises ProgramFailed."""
    steps = cards.renames(pins, nics)
    for old, new in steps:
        run("ip", "link", "set", "dev", old, "down")
        run("ip", "link", "set", "dev", old, "name", new)
    if steps:  # some settings are for a card of that name, and were loaded when there was none
        found("sysctl", "--system", "--quiet", "--ignore")


def awaited(look: Callable[[], Source | None], seconds: float, pause: float = 0.5) -> Source | None:
    """The first seed that is found within so many seconds, and at least one look. Raises what ``look`` does."""
    until = time.monotonic() + seconds
    while not (source := look()) and time.monotonic() < until:
        time.sleep(pause)
    return source


def find() -> Source | None:
    """The seed that is there now, of a disk before that of the kernel's arguments. Raises SeedError."""
    return sources.by_disk(FOLDER / "seed") or sources.by_kernel(Path("/proc/cmdline").read_text(errors="replace"))


def limit_ssh() -> None:
    """Load what ``ssh-from`` of the last seed said. Raises ProgramFailed."""
    if Path(SSH_FROM).exists():
        run("nft", "-f", SSH_FROM)


def main() -> int:
    """0, or 1 when there is something that the administrator must mend; standard output says what.

    Each step is taken whatever became of those before it; who may come by ssh is the first.
    """
    problems: list[str] = []
    with _noting(problems):
        limit_ssh()
    with _noting(problems):
        FOLDER.mkdir(parents=True, exist_ok=True)
    with _noting(problems):
        run("udevadm", "settle", "--timeout=30")
    with _noting(problems):
        make_host_keys()
    kept = Kept()
    with _noting(problems), contextlib.suppress(FileNotFoundError):
        kept = read_kept(Path(KEPT).read_text(errors="replace"))
    nics: tuple[cards.Nic, ...] = ()
    with _noting(problems):
        nics = cards.present(NET)
    with _noting(problems):
        source = awaited(find, 0.0 if kept.digest and not any(USB.glob("*:*")) else PATIENCE)
        if source and source.digest() != kept.digest:
            kept = carry_out(source, nics)
            print(f"appliance-setup: the seed of {source.name} is carried out", flush=True)
            limit_ssh()
    pins = kept.cards or {}
    with _noting(problems):
        name_cards(pins, nics)
    with _noting(problems):
        if kept.digest:
            socket.sethostname(Path(HOSTNAME).read_text(errors="replace").strip())
    with _noting(problems):
        problems += unused(pins)
    report = Report(kept.source, pins, (*problems, *cards.lacking(pins, nics)))
    with _noting(problems):
        write(report)
    for line in (*problems, *cards.lacking(pins, nics)):
        print(f"appliance-setup: {line}", flush=True)
    if not kept.digest and not problems:
        print("appliance-setup: there is no seed yet, so no card is up; appliance(7) says what a seed is", flush=True)
    return 1 if problems or report.problems else 0


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """What goes wrong within is a problem more, and the setup goes on with the rest."""
    try:
        yield
    except SeedError as error:
        problems += error.problems
    except (ProgramFailed, OSError) as error:
        problems.append(str(error))
    except Exception as error:  # whatever it is, the steps after it must be taken
        problems.append(f"{type(error).__name__}: {error}")
