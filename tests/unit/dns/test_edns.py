"""OPT records: ours as dnspython reads them, and the options of others."""

import dns.edns
import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.edns import (
    EDE_BYTES,
    OPT_BYTES,
    PLAIN,
    WITH_DO,
    extended_error,
    first_error,
    opt_record,
    options_end_well,
)

HEADER = bytes.fromhex("0001 8000 0000 0000 0000 0001")


@pytest.mark.parametrize(("do", "usual"), [(False, PLAIN), (True, WITH_DO)])
def test_the_usual_record_is_made_beforehand(do: bool, usual: bytes) -> None:
    assert opt_record(do) == usual
    assert len(usual) == OPT_BYTES
    message = dns.message.from_wire(HEADER + usual)
    assert (message.edns, message.payload, bool(message.ednsflags & dns.flags.DO)) == (0, 1232, do)


@pytest.mark.parametrize("rcode", [15, 16, 23, 4095])
def test_the_upper_bits_of_an_rcode_are_carried(rcode: int) -> None:
    message = dns.message.from_wire(HEADER[:3] + bytes((rcode & 15,)) + HEADER[4:] + opt_record(False, rcode))
    assert message.rcode() == rcode


@pytest.mark.parametrize(
    ("text", "room", "words"),
    [
        pytest.param("why", 9, "why", id="it fits exactly"),
        pytest.param("why", 8, "wh", id="an octet too long"),
        pytest.param("wé", 9, "wé", id="the last character fits"),
        pytest.param("wé", 8, "w", id="half a character would fit"),
        pytest.param("why", EDE_BYTES, "", id="room for the code only"),
        pytest.param("\ud800", 20, "?", id="what can not be encoded"),
    ],
)
def test_a_reason_is_cut_between_characters(text: str, room: int, words: str) -> None:
    option = extended_error(24, text, room)
    assert len(option) <= room
    assert first_error(option, 0, len(option)) == (24, words)


def test_without_room_for_the_code_there_is_no_option() -> None:
    assert extended_error(24, "why", EDE_BYTES - 1) == b""


@pytest.mark.parametrize(
    ("options", "is_so"),
    [
        ("", True),
        ("0003 0000", True),
        ("0003 0001 61 000f 0002 0000", True),
        ("00", False),
        ("0003 00", False),
        ("0003 0001", False),
        ("0003 0000 00", False),
        ("0003 ffff", False),
    ],
)
def test_options_fill_their_record(options: str, is_so: bool) -> None:
    data = b"before" + bytes.fromhex(options) + b"\0\3\0\0"
    assert options_end_well(data, 6, len(data) - 4) is is_so


@given(st.binary(max_size=60))
def test_any_options_are_read_or_refused(data: bytes) -> None:
    if options_end_well(data, 0, len(data)):
        first_error(data, 0, len(data))
