"""Names of ports, as services(5) gives them."""

import pytest

from gateway.services import Services, parse_services

TEXT = """\
# Network services
ftp             21/tcp          # control
ssh 22/tcp
domain          53/tcp
domain          53/udp
http\t\t80/tcp\t\twww web         # WorldWideWeb
http-alt        80/tcp
socks           1080/tcp
www             8080/tcp
tftp            69/udp
last            65535/tcp
toofar          65536/tcp
nonsense        port/tcp
negative        -1/tcp
huge            99999999999999999999999999/tcp
lonely
  kerberos      88/tcp kerberos5 krb5
#gopher         70/tcp
"""
SERVICES = parse_services(TEXT)


@pytest.mark.parametrize(
    ("word", "port"),
    [
        pytest.param("ftp", 21, id="a service"),
        pytest.param("www", 80, id="an alias; the first entry of a name counts"),
        pytest.param("web", 80, id="a second alias"),
        pytest.param("krb5", 88, id="an indented line"),
        pytest.param("http-alt", 80, id="a second service of a port"),
        pytest.param("tftp", None, id="a UDP service is none of TCP"),
        pytest.param("gopher", None, id="a comment is no entry"),
        pytest.param("lonely", None, id="a name without a port"),
        pytest.param("nonsense", None, id="a port that is no number"),
        pytest.param("toofar", None, id="a port over 65535"),
        pytest.param("huge", None, id="a number out of all bounds"),
        pytest.param("FTP", None, id="letter case counts"),
        pytest.param("0", 0, id="the first number"),
        pytest.param("65535", 65535, id="the last number"),
        pytest.param("65536", None, id="the number after it"),
        pytest.param("00080", 80, id="leading zeros are decimal"),
        pytest.param("000080", None, id="six digits"),
        pytest.param("-1", None, id="a sign"),
        pytest.param("+80", None, id="another sign"),
        pytest.param("0x50", None, id="hexadecimal"),
        pytest.param("\u0661", None, id="a digit of another alphabet"),
        pytest.param("\u00b2", None, id="a digit that is not decimal"),
        pytest.param("80 ", None, id="a blank"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_the_port_of_a_word(word: str, port: int | None) -> None:
    assert SERVICES.port(word) == port


@pytest.mark.parametrize(
    ("port", "name"),
    [
        pytest.param(21, "ftp", id="a service"),
        pytest.param(80, "http", id="the first name of a port, no alias"),
        pytest.param(65535, "last", id="the last port"),
        pytest.param(69, "69", id="a port of UDP only"),
        pytest.param(0, "0", id="no service"),
    ],
)
def test_the_name_of_a_port(port: int, name: str) -> None:
    assert SERVICES.name(port) == name


def test_a_service_is_tried_before_a_number() -> None:
    assert Services({"80": 8080}, {}).port("80") == 8080


def test_no_services_leave_the_numbers() -> None:
    empty = parse_services("")
    assert (empty.port("ftp"), empty.port("21"), empty.name(21)) == (None, 21, "21")


def test_a_line_of_any_length_is_passed_over() -> None:
    assert parse_services("big " + "9" * 5000 + "/tcp\nftp 21/tcp").port("ftp") == 21
