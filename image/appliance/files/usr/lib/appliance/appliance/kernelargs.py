"""A seed by arguments of the kernel, for who can set these and has no second disk: ``appliance.inside=...``.

Pure: the text of /proc/cmdline in, a Seed or its mistakes out. An argument has no blanks, so lists have commas.
"""

from collections.abc import Callable, Mapping
from typing import Final

from appliance import seed

PREFIX: Final = "appliance."
ELSEWHERE: Final = frozenset({"reset"})
"""Those that the initramfs reads."""


def settings(cmdline: str) -> tuple[str, ...]:
    """The arguments that make a seed, as they are written."""
    words = [word for word in cmdline.split() if word.startswith(PREFIX)]
    return tuple(word for word in words if word.removeprefix(PREFIX) not in ELSEWHERE)


def parse(words: tuple[str, ...]) -> seed.Seed:
    """The seed by such arguments. Raises SeedError."""
    raw: dict[str, object] = {}
    problems = []
    for word in words:
        name, _, value = word.removeprefix(PREFIX).partition("=")
        if name not in _READERS:
            known = ", ".join(f"{PREFIX}{each}=" for each in _READERS)
            problems.append(f"kernel argument {PREFIX}{name}: there is none of this name; there are {known}")
        elif name in raw and name != "key":
            problems.append(f"{_named(name)}: it is there twice")
        else:
            _READERS[name](raw, name, value)
    if problems:
        raise seed.SeedError(problems)
    return seed.checked({_KEYS.get(name, name): value for name, value in raw.items()}, _where)


def _plain(raw: dict[str, object], name: str, value: str) -> None:
    raw[name] = value


def _several(raw: dict[str, object], name: str, value: str) -> None:
    raw[name] = value.split(",")


def _key(raw: dict[str, object], name: str, value: str) -> None:
    """TYPE:BASE64, where a .pub file has a blank; the argument may be there several times."""
    keys = raw.setdefault(name, [])
    assert isinstance(keys, list)
    keys.append(value.replace(":", " ", 1))


def _card(raw: dict[str, object], name: str, value: str) -> None:
    which, *rest = value.split(",")
    gateways = [word.removeprefix("via=") for word in rest if word.startswith("via=")]
    addresses = [word for word in rest if word != "dhcp" and not word.startswith("via=")]
    raw[name] = {
        "card": which,
        **({"addresses": addresses} if addresses else {}),
        **({"gateways": gateways} if gateways else {}),
        **({"dhcp": True} if "dhcp" in rest else {}),
    }


_READERS: Mapping[str, Callable[[dict[str, object], str, str], None]] = {
    "hostname": _plain,
    "key": _key,
    "dns": _several,
    "ssh-from": _several,
    **dict.fromkeys(seed.CARDS, _card),
}
_KEYS: Mapping[str, str] = {"key": "admin-keys"}
_NAMES: Mapping[str, str] = {key: name for name, key in _KEYS.items()}


def _where(table: str, key: str) -> str:
    return _named(table or _NAMES.get(key, key)) if table or key else "kernel arguments"


def _named(name: str) -> str:
    return f"kernel argument {PREFIX}{name}="
