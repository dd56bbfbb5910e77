"""Pieces of text on a line that must not be longer than it."""

import pytest

from gateway.cli.top.style import Span, Style, fitted, line, text_of

PIECES = (Span("sockd 1.0"), Span("up 3d"), Span("pid 1"))


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (23, "sockd 1.0  up 3d  pid 1"),
        (22, "sockd 1.0  up 3d"),
        (16, "sockd 1.0  up 3d"),
        (15, "sockd 1.0"),
        (9, "sockd 1.0"),
        (8, "sockd 1~"),
        (1, "~"),
    ],
)
def test_what_does_not_fit_is_left_out_from_the_right(width: int, shown: str) -> None:
    assert text_of(fitted(PIECES, width)) == shown


def test_no_piece_behind_one_that_does_not_fit() -> None:
    assert text_of(fitted([Span("a"), Span("b" * 50), Span("c")], 20)) == "a"


def test_pieces_keep_their_styles_and_lose_their_control_characters() -> None:
    assert fitted([Span("a\x1b", Style.BAD), Span("b", Style.GOOD)], 80) == (
        Span("a\\x1b", Style.BAD),
        Span("  "),
        Span("b", Style.GOOD),
    )
    assert line("a\tb", Style.BAD, width=5) == (Span("a\\x0~", Style.BAD),)
