"""What a person sees on a console, by what was sent to it."""

import pytest

from tests.support.vm.console import LINES, painted


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param("\x1b[1;32mup\x1b[0m \x1b[?25lsockd\x1b(B\r\n", "up sockd", id="colours are not letters"),
        pytest.param("kernel\r\n\x1b[m\x1b[H\x1b[2Jone\r\ntwo", "one\ntwo", id="a new page"),
        pytest.param("one\r\ntwo\x1b[1;1HONE\x1b[K", "ONE\ntwo", id="a line written anew"),
        pytest.param("a longer line\x1b[1;1Hshort\x1b[K", "short", id="a line that became shorter"),
        pytest.param("abc\rX", "Xbc", id="a line from its beginning"),
        pytest.param("abc\b\b \x1b[K", "a", id="letters taken back"),
        pytest.param("a\r\nb\r\nc\x1b[2;1H\x1b[J", "a", id="the rest of the screen erased"),
        pytest.param("\x1b[3;5Hfar", "    far", id="a place that was never reached before"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_screen_shows(sent: str, seen: str) -> None:
    assert painted(sent) == seen


def test_old_lines_leave_at_the_top() -> None:
    assert painted("".join(f"{number}\r\n" for number in range(100))).split() == [
        str(number) for number in range(100 - LINES + 1, 100)
    ]
