"""The grammar of ``sockd.conf``: text to an `AccessFile`, or every mistake in it; sockd.conf(5) describes it.

A line that is not understood refuses the file: skipping it, as the original did, opens holes. What a rule means is the
business of the policy layer; whether a name resolves or a user file exists is not asked here.
"""

from typing import Any, NamedTuple

from gateway.config.fields import (
    ACTIONS,
    ALL_WORD,
    OPERATORS,
    REPORT_WORD,
    looks_numeric,
    parse_ident,
    parse_port_test,
    quoted,
)
from gateway.config.lexer import (
    SPECIAL_WORDS,
    Line,
    Words,
    read_lines,
    special_word,
    split_line,
)
from gateway.config.options import parse_option
from gateway.config.reader import ANYONE, LineReader, accepted
from gateway.config.rules import (
    NO_OPTIONS,
    AccessFile,
    AccessRule,
    Action,
    Dialect,
    HostPattern,
    IdentLevel,
    NamePattern,
    Options,
    PortTest,
    SpecialCommand,
    UserItem,
)
from gateway.place import Place, Problem, Severity
from gateway.services import Services

_PERMIT_ONLY = ("rate", "sessions", "quota", "via")


class _Context(NamedTuple):
    """What every line of a file is read with."""

    path: str
    services: Services
    dialect: Dialect


def parse_access(text: str, path: str, services: Services, dialect: Dialect = Dialect.CLASSIC) -> AccessFile:
    """The rules of a ``sockd.conf``, with the parser's own warnings.

    ``path`` is what places and messages say. Raises ConfigError with every mistake of the file, and the warnings, in
    the order of the file.
    """
    context = _Context(path, services, dialect)
    lines, problems = read_lines(text, path)
    rules: list[AccessRule] = []
    specials: dict[str, SpecialCommand | None] = {}
    for line in lines:
        word = special_word(line.text)
        if word is not None:
            problems += _read_special(line, word, path, specials)
            continue
        taken = split_line(line.text)
        if taken.words or taken.command is not None:
            reader = _RuleReader(line, taken, context)
            rule = reader.read()
            problems += reader.problems
            if rule is not None:
                rules.append(rule)
        elif taken.comment >= 0:
            problems += _comment_doubts(line, taken.comment, path)
    warnings = accepted(problems)
    no_identd, bad_id = map(specials.get, SPECIAL_WORDS)
    return AccessFile(path, tuple(rules), no_identd, bad_id, warnings)


class _RuleReader(LineReader[AccessRule]):
    """Reads the words of one line, and its command."""

    def __init__(self, line: Line, taken: Words, context: _Context) -> None:
        super().__init__(line, taken.words, context.path, context.dialect)
        self._taken = taken
        self._services = context.services

    def _rule(self) -> AccessRule | None:
        action = self._action()
        ident = self._ident()
        users = self._users()
        source = self._source()
        destination = self._destination()
        ports = self._ports()
        options = self._options(action) if self._at < len(self._words) else NO_OPTIONS
        command = self._command() if self._taken.command is not None else None
        if self._refused or source is None or destination is None:
            return None
        return AccessRule(self._place(0), action, source, destination, ports, ident, users, options, command)

    # The fields, in their order

    def _action(self) -> Action:
        word = self._next()
        action = ACTIONS.get(word)
        if action is None:
            found = f", not {quoted(word)}" if word else ""
            self._give_up(0, f"a line begins with permit, allow or deny{found}; a comment begins with '#'")
        self._at = 1
        return action

    def _ident(self) -> IdentLevel | None:
        word = self._next()
        if not word.startswith("?="):
            return None
        self._at += 1
        return self._try(self._at - 1, lambda: parse_ident(word[2:]))

    def _users(self) -> tuple[UserItem, ...]:
        start = self._at
        users = super()._users()
        if self._at > start and self._next().startswith("?="):
            self._give_up(self._at, "'?=' comes before '*='")
        return users

    def _source(self) -> HostPattern | None:
        word = self._next()
        if not word or word in OPERATORS or self._is_option(word):
            self._give_up(
                self._at, "the address of the source is missing" + (f" before {quoted(word)}" if word else "")
            )
        if word[:2] in ("?=", "*="):
            self._give_up(self._at, f"a second '{word[:2]}'")
        if word == ALL_WORD or "/" in word or ":" in word or looks_numeric(word):
            return self._host()
        self._error(self._at, f"{quoted(word)} is no address: the source is an address, a prefix or ALL, never a name")
        self._at += 1
        self._skip_mask()
        return None

    def _destination(self) -> HostPattern | None:
        word = self._next()
        if not word or word in OPERATORS or self._is_option(word):
            return ANYONE
        if word[:2] in ("?=", "*="):
            self._give_up(self._at, f"'{word[:2]}' comes before the addresses")
        index = self._at
        host = self._host()
        if isinstance(host, NamePattern):
            self._warn(index, self._name_doubt(word))
        return host

    def _ports(self) -> PortTest | None:
        operator = self._next()
        if operator not in OPERATORS:
            return None
        self._at += 1
        word = self._next()
        if not word:
            self._give_up(self._at - 1, f"a port is missing after '{operator}'")
        index = self._at
        self._at = self._glue = index + 1
        return self._try(index, lambda: parse_port_test(operator, word, self._services))

    def _options(self, action: Action) -> Options:
        found: dict[str, Any] = {}
        for index in range(self._at, len(self._words)):
            self._option(index, action, found)
        return NO_OPTIONS if self._refused else Options(**found)

    def _option(self, index: int, action: Action, found: dict[str, Any]) -> None:
        word = self._words[index]
        name, equals, value = word.partition("=")
        if not self._is_option(word):
            self._give_up(index, self._misplaced(word))
        if name in found:
            self._error(index, f"a second '{name}{equals}' on one line")
        elif word == REPORT_WORD:
            found[name] = True
            if action is Action.PERMIT:
                self._error(index, "'report' stands on deny lines only: what would be denied is let through and logged")
        else:
            found[name] = self._try(index, lambda: parse_option(name, value))
            if action is Action.DENY and name in _PERMIT_ONLY:
                self._warn(index, f"'{name}=' has no effect on a deny line")

    def _command(self) -> str | None:
        taken = self._taken
        place = self._line.place(self._path, taken.colon)
        if self._glue != len(self._words) and self._line.text[taken.colon - 1] not in " \t":
            self._error_at(place, _glued(self._words[-1]))
        elif taken.command and taken.command[0] == ":":
            message = "the command begins with a second ':'; an IPv6 address is written without blanks"
            self.problems.append(Problem(place, message, Severity.WARNING))
        self.problems += _command_doubts(taken.command or "", place)
        return taken.command or None

    # Words that stand where they mean nothing

    def _is_option(self, word: str) -> bool:
        return word == REPORT_WORD or ("=" in word and word[0] not in "?*=")

    def _misplaced(self, word: str) -> str:
        if word in OPERATORS:
            return f"'{word}': a line tests the port once, before its options"
        if looks_numeric(word):
            return f"unexpected {quoted(word)}: after the source come at most one destination, a port test and options"
        return f"unexpected word {quoted(word)}"

    def _name_doubt(self, word: str) -> str | None:
        if word in self._services.ports:
            return f"{quoted(word)} is taken as the name of a host; a port is written 'eq {word}'"
        return None


def _glued(word: str) -> str:
    return (
        f"a ':' follows {quoted(word)} without a blank: a command begins with ' : ', a port is written 'eq 443', "
        "an IPv6 address is written whole and without brackets"
    )


def _read_special(line: Line, word: str, path: str, specials: dict[str, SpecialCommand | None]) -> list[Problem]:
    place = Place(path, line.number, 1)
    command = line.text[len(word) :].strip(" \t")
    if word in specials:
        return [Problem(place, f"only the first {word} line of a file counts", Severity.WARNING)]
    specials[word] = SpecialCommand(place, command) if command else None
    return _command_doubts(command, place)


def _command_doubts(command: str, place: Place) -> list[Problem]:
    if any(map(str.isalnum, command)):
        return []
    message = "a command without any letter or digit is not run" if command else "there is no command after the ':'"
    return [Problem(place, message, Severity.WARNING)]


def _comment_doubts(line: Line, offset: int, path: str) -> list[Problem]:
    """A comment that was meant as a special line, but is indented or not in capitals."""
    comment = line.text[offset:].upper()
    word = special_word(comment)
    if word is None:
        return []
    message = f"this is a comment: {word} begins in column 1, in capitals"
    return [Problem(line.place(path, offset), message, Severity.WARNING)]
