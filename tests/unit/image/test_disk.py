"""The disk: what a firmware reads first, and a whole one from a small tree, looked at by the program of each part."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from image import disk, grub, layout
from image.layout import SECTOR
from image.run import BuildError

NEEDED = ("sfdisk", "mke2fs", "debugfs", "e2fsck", "mkfs.vfat", "mcopy", "grub-mkimage", "qemu-img")
LACKING = [name for name in NEEDED if shutil.which(name) is None]
MODULES = Path("/usr/lib/grub") / grub.PC


def test_the_block_list_says_where_the_rest_of_the_image_is() -> None:
    placed = grub.placed(b"x" * 1300, 2048, layout.MIB)
    assert len(placed) == 3 * SECTOR
    assert struct.unpack_from("<QHH", placed, SECTOR - 12) == (2049, 2, 0x820)


def test_an_image_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BuildError, match="its partition 1024"):
        grub.placed(b"x" * 1025, 2048, 1024)


def test_the_first_sector_keeps_the_table_and_knows_where_grub_is() -> None:
    made = grub.boot_sector(b"\xaa" * SECTOR, b"\xbb" * SECTOR, 2048)
    assert len(made) == SECTOR
    assert made[440:] == b"\xbb" * 72
    assert struct.unpack_from("<Q", made, 0x5C) == (2048,)


def test_a_file_with_two_names_is_counted_once_and_a_link_by_its_inode(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 10_000)
    before = disk.used(tmp_path)
    os.link(tmp_path / "one", tmp_path / "two")
    assert disk.used(tmp_path) == before
    (tmp_path / "link").symlink_to("one")
    assert disk.used(tmp_path) == before + 4096


def test_a_format_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"\.qcow2 \.vmdk"):
        disk.convert(tmp_path / "a.raw", tmp_path / "a.vdi")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root, for files of several owners; `sudo make test` runs it")
    if LACKING:
        pytest.skip(
            f"needs {', '.join(LACKING)}: apt-get install fdisk e2fsprogs dosfstools mtools grub-common qemu-utils"
        )
    if not MODULES.exists():
        pytest.skip(f"needs {MODULES}: apt-get install grub-pc-bin")
    made = tmp_path_factory.mktemp("tree")
    shutil.copytree(MODULES, made / grub.LOADER / grub.PC)
    for name in (grub.SHIM, grub.EFI):
        (made / grub.LOADER / name).write_bytes(name.encode() * 100)
    (made / "etc").mkdir()
    (made / "etc/owned").write_text("of somebody")
    os.chown(made / "etc/owned", 12, 34)
    os.chmod(made / "etc/owned", 0o640)
    os.link(made / "etc/owned", made / "etc/other-name")
    return made


@pytest.fixture(scope="module")
def raw(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("disk") / "a.raw"
    disk.build(tree, made)
    return made


@pytest.fixture(scope="module")
def parts(tree: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each partition in a file of its name, cut out where the table says."""
    folder = tmp_path_factory.mktemp("parts")
    with open(raw, "rb") as source:
        for place in layout.table(disk.used(tree)):
            source.seek(place.start)
            with open(folder / place.name, "wb") as made:
                for _ in range(place.size // layout.MIB):
                    piece = source.read(layout.MIB)
                    made.truncate(made.tell() + len(piece))
                    if piece.strip(b"\0"):
                        made.write(piece)
                    else:
                        made.seek(len(piece), os.SEEK_CUR)
    return folder


def said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_disk_has_the_size_of_its_table_and_no_other_file_is_left(raw: Path, tree: Path) -> None:
    assert raw.stat().st_size == layout.length(layout.table(disk.used(tree)))
    assert [path.name for path in raw.parent.iterdir()] == ["a.raw"]


def test_a_bios_finds_grub(raw: Path, parts: Path) -> None:
    with open(raw, "rb") as file:
        first = file.read(SECTOR)
    assert first[510:] == b"\x55\xaa"
    assert struct.unpack_from("<Q", first, 0x5C) == (layout.table(0)[0].start // SECTOR,)
    assert (parts / "bios").read_bytes()[:SECTOR].strip(b"\0")


def test_the_firmware_finds_the_shim_and_the_shim_finds_grub_and_grub_the_root(parts: Path, tree: Path) -> None:
    def content(name: str) -> str:
        return said("mtype", "-i", parts / "esp", f"::/{name}")

    assert content("EFI/BOOT/BOOTX64.EFI") == (tree / grub.LOADER / grub.SHIM).read_text()
    assert content("EFI/BOOT/grubx64.efi") == (tree / grub.LOADER / grub.EFI).read_text()
    assert "search --no-floppy --label gateway-root" in content("EFI/debian/grub.cfg")


@pytest.mark.parametrize("name", ["root", "state"])
def test_the_file_systems_are_whole_and_have_their_labels(parts: Path, name: str) -> None:
    said("e2fsck", "-f", "-n", parts / name)
    told = said("dumpe2fs", "-h", parts / name)
    assert f"Filesystem volume name:   gateway-{name}\n" in told
    assert f"Block count:              {(parts / name).stat().st_size // 4096}\n" in told


def test_owners_modes_and_second_names_are_kept(parts: Path) -> None:
    stat = said("debugfs", "-R", "stat /etc/owned", parts / "root")
    assert "User:    12   Group:    34" in stat
    assert "Mode:  0640" in stat
    assert "Links: 2" in stat


def test_the_same_tree_makes_the_same_disk_but_for_the_times_of_its_files(
    tree: Path, raw: Path, tmp_path: Path
) -> None:
    disk.build(tree, tmp_path / "again.raw")
    root = next(place for place in layout.table(disk.used(tree)) if place.name == "root")
    behind = root.start + root.size
    said("cmp", f"--bytes={root.start}", raw, tmp_path / "again.raw")
    said("cmp", f"--ignore-initial={behind}", raw, tmp_path / "again.raw")


def test_the_disk_is_converted_for_qemu_and_for_virtualbox(raw: Path, tmp_path: Path) -> None:
    for name, form in (("a.qcow2", "qcow2"), ("a.vmdk", "vmdk")):
        disk.convert(raw, tmp_path / name)
        assert f"file format: {form}\n" in said("qemu-img", "info", tmp_path / name)
        said("qemu-img", "compare", raw, tmp_path / name)


def test_a_tree_without_a_boot_loader_makes_no_disk(tmp_path: Path, tree: Path) -> None:
    del tree  # it has looked for root and programs
    (tmp_path / "tree").mkdir()
    with pytest.raises(BuildError):
        disk.build(tmp_path / "tree", tmp_path / "a.raw")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
