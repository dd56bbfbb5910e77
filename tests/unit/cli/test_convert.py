"""`sockctl convert`: today's masks for those of 1992, and everything else as it was."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli import convert
from gateway.config.access import parse_access
from gateway.config.rules import Dialect
from tests.support.accessfiles import PATH, SERVICES, unplaced

OLD = """\
# Our site.
permit 10.62.0.0 0.0.255.255  eq telnet   # the lab
  deny 192.0.2.1 0.0.0.0 \\
     10.0.0.0 0.255.255.255 : logger \\
'%u'

#BAD_ID: logger %u
\t# the end
"""

NEW = """\
# Our site.
permit 10.62.0.0 255.255.0.0 eq 23 # the lab
deny 192.0.2.1 255.255.255.255 10.0.0.0 255.0.0.0 : logger '%u'

#BAD_ID: logger %u
\t# the end
"""


def converted(text: str) -> str:
    return convert.convert(text, parse_access(text, PATH, SERVICES, Dialect.Y1992))


def test_masks_are_turned_and_comments_stay() -> None:
    assert converted(OLD) == NEW


def test_a_comment_that_no_longer_fits_beside_its_rule_goes_above_it_and_stays_a_comment() -> None:
    text = f"permit 10.0.0.0/8 #BAD_ID: {'a' * 990}\n"
    lines = converted(text).splitlines()
    assert lines == [f" #BAD_ID: {'a' * 990}", "permit 10.0.0.0 255.0.0.0"]


def test_a_comment_that_just_fits_stays_beside_its_rule() -> None:
    rule = "permit 10.0.0.0 255.0.0.0"
    comment = "#" * (1023 - len(rule) - 1)
    assert converted(f"permit 10.0.0.0/8 {comment}\n") == f"{rule} {comment}\n"
    assert converted(f"permit 10.0.0.0/8 {comment}#\n") == f" {comment}#\n{rule}\n"


_quads = st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts)))
_lines = st.one_of(
    st.builds(
        "{} {} {} {}".format, st.sampled_from(["permit", "deny"]), _quads, _quads, st.sampled_from(["", "#x", ":x"])
    ),
    st.builds("deny {} {} {} {} neq 25".format, _quads, _quads, _quads, _quads),
    st.sampled_from(["", "# comment", "#NO_IDENTD: a", "#BAD_ID: b", "deny \\\n ALL", "\\\ndeny ALL", "# a \\"]),
)


@given(st.lists(_lines, max_size=6).map("\n".join))
@settings(max_examples=150, deadline=None)
def test_the_converted_file_says_the_same(text: str) -> None:
    old = parse_access(text, PATH, SERVICES, Dialect.Y1992)
    assert unplaced(parse_access(converted(text), PATH, SERVICES)) == unplaced(old)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    return convert.run(parser.parse_args(words))


def test_the_result_goes_to_stdout_and_warnings_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("permit 10.0.0.0 255.0.0.0\n")
    assert run(str(tmp_path / "f")) == 0
    output, errors = capsys.readouterr()
    assert output == "permit 10.0.0.0 0.255.255.255\n"
    assert "looks like a netmask" in errors


def test_a_file_with_a_mistake_gives_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("permit 10.0.0.0 0.255.255.255\nbogus\n")
    assert run(str(tmp_path / "f")) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"{tmp_path}/f:2:1: a line begins with")
