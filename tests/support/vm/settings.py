"""The gateway's own files in a seed: the settings of the lab, for a daemon of the appliance."""

from collections.abc import Mapping, Sequence

from tests.support.lab.topology import INSIDE_NAMES, INSIDE_NAMES6, OUTSIDE_NAMES, OUTSIDE_NAMES6, PROXY

PORT = 1080
PROXY_URL = f"socks5h://{PROXY}:{PORT}"
RULES = "permit ALL ALL\n"

_TOML = """\
[internal]
interface = "inside"
port = {port}

[external]
interface = [{uplinks}]
{external}

[files]
access = "sockd.conf"
routes = "sockd.route"

[sockd]
user = "sockd"

[control]
group = "sockd"

[resolver]
domain = "corp.example"

[[resolver.zone]]
name = "corp.example"
networks = ["10.0.0.0/8", "fd00:1::/64"]
servers = ["{inside}", "{inside6}"]

[[resolver.zone]]
name = "."
servers = ["{outside}", "{outside6}"]
"""


def gateway_files(
    uplinks: Sequence[str] = ("outside",), rules: str = RULES, routes: str = "", external: str = ""
) -> Mapping[str, str]:
    """gateway.toml, sockd.conf and sockd.route; ``external`` are more lines of that table."""
    settings = _TOML.format(
        port=PORT,
        uplinks=", ".join(f'"{name}"' for name in uplinks),
        external=external,
        inside=INSIDE_NAMES,
        inside6=INSIDE_NAMES6,
        outside=OUTSIDE_NAMES,
        outside6=OUTSIDE_NAMES6,
    )
    return {"gateway.toml": settings, "sockd.conf": rules, "sockd.route": routes}
