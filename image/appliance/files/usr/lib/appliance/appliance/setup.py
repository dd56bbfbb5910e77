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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance import cards, network, sources
from appliance.files import File, put
from appliance.programs import ProgramFailed, run
from appliance.report import FOLDER, Report, write
from appliance.seed import CARDS, Seed, SeedError
from appliance.sources import GATEWAY_FILES, Source

KEPT: Final = "/var/lib/appliance/seed"
SSH_FROM: Final = "/etc/appliance/ssh-from.nft"
DHCLIENT_HOOK: Final = "/etc/dhcp/dhclient-enter-hooks.d/appliance"
NET: Final = Path("/sys/class/net")
ADMIN: Final = "admin"
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
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
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
        File("/etc/hostname", f"{seed.hostname}\n"),
        File("/etc/hosts", network.hosts(seed)),
        File("/etc/network/interfaces", network.interfaces(seed)),
        File(SSH_FROM, network.ssh_from(seed.ssh_from)),
        *(File(f"/etc/systemd/network/10-{name}.link", network.link(name, mac)) for name, mac in pins.items()),
    ]
    if seed.dns:
        files += [
            File("/etc/resolv.conf", network.resolv_conf(seed.dns)),
            File(DHCLIENT_HOOK, network.dhclient_hook()),
        ]
    if seed.admin_keys:
        keys = "".join(f"{key}\n" for key in seed.admin_keys)
        files.append(File(f"/home/{ADMIN}/.ssh/authorized_keys", keys, 0o600, admin, 0o700))
    return tuple(files)


def gateway_files(source: Source, group: int) -> tuple[File, ...]:
    """The files of sockd that came with the seed, with the owners and modes that its package gives them."""
    owned = {"gateway.toml": (0o644, 0), "sockd.conf": (0o640, group), "sockd.route": (0o640, group)}
    return tuple(
        File(f"/etc/{name}", source.files[name], owned[name][0], (0, owned[name][1]))
        for name in GATEWAY_FILES
        if name in source.files
    )


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
    check_gateway(brought)
    for file in (*system_files(seed, pins, (admin.pw_uid, admin.pw_gid)), *brought):
        put(file)
    if not seed.dns:
        Path(DHCLIENT_HOOK).unlink(missing_ok=True)
    for name in set(CARDS) - set(pins):
        Path(f"/etc/systemd/network/10-{name}.link").unlink(missing_ok=True)
    if seed.admin_password:
        run("chpasswd", "--encrypted", text=f"{ADMIN}:{seed.admin_password}\n")
    os.sync()
    kept = Kept(source.digest(), source.name, pins)
    put(File(KEPT, kept.text()))
    return kept


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
    for old, new in cards.renames(pins, nics):
        run("ip", "link", "set", "dev", old, "down")
        run("ip", "link", "set", "dev", old, "name", new)


def main() -> int:
    """0, or 1 when there is something that the administrator must mend; standard output says what."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    with _noting(problems):
        run("udevadm", "settle", "--timeout=30")
    with _noting(problems):
        make_host_keys()
    kept = Kept()
    with contextlib.suppress(FileNotFoundError):
        kept = read_kept(Path(KEPT).read_text())
    nics = cards.present(NET)
    with _noting(problems):
        source = sources.by_disk(FOLDER / "seed") or sources.by_kernel(Path("/proc/cmdline").read_text())
        if source and source.digest() != kept.digest:
            kept = carry_out(source, nics)
            print(f"appliance-setup: the seed of {source.name} is carried out", flush=True)
    pins = kept.cards or {}
    with _noting(problems):
        name_cards(pins, nics)
        if kept.digest:
            socket.sethostname(Path("/etc/hostname").read_text().strip())
            run("nft", "-f", SSH_FROM)
    report = Report(kept.source, pins, (*problems, *cards.lacking(pins, nics)))
    write(report)
    for line in report.problems:
        print(f"appliance-setup: {line}", flush=True)
    if not kept.digest and not problems:
        print("appliance-setup: there is no seed yet, so no card is up; appliance(7) says what a seed is", flush=True)
    return 1 if report.problems else 0


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """What goes wrong within is a problem more, and the setup goes on with the rest."""
    try:
        yield
    except SeedError as error:
        problems += error.problems
    except (ProgramFailed, OSError, LookupError) as error:
        problems.append(str(error))
