"""`gateway.config.lexer`: where words, commands and comments begin and end, and how lines join."""

import pytest

from gateway.config.lexer import LINE_LIMIT, Line, read_lines, special_word, split_line, word_offset
from gateway.place import Place


def lines_of(text: str) -> list[str]:
    return [line.text for line in read_lines(text, "f")[0]]


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in read_lines(text, "f")[1]]


@pytest.mark.parametrize(
    ("text", "words", "command", "comment"),
    [
        pytest.param("", [], None, -1, id="an empty line has no words"),
        pytest.param(" \t ", [], None, -1, id="nor has a line of blanks and tabs"),
        pytest.param("permit\ta  b\t", ["permit", "a", "b"], None, -1, id="blanks and tabs separate"),
        pytest.param("a\u00a0b c", ["a\u00a0b", "c"], None, -1, id="a no-break space does not"),
        pytest.param("a b # c : d", ["a", "b"], None, 4, id="a number sign before a colon makes a comment"),
        pytest.param("a b : c # d", ["a", "b"], "c # d", -1, id="a colon before a number sign makes a command of both"),
        pytest.param("a b#c", ["a", "b"], None, 3, id="a comment needs no blank before it"),
        pytest.param("a b:c", ["a", "b"], "c", -1, id="nor does a command"),
        pytest.param("a b :c", ["a", "b"], "c", -1, id="nor after the colon"),
        pytest.param("a b :", ["a", "b"], "", -1, id="an empty command is not none"),
        pytest.param(":", [], "", -1, id="a colon alone"),
        pytest.param("a : b:c:d", ["a"], "b:c:d", -1, id="only the first colon counts"),
        pytest.param("a : 'b  c'\t", ["a"], "'b  c'", -1, id="blanks and quotes within a command stay"),
        pytest.param("a 'b c'", ["a", "'b", "c'"], None, -1, id="quotes do not hold words together"),
        pytest.param("a b:c#d", ["a", "b"], "c#d", -1, id="colon first within one word"),
        pytest.param("a b#c:d", ["a", "b"], None, 3, id="number sign first within one word"),
    ],
)
def test_whichever_of_colon_and_number_sign_comes_first_wins(
    text: str, words: list[str], command: str | None, comment: int
) -> None:
    taken = split_line(text)
    assert (taken.words, taken.command, taken.comment) == (words, command, comment)


@pytest.mark.parametrize(
    ("text", "words", "command"),
    [
        pytest.param("a 2001:db8::1", ["a", "2001:db8::1"], None, id="an address"),
        pytest.param("a 2001:db8::/32 : c", ["a", "2001:db8::/32"], "c", id="a prefix and then a command"),
        pytest.param("a 1:2:3:4:5:6:7:8", ["a", "1:2:3:4:5:6:7:8"], None, id="an address without two colons in a row"),
        pytest.param("a ::1", ["a", "::1"], None, id="an address that begins with two colons"),
        pytest.param("a ::/0", ["a", "::/0"], None, id="everything"),
        pytest.param("a ::ffff:10.0.0.1", ["a", "::ffff:10.0.0.1"], None, id="with a dotted quad in it"),
        pytest.param("a fd00::/8#c", ["a", "fd00::/8"], None, id="a comment may follow at once"),
        pytest.param("a 1:2:3", ["a", "1:2:3"], None, id="a broken address is kept whole, to be refused"),
        pytest.param("a fd00::/129", ["a", "fd00::/129"], None, id="so is a broken prefix"),
        pytest.param("a :: b", ["a"], ": b", id="two colons alone begin a command, the shell's null command"),
        pytest.param("a ::b_c", ["a"], ":b_c", id="letters beyond f are a command"),
        pytest.param("a :1:2", ["a"], "1:2", id="a single colon in front begins a command"),
        pytest.param("a ::: b", ["a"], ":: b", id="colons without a digit are a command"),
        pytest.param("a b:c", ["a", "b"], "c", id="one colon is a command"),
        pytest.param("a fd00::1:c_d", ["a", "fd00"], ":1:c_d", id="an address with other letters is none"),
        pytest.param("a eq 23::5", ["a", "eq", "23"], ":5", id="after an operator a colon always begins the command"),
        pytest.param("a in 80,443::f", ["a", "in", "80,443"], ":f", id="after the list operator too"),
        pytest.param("a 255.0.0.0:c", ["a", "255.0.0.0"], "c", id="a mask and a command without blanks"),
        pytest.param("a 255.0.0.0::c", ["a", "255.0.0.0"], ":c", id="a mask and two colons without blanks"),
    ],
)
def test_words_of_the_shape_of_ipv6_keep_their_colons(text: str, words: list[str], command: str | None) -> None:
    assert split_line(text)[:2] == (words, command)


@pytest.mark.parametrize(
    ("text", "words", "command"),
    [
        pytest.param("a hours=08:00-18:00", ["a", "hours=08:00-18:00"], None, id="times of a window"),
        pytest.param(
            "a hours=Mon/08:00-18:00,Sat/10:00-12:00 : c",
            ["a", "hours=Mon/08:00-18:00,Sat/10:00-12:00"],
            "c",
            id="of several",
        ),
        pytest.param(
            "a hours=08:00-18:00:c", ["a", "hours=08:00-18:00"], "c", id="a colon before a letter begins the command"
        ),
        pytest.param("a hours=08:00-18:00: c", ["a", "hours=08:00-18:00"], "c", id="so does one before a blank"),
        pytest.param("a hours=08:00#:c", ["a", "hours=08:00"], None, id="a comment may follow at once"),
        pytest.param("a hours= : c", ["a", "hours="], "c", id="nothing after the equals sign"),
        pytest.param("a rate=08:00", ["a", "rate=08"], "00", id="other options keep no colon"),
    ],
)
def test_times_keep_their_colons(text: str, words: list[str], command: str | None) -> None:
    assert split_line(text)[:2] == (words, command)


def test_the_offsets_of_words_are_found_again() -> None:
    text = "  ab\ta  abc ab # ab"
    words = split_line(text).words
    assert words == ["ab", "a", "abc", "ab"]
    assert [word_offset(text, words, index) for index in range(5)] == [2, 5, 8, 12, 14]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param("#NO_IDENTD: a", "#NO_IDENTD:", id="no identd"),
        pytest.param("#BAD_ID:a", "#BAD_ID:", id="bad id, without a blank"),
        pytest.param(" #BAD_ID: a", None, id="not in column one"),
        pytest.param("#bad_id: a", None, id="not in capitals"),
        pytest.param("#BAD_ID : a", None, id="a blank before the colon"),
    ],
)
def test_special_lines_begin_with_exactly_their_word(text: str, word: str | None) -> None:
    assert special_word(text) == word


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("", [], id="an empty file has no lines"),
        pytest.param("a", ["a"], id="the last line needs no newline"),
        pytest.param("a\n\nb\n", ["a", "", "b"], id="blank lines are lines"),
        pytest.param("a\r\nb\r\n", ["a", "b"], id="the line ends of DOS"),
        pytest.param("a\r", ["a"], id="a carriage return at the end of the file"),
        pytest.param("a \\\nb\n", ["a b"], id="a backslash joins"),
        pytest.param("a\\\nb\n", ["ab"], id="without a blank in between"),
        pytest.param("a \\\r\nb\r\n", ["a b"], id="with the line ends of DOS too"),
        pytest.param("a \\\n b \\\n c\nd\n", ["a  b  c", "d"], id="several lines"),
        pytest.param("a : b # c \\\nd\n", ["a : b # c d"], id="within a command that holds a number sign"),
        pytest.param("#BAD_ID: a \\\nb\n", ["#BAD_ID: a b"], id="within a special line"),
        pytest.param("a \\b\nc\n", ["a \\b", "c"], id="a backslash within a line means nothing"),
        pytest.param("\\\na\n", ["a"], id="a line of nothing but the backslash"),
    ],
)
def test_lines_join_at_a_backslash(text: str, lines: list[str]) -> None:
    assert lines_of(text) == lines
    assert problems_of(text) == []


def test_a_comment_ends_with_its_line_and_never_swallows_a_rule() -> None:
    text = "# a \\\ndeny b # c \\\ndeny d\n"
    assert lines_of(text) == ["# a \\", "deny b # c \\", "deny d"]
    assert problems_of(text) == [
        "f:1:5: warning: a comment ends with its line; this '\\' does not join the next one",
        "f:2:12: warning: a comment ends with its line; this '\\' does not join the next one",
    ]


def test_a_number_sign_in_a_joined_part_ends_the_joining() -> None:
    assert lines_of("a \\\nb # \\\nc\n") == ["a b # \\", "c"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a\nb \\", "f:2:3: the file ends after this '\\', so it joins no line; remove it", id="file ends"),
        pytest.param(
            "b \\\n", "f:1:3: the file ends after this '\\', so it joins no line; remove it", id="after newline"
        ),
        pytest.param(
            "a \\ \nb\n",
            "f:1:3: a blank follows the '\\' at the end of the line, so it joins no line; remove it",
            id="blank",
        ),
        pytest.param(
            "a \\\nb \\\t\nc",
            "f:2:3: a blank follows the '\\' at the end of the line, so it joins no line; remove it",
            id="tab in the second line",
        ),
        pytest.param("a\rb\n", "f:1:2: a carriage return within a line; remove it", id="carriage return"),
        pytest.param("a # b\x0c\n", "f:1:6: the invisible character U+000C within a line; remove it", id="form feed"),
        pytest.param("a\x00", "f:1:2: the invisible character U+0000 within a line; remove it", id="NUL"),
        pytest.param(
            "a # \u2028deny", "f:1:5: the invisible character U+2028 within a line; remove it", id="separator"
        ),
        pytest.param("\u202ea", "f:1:1: the invisible character U+202E within a line; remove it", id="direction"),
    ],
)
def test_a_line_that_is_not_what_it_looks_like_is_refused(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]
    assert len(lines_of(text)) == len(text.replace("\\\n", "").rstrip("\n").split("\n")) - 1


@pytest.mark.parametrize("character", ["\t", "é", "\u00a0", "\u200d", "ÿ"])
def test_tabs_and_letters_of_all_languages_are_fine_in_comments(character: str) -> None:
    assert problems_of(f"# a{character}b\n") == []


def test_a_line_at_the_limit_is_read_and_one_character_more_is_refused_whole() -> None:
    assert problems_of("a" * LINE_LIMIT + "\n") == []
    assert problems_of("a\n" + "b" * (LINE_LIMIT + 1) + "\nc\n") == [
        f"f:2:{LINE_LIMIT + 1}: the line has more than 1023 characters"
    ]
    assert lines_of("a\n" + "b" * (LINE_LIMIT + 1) + "\nc\n") == ["a", "c"]


def test_the_limit_holds_for_the_joined_line() -> None:
    half = "a" * 512
    assert lines_of(f"{half}\\\n{half[1:]}\n") == ["a" * LINE_LIMIT]
    assert problems_of(f"{half}\\\n{half}\nb\n") == ["f:2:512: the line has more than 1023 characters"]
    assert lines_of(f"{half}\\\n{half}\nb\n") == ["b"]


def test_every_part_of_a_joined_line_that_is_too_long_belongs_to_it() -> None:
    text = "\\\n".join(["a" * 500] * 5) + "\nb\n"
    assert lines_of(text) == ["b"]
    assert problems_of(text) == ["f:3:24: the line has more than 1023 characters"]


def test_places_in_a_joined_line_are_those_of_its_parts() -> None:
    (line,), _ = read_lines("ab \\\n  cd \\\n\\\nef\n", "f")
    assert line == Line("ab   cd ef", 1, (3, 8, 8))
    assert line.place("f", 0) == Place("f", 1, 1)
    assert line.place("f", 2) == Place("f", 1, 3)
    assert line.place("f", line.text.index("c")) == Place("f", 2, 3)
    assert line.place("f", line.text.index("e")) == Place("f", 4, 1)
