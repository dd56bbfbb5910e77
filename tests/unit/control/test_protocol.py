"""Requests about names and caches: what they look like on the line, and what is no such request."""

import json

import msgspec
import pytest

from gateway.control.protocol import (
    VERSION,
    CacheDump,
    CacheFlush,
    ControlError,
    Report,
    Request,
    Resolve,
    Resolved,
    decode_answer,
    decode_request,
    encode_done,
    encode_request,
)
from tests.support.fakesockd import REPORT, resolved


@pytest.mark.parametrize(
    ("request_", "written"),
    [
        (Resolve("x."), {"command": "resolve", "name": "x.", "type": "A", "client": ""}),
        (
            Resolve("x.", "MX", "10.1.2.3"),
            {"command": "resolve", "name": "x.", "type": "MX", "client": "10.1.2.3"},
        ),
        (CacheFlush(), {"command": "cache-flush", "zone": "", "name": ""}),
        (
            CacheDump("corp.example", "x.", 5),
            {"command": "cache-dump", "zone": "corp.example", "name": "x.", "limit": 5},
        ),
    ],
)
def test_a_request_is_one_line_that_is_read_back_as_it_was(request_: Request, written: dict[str, object]) -> None:
    line = encode_request(request_)
    assert line.endswith(b"}\n")
    assert json.loads(line) == {"v": VERSION, **written}
    assert decode_request(line) == request_


def test_what_is_left_out_has_its_default() -> None:
    assert decode_request(b'{"v":1,"command":"cache-dump"}') == CacheDump("", "", 1000)
    assert decode_request(b'{"v":1,"command":"resolve","name":"x"}') == Resolve("x", "A", "")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"v":1,"command":"resolve"}', id="no name"),
        pytest.param(b'{"v":1,"command":"resolve","name":5}', id="a name that is a number"),
        pytest.param(b'{"v":1,"command":"resolve","name":"x","trace":true}', id="a key that is unknown"),
        pytest.param(b'{"v":1,"command":"cache-dump","limit":"all"}', id="a limit that is no number"),
        pytest.param(b'{"v":1,"command":"cache"}', id="half a command"),
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(ControlError, match="no request of the control protocol"):
        decode_request(line)


def test_an_answer_about_a_name_comes_back_as_it_was() -> None:
    found = resolved("x.", 'x. 5 TXT "a"', ede="blocked: why")
    assert msgspec.convert(decode_answer(encode_done(found)).done, Resolved) == found


def test_a_report_without_a_resolver_needs_no_word_about_one() -> None:
    written = json.loads(msgspec.json.encode(REPORT))
    for key in ("resolver", "zones", "listening_dns"):
        del written[key]
    bare = msgspec.convert(written, Report)
    assert (bare.resolver, bare.zones, bare.listening_dns) == (None, (), ())
