"""RFC 1413: the question, and every answer that identds and those who pretend to be one may give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RemoteProtocolError
from gateway.wire.ident import MAX_ANSWER, MAX_USER, parse_answer, question

PORTS = (6193, 23)


def test_the_question_is_the_one_of_the_rfc() -> None:
    assert question(6191, 23) == b"6191, 23\r\n"
    assert question(0, 65535) == b"0, 65535\r\n"


@pytest.mark.parametrize(
    ("line", "user"),
    [
        pytest.param(b"6193, 23 : USERID : UNIX : stjohns\r\n", b"stjohns", id="the example of RFC 1413 §5"),
        pytest.param(b"6193,23:USERID:UNIX:stjohns\r\n", b"stjohns", id="without blanks"),
        pytest.param(b"  6193 \t, 23  :  userid  :  UNIX , US-ASCII  :\tstjohns \n", b"stjohns", id="with many blanks"),
        pytest.param(b"6193, 23 : USERID : OTHER : st:johns: \r\n", b"st:johns:", id="colons in the user"),
        pytest.param(b"6193, 23 : USERID : UNIX : st johns\r\n", b"st johns", id="a blank in the user"),
        pytest.param(b"6193, 23 : USERID : UNIX : \xff\x80\r\n", b"\xff\x80", id="octets"),
        pytest.param(b"6193, 23 : USERID : UNIX : x", b"x", id="without a line end"),
        pytest.param(b"6193, 23 : USERID :  : x\r\n", b"x", id="an empty system"),
        pytest.param(b"6193, 23 : USERID : UNIX : " + b"u" * MAX_USER + b"\r\n", b"u" * MAX_USER, id="512 octets"),
        pytest.param(b"6193, 23 : ERROR : NO-USER\r\n", None, id="no user"),
        pytest.param(b"6193, 23 : ERROR : HIDDEN-USER\r\n", None, id="hidden user"),
        pytest.param(b"6193, 23 : ERROR : INVALID-PORT\r\n", None, id="invalid port"),
        pytest.param(b"6193, 23 : error : UNKNOWN-ERROR\r\n", None, id="unknown error, lower case"),
        pytest.param(b"6193, 23 : ERROR : X-MINE : with more\r\n", None, id="an error of its own"),
    ],
)
def test_answers(line: bytes, user: bytes | None) -> None:
    assert parse_answer(line, *PORTS) == user


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        pytest.param(b"", "another question", id="nothing"),
        pytest.param(b"\r\n", "another question", id="an empty line"),
        pytest.param(b"6193 : USERID : UNIX : x\r\n", "another question", id="one port"),
        pytest.param(b"6193, 23, 5 : USERID : UNIX : x\r\n", "another question", id="three ports"),
        pytest.param(b"6194, 23 : USERID : UNIX : x\r\n", "another question", id="another port of the client"),
        pytest.param(b"6193, 24 : USERID : UNIX : x\r\n", "another question", id="another port of ours"),
        pytest.param(b"23, 6193 : USERID : UNIX : x\r\n", "another question", id="the other way round"),
        pytest.param(b"06193, 23 : USERID : UNIX : x\r\n", "another question", id="a leading zero"),
        pytest.param(b"6193, 23 : USERID : UNIX\r\n", "neither", id="no user field"),
        pytest.param(b"6193, 23 : WHATEVER : UNIX : x\r\n", "neither", id="another kind"),
        pytest.param(b"6193, 23\r\n", "neither", id="ports only"),
        pytest.param(b"6193, 23 : USERID : UNIX : \r\n", "user name", id="an empty user"),
        pytest.param(b"6193, 23 : USERID : UNIX : a\0b\r\n", "user name", id="a NUL"),
        pytest.param(b"6193, 23 : USERID : UNIX : a\rb\r\n", "user name", id="a carriage return"),
        pytest.param(b"6193, 23 : USERID : UNIX : a\nb\r\n", "user name", id="a line feed"),
        pytest.param(b"6193, 23 : USERID : UNIX : " + b"u" * (MAX_USER + 1), "user name", id="513 octets"),
        pytest.param(b"6193, 23 : ERROR : " + b"x" * MAX_ANSWER, "too long", id="more than 1000 octets"),
    ],
)
def test_what_is_no_answer(line: bytes, fact: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fact):
        parse_answer(line, *PORTS)


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda end: b"6193, 23 : USERID : UNIX :" + end)))
def test_no_line_does_more_than_that(line: bytes) -> None:
    try:
        user = parse_answer(line, *PORTS)
    except RemoteProtocolError:
        return
    assert user is None or (0 < len(user) <= MAX_USER and not set(user) & {0, 10, 13})
