"""The frame of an HTTP head: where it ends, and what refuses it."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RemoteProtocolError
from gateway.wire.constants import MAX_HEAD
from gateway.wire.httphead import head_size, is_token, parse_field, split_head


class Refusal(RemoteProtocolError):
    """Keeps the status that was given to the fault."""

    def __init__(self, status: HTTPStatus, fact: str) -> None:
        super().__init__(fact)
        self.status = status


PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"ab: c", b"\r\n\r\n"]), max_size=12).map(b"".join)


def _result(data: bytes, cuts: list[int]) -> int | str:
    """The size, or the refusal's words, when the head comes in fragments that end at the cuts."""
    scanned = 0
    try:
        for end in [*cuts, len(data)]:
            size = head_size(bytearray(data[:end]), scanned, Refusal)
            if size <= end:
                return size
            scanned = end
    except Refusal as error:
        return error.fact
    return -1


@given(PIECES, st.lists(st.integers(0, 30), max_size=8))
def test_fragments_make_no_difference(data: bytes, cuts: list[int]) -> None:
    inside = sorted(min(cut, len(data)) for cut in cuts)
    assert _result(data, inside) == _result(data, [])
    assert _result(data, list(range(len(data)))) == _result(data, [])


@given(PIECES)
def test_a_head_has_no_line_feed_without_a_carriage_return(data: bytes) -> None:
    size = _result(data, [])
    if isinstance(size, int) and size >= 0:
        head = data[:size]
        assert head.endswith(b"\r\n\r\n")
        assert head.count(b"\n") == head.count(b"\r\n")
        assert b"\r\n\r\n" not in head[:-1]


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        pytest.param(b"a" * (MAX_HEAD - 4) + b"\r\n\r\n", True, id="a whole head of the limit"),
        pytest.param(b"a" * (MAX_HEAD - 3) + b"\r\n\r\n", False, id="a whole head of one more"),
        pytest.param(b"a" * MAX_HEAD, True, id="the beginning of a head, as long as the limit"),
        pytest.param(b"a" * (MAX_HEAD + 1), False, id="the beginning of a head, one more than the limit"),
        pytest.param(b"a\r\n\r\n" + b"b" * MAX_HEAD, True, id="a short head and much behind it"),
    ],
)
def test_the_limit_is_the_heads_own(data: bytes, fits: bool) -> None:
    if fits:
        assert head_size(data, 0, Refusal) > 0
        return
    with pytest.raises(Refusal) as caught:
        head_size(data, 0, Refusal)
    assert caught.value.status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def test_a_line_feed_beyond_the_end_of_the_head_is_not_its_own() -> None:
    assert head_size(b"a\r\n\r\nearly\ndata", 0, Refusal) == 5


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
def test_control_characters_are_refused(octet: int) -> None:
    with pytest.raises(Refusal, match="control character"):
        split_head(b"a: b" + bytes((octet,)) + b"c\r\n\r\n", Refusal)


@pytest.mark.parametrize("octet", [9, 32, 33, 126, 128, 255])
def test_their_neighbours_are_not(octet: int) -> None:
    assert split_head(b"a: b" + bytes((octet,)) + b"c\r\n\r\n", Refusal) == [b"a: b" + bytes((octet,)) + b"c"]


def test_a_field_is_split_at_its_first_colon() -> None:
    assert parse_field(b"HOST: \t[::1]:80 ", Refusal) == (b"host", b"[::1]:80")


@pytest.mark.parametrize(
    "line", [b"", b"Host", b":x", b" Host: x", b"\tHost: x", b"Host : x", b"Ho st: x", b"H\xf6st: x"]
)
def test_a_malformed_field_is_refused(line: bytes) -> None:
    with pytest.raises(Refusal, match="malformed") as caught:
        parse_field(line, Refusal)
    assert caught.value.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("text", "answer"),
    [(b"CONNECT", True), (b"X-a_1.~", True), (b"", False), (b"a b", False), (b"a:", False), (b"(a)", False)],
)
def test_tokens(text: bytes, answer: bool) -> None:
    assert is_token(text) is answer
