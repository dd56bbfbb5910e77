"""`gateway.config.tomltables`, by a toy grammar: only the machinery is tested here, the settings have their own."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from gateway.config.fields import BadField
from gateway.config.tomltables import (
    Check,
    Fault,
    Grammar,
    Item,
    Key,
    Read,
    Reader,
    dotted,
    item_key,
    load_toml,
    place_faults,
    read_tables,
)
from gateway.errors import ConfigError

_Number = Annotated[int, Meta(ge=0, description="a number")]


class Cup(Struct, frozen=True):
    """A member of a table of tables."""

    size: _Number = 1
    weight: _Number = 2


class Spoon(Struct, frozen=True):
    """One of an array of tables."""

    name: Annotated[str, Meta(description="a name")] = ""
    length: _Number = 4


_Spoons = Annotated[tuple[Spoon, ...], Meta(description="tables that begin with [[drawer.spoon]]")]


class Drawer(Struct, frozen=True):
    """A table that has an array of tables."""

    depth: _Number = 5
    spoon: _Spoons = ()


_Cups = Annotated[Mapping[str, Cup], Meta(description="a table for each cup, such as [cups.red]")]


class Table(Struct, frozen=True):
    """A table of its own."""

    width: _Number = 3
    colour: Annotated[str, Meta(description="a colour")] = "red"


class Kitchen(Struct, frozen=True):
    """The whole."""

    open: Annotated[bool, Meta(description="true or false")] = False
    table: Table = Table()
    cups: _Cups = MappingProxyType({})
    drawer: Drawer = Drawer()


def _read_colour(raw: Any, folder: str) -> str:
    if raw == "none":
        raise BadField("no colour is a colour")
    return f"{folder}:{msgspec.convert(raw, str)}"


def _read_name(name: str, folder: str) -> str:
    if not name:
        raise BadField("a name is missing")
    return f"{folder}:{name}"


def _check(read: Read) -> Iterator[Fault]:
    refused = sorted(map(dotted, read.refused))
    yield Fault(("check",), f"{read.value.open} {list(read.written)} {refused}")


READERS: Mapping[tuple[type[Struct], str], Reader] = MappingProxyType(
    {(Table, "colour"): _read_colour, (Kitchen, "cups"): _read_name}
)
GRAMMAR = Grammar(READERS, MappingProxyType({}))


def read(text: str, grammar: Grammar = GRAMMAR) -> tuple[Kitchen, list[str]]:
    """What was understood, and the mistakes with their lines."""
    found, faults = read_tables(Kitchen, load_toml(text, "f"), "etc", grammar)
    return found, [str(problem) for problem in place_faults(faults, text, "f")]


def test_what_is_not_written_has_its_default() -> None:
    assert read("") == (Kitchen(False, Table(3, "red"), MappingProxyType({})), [])


def test_readers_get_the_folder_and_make_values_and_names() -> None:
    found, faults = read('[table]\ncolour = "blue"\n[cups.b]\nsize = 9\n[cups.a]\n')
    assert not faults
    assert found.table == Table(3, "etc:blue")
    assert list(found.cups.items()) == [("etc:b", Cup(9, 2)), ("etc:a", Cup(1, 2))]


def test_what_is_wrong_keeps_its_default_and_all_else_its_value() -> None:
    found, faults = read('open = 1\n[table]\nwidth = -1\ncolour = "blue"\n[cups.a]\nsize = "x"\nweight = 7\n')
    assert found == Kitchen(False, Table(3, "etc:blue"), {"etc:a": Cup(1, 7)})
    assert faults == [
        "f:1: open: expected true or false, not 1",
        "f:3: table.width: expected a number, not -1",
        "f:6: cups.a.size: expected a number, not 'x'",
    ]


def test_a_reader_says_what_is_wrong_in_its_own_words_or_in_those_of_the_field() -> None:
    assert read('[table]\ncolour = "none"\n')[1] == ["f:2: table.colour: no colour is a colour"]
    assert read("[table]\ncolour = 5\n")[1] == ["f:2: table.colour: expected a colour, not 5"]


def test_a_table_whose_name_is_refused_is_left_out_but_its_mistakes_are_shown() -> None:
    found, faults = read('[cups.""]\nsize = -1\n[cups.a]\n')
    assert list(found.cups) == ["etc:a"]
    assert faults == ["f:1: cups.'': a name is missing", "f:2: cups.''.size: expected a number, not -1"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("cups = 1", "f:1: cups: expected a table for each cup, such as [cups.red], not 1", id="no table"),
        pytest.param(
            "[cups]\nsize = 1", "f:2: cups.size: expected a table for each cup, such as [cups.red], not 1", id="a key"
        ),
        pytest.param("table = 1", "f:1: table: a table is expected, such as [table], not 1", id="no table with keys"),
        pytest.param(
            "size = 1", "f:1: unknown key 'size' at the top of the file; it belongs in [cups.NAME]", id="home"
        ),
        pytest.param(
            "[cups.a]\nwidth = 1", "f:2: unknown key 'width' in [cups.a]; it belongs in [table]", id="other home"
        ),
        pytest.param("[cups.a]\nsise = 1", "f:2: unknown key 'sise' in [cups.a]; size may be meant", id="a slip"),
        pytest.param("[cups.a]\nx = 1", "f:2: unknown key 'x' in [cups.a]; known are size, weight", id="no idea"),
        pytest.param("[table.x]", "f:1: unknown key 'x' in [table]; known are width, colour", id="a table in a table"),
        pytest.param(
            "[cups.a.b]",
            "f:1: unknown table 'b' in [cups.a]; a name that holds dots is written in quotes: [cups.'a.b']",
            id="a dot",
        ),
        pytest.param(
            "[cups.'x y'.size]", "f:1: cups.'x y'.size: expected a number, not a table", id="a value as a table"
        ),
    ],
)
def test_what_there_is_not(text: str, fault: str) -> None:
    assert read(text)[1] == [fault]


def test_a_check_sees_the_table_what_is_written_and_what_was_refused() -> None:
    grammar = Grammar(READERS, MappingProxyType({Kitchen: (_check,)}))
    _, (unplaced, *_) = read('open = true\n[table]\nwidth = -1\nx = 1\n[cups.""]\n', grammar)
    assert unplaced == """f: True ['open', 'table', 'cups'] ["cups.''", 'table.width', 'table.x']"""


def test_every_check_of_a_table_is_made_also_of_one_with_a_name() -> None:
    checks: dict[type[Struct], tuple[Check, ...]] = {
        Cup: (lambda read: [Fault(("cups", "a"), f"{read.value.size}")],) * 2
    }
    assert read("[cups.a]\n", Grammar(READERS, checks))[1] == ["f:1: 1"] * 2


def test_the_order_of_the_faults_is_that_of_the_text() -> None:
    lines = [fault.split(":")[1] for fault in read("[table]\nx = 1\n[cups.a]\nx = 1\n[cups.b]\nx = 1\n")[1]]
    assert lines == ["2", "4", "6"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (("a",), "a"),
        (("a", "b-c_9"), "a.b-c_9"),
        (("a", "b.c", "d"), "a.'b.c'.d"),
        (("a", ""), "a.''"),
        (("a", "\n"), r"a.'\n'"),
        (("a", "é"), "a.'é'"),
        (("a", Item(0, ""), "b"), "a 1.b"),
        (("a", "b", Item(8, "x.y"), "c"), 'a.b "x.y".c'),
        (("a", Item(0, "\n")), r'a "\n"'),
    ],
)
def test_a_key_in_a_message(key: Key, shown: str) -> None:
    assert dotted(key) == shown


def test_the_first_mistake_of_what_is_no_toml_is_placed() -> None:
    with pytest.raises(ConfigError, match=r"^f:2:\d+: not TOML: "):
        load_toml("a = 1\na = 2\n", "f")


def test_an_array_of_tables_is_read_in_its_order() -> None:
    found, faults = read('[[drawer.spoon]]\nname = "tea"\nlength = 9\n[[drawer.spoon]]\n[drawer]\ndepth = 1\n')
    assert not faults
    assert found.drawer == Drawer(1, (Spoon("tea", 9), Spoon("", 4)))


def test_each_mistake_of_an_array_has_the_line_of_its_own_table() -> None:
    text = (
        '[[drawer.spoon]]\nname = "a"\nlength = -1\n\n[[drawer.spoon]]\nname = "b"\nlength = 2\n'
        "[[drawer.spoon]]\nlength = -1\n[[drawer.spoon]]\nname = 5\nlengt = 1\nx.y = 1\n"
    )
    found, faults = read(text)
    assert found.drawer.spoon == (Spoon("a", 4), Spoon("b", 2), Spoon("", 4), Spoon("", 4))
    assert faults == [
        'f:3: drawer.spoon "a".length: expected a number, not -1',
        "f:9: drawer.spoon 3.length: expected a number, not -1",
        "f:11: drawer.spoon 4.name: expected a name, not 5",
        "f:12: unknown key 'lengt' in [[drawer.spoon]] 4; length may be meant",
        "f:13: unknown key 'x' in [[drawer.spoon]] 4; known are name, length",
    ]


def test_what_is_no_array_of_tables_is_refused_and_what_is_none_of_its_tables_keeps_its_place() -> None:
    expected = "expected tables that begin with [[drawer.spoon]]"
    assert read("[drawer.spoon]\n")[1] == [f"f:1: drawer.spoon: {expected}, not a table"]
    found, faults = read('[drawer]\nspoon = [\n 1,\n {name = "a", length = 7},\n]\n')
    assert found.drawer.spoon == (Spoon("", 4), Spoon("a", 7))
    assert faults == [f"f:2: drawer.spoon 1: {expected}, not 1"]


def test_a_key_may_belong_in_an_array_of_tables() -> None:
    assert read("length = 1\n")[1] == [
        "f:1: unknown key 'length' at the top of the file; it belongs in [[drawer.spoon]]"
    ]


def test_a_check_is_told_which_table_it_is_asked_about() -> None:
    checks: dict[type[Struct], tuple[Check, ...]] = {Spoon: (lambda read: [Fault(read.key, dotted(read.key))],)}
    text = '[[drawer.spoon]]\n[[drawer.spoon]]\nname = "a"\n'
    assert read(text, Grammar(READERS, checks))[1] == ["f:1: drawer.spoon 1", 'f:2: drawer.spoon "a"']


def test_the_key_of_a_table_of_an_array_has_the_name_that_is_written() -> None:
    assert item_key(("a",), 3, {"name": "x"}) == ("a", Item(3, "x"))
    assert item_key(("a",), 0, {"name": 1}) == item_key(("a",), 0, 7) == ("a", Item(0, ""))


@pytest.mark.parametrize("before", [0, 1, 40])
@pytest.mark.parametrize("after", [0, 1, 40])
def test_the_line_is_that_where_a_value_of_several_lines_begins(before: int, after: int) -> None:
    text = (
        "# x\n" * before
        + '[table]\ncolour = """'
        + "\n" * 9
        + 'width = 1"""\nwidth = -1\n'
        + "[cups.a]\n" * (after > 0)
    )
    text += "# y\n" * after
    (width,) = read(text)[1]
    assert width.startswith(f"f:{before + 12}: table.width")
    both = read(text.replace('colour = """', "colour = [1,").replace('width = 1"""', "2]"))[1]
    assert [line.split(":")[1] for line in both] == [str(before + 2), str(before + 12)]
