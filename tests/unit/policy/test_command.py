"""The % codes of commands, and what a client's words can not do in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.command import CODES, LENGTH_LIMIT, CommandRefused, Job, Substitutions, expand, sanitised

VALUES = Substitutions(
    client_name="pc7.example.com",
    client_address="10.1.2.3",
    command="connect",
    process="4711",
    service="telnet",
    port="23",
    user="fred",
    destination_name="www.example.net",
    destination_address="192.0.2.1",
    ident="real",
)


@pytest.mark.parametrize(
    ("template", "command"),
    [
        pytest.param("x %A", "x pc7.example.com", id="%A is the client's name"),
        pytest.param("x %a", "x 10.1.2.3", id="%a is its address"),
        pytest.param("x %c", "x connect", id="%c is the request"),
        pytest.param("x %p", "x 4711", id="%p is the process"),
        pytest.param("x %S", "x telnet", id="%S is the service"),
        pytest.param("x %s", "x 23", id="%s is the port"),
        pytest.param("x %U", "x real", id="%U is identd's user"),
        pytest.param("x %u", "x fred", id="%u is the client's user"),
        pytest.param("x %Z", "x www.example.net", id="%Z is the destination's name"),
        pytest.param("x %z", "x 192.0.2.1", id="%z is its address"),
        pytest.param("x %%", "x %", id="%% is %"),
        pytest.param("x %%u %u", "x %u fred", id="%% does not begin a code"),
        pytest.param("x %q%-y", "x y", id="an unknown code is removed"),
        pytest.param("x 100%", "x 100", id="% at the end is removed"),
        pytest.param("mail -s '%u@%A' root", "mail -s 'fred@pc7.example.com' root", id="quotes are the shell's"),
        pytest.param("x %\ny", "x y", id="% before a newline is a code too"),
    ],
)
def test_the_codes(template: str, command: str) -> None:
    assert expand(template, VALUES) == command


def test_every_field_has_one_code() -> None:
    assert sorted(CODES.values()) == sorted(Substitutions._fields)


def test_identd_that_was_not_asked_is_unknown() -> None:
    assert Substitutions(*VALUES[:-1]).ident == "unknown"


@pytest.mark.parametrize(
    ("value", "harmless"),
    [
        pytest.param("fred", "fred", id="letters"),
        pytest.param("!@%-_=+:,./", "!@%-_=+:,./", id="every character that stays"),
        pytest.param("evil\\", "evil_", id="a backslash, which would take away the quote behind it"),
        pytest.param("$(reboot)`id`;|&<>'\"", "__reboot__id________", id="what the shell reads"),
        pytest.param("a b\tc\nd\0e", "a_b_c_d_e", id="blanks, newline, NUL"),
        pytest.param("fr\u00e9d\u202e\ud800", "fr_d__", id="other alphabets, marks, stray bytes"),
        pytest.param("~*?[]{}#^", "_________", id="patterns"),
    ],
)
def test_expanded_values_are_harmless(value: str, harmless: str) -> None:
    assert sanitised(value) == harmless
    assert expand("x %u", VALUES._replace(user=value)) == f"x {harmless}"


@given(st.text(max_size=50))
def test_no_value_brings_another_character_into_the_command(value: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@%-_=+\\:,./ ")
    assert set(expand("x %u", VALUES._replace(user=value))) <= allowed


def test_a_value_is_not_expanded_again() -> None:
    assert expand("x %u", VALUES._replace(user="%a%%")) == "x %a%%"


def test_the_template_itself_is_the_administrators_and_stays() -> None:
    assert expand("(a; b) | c > $HOME/`d`", VALUES) == "(a; b) | c > $HOME/`d`"


def test_a_command_of_the_limit_is_run_and_a_longer_one_is_refused() -> None:
    assert len(expand("x" * LENGTH_LIMIT, VALUES)) == LENGTH_LIMIT
    assert len(expand("x" * (LENGTH_LIMIT - 4) + "%u", VALUES)) == LENGTH_LIMIT
    with pytest.raises(CommandRefused, match=r"^shell command too long: x{30}\.\.\.$"):
        expand("x" * (LENGTH_LIMIT - 3) + "%u", VALUES)
    with pytest.raises(CommandRefused, match="too long"):
        expand("x" * (LENGTH_LIMIT + 1), VALUES)


def test_a_value_without_end_is_refused_with_its_command() -> None:
    with pytest.raises(CommandRefused, match="too long: abc uuuuuu"):
        expand("abc %u", VALUES._replace(user="u" * 1_000_000))


@pytest.mark.parametrize("template", ["", "  ", "!!", "%u", "%%"])
def test_a_command_without_letters_and_digits_is_refused(template: str) -> None:
    with pytest.raises(CommandRefused, match=r"contains no alphanumeric characters\.$"):
        expand(template, VALUES._replace(user="--"))


def test_what_was_expanded_counts_as_letters() -> None:
    assert expand("%u", VALUES) == "fred"


def test_a_job_has_its_line_and_values_so_that_its_words_can_be_taken_from_the_file() -> None:
    template = "echo %u %Z"
    job = Job("sockd.conf:17", VALUES, expand(template, VALUES))
    assert job.origin == "sockd.conf:17"
    assert job.command == expand(template, job.values) == "echo fred www.example.net"
