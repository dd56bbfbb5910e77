"""Which sessions a filter means: both sides of every edge, and one clear line for what can not be understood."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.protocol import ControlError, Filter
from gateway.control.selection import Selection
from gateway.session.record import Record, Result
from tests.unit.control.driver import live

V6 = {"client": "[2001:db8::1]:4000", "host": "2001:db8:1::7", "address": "2001:db8:1::7", "egress": "[2001:db8::9]:1"}
BY_NAME = {"address": None, "egress": None, "uplink": None, "port": 443}


def matches(filter: Filter, **changes: Any) -> bool:
    return Selection.of(filter).matches(live(**changes))


def test_an_empty_filter_matches_everything_and_says_that_it_is_empty() -> None:
    assert Selection.of(Filter()).is_empty
    assert matches(Filter(), user="", host=None, rule=None)
    assert not Selection.of(Filter(user="fred")).is_empty


MATCHED = [
    pytest.param(Filter(session="65a-1-7"), {}, True, id="the session by its id"),
    pytest.param(Filter(session="65a-1-"), {}, False, id="not by a part of its id"),
    pytest.param(Filter(user="fred"), {}, True, id="the user"),
    pytest.param(Filter(user="Fred"), {}, False, id="users are compared with case"),
    pytest.param(Filter(user="fre"), {}, False, id="not a part of the user"),
    pytest.param(Filter(user="jörg x"), {"user": r"j\xc3\xb6rg\x20x"}, True, id="a user by the name itself"),
    pytest.param(Filter(user=r"j\xc3\xb6rg"), {"user": r"j\xc3\xb6rg"}, True, id="a user as the log shows him"),
    # source
    pytest.param(Filter(source="10.1.2.3"), {}, True, id="the client's address"),
    pytest.param(Filter(source="10.1.2.4"), {}, False, id="the address after it"),
    pytest.param(Filter(source="10.1.2.2/31"), {}, True, id="the last address of a prefix"),
    pytest.param(Filter(source="10.1.2.4/30"), {}, False, id="the address before a prefix"),
    pytest.param(Filter(source="10.9.9.9/8"), {}, True, id="bits beyond the prefix do not count"),
    pytest.param(Filter(source="0.0.0.0/0"), {}, True, id="every IPv4 client"),
    pytest.param(Filter(source="0.0.0.0/0"), V6, False, id="which is no IPv6 client"),
    pytest.param(Filter(source="2001:db8::/64"), V6, True, id="an IPv6 prefix"),
    pytest.param(Filter(source="2001:DB8:0::1"), V6, True, id="an IPv6 address written otherwise"),
    pytest.param(Filter(source="2001:db8::/64"), {}, False, id="no IPv4 client in it"),
    pytest.param(Filter(source="::ffff:10.1.2.3"), {}, True, id="an IPv4-mapped address is the IPv4 one"),
    pytest.param(Filter(source="::ffff:10.0.0.0/104"), {}, True, id="so is a prefix of them"),
    pytest.param(Filter(source="10.1.2.3"), {"client": "[::ffff:10.1.2.3]:1"}, True, id="and a client's"),
    # destination
    pytest.param(Filter(destination="192.0.2.7"), {}, True, id="the address that it is connected to"),
    pytest.param(Filter(destination="192.0.2.0/29"), {}, True, id="a prefix with the destination in it"),
    pytest.param(Filter(destination="192.0.2.8/29"), {}, False, id="the prefix after it"),
    pytest.param(Filter(destination="192.0.2.7:21"), {}, True, id="the address and the port"),
    pytest.param(Filter(destination="192.0.2.7:22"), {}, False, id="the address and another port"),
    pytest.param(Filter(destination="192.0.2.0/29:21"), {}, True, id="a prefix and the port"),
    pytest.param(Filter(destination=":21"), {}, True, id="the port alone"),
    pytest.param(Filter(destination=":20"), {}, False, id="another port"),
    pytest.param(Filter(destination=":0"), {"port": None}, False, id="no port is not port 0"),
    pytest.param(Filter(destination="ftp.example.com"), {}, True, id="the name"),
    pytest.param(Filter(destination="FTP.Example.COM."), {}, True, id="the name written otherwise"),
    pytest.param(Filter(destination="example.com"), {}, False, id="a name is that name only"),
    pytest.param(Filter(destination=".example.com"), {}, True, id="all below a name"),
    pytest.param(Filter(destination=".example.com"), {"host": "example.com"}, True, id="and the name itself"),
    pytest.param(Filter(destination=".example.com"), {"host": "notexample.com"}, False, id="and no other ending"),
    pytest.param(Filter(destination=".example.com:21"), {}, True, id="names and the port"),
    pytest.param(Filter(destination=".example.com:22"), {}, False, id="names and another port"),
    pytest.param(Filter(destination="2001:db8:1::7"), V6, True, id="an IPv6 destination"),
    pytest.param(Filter(destination="[2001:db8:1::7]"), V6, True, id="in brackets"),
    pytest.param(Filter(destination="[2001:db8:1::7]:21"), V6, True, id="in brackets with the port"),
    pytest.param(Filter(destination="[2001:db8:1::/48]:21"), V6, True, id="an IPv6 prefix with the port"),
    pytest.param(Filter(destination="[2001:db8:1::/48]:22"), V6, False, id="an IPv6 prefix with another port"),
    pytest.param(Filter(destination="::443"), V6, False, id="two colons are an address, no port"),
    pytest.param(Filter(destination="192.0.2.7"), BY_NAME, False, id="an address of a name that is not looked up yet"),
    pytest.param(
        Filter(destination="192.0.2.7"), {**BY_NAME, "host": "192.0.2.7"}, True, id="an address before the connection"
    ),
    pytest.param(Filter(destination="192.0.2.7"), {**BY_NAME, "host": None}, False, id="before anything is asked"),
    pytest.param(Filter(destination="ftp.example.com"), {**BY_NAME, "host": None}, False, id="nor by a name then"),
    pytest.param(
        Filter(destination="192.0.2.7"), {"host": "192.0.2.7", "address": "192.0.2.9"}, False, id="the real one"
    ),
    # rule
    pytest.param(Filter(rule="sockd.conf:17"), {}, True, id="the line"),
    pytest.param(Filter(rule="/etc/sockd.conf:17"), {}, True, id="the line of a file by its path"),
    pytest.param(Filter(rule="17"), {}, True, id="the number alone"),
    pytest.param(Filter(rule="017"), {}, True, id="with a zero before it"),
    pytest.param(Filter(rule="7"), {}, False, id="not the end of a number"),
    pytest.param(Filter(rule="1"), {}, False, id="not its beginning"),
    pytest.param(Filter(rule="other.conf:17"), {}, False, id="that line of another file"),
    pytest.param(Filter(rule="17"), {"rule": None}, False, id="nothing decided yet"),
    pytest.param(Filter(rule="a:b:17"), {"rule": "a:b:17"}, True, id="a file with a colon in its name"),
    # egress
    pytest.param(Filter(egress="wan1"), {}, True, id="the uplink"),
    pytest.param(Filter(egress="wan"), {}, False, id="not a part of its name"),
    pytest.param(Filter(egress="198.51.100.1"), {}, True, id="the outgoing address"),
    pytest.param(Filter(egress="198.51.100.10"), {}, False, id="another address"),
    pytest.param(Filter(egress="2001:DB8::9"), V6, True, id="an outgoing IPv6 address"),
    pytest.param(Filter(egress="198.51.100.1"), {"egress": None}, False, id="not connected yet"),
    pytest.param(Filter(egress="wan1"), {"uplink": None}, False, id="no uplink"),
    # all
    pytest.param(Filter(user="fred", destination=":21", egress="wan1"), {}, True, id="everything holds"),
    pytest.param(Filter(user="fred", destination=":21", egress="wan2"), {}, False, id="one thing does not"),
]


@pytest.mark.parametrize(("filter", "changes", "expected"), MATCHED)
def test_match(filter: Filter, changes: dict[str, Any], expected: bool) -> None:
    assert matches(filter, **changes) is expected


REFUSED = [
    pytest.param(Filter(source="10.0.0.0/33"), "source: '10.0.0.0/33': the number of bits after '/'", id="bits"),
    pytest.param(Filter(source="fred"), "source: 'fred' is no IPv4 or IPv6 address", id="a name as source"),
    pytest.param(Filter(source="10.1.2.3:40000"), "source: '10.1.2.3:40000' is no IPv4 or IPv6 address", id="a port"),
    pytest.param(Filter(source="10.1"), "source: '10.1' is no IPv4 address", id="half an address"),
    pytest.param(Filter(destination="300.1.1.1"), "destination: '300.1.1.1' is no IPv4 address", id="300"),
    pytest.param(Filter(destination="*.example.com"), "destination: '*.example.com': '*' has no meaning", id="star"),
    pytest.param(Filter(destination="ALL"), "destination: ALL selects nothing; leave the destination out", id="ALL"),
    pytest.param(Filter(destination="x:https"), "destination: 'https' is no port", id="a service"),
    pytest.param(Filter(destination=":65536"), "destination: '65536' is no port", id="the port after the last"),
    pytest.param(Filter(destination=":"), "destination: '' is no port", id="a colon alone"),
    pytest.param(Filter(destination=":²"), "destination: '²' is no port", id="a digit that is none"),
    pytest.param(
        Filter(destination="[::1"), "destination: '[::1': an address in brackets is written", id="half a pair"
    ),
    pytest.param(Filter(destination="[::1]443"), "destination: '[::1]443': an address in brackets", id="no colon"),
    pytest.param(Filter(destination="[::]/8:443"), "destination: '[::]/8:443': an address in", id="bits outside"),
    pytest.param(
        Filter(destination="[example.com]:80"), "destination: '[example.com]:80': an", id="a name in brackets"
    ),
    pytest.param(Filter(destination="a b"), "destination: 'a b' is no address and no host name", id="a blank"),
    pytest.param(
        Filter(rule="sockd.conf"), "rule: 'sockd.conf' is no line of a file, as in sockd.conf:17", id="no line"
    ),
    pytest.param(Filter(rule=":17"), "rule: ':17' is no line of a file", id="no file"),
    pytest.param(Filter(rule="-1"), "rule: '-1' is no line of a file", id="a line before the first"),
    pytest.param(Filter(egress="198.51.100"), "egress: '198.51.100' is no address of an interface", id="half a way"),
    pytest.param(Filter(egress="wan 1"), "egress: 'wan 1' is no way out", id="a way with a blank"),
    pytest.param(Filter(rule="\x1b[2J\n"), r"rule: '\x1b[2J\n' is no line of a file", id="what a terminal would obey"),
]


@pytest.mark.parametrize(("filter", "line"), REFUSED)
def test_what_can_not_be_understood_is_refused_in_one_line(filter: Filter, line: str) -> None:
    with pytest.raises(ControlError) as refused:
        Selection.of(filter)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_a_record_is_matched_like_a_session_of_now() -> None:
    record = Record(
        "2025-01-02T03:04:05.678Z", "65a-1-7", "10.1.2.3:40000", "socks5", "connect", "fred", "none",
        "ftp.example.com", "192.0.2.7", 21, "198.51.100.1:50000", "wan1", "the default", "sockd.conf:17", None, "",
        Result.CONNECTED, 1, 2, 0.5, "closed by the client",
    )  # fmt: skip
    wanted = Filter("65a-1-7", "fred", "10.0.0.0/8", ".example.com:21", "17", "wan1")
    assert Selection.of(wanted).matches(record)
    assert not Selection.of(Filter(user="mary")).matches(record)


ANY = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="0123456789abcdef.:/[]-xALLwn", max_size=24),
    st.text(st.characters(), max_size=10),
)


def refusal(filter: Filter) -> str:
    """The reason why a filter is refused; empty when it is not."""
    try:
        Selection.of(filter)
    except ControlError as error:
        return str(error)
    return ""


@settings(max_examples=400)
@given(st.sampled_from(Filter.__struct_fields__), ANY)
def test_whatever_is_written_is_a_selection_or_one_printable_line(field: str, text: str) -> None:
    filter = Filter(**{field: text})
    reason = refusal(filter)
    assert reason.isprintable()
    if not reason:
        assert Selection.of(filter).is_empty is (text == "")
        assert matches(filter) in (True, False)


@settings(max_examples=200)
@given(st.sampled_from(("user", "destination", "rule", "egress")), ANY.filter(bool))
def test_what_is_not_known_of_a_session_never_matches(field: str, text: str) -> None:
    filter = Filter(**{field: text})
    unknown = {"user": "", "host": None, "address": None, "port": None, "rule": None, "uplink": None, "egress": None}
    assert refusal(filter) or not matches(filter, **unknown)


@settings(max_examples=200)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 32))
def test_prefixes_hold_what_the_standard_library_says(address: Any, base: Any, bits: int) -> None:
    network = ipaddress.ip_network((base, bits), strict=False)
    for source in (f"{base}/{bits}", str(network)):
        assert matches(Filter(source=source), client=f"{address}:1") is (address in network)


@settings(max_examples=100)
@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_every_ipv6_address_is_within_its_own_prefixes(address: Any, bits: int) -> None:
    mapped = address.ipv4_mapped is not None
    assert matches(Filter(destination=f"[{address}/{bits}]:1"), address=str(address), port=1) or mapped
