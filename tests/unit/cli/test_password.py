"""Making a line of the passwords file."""

import argparse
import io
import sys
from collections.abc import Callable

import pytest

from gateway.cli import password
from gateway.policy.passwords import parse_passwords

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs ``sockctl password USER`` with this standard input; status, output, errors."""

    def start(user: str, stdin: bytes) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        parser = argparse.ArgumentParser()
        password.add_arguments(parser)
        status = password.run(parser.parse_args([user]))
        return status, *capsys.readouterr()

    return start


@pytest.mark.parametrize(
    ("stdin", "typed"),
    [
        pytest.param(b"geheim\n", b"geheim", id="a line"),
        pytest.param(b"geheim", b"geheim", id="no newline"),
        pytest.param(b"geheim\r\n", b"geheim", id="a line of another system"),
        pytest.param(b"geheim\nmore\n", b"geheim", id="only the first line counts"),
        pytest.param(b" ge heim \n", b" ge heim ", id="blanks are part of it"),
        pytest.param(b"ge\xffheim\n", b"ge\xffheim", id="octets that are no text"),
    ],
)
def test_a_password_from_standard_input(command: Typed, stdin: bytes, typed: bytes) -> None:
    status, line, errors = command("fred", stdin)
    assert (status, errors) == (0, "")
    assert line.startswith("fred:$scrypt$ln=14,r=8,p=1$")
    found = parse_passwords(line, "passwords")
    assert found.verify(b"fred", typed)
    assert not found.verify(b"fred", typed + b" ")


def test_the_salt_is_another_each_time(command: Typed) -> None:
    assert command("fred", b"geheim\n")[1] != command("fred", b"geheim\n")[1]


@pytest.mark.parametrize(
    ("user", "stdin", "message"),
    [
        pytest.param("fred", b"", "a password has 1 to 255 octets", id="end of file"),
        pytest.param("fred", b"\n", "a password has 1 to 255 octets", id="an empty line"),
        pytest.param("fred", b"x" * 256, "a password has 1 to 255 octets", id="a long password"),
        pytest.param("fr:ed", b"geheim\n", "'fr:ed' is no user id", id="a user with a colon"),
    ],
)
def test_what_can_not_be_used(command: Typed, user: str, stdin: bytes, message: str) -> None:
    status, line, errors = command(user, stdin)
    assert (status, line) == (2, "")
    assert errors.startswith(f"sockctl password: {message}")


@pytest.mark.parametrize(
    ("second", "status"), [pytest.param("geheim", 0, id="twice the same"), pytest.param("other", 2, id="two others")]
)
def test_at_a_terminal_it_is_asked_for_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], second: str, status: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter(["geheim", second])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    assert password.run(argparse.Namespace(user="fred")) == status
    out, errors = capsys.readouterr()
    assert "geheim" not in out + errors
    assert bool(out) == (status == 0)
