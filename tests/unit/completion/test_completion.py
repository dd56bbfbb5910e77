"""Shell completion offers what the commands take: the real shells are asked, and compared with the parsers."""

import argparse
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import gateway
from gateway.cli.sockctl import COMMANDS, make_parser
from gateway.dns.constants import parse_type

FOLDER = Path(gateway.__file__).parent / "completion"


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    (commands,) = (action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def options(name: str) -> set[str]:
    """Of a command, and of the words that it is told what to do by."""
    parser = parsers()[name]
    below = [one for action in parser._actions if isinstance(action, argparse._SubParsersAction)
             for one in action.choices.values()]  # fmt: skip
    return {option for one in (parser, *below) for action in one._actions for option in action.option_strings}


def choices() -> list[tuple[str, str, set[str]]]:
    """Command, option, and the words that it takes."""
    return [
        (name, option, set(action.choices))
        for name, parser in parsers().items()
        for action in parser._actions
        for option in action.option_strings
        if action.choices
    ]


def shell(*words: str, folder: Path) -> list[str]:
    """What a shell prints, line by line."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, cwd=folder, env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


def bash(folder: Path, *words: str) -> set[str]:
    """The candidates of bash for the last word."""
    script = f"""
        source {FOLDER}/sockctl.bash
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        [[ $(complete -p sockctl) == *"-F _sockctl"* ]] || echo broken
        _sockctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return set(filter(None, shell("bash", "--norc", "-c", script, "bash", "sockctl", *words, folder=folder)))


def fish(folder: Path, *words: str) -> set[str]:
    """The candidates of fish for the last word."""
    line = " ".join(("sockctl", *words))
    script = f"source {FOLDER}/sockctl.fish; complete -C '{line}'"
    return {found.partition("\t")[0] for found in shell("fish", "--no-config", "-c", script, folder=folder)}


needs_fish = pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish: apt-get install fish")
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh: apt-get install zsh")
SHELLS = [pytest.param(bash, id="bash"), pytest.param(fish, id="fish", marks=needs_fish)]
Shell = Callable[..., set[str]]


@pytest.mark.parametrize("candidates", SHELLS)
def test_every_command_is_offered(candidates: Shell, tmp_path: Path) -> None:
    assert {word for word in candidates(tmp_path, "") if not word.startswith("-")} == set(COMMANDS)
    assert candidates(tmp_path, "re") == {"reload", "resolve"}


@pytest.mark.parametrize("name", COMMANDS)
def test_bash_offers_exactly_the_options_of_a_command(name: str, tmp_path: Path) -> None:
    assert bash(tmp_path, name, "-") == options(name)


@needs_fish
@pytest.mark.parametrize("name", COMMANDS)
def test_fish_offers_exactly_the_options_of_a_command(name: str, tmp_path: Path) -> None:
    assert fish(tmp_path, name, "-") | fish(tmp_path, name, "--") == options(name)


@pytest.mark.parametrize("candidates", SHELLS)
@pytest.mark.parametrize(("name", "option", "words"), choices())
def test_the_words_of_an_option_are_offered_and_no_others(
    candidates: Shell, name: str, option: str, words: set[str], tmp_path: Path
) -> None:
    (tmp_path / "a_file").touch()
    assert candidates(tmp_path, name, option, "") == words


@pytest.mark.parametrize("candidates", SHELLS)
@pytest.mark.parametrize(
    "words", [("status", "-s", ""), ("reload", "-f", ""), ("explain", "-C", ""), ("check", ""), ("convert", "")]
)
def test_files_are_offered_where_one_is_meant(candidates: Shell, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "sockd.conf").touch()
    assert "sockd.conf" in candidates(tmp_path, *words)


@pytest.mark.parametrize("candidates", SHELLS)
@pytest.mark.parametrize("words", [("kill", "--rule", ""), ("drain", "--timeout", ""), ("status", "")])
def test_files_are_not_offered_where_none_is(candidates: Shell, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "sockd.conf").touch()
    assert "sockd.conf" not in candidates(tmp_path, *words)


@pytest.mark.parametrize("candidates", SHELLS)
def test_what_the_cache_is_told_to_do_is_offered_first_and_once(candidates: Shell, tmp_path: Path) -> None:
    assert candidates(tmp_path, "cache", "") == {"flush", "dump"}
    assert candidates(tmp_path, "cache", "d") == {"dump"}
    assert candidates(tmp_path, "cache", "dump", "") == set()


@pytest.mark.parametrize("candidates", SHELLS)
def test_types_that_are_offered_are_types(candidates: Shell, tmp_path: Path) -> None:
    offered = candidates(tmp_path, "resolve", "-t", "")
    assert {"A", "AAAA", "MX"} <= offered
    assert [type for type in offered if parse_type(type) is None] == []
    (listed,) = re.findall(r"'-t\[the type\]:type:\(([\w ]+)\)'", (FOLDER / "_sockctl").read_text())
    assert set(listed.split()) == offered


# zsh shows candidates to a terminal only: its file is compared as text, and read by the real shell.


def zsh_options(text: Iterable[str]) -> set[str]:
    r"""The options in specifications of \_arguments."""
    found = set()
    for spec in text:
        braces = re.search(r"\{(-[^}]*)\}", spec)
        plain = re.match(r"'(?:\([^)]*\))?\*?(-[-\w]+)\[", spec)
        found |= set(braces[1].split(",")) if braces else {plain[1]} if plain else set()
    return found


def zsh_commands() -> dict[str, set[str]]:
    """The options of each command."""
    text = (FOLDER / "_sockctl").read_text()
    lists = {
        name: zsh_options(re.findall(r"'[^\n]*", body))
        for name, body in re.findall(r"^    (\w+)=\((.*?)\)\n(?=    \w|\n)", text, re.DOTALL | re.MULTILINE)
    }
    cases = re.findall(r"^        ([\w |]+)\)\s(.*?);;", text, re.DOTALL | re.MULTILINE)
    return {
        name: zsh_options(re.findall(r"'[^\n]*?'(?:\{[^}]*\}'[^']*')?", body))
        | {option for used in re.findall(r"\$(\w+)", body) for option in lists[used]}
        for names, body in cases
        for name in names.split(" | ")
    }


def test_zsh_offers_exactly_the_options_of_every_command() -> None:
    assert zsh_commands() == {name: options(name) for name in COMMANDS}


def test_zsh_offers_every_command_and_every_word() -> None:
    text = (FOLDER / "_sockctl").read_text()
    assert re.findall(r"^        ['\"](\w+):", text, re.MULTILINE) == list(COMMANDS)
    offered = [set(words.split()) for words in re.findall(r":\(([\w ]+)\)'", text)]
    assert [words for _, _, words in choices() if words not in offered] == []


@needs_zsh
def test_zsh_reads_its_file(tmp_path: Path) -> None:
    assert shell("zsh", "-f", "-n", str(FOLDER / "_sockctl"), folder=tmp_path) == []


def test_summaries_are_those_of_the_help() -> None:
    zsh = (FOLDER / "_sockctl").read_text()
    fish_text = (FOLDER / "sockctl.fish").read_text()
    for name, command in COMMANDS.items():
        assert f"{name}:{command.summary}" in zsh
        assert command.summary[0].upper() + command.summary[1:] in fish_text
