"""What a seed makes of the appliance, how it is written, where it comes from; and how a partition grows."""

import grp
import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest
from appliance import report, setup, sources
from appliance.cards import Nic
from appliance.files import File, put
from appliance.grow import Place, gain, locate
from appliance.report import Report
from appliance.seed import SeedError, parse
from appliance.setup import Kept, awaited, gateway_files, names_second, pinned, read_kept, system_files, with_uplinks
from appliance.sources import Source, by_kernel, read_folder

SEED = """\
hostname = "gw1"
dns = ["203.0.113.53"]
[inside]
card = "eth0"
addresses = ["10.1.0.1/24"]
[outside]
card = "eth1"
dhcp = true
"""
NICS = (Nic("eth0", "02:0a", 2), Nic("eth1", "02:0b", 3))
OURS = (os.geteuid(), os.getegid())


def test_a_seed_is_these_files() -> None:
    seed = parse(SEED, "seed.toml")
    written = {file.path: file for file in system_files(seed, pinned(seed, NICS), (1000, 1000))}
    assert set(written) == {
        "/etc/hostname",
        "/etc/hosts",
        "/etc/network/interfaces",
        "/etc/appliance/ssh-from.nft",
        "/etc/systemd/network/10-inside.link",
        "/etc/systemd/network/10-outside.link",
        "/etc/resolv.conf",
        "/etc/dhcp/dhclient-enter-hooks.d/appliance-names",
    }
    assert written["/etc/hostname"].text == "gw1\n"
    assert "MACAddress=02:0b\n" in written["/etc/systemd/network/10-outside.link"].text


def test_without_name_servers_those_of_the_lease_count() -> None:
    seed = parse(SEED.replace('dns = ["203.0.113.53"]\n', ""), "seed.toml")
    written = {file.path: file for file in system_files(seed, pinned(seed, NICS), (1000, 1000))}
    assert "/etc/dhcp/dhclient-enter-hooks.d/appliance-names" not in written
    assert "203.0.113.53" not in written["/etc/resolv.conf"].text, "that of the seed before"


def test_cards_that_are_not_there_are_all_named() -> None:
    with pytest.raises(SeedError) as caught:
        pinned(parse(SEED, "seed.toml"), ())
    assert caught.value.problems == (
        "[inside] card: this machine has no card eth0; it has none",
        "[outside] card: this machine has no card eth1; it has none",
    )


def test_one_card_by_name_and_by_address_is_still_one() -> None:
    with pytest.raises(SeedError, match="is the card of another table already"):
        pinned(parse(SEED.replace('"eth1"', '"52:54:00:00:00:0a"'), "x"), (Nic("eth0", "52:54:00:00:00:0a", 2),))


def test_files_of_the_gateway_are_readable_to_its_group() -> None:
    source = Source("/dev/vdb", {"seed.toml": SEED, "gateway.toml": "", "sockd.conf": "permit ALL\n"})
    assert gateway_files(source, 7) == (
        File("/etc/gateway.toml", "", 0o640, (0, 7)),
        File("/etc/sockd.conf", "permit ALL\n", 0o640, (0, 7)),
    )


def test_another_seed_has_another_digest() -> None:
    first = Source("/dev/vdb", {"seed.toml": SEED})
    assert Source("/dev/vdc", {"seed.toml": SEED}).digest() == first.digest()
    assert Source("/dev/vdb", {"seed.toml": SEED + "#"}).digest() != first.digest()
    assert Source("/dev/vdb", {"seed.toml": SEED, "sockd.conf": ""}).digest() != first.digest()


def test_what_is_kept_is_read_again() -> None:
    kept = Kept("abc", "/dev/vdb", {"inside": "02:0a"})
    assert read_kept(kept.text()) == kept


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", '{"digest": "x"}', '{"digest": 1, "source": "", "cards": 3}']
)
def test_what_can_not_be_read_is_nothing_kept(text: str) -> None:
    assert read_kept(text) == Kept()


def test_kernel_arguments_are_a_source_only_if_there_are_some() -> None:
    assert by_kernel("root=LABEL=gateway-root ro appliance.reset") is None
    source = by_kernel("ro appliance.inside=eth0,10.1.0.1/24 quiet appliance.outside=eth1,dhcp")
    assert source is not None
    assert [card.name for card in source.seed().cards] == ["inside", "outside"]


def test_the_files_of_a_disk_are_read(tmp_path: Path) -> None:
    (tmp_path / "seed.toml").write_text(SEED)
    (tmp_path / "sockd.conf").write_text("permit ALL\n")
    (tmp_path / "other").write_text("x")
    assert read_folder(tmp_path) == {"seed.toml": SEED, "sockd.conf": "permit ALL\n"}


def test_a_disk_without_a_seed_is_told(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match=r"the disk with the label SEED has no file seed\.toml"):
        read_folder(tmp_path)


def test_a_disk_can_not_show_files_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "seed.toml").write_text(SEED)
    (tmp_path / "sockd.conf").symlink_to("/etc/passwd")
    with pytest.raises(SeedError, match=r"sockd\.conf: Too many levels of symbolic links"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"a = 1\n\xff\n", "line 2 is not UTF-8"), (b"x" * (sources.MAX_BYTES + 1), "it has more than 1048576 bytes")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "seed.toml").write_bytes(data)
    with pytest.raises(SeedError, match=f"seed.toml: {problem}"):
        read_folder(tmp_path)


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seed.toml").mkdir()
    with pytest.raises(SeedError, match=r"seed\.toml: "):
        read_folder(tmp_path)


def test_a_file_is_written_with_its_mode_and_its_folders(tmp_path: Path) -> None:
    put(File("/home/admin/.ssh/authorized_keys", "key\n", 0o600, OURS, 0o700), tmp_path)
    path = tmp_path / "home/admin/.ssh/authorized_keys"
    assert path.read_text() == "key\n"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert os.listdir(path.parent) == ["authorized_keys"]


def test_a_file_that_can_not_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(File("/hostname", "old\n", owner=OURS), tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        put(File("/hostname", "new\n", owner=OURS), tmp_path)
    assert (tmp_path / "hostname").read_text() == "old\n"
    assert os.listdir(tmp_path) == ["hostname"]


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    said = Report("/dev/vdb", {"inside": "02:0a"}, ("seed.toml:1: x",))
    report.write(said, tmp_path)
    assert report.read(tmp_path) == said


def test_no_report_is_an_empty_one(tmp_path: Path) -> None:
    assert report.read(tmp_path) == Report()


@pytest.mark.parametrize(
    ("disk_size", "last", "sectors"),
    [
        pytest.param(8192 + 33, True, 0, id="the disk ends where it ended"),
        pytest.param(8192 + 33 + 2047, True, 0, id="less than what partitions are aligned to"),
        pytest.param(8192 + 33 + 2048, True, 2048, id="just so much"),
        pytest.param(80000, False, 0, id="another partition is behind it"),
    ],
)
def test_a_partition_takes_the_room_behind_it(disk_size: int, last: bool, sectors: int) -> None:
    assert gain(Place("vda", 4, 4096, 4096, disk_size, last)) == sectors


def test_a_partition_is_found_on_its_disk(tmp_path: Path) -> None:
    disk = tmp_path / "devices" / "vda"
    for number, start in ((3, 2048), (4, 8192)):
        folder = disk / f"vda{number}"
        folder.mkdir(parents=True)
        for name, value in (("partition", number), ("start", start), ("size", 4096)):
            (folder / name).write_text(f"{value}\n")
        (tmp_path / f"vda{number}").symlink_to(folder)
    (disk / "size").write_text("65536\n")
    assert locate("vda4", tmp_path) == Place("vda", 4, 8192, 4096, 65536, True)
    third = locate("vda3", tmp_path)
    assert third is not None
    assert not third.last
    (tmp_path / "vda").symlink_to(disk)
    assert locate("vda", tmp_path) is None


IMAGE = '[internal]\ninterface = "inside"\n\n[external]\ninterface = ["outside"]\n\n[files]\naccess = "sockd.conf"\n'


def test_a_second_uplink_is_named_in_the_settings_of_the_image_and_taken_out_again() -> None:
    both = with_uplinks(IMAGE, second=True)
    assert both == IMAGE.replace('["outside"]', '["outside", "outside2"]')
    assert with_uplinks(both, second=False) == IMAGE
    assert with_uplinks(IMAGE, second=False) == IMAGE


@pytest.mark.parametrize(
    "text",
    [
        '[external]\ninterface = ["outside", "vpn0"]\n',
        '[external]\ninterface = ["outside"]  # mine\n',
        '[internal]\ninterface = ["outside"]\n',
    ],
)
def test_a_line_that_the_administrator_wrote_is_left_alone(text: str) -> None:
    assert with_uplinks(text, second=True) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (IMAGE, False),
        (with_uplinks(IMAGE, second=True), True),
        ('external.interface = "outside2"', True),
        ("[external", False),
        ("a = " + "[" * 9000, False),
        ("", False),
    ],
    ids=["the image", "both", "alone", "no TOML", "a pit of lists", "empty"],
)
def test_whether_the_settings_name_the_second_uplink_is_known(text: str, named: bool) -> None:
    assert names_second(text) is named


def test_a_slow_disk_is_waited_for() -> None:
    source = Source("/dev/vdb", {})
    looks = iter((None, None, source))
    assert awaited(lambda: next(looks), 60.0, pause=0.0) is source
    assert awaited(lambda: None, 0.0) is None


def test_two_disks_with_the_label_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"-c": "/dev/vdb\n/dev/vdc", "-L": "/dev/vdb"}
    monkeypatch.setattr(sources, "found", lambda *command: answers[command[1]])
    with pytest.raises(SeedError, match="/dev/vdb and /dev/vdc all have the label SEED"):
        sources.by_disk(tmp_path)


class Machine:
    """Stands in for what the setup does to a machine; what was run is kept, and some of it fails."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, source: Source | None, *bad: str) -> None:
        self.folder, self.source, self.bad = folder, source, bad
        self.commands: list[tuple[str, ...]] = []
        self.inputs: list[str] = []
        self.hostname = ""
        monkeypatch.setattr(setup, "run", self.run)
        monkeypatch.setattr(setup, "found", self.run)
        monkeypatch.setattr(setup, "find", self.find)
        monkeypatch.setattr(setup, "put", lambda file: put(File(file.path, file.text, file.mode, OURS), folder))
        monkeypatch.setattr(setup, "write", lambda made: report.write(made, folder / "run"))
        monkeypatch.setattr(setup, "FOLDER", folder / "run")
        monkeypatch.setattr(setup, "GATEWAY", folder / "etc/gateway.toml")
        monkeypatch.setattr(setup, "SSH_FROM", str(folder / "etc/ssh-from.nft"))
        monkeypatch.setattr(setup, "AUTHORIZED_KEYS", str(folder / "authorized_keys"))
        monkeypatch.setattr(setup, "DHCLIENT_HOOK", str(folder / "hook"))
        monkeypatch.setattr(setup, "KEPT", str(folder / "kept"))
        monkeypatch.setattr(setup, "PATIENCE", 0.0)
        monkeypatch.setattr(setup, "make_host_keys", lambda: None)
        monkeypatch.setattr(setup, "check_gateway", lambda _: None)
        monkeypatch.setattr(setup, "LINKS", str(folder / "links"))
        monkeypatch.setattr(setup, "HOSTNAME", str(folder / "hostname"))
        monkeypatch.setattr("appliance.cards.present", lambda _: NICS)
        monkeypatch.setattr("pwd.getpwnam", lambda _: pwd.getpwuid(OURS[0]))
        monkeypatch.setattr("grp.getgrnam", lambda _: grp.getgrgid(OURS[1]))
        monkeypatch.setattr("socket.sethostname", self.name)

    def run(self, *command: str, text: str = "") -> str:
        self.commands.append(command)
        self.inputs.append(text)
        if command[0] in self.bad:
            raise RuntimeError(f"{command[0]} is no good")
        return ""

    def find(self) -> Source | None:
        return self.source

    def name(self, name: str) -> None:
        self.hostname = name


def test_ssh_is_limited_first_and_whatever_else_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pit = Source("/dev/vdb", {"seed.toml": "a = " + "[" * 9000})
    machine = Machine(tmp_path, monkeypatch, pit, "udevadm", "ip")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ssh-from.nft").write_text("")
    (tmp_path / "hostname").write_text("gw1\n")
    (tmp_path / "kept").write_bytes(Kept("abc", "/dev/vdb\xff", {"inside": "02:0a"}).text().encode("latin-1"))
    assert setup.main() == 1
    assert machine.commands[0] == ("nft", "-f", str(tmp_path / "etc/ssh-from.nft"))
    assert report.read(tmp_path / "run").problems == (
        "RuntimeError: udevadm is no good",
        "seed.toml: lists or tables are nested too deeply",
        "RuntimeError: ip is no good",
    )
    assert machine.hostname == "gw1", "the step after the cards is taken too"


def test_bytes_that_are_no_text_are_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(tmp_path, monkeypatch, None)
    (tmp_path / "kept").write_bytes(b"\xff\xfe")
    assert setup.main() == 0
    assert report.read(tmp_path / "run") == Report("", {}, ())


def test_the_settings_of_cards_are_loaded_again_when_the_cards_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch, None)
    setup.name_cards({"inside": "02:0a"}, NICS)
    assert machine.commands[-1][:2] == ("sysctl", "--system")


def test_another_seed_takes_away_what_the_one_before_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, None)
    (tmp_path / "authorized_keys").write_text("a key\n")
    setup.carry_out(Source("/dev/vdb", {"seed.toml": SEED}), NICS)
    assert not (tmp_path / "authorized_keys").exists()
    place = machine.commands.index(("chpasswd", "--encrypted"))
    assert machine.inputs[place] == "admin:*\n"


def test_a_second_uplink_that_sockd_does_not_know_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(tmp_path, monkeypatch, None)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/gateway.toml").write_text(IMAGE)
    assert setup.unused({"outside": "02:0b"}) == ()
    assert setup.unused({"outside2": "02:0c"})[0].startswith("outside2 is not used until [external] interface of ")
    assert setup.changed_settings(False) == ()
    assert names_second(setup.changed_settings(True)[0].text)


FILES = Path(setup.__file__).parents[4]


def test_a_folder_whose_overlay_fails_is_kept_in_memory_and_told(tmp_path: Path) -> None:
    fake = """
        REPORT=$1/report state=$1/state root=$1/root
        mkdir -p $REPORT $state
        say() { :; }
        mount() { echo "$*" >>"${REPORT%/report}/mounts"; case $* in *upperdir=$state/*) return 1 ;; esac; }
        cover etc 0755
    """
    subprocess.run(
        ["sh", "-c", functions_of_the_initramfs() + fake, "start", str(tmp_path)],
        check=True,
        env={"PATH": os.environ["PATH"], "rootmnt": "/nowhere"},
    )
    mounts = (tmp_path / "mounts").read_text().splitlines()
    assert mounts[1].startswith("-t tmpfs ")
    assert f"upperdir={tmp_path}/report/etc/upper" in mounts[2]
    assert (tmp_path / "report/volatile").read_text() == "/state/etc is no good, so /etc is as the image has it\n"


def functions_of_the_initramfs() -> str:
    functions, end, _ = (
        (FILES / "etc/initramfs-tools/scripts/local-bottom/appliance").read_text().partition("\nmkdir -p $REPORT\n")
    )
    assert end
    return functions


def initramfs(tmp_path: Path, program: str) -> str:
    """What a few lines with the functions of the initramfs print; what they say is among it."""
    own = f"""
        PATH={os.environ["PATH"]} REPORT={tmp_path}/report state={tmp_path}/state root={tmp_path}/root problem=
        mkdir -p $REPORT $state
        say() {{ echo "$*"; }}
    """
    done = subprocess.run(
        ["sh", "-c", functions_of_the_initramfs() + own + program],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "rootmnt": "/nowhere"},
    )
    return done.stdout


def test_a_factory_reset_removes_what_has_an_odd_name_or_was_found_by_e2fsck(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for name in ("etc/upper", "..old", ".hidden", "lost+found"):
        (state / name).mkdir(parents=True)
    (state / "lost+found/#131").write_text("a key")
    initramfs(tmp_path, "wipe_state")
    assert [path.relative_to(state).as_posix() for path in state.rglob("*")] == ["lost+found"]


def test_a_factory_reset_that_is_not_complete_says_so_and_goes_on_at_the_next_boot(tmp_path: Path) -> None:
    (tmp_path / "state/etc").mkdir(parents=True)
    said = initramfs(tmp_path, 'rm() { case "$*" in *etc) return 1 ;; *) command rm "$@" ;; esac; }; wipe_state')
    assert "etc could not be removed; the reset goes on at the next boot" in said
    assert (tmp_path / "state/factory-reset").exists()


def test_apt_closes_the_root_after_a_dpkg_that_failed() -> None:
    text = (FILES / "etc/apt/apt.conf.d/20appliance-root").read_text()
    assert 'DPkg::Post-Invoke {"/usr/sbin/appliance-root ro || true";};' in text.splitlines()
