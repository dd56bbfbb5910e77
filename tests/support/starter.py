"""``python -m tests.support.starter FOLDER``: the starter files for this host, and what to try with them.

What there is in the folder is left as it is. The files are made to fit: a host may have no name servers, and its port
5353 may be that of a program for names of the local network (mDNS).
"""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import gateway
from gateway.config.resolvconf import parse_nameservers
from gateway.config.settings import parse_settings
from gateway.errors import ConfigError

STARTER = Path(gateway.__file__).parent / "starter"
SETTINGS = "gateway.toml"
SERVERS = Path("/etc/resolv.conf")
PORT = 5353


def prepare(folder: Path, servers: Path = SERVERS) -> None:
    """Copy what is not there yet. ``servers`` is the file that the starter settings name."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in STARTER.iterdir():
        if not (folder / file.name).exists():
            text = file.read_text()
            (folder / file.name).write_text(fitted(text, servers) if file.name == SETTINGS else text)


def fitted(text: str, servers: Path) -> str:
    """The starter settings as this host can have them."""
    if not has_servers(servers):
        text = text.replace(f'servers = ["{SERVERS}"]', "servers = []               # this host has none")
    if not is_free(PORT):
        text = text.replace(f"port = {PORT}", f"port = {free_port()}")
    return text


def has_servers(path: Path) -> bool:
    """Whether the daemon could read name servers there."""
    try:
        return bool(parse_nameservers(path.read_text(), str(path)))
    except (OSError, UnicodeDecodeError, ConfigError):
        return False


def is_free(port: int) -> bool:
    """Whether nobody has this port of 127.0.0.1, by UDP and TCP."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """The first free one behind the usual one; that itself if there is none."""
    return next(filter(is_free, range(PORT + 1, PORT + 100)), PORT)


def hints(folder: Path) -> Iterator[str]:
    """What to type in another terminal."""
    path = folder / SETTINGS
    try:
        settings = parse_settings(path.read_text(), str(path))
    except ConfigError:
        return  # whose mistakes sockd tells
    yield "Try, from another terminal:"
    yield f"  curl --proxy socks5h://127.0.0.1:{settings.internal.port} https://example.com/"
    if settings.resolver.zone:
        yield f"  dig @127.0.0.1 -p {settings.resolver.port} www.corp.example"
    yield f"Rules: {folder / 'sockd.conf'}   Settings: {path}   End: Ctrl-C"


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    print(*hints(Path(sys.argv[1])), sep="\n", flush=True)
