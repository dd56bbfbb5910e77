"""Messages that somebody has damaged on purpose, both ways: nothing escapes but Malformed, and none takes long."""

import gc
import struct
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.answer import Answer
from gateway.dns.body import MAX_BODY
from gateway.dns.chain import alias, spliced
from gateway.dns.constants import HEADER_BYTES, MAX_MESSAGE, NOERROR, NXDOMAIN, SERVFAIL, TC, UDP_PAYLOAD, parse_type
from gateway.dns.names import is_below, text_name, wire_name
from gateway.dns.pursuit import Link
from gateway.dns.query import Query, build_query, read_query
from gateway.dns.reply import failure, reply
from gateway.dns.response import Malformed, read_response
from tests.support.feeding import octets

VECTORS = Path(__file__).parents[2] / "vectors" / "dns"
CORP = wire_name("corp.example")
ALIAS = wire_name("alias.example.net")
ADDRESS = b"\xc0\x0c" + struct.pack("!HHLH4B", 1, 1, 300, 4, 192, 0, 2, 1)
AGAIN = 2
"""So often a part stands in a chain again."""
SLOW = 0.005
"""Seconds of process time that no message may take (field-cases D12)."""

INTERESTING = (
    b"\0\0",
    b"\0\1",
    b"\0\5",
    b"\0\6",
    b"\0\x27",
    b"\0\x29",
    b"\0\x2e",
    b"\xc0\x0c",
    b"\xc0\x10",
    b"\xff\xff",
)


class Sample(NamedTuple):
    """A message, and for a response the query that it came for."""

    data: bytes
    sent: bytes


def _queries() -> list[Sample]:
    cases = tomllib.loads((VECTORS / "query.toml").read_text())["case"]
    read = [octets(case["in"]) for case in cases if "query" in case]
    ours = [build_query(7, wire_name(name), 1, variant=3) for name in (".", "a.b", "www.corp.example")]
    return [Sample(data, b"") for data in (*read, *ours)]


def _responses() -> list[Sample]:
    """The good ones, and large ones: many records, long names, chains, signatures, services."""
    samples = []
    for case in tomllib.loads((VECTORS / "response.toml").read_text())["case"]:
        name, _, type = case.get("ask", "www.corp.example. A").partition(" ")
        sent = build_query(7, wire_name(name), parse_type(type) or 0, variant=int(case.get("do", False)), cases=0b1001)
        message = dns.message.make_response(dns.message.from_wire(sent))
        message.set_rcode(dns.rcode.from_text(case.get("rcode", "NOERROR")))
        for section, key in zip(message.sections[1:], ("answer", "authority", "additional"), strict=True):
            for line in case.get(key, []):
                owner, ttl, klass, kind, data = line.split(" ", 4)
                section.append(dns.rrset.from_text(owner, int(ttl), klass, kind, data))
        samples.append(Sample(message.to_wire(max_size=MAX_MESSAGE), sent))
    return [*samples, *_large()]


def _large() -> list[Sample]:
    mx = build_query(7, CORP, 15, variant=0)
    record = b"\xc0\x0c" + struct.pack("!HHLHH", 15, 1, 300, 6, 1) + b"\1m\xc0\x0c"
    folded = build_query(7, b"\1a" * 120 + b"\0", 15, variant=0)
    long = b"\xc0\x0c" + struct.pack("!HHLHH", 15, 1, 300, 6, 1) + b"\1m\xc0\x16"
    return [
        Sample(mx[:2] + struct.pack("!5H", 0x8180, 1, 60, 0, 0) + mx[HEADER_BYTES:-11] + record * 60, mx),
        Sample(folded[:2] + struct.pack("!5H", 0x8180, 1, 60, 0, 0) + folded[HEADER_BYTES:-11] + long * 60, folded),
    ]


def _inside(name: bytes) -> bool:
    return is_below(name, CORP)


def _take_query(sample: Sample) -> None:
    found = read_query(sample.data)
    if isinstance(found, Query):
        failure(found, 2, None)
    else:
        assert found is None or found[:2] == sample.data[:2]


def _take_response(sample: Sample) -> None:
    try:
        reading = read_response(sample.data, sample.sent, _inside)
    except Malformed:
        return
    query = read_query(sample.sent)
    assert isinstance(query, Query)
    answer = reading.answer
    message = reply(query, answer, 1, UDP_PAYLOAD)
    assert len(message) <= UDP_PAYLOAD
    assert bool(message[2] & TC >> 8) is (len(reply(query, answer, 1, MAX_MESSAGE)) > UDP_PAYLOAD)
    assert len(answer.ttls) == answer.records + answer.authorities
    if reading.target is not None:
        text_name(reading.target)


def _take_part(sample: Sample) -> None:
    """As a part of chains of aliases: in their middle if it leads on, and at their end."""
    try:
        reading = read_response(sample.data, sample.sent, _inside)
    except Malformed:
        return
    query = read_query(sample.sent)
    assert isinstance(query, Query)
    if reading.answer.rcode not in (NOERROR, NXDOMAIN):
        return  # a failure is nobody's part
    part = Link(query.name, reading.answer, None)
    if reading.target is not None:
        end = Link(reading.target, Answer(NOERROR, 1, 0, ADDRESS, (6,), 300), None)
        _assert_whole(query, spliced(query.name, query.type, [part, *[part] * AGAIN], *end[:2], 5))
    chain = [Link(ALIAS, alias(query.name), None), *[part] * AGAIN]
    _assert_whole(query, spliced(ALIAS, query.type, chain, *part[:2], 5))


def _assert_whole(query: Query, answer: Answer) -> None:
    """Its records are as many as it says, and end where it ends."""
    assert len(answer.ttls) == answer.records + answer.authorities
    end = 0
    for place in answer.ttls:
        assert place > end
        end = place + 6 + int.from_bytes(answer.body[place + 4 : place + 6], "big")
    assert end == len(answer.body) <= MAX_BODY
    assert (answer.rcode == SERVFAIL) <= (answer.body == b"")
    message = reply(query, answer, 1, UDP_PAYLOAD)
    assert len(message) <= UDP_PAYLOAD


def _damaged(data: bytes, other: bytes, random: Random) -> bytes:
    """Cheap: one edit, now and then several."""
    bits = random.getrandbits(40)
    while True:
        at = (bits & 0xFFFF) % (len(data) + 1)
        kind = bits >> 36
        if kind < 4:
            data = data[:at] + bytes((bits >> 16 & 0xFF,)) + data[at + 1 :]
        elif kind < 8:
            data = data[:at] + INTERESTING[(bits >> 16 & 0xFF) % len(INTERESTING)] + data[at + 2 :]
        elif kind < 10:
            data = data[:at]
        elif kind < 12:
            # A piece is left out, or comes twice.
            data = data[:at] + data[(bits >> 16 & 0xFFFF) % (len(data) + 1) :]
        elif kind < 14:
            data = data[:at] + other[at:]
        else:
            data = data[:at] + bytes((data[at] ^ 1 << (bits >> 16 & 7),)) + data[at + 1 :] if at < len(data) else data
        if bits >> 32 & 3:
            return data
        bits = random.getrandbits(40)


def _hunt(samples: Sequence[Sample], take: Callable[[Sample], None], count: int, seed: int) -> None:
    """Each message on its own: none may raise, or take long."""
    random = Random(seed)
    clock = time.process_time
    size = len(samples)
    before = clock()
    for _ in range(count):
        bits = random.getrandbits(32)
        sample, other = samples[(bits & 0xFFFF) % size], samples[(bits >> 16) % size]
        damaged = Sample(_damaged(sample.data, other.data, random), sample.sent)
        take(damaged)
        after = clock()
        if after - before > SLOW:
            _assert_quick(damaged, take)
            after = clock()
        before = after


def _assert_quick(sample: Sample, take: Callable[[Sample], None]) -> None:
    """Once more without the collector, and without what else the machine did."""
    gc.collect()
    gc.disable()
    try:
        times = []
        for _ in range(3):
            before = time.process_time()
            take(sample)
            times.append(time.process_time() - before)
    finally:
        gc.enable()
    assert min(times) <= SLOW, f"{min(times):.4f} s for {sample.data[:2000].hex()}"


MANY = [
    pytest.param(50_000, id="50,000 messages"),
    pytest.param(10_000_000, marks=pytest.mark.full, id="10 million messages"),
]


@pytest.mark.parametrize("count", MANY)
def test_damaged_queries_are_read_refused_or_passed_over(count: int) -> None:
    _hunt(_queries(), _take_query, count, 1)


@pytest.mark.parametrize("count", MANY)
def test_damaged_responses_are_read_or_malformed(count: int) -> None:
    _hunt(_responses(), _take_response, count, 2)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(50_000, id="50,000 messages"),
        pytest.param(1_000_000, marks=pytest.mark.full, id="a million messages"),
    ],
)
def test_damaged_responses_are_pieced_together_or_a_failure(count: int) -> None:
    _hunt(_responses(), _take_part, count, 3)


def test_the_hunt_finds_what_raises_and_what_takes_long() -> None:
    def raises(sample: Sample) -> None:
        if len(sample.data) < 20:
            raise IndexError

    def dawdles(_: Sample) -> None:
        end = time.process_time() + 2 * SLOW
        while time.process_time() < end:
            pass

    with pytest.raises(IndexError):
        _hunt(_queries(), raises, 1000, 1)
    with pytest.raises(AssertionError, match="s for"):
        _hunt(_queries(), dawdles, 10, 1)


def test_the_samples_are_good_ones() -> None:
    assert [sample for sample in _queries() if not isinstance(read_query(sample.data), Query)] == []
    samples = _responses()
    assert sum(_records(sample) for sample in samples) > 100
    assert sum(not _records(sample) for sample in samples) < len(samples) / 3


def _records(sample: Sample) -> int:
    """How many are kept."""
    try:
        answer = read_response(sample.data, sample.sent, _inside).answer
    except Malformed:
        return 0
    return answer.records + answer.authorities


_EDITS = st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=6)


def _edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    for at, put, drop in edits:
        data = data[:at] + put + data[at + drop :]
    return data


@given(st.sampled_from(_queries()), _EDITS)
def test_an_edited_query_is_read_refused_or_passed_over(sample: Sample, edits: list[tuple[int, bytes, int]]) -> None:
    _take_query(Sample(_edited(sample.data, edits), b""))


@given(st.sampled_from(_responses()), _EDITS)
def test_an_edited_response_is_read_or_malformed(sample: Sample, edits: list[tuple[int, bytes, int]]) -> None:
    _take_response(Sample(_edited(sample.data, edits), sample.sent))


@given(st.sampled_from(_responses()), _EDITS)
def test_an_edited_response_is_pieced_together_or_a_failure(
    sample: Sample, edits: list[tuple[int, bytes, int]]
) -> None:
    _take_part(Sample(_edited(sample.data, edits), sample.sent))


@given(st.binary(max_size=400))
def test_any_records_behind_the_right_question_are_read_or_malformed(data: bytes) -> None:
    sent = build_query(7, wire_name("www.corp.example"), 1, variant=1)
    head = sent[:2] + struct.pack("!5H", 0x8180, 1, 2, 1, 1)
    sample = Sample(head + sent[HEADER_BYTES:-11] + data, sent)
    _take_response(sample)
    _take_part(sample)
