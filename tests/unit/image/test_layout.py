"""The partition table: nothing overlaps, the state is last and has room, and sfdisk is held to what it was told."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import layout
from image.layout import MIB, SECTOR
from image.run import BuildError


@given(content=st.integers(0, 1 << 34), disk=st.integers(0, 1 << 34))
def test_partitions_follow_each_other_on_whole_mebibytes(content: int, disk: int) -> None:
    table = layout.table(content, disk=disk)
    assert table[0].start == MIB
    assert all(one.start + one.size == two.start for one, two in pairwise(table))
    assert all(part.start % MIB == 0 and part.size % MIB == 0 and part.size > 0 for part in table)
    assert layout.length(table) == table[-1].start + table[-1].size + MIB


@given(content=st.integers(0, 1 << 34))
def test_the_root_has_room_for_three_kernels_and_the_state_for_a_package(content: int) -> None:
    """One is half of the tree, apt keeps two, and a third comes before one of them goes."""
    parts = {part.name: part for part in layout.table(content)}
    assert parts["root"].size >= content * 2.2
    assert parts["state"].size >= layout.STATE


def test_a_small_tree_fills_the_disk_to_its_end() -> None:
    assert layout.length(layout.table(300 * MIB)) == layout.DISK


def test_a_large_tree_makes_the_disk_longer() -> None:
    assert layout.length(layout.table(4000 * MIB)) > layout.DISK


def test_the_names_and_labels_are_those_that_the_appliance_looks_for() -> None:
    table = layout.table(300 * MIB)
    assert [part.name for part in table] == ["bios", "esp", "root", "state"]
    assert [part.label for part in table[2:]] == ["gateway-root", "gateway-state"]


def test_the_words_for_sfdisk_are_in_sectors_and_the_same_for_the_same_version() -> None:
    table = layout.table(300 * MIB)
    text = layout.script(table, "1.0")
    assert f"start={table[1].start // SECTOR}, size={table[1].size // SECTOR}, type={table[1].kind}" in text
    assert text == layout.script(table, "1.0")
    assert text != layout.script(table, "1.1")


def test_each_identifier_is_another_one() -> None:
    names = ["disk", *(f"{what} {part.name}" for part in layout.table(0) for what in ("partition", "file system"))]
    assert len({layout.identifier(name, "1.0") for name in names}) == len(names)


def dump(table: tuple[layout.Partition, ...]) -> str:
    entries = [{"name": part.name, "start": part.start // SECTOR, "size": part.size // SECTOR} for part in table]
    return json.dumps({"partitiontable": {"partitions": entries}})


def test_the_table_that_was_asked_for_passes() -> None:
    table = layout.table(300 * MIB)
    layout.check(table, dump(table))


def test_a_table_that_sfdisk_rounded_is_refused() -> None:
    with pytest.raises(BuildError, match="another table"):
        layout.check(layout.table(300 * MIB), dump(layout.table(301 * MIB)))
