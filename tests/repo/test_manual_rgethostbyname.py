"""What rgethostbyname(3) tells, against what the client library holds."""

import inspect
import re
from types import FunctionType

import pytest

import gateway.client
from gateway.client import HostNotFound, NoData, Patience, Rgethostbyaddr, Rgethostbyname, TryAgain, aio
from gateway.client.environment import DNAME_VARIABLE, LOOPBACK, MAX_INSIDE, NS_VARIABLE, NameServers
from gateway.client.exchange import MAX_WRONG
from gateway.client.lookup import MAX_CHAIN
from gateway.client.results import HostEntry, LookupFailed
from gateway.dns.constants import UDP_PAYLOAD
from gateway.dns.names import wire_name
from tests.repo.test_manuals import plain, section
from tests.support.manual import manual_text

PAGE = "rgethostbyname.3"


def test_the_limits_are_those_that_are_held() -> None:
    text = plain(manual_text(PAGE))
    assert f"at most {MAX_CHAIN} times" in text
    assert f"after {MAX_WRONG} such answers" in text
    assert f"at most {UDP_PAYLOAD} bytes" in text
    assert f"Its first {MAX_INSIDE} lines nameserver" in text
    assert f"without any it is {LOOPBACK}" in text


def test_patience_has_the_defaults_that_are_told() -> None:
    told = " ".join(re.findall(r"\\fI(\w+)\\fP=([\d.]+)", section(PAGE, ".SS Patience", ".PP\nIn"))[0])
    defaults = Patience()
    assert told == f"seconds {defaults.seconds}"
    for name, value in defaults._asdict().items():
        assert f"\\fI{name}\\fP={value}" in manual_text(PAGE)


@pytest.mark.parametrize("call", [Rgethostbyname, Rgethostbyaddr, aio.Rgethostbyname, aio.Rgethostbyaddr])
def test_the_synopsis_has_the_arguments_of_the_calls(call: FunctionType) -> None:
    first, *others = inspect.signature(call).parameters
    name = call.__name__ if inspect.getmodule(call) is not aio else f"aio.{call.__name__}"
    assert others == ["servers", "patience"]
    assert f"{name}({first}, servers=None, patience=Patience())" in section(PAGE, ".SH SYNOPSIS", ".SH ")


@pytest.mark.parametrize("failure", [HostNotFound, NoData, TryAgain])
def test_every_failure_has_its_code(failure: type[LookupFailed]) -> None:
    assert f'.BR {failure.__name__} " ({failure.h_errno})"' in section(PAGE, ".SH ERRORS", ".SH ")


def test_what_can_be_imported_is_told() -> None:
    assert [name for name in gateway.client.__all__ if name not in manual_text(PAGE)] == []


def test_the_fields_of_an_entry_are_described_in_their_order() -> None:
    described = re.findall(r"^\.TP\n\.I (\w+)$", section(PAGE, ".SH RETURN VALUE", ".SH "), re.MULTILINE)
    assert tuple(described) == HostEntry._fields


def test_the_variables_are_those_that_are_read() -> None:
    described = re.findall(r"^\.TP\n\.B (\w+)$", section(PAGE, ".SH ENVIRONMENT", ".SH "), re.MULTILINE)
    assert described == [NS_VARIABLE, DNAME_VARIABLE]


def test_the_domains_that_are_never_public_are_those_of_the_inside() -> None:
    (told,) = re.findall(r"and the domains ([\w, .]+?) \.", plain(section(PAGE, ".SS Who is asked", ".SS ")))
    names = re.findall(r"[\w.]+", told.replace(" and ", " "))
    servers = NameServers.of([])
    assert len(names) == 9
    assert all(servers.owns(wire_name(f"x.y.{name}")) for name in names)
