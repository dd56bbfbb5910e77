"""``sockctl convert``: a ``sockd.conf`` in the masks of 1992, printed with today's; comments stay where they are."""

import argparse
import sys

from gateway.config.access import parse_access
from gateway.config.lexer import LINE_LIMIT, Line, read_lines, special_word, split_line
from gateway.config.printer import print_rule
from gateway.config.rules import AccessFile, AccessRule, Dialect
from gateway.config.source import read_services, read_text
from gateway.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``sockctl convert``."""
    parser.add_argument("file", metavar="FILE", help="a sockd.conf whose masks have 1 bits where any address will do")


def run(arguments: argparse.Namespace) -> int:
    """Prints the converted file to stdout and warnings to stderr; 1 and no output when the file has a mistake."""
    path = arguments.file
    try:
        text = read_text(path)
        file = parse_access(text, path, read_services(), Dialect.Y1992)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    for warning in file.warnings:
        print(warning, file=sys.stderr)
    print(convert(text, file), end="")
    return 0


def convert(text: str, file: AccessFile) -> str:
    """The text that says in the classic dialect what ``file``, parsed from ``text``, says; comments are kept."""
    rules = {rule.place.line: rule for rule in file.rules}
    lines, _ = read_lines(text, file.path)
    return "".join(f"{_converted(line, rules)}\n" for line in lines)


def _converted(line: Line, rules: dict[int, AccessRule]) -> str:
    taken = split_line(line.text)
    if special_word(line.text) is not None or not taken.words:
        return line.text
    printed = print_rule(rules[_first_word_line(line)])
    if taken.comment < 0:
        return printed
    comment = line.text[taken.comment :]
    joined = f"{printed} {comment}"
    return joined if len(joined) <= LINE_LIMIT else f" {comment}\n{printed}"


def _first_word_line(line: Line) -> int:
    return line.place("", len(line.text) - len(line.text.lstrip(" \t"))).line
