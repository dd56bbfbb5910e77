"""What a seed makes of the appliance, how it is written, where it comes from; and how a partition grows."""

import os
import stat
from pathlib import Path

import pytest
from appliance import report, sources
from appliance.cards import Nic
from appliance.files import File, put
from appliance.grow import Place, gain, locate
from appliance.report import Report
from appliance.seed import SeedError, parse
from appliance.setup import Kept, gateway_files, pinned, read_kept, system_files
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
        "/etc/dhcp/dhclient-enter-hooks.d/appliance",
    }
    assert written["/etc/hostname"].text == "gw1\n"
    assert "MACAddress=02:0b\n" in written["/etc/systemd/network/10-outside.link"].text


def test_without_name_servers_those_of_the_lease_count() -> None:
    seed = parse(SEED.replace('dns = ["203.0.113.53"]\n', ""), "seed.toml")
    paths = {file.path for file in system_files(seed, pinned(seed, NICS), (1000, 1000))}
    assert not {"/etc/resolv.conf", "/etc/dhcp/dhclient-enter-hooks.d/appliance"} & paths


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
        File("/etc/gateway.toml", "", 0o644, (0, 0)),
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


@pytest.mark.parametrize("text", ["", "{", "[]", '{"digest": "x"}', '{"digest": 1, "source": "", "cards": 3}'])
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
