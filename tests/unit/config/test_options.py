"""`gateway.config.options`: each option, with both sides of its edges, and back to text."""

import pytest

from gateway.address import Address
from gateway.config.fields import BadField
from gateway.config.options import AMOUNT_LIMIT, parse_option, print_options
from gateway.config.rules import Hours, Options, Quota

EVERY_DAY = frozenset(range(7))


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("auth", "password", frozenset({"password"})),
        ("auth", "gssapi,none", frozenset({"none", "gssapi"})),
        ("method", "connect,bind,udp", frozenset({"connect", "bind", "udp"})),
        ("rate", "1", 1),
        ("rate", "500K", 500_000),
        ("rate", "10M", 10_000_000),
        ("rate", "2G", 2_000_000_000),
        ("rate", "1T", 10**12),
        ("rate", str(AMOUNT_LIMIT), AMOUNT_LIMIT),
        ("sessions", "1", 1),
        ("sessions", "999999999", 999_999_999),
        ("quota", "5G/day", Quota(5 * 10**9, "day")),
        ("quota", "1/week", Quota(1, "week")),
        ("quota", "100M/month", Quota(10**8, "month")),
        ("via", "wan1", ("wan1",)),
        ("via", "wan2,eth0.100,192.0.2.1", ("wan2", "eth0.100", Address(4, 0xC0000201))),
    ],
)
def test_values(name: str, value: str, parsed: object) -> None:
    assert parse_option(name, value) == parsed


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("auth", "", "auth='' is unknown; auth= takes none, password, gssapi"),
        ("auth", "passwd", "auth='passwd' is unknown; auth= takes none, password, gssapi"),
        ("auth", "none,none", "auth= names 'none' twice"),
        ("method", "connect,", "method='' is unknown; method= takes connect, bind, udp"),
        ("method", "CONNECT", "method='CONNECT' is unknown"),
        ("rate", "0", "rate='0': a number of bytes above 0 is expected"),
        ("rate", "010M", "rate='010M': a number of bytes above 0 is expected"),
        ("rate", "10m", "rate='10m': a number of bytes above 0 is expected"),
        ("rate", "10MB", "rate='10MB': a number of bytes above 0 is expected"),
        ("rate", "-1", "rate='-1': a number of bytes above 0 is expected"),
        ("rate", "1.5M", "rate='1.5M': a number of bytes above 0 is expected"),
        ("rate", str(AMOUNT_LIMIT + 1), f"rate='{AMOUNT_LIMIT + 1}' is too much"),
        ("sessions", "0", "sessions='0': a number above 0 is expected"),
        ("sessions", "1000000000", "sessions='1000000000': a number above 0 is expected"),
        ("sessions", "many", "sessions='many': a number above 0 is expected"),
        ("quota", "5G", "quota='5G': an amount a day, week or month is expected, such as 5G/day"),
        ("quota", "5G/year", "quota='5G/year': an amount a day, week or month is expected"),
        ("quota", "0/day", "quota='0': a number of bytes above 0 is expected"),
        ("via", "", "via=: '' is no way out: neither"),
        ("via", "wan1,,wan2", "via=: '' is no way out: neither"),
        ("via", "-wan", "via=: '-wan' is no way out: neither"),
        ("via", "wan1,wan1", "via= names 'wan1' twice"),
        (
            "speed",
            "1",
            "unknown option 'speed='; the options are auth, method, hours, rate, sessions, quota, via and report",
        ),
    ],
)
def test_values_that_are_refused(name: str, value: str, fault: str) -> None:
    with pytest.raises(BadField) as caught:
        parse_option(name, value)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("value", "windows"),
    [
        pytest.param("08:00-18:00", (Hours(EVERY_DAY, 480, 1080),), id="every day"),
        pytest.param("Mon-Fri/08:00-18:00", (Hours(frozenset(range(5)), 480, 1080),), id="a range of days"),
        pytest.param("Sun/00:00-24:00", (Hours(frozenset({6}), 0, 1440),), id="a whole day"),
        pytest.param("Fri-Mon/23:59-00:00", (Hours(frozenset({4, 5, 6, 0}), 1439, 0),), id="days past Sunday"),
        pytest.param("22:00-06:30", (Hours(EVERY_DAY, 1320, 390),), id="past midnight"),
        pytest.param("Mon,Wed,Fri/08:00-12:00", (Hours(frozenset({0, 2, 4}), 480, 720),), id="a list of days"),
        pytest.param(
            "Mon-Tue,Thu/08:00-12:00,Sat,Sun/10:00-11:00,13:00-14:00",
            (
                Hours(frozenset({0, 1, 3}), 480, 720),
                Hours(frozenset({5, 6}), 600, 660),
                Hours(EVERY_DAY, 780, 840),
            ),
            id="several windows, each with its list of days",
        ),
        pytest.param("Mon-Mon/08:00-12:00", (Hours(frozenset({0}), 480, 720),), id="a range of one day"),
    ],
)
def test_hours(value: str, windows: tuple[Hours, ...]) -> None:
    assert parse_option("hours", value) == windows


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        pytest.param("", "hours='': days are Mon, Tue", id="nothing"),
        pytest.param("mon/08:00-18:00", "hours='mon': days are Mon, Tue", id="small letters"),
        pytest.param("Mon-/08:00-18:00", "hours='Mon-': days are", id="half a range"),
        pytest.param("/08:00-18:00", "hours='': days are", id="a slash without days"),
        pytest.param("Mon-Wed-Fri/08:00-18:00", "hours='Mon-Wed-Fri': days are", id="a range of three"),
        pytest.param(
            "Mon,Tue", "hours='Mon,Tue': the last days have no time; a whole day is /00:00-24:00", id="no time"
        ),
        pytest.param("Mon,08:00-18:00", "hours='08:00-18:00': the days before it need '/'", id="a comma for the slash"),
        pytest.param("Mon/8:00-18:00", "hours='8:00-18:00': a time is written as in", id="one digit"),
        pytest.param("08:00", "hours='08:00': a time is written as in", id="no end"),
        pytest.param("Mon/08-18", "hours='08-18': a time is written as in", id="no minutes"),
        pytest.param("08:00-24:01", "hours='24:01' is no time of the day", id="past the end of the day"),
        pytest.param("08:60-09:00", "hours='08:60' is no time of the day", id="60 minutes"),
        pytest.param("25:00-26:00", "hours='25:00' is no time of the day", id="25 hours"),
        pytest.param("24:00-08:00", "hours='24:00-08:00' holds no time at all", id="24:00 is an end only"),
        pytest.param("08:00-08:00", "hours='08:00-08:00' holds no time at all", id="no minute between"),
    ],
)
def test_hours_that_are_refused(value: str, fault: str) -> None:
    with pytest.raises(BadField) as caught:
        parse_option("hours", value)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1, "1"), (999, "999"), (1000, "1K"), (1001, "1001"), (1_500_000, "1500K"), (10**12, "1T"), (10**15, "1000T")],
)
def test_amounts_are_printed_with_the_largest_unit_that_is_exact(amount: int, text: str) -> None:
    assert print_options(Options(rate=amount)) == [f"rate={text}"]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (range(7), "08:00-18:00"),
        (range(5), "Mon-Fri/08:00-18:00"),
        ((0, 2, 4), "Mon,Wed,Fri/08:00-18:00"),
        ((5, 6), "Sat,Sun/08:00-18:00"),
        ((0, 1, 2, 4, 5, 6), "Mon-Wed,Fri-Sun/08:00-18:00"),
    ],
)
def test_days_are_printed_in_order_and_in_ranges(days: range, text: str) -> None:
    assert print_options(Options(hours=(Hours(frozenset(days), 480, 1080),))) == [f"hours={text}"]


def test_options_are_printed_in_one_order() -> None:
    options = Options(
        auth=frozenset({"gssapi", "password"}),
        method=frozenset({"udp"}),
        hours=(Hours(EVERY_DAY, 0, 1440), Hours(frozenset({0}), 0, 60)),
        rate=10**7,
        sessions=50,
        quota=Quota(5 * 10**9, "day"),
        via=("wan2", "wan1"),
        report=True,
    )
    assert " ".join(print_options(options)) == (
        "auth=password,gssapi method=udp hours=00:00-24:00,Mon/00:00-01:00 rate=10M sessions=50 quota=5G/day "
        "via=wan2,wan1 report"
    )
    assert print_options(Options()) == []
