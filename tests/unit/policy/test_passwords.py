"""The passwords file, and the check that tells nobody which users exist."""

import base64
import re
import time

import pytest

from gateway.errors import ConfigError
from gateway.place import Place
from gateway.policy.passwords import BadPassword, Cost, PasswordFile, make_entry, parse_passwords

PATH = "/etc/sockd.passwd"
SALT = b"0123456789abcdef"
CHEAP = Cost(10, 1, 1)
FRED = make_entry("fred", "geheim", SALT, CHEAP)


def passwords(*lines: str) -> PasswordFile:
    return parse_passwords("\n".join(lines), PATH)


def faults(*lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        passwords(*lines)
    return [str(problem) for problem in caught.value.problems]


RFC_7914 = bytes.fromhex(
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
)
"""§12, the vector with N 16384, r 8, p 1, password pleaseletmein, salt SodiumChloride."""


@pytest.mark.parametrize("padding", [pytest.param(b"", id="without padding"), pytest.param(b"=", id="with padding")])
def test_the_vector_of_rfc_7914_in_the_form_of_the_file(padding: bytes) -> None:
    salt, digest = (base64.b64encode(octets).rstrip(b"=") + padding for octets in (b"SodiumChloride", RFC_7914))
    found = passwords(f"fred:$scrypt$ln=14,r=8,p=1${salt.decode()}${digest.decode()}")
    assert found.verify(b"fred", b"pleaseletmein")
    assert not found.verify(b"fred", b"pleaseletmeout")


def test_the_form_of_a_line() -> None:
    assert re.fullmatch(r"fred:\$scrypt\$ln=10,r=1,p=1\$MDEyMzQ1Njc4OWFiY2RlZg\$[A-Za-z0-9+/]{43}", FRED)


@pytest.mark.parametrize(
    ("user", "password", "accepted"),
    [
        pytest.param(b"fred", b"geheim", True, id="the right password"),
        pytest.param(b"fred", b"Geheim", False, id="letter case counts"),
        pytest.param(b"fred", b"geheim ", False, id="blanks count"),
        pytest.param(b"fred", b"", False, id="no password"),
        pytest.param(b"Fred", b"geheim", False, id="the user's letter case counts"),
        pytest.param(b"joe", b"geheim", False, id="a user who does not exist"),
        pytest.param(b"", b"", False, id="no user"),
        pytest.param(b"fred\0", b"geheim", False, id="a NUL is part of the user"),
    ],
)
def test_verify(user: bytes, password: bytes, accepted: bool) -> None:
    assert passwords(FRED).verify(user, password) is accepted


def test_a_password_of_any_octets() -> None:
    assert passwords(make_entry("fred", "gehe\u00efm\udcff", SALT, CHEAP)).verify(b"fred", b"gehe\xc3\xafm\xff")


def test_an_empty_file_lets_nobody_in() -> None:
    assert not passwords("", "# nobody yet", "  ").verify(b"fred", b"geheim")


def test_the_stand_in_of_absent_users_costs_as_much_as_the_dearest_entry() -> None:
    dear = make_entry("ann", "x", SALT, Cost(11, 2, 1))
    found = passwords(FRED, dear, make_entry("bob", "x", SALT, Cost(12, 1, 1)))
    assert found.absent.cost in (Cost(11, 2, 1), Cost(12, 1, 1))
    assert passwords(FRED).absent.cost == CHEAP
    assert passwords("").absent.cost == Cost(14, 8, 1)


def test_a_user_who_does_not_exist_is_refused_even_if_the_stand_in_matches() -> None:
    found = passwords(FRED)
    assert not found._replace(entries={}, absent=found.entries[b"fred"]).verify(b"fred", b"geheim")


def test_users_who_do_not_exist_take_as_long_as_those_who_do() -> None:
    found = passwords(make_entry("fred", "geheim", SALT, Cost(12, 4, 1)))
    known, unknown = (min(_work(found, user) for _ in range(8)) for user in (b"fred", b"joe"))
    assert 0.5 < unknown / known < 2


def _work(found: PasswordFile, user: bytes) -> float:
    """Seconds of processor time: what else runs on a busy machine is not in them."""
    start = time.thread_time()
    found.verify(user, b"wrong")
    return time.thread_time() - start


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("fred", "no ':' between the user and the hash", id="no hash"),
        pytest.param("fred:geheim", "the hash of 'fred' is not $scrypt$", id="a plain password"),
        pytest.param("fred:$6$salt$hash", "the hash of 'fred' is not $scrypt$", id="another hash"),
        pytest.param(":" + FRED.partition(":")[2], "'' is no user id", id="no user"),
        pytest.param(FRED.replace("ln=10", "ln=9"), "ln is at least 10", id="too cheap"),
        pytest.param(FRED.replace("ln=10", "ln=16"), "less than 16 * r", id="more than scrypt takes for r=1"),
        pytest.param(FRED.replace("ln=10,r=1", "ln=20,r=8"), "more than 64 MiB", id="too dear"),
        pytest.param(FRED.replace("r=1", "r=0"), "less than 16 * r", id="r of 0"),
        pytest.param(FRED.replace("p=1", "p=0"), "p is 1 to", id="p of 0"),
        pytest.param(FRED.replace("p=1", "p=5"), "p is 1 to 4", id="p of 5"),
        pytest.param(FRED[:-1] + "=A", "is not base64", id="base64 with padding inside"),
        pytest.param("fred:$scrypt$ln=10,r=1,p=1$AAAA$" + "A" * 43, "has 3 octets; 8 to 64", id="a short salt"),
        pytest.param("fred:$scrypt$ln=10,r=1,p=1$AAAAAAAAAAA$AAAA", "has 3 octets; 16 to 64", id="a short hash"),
        pytest.param("f" * 256 + FRED[4:], "more than 255 octets", id="a user longer than RFC 1929 has room for"),
        pytest.param("x" * 1024, "more than 1023 characters", id="a long line"),
    ],
)
def test_a_line_that_is_refused(line: str, message: str) -> None:
    (fault,) = faults("# users", line)
    assert fault.startswith(f"{PATH}:2:1: ")
    assert message in fault


def test_every_mistake_is_reported_in_one_run() -> None:
    assert [fault.split(":")[1] for fault in faults("fred", FRED, "", FRED, "joe:")] == ["1", "4", "5"]


def test_no_message_holds_a_hash_or_a_password() -> None:
    lines = ["fred:geheim", FRED.replace("ln=10", "ln=9"), FRED[:-1] + "=A"]
    assert not any(secret in fault for fault in faults(*lines) for secret in ("geheim", FRED[-20:-2]))


def test_a_user_twice_is_a_mistake() -> None:
    assert faults(FRED, FRED) == [f"{PATH}:2:1: a second line for user 'fred'"]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        pytest.param("", "x", id="no user"),
        pytest.param("a:b", "x", id="a colon"),
        pytest.param("#a", "x", id="a comment"),
        pytest.param(" a", "x", id="a blank before"),
        pytest.param("a ", "x", id="a blank behind"),
        pytest.param("a\nb", "x", id="a newline"),
        pytest.param("a" * 256, "x", id="a long user"),
        pytest.param("fred", "", id="no password"),
        pytest.param("fred", "x" * 256, id="a long password"),
    ],
)
def test_what_no_client_could_send_is_not_made(user: str, password: str) -> None:
    with pytest.raises(BadPassword):
        make_entry(user, password, SALT, CHEAP)


@pytest.mark.parametrize(
    ("user", "password"),
    [("a" * 255, "x" * 255), ("first last", "x"), ("fr\u00e9d", "\u00e9" * 127), ("a@example.com", "a:b #c")],
)
def test_what_is_made_is_read_back(user: str, password: str) -> None:
    found = passwords(make_entry(user, password, SALT, CHEAP))
    assert found.verify(user.encode(), password.encode())


def test_places_name_the_file_and_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        passwords("", "x")
    assert caught.value.problems[0].place == Place(PATH, 2, 1)
