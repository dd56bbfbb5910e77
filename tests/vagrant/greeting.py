"""What the lab's inside greets with: the things to try, as they are typed, and what each must show.

The greeting itself is a file of the role. Who adds a line there adds what it shows here, or no test will pass.
"""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GREETING = ROOT / "ansible" / "roles" / "lab" / "files" / "inside" / "motd"

SHOWS: Final = MappingProxyType(
    {
        "curl http://www.example/": r'"host": "outside", "source": "192\.0\.2\.10", "target": "203\.0\.113\.10"',
        "curl -m 3 --noproxy '*' http://203.0.113.10/": r"curl: \((28|7)\)",
        "curl --proxytunnel --proxy http://10.1.0.1:1080 http://b.example/": r'"target": "203\.0\.113\.20"',
        "curl --proxy socks4a://me@10.1.0.1:1080 http://b.example/": r'"target": "203\.0\.113\.20"',
        "curl http://intranet.corp.example/": r'"host": "inside"',
        "echo hello | nc -N -X 5 -x 10.1.0.1:1080 203.0.113.10 7": r"(?m)^hello$",
        "curl -m 9 telnet://203.0.113.10:23": r"curl: \(97\)",
        "curl --interface 10.1.0.3 http://www.example/": r'"source": "192\.0\.2\.10"',
        "curl -m 9 --interface 10.1.0.3 telnet://203.0.113.10:7": r"curl: \(97\)",
        "curl --proxy socks4a://vagrant@10.1.0.1:1080 ftp://ftp.example/hello": r"Hello from the ftp server outside",
        "curl --proxy socks4a://fred@10.1.0.1:1080 ftp://ftp.example/hello": r"curl: \(97\)",
        "dig +short corp.example": r"(?m)^10\.1\.0\.80$",
        "dig +short www.example": r"(?m)^203\.0\.113\.10$",
        "dig +short -x 10.1.0.80": r"(?m)^intranet\.corp\.example\.$",
        "getent ahostsv4 intranet": r"(?m)^10\.1\.0\.80 ",
        "nc -zvw 3 10.1.0.1 80": r"timed out|refused",
        "vagrant ssh gateway -c 'ps axf'": r"sockd: gateway: .*eth2 up",
        "vagrant ssh gateway -c 'sudo sockctl status'": r"eth2 +eth2 +up",
        "vagrant ssh gateway -c 'sudo sockctl routes'": r"eth2 +everything else +IPv4: eth2 from 192\.0\.2\.10",
        "vagrant ssh gateway -c 'sudo sockctl explain --from 10.1.0.2 --to 203.0.113.10:23'": r"DENY: .*sockd\.conf:",
        "vagrant ssh gateway -c 'sudo sockctl resolve --trace corp.example'": r"10\.1\.0\.53",
        "vagrant ssh gateway -c 'sudo nft list ruleset'": r"chain forward",
        "vagrant ssh gateway -c '/sbin/sysctl net.ipv4.ip_forward'": r"net\.ipv4\.ip_forward = 0",
        "vagrant ssh outside -c 'dig +short corp.example'": r"(?m)^203\.0\.113\.10$",
        "vagrant ssh outside -c 'nc -zvw 3 192.0.2.10 1080'": r"timed out",
    }
)
"""What is typed -> what is then to be read, as a regular expression."""

LASTING: Final = "curl -so /dev/null http://www.example/slow &"
TOP: Final = "vagrant ssh gateway -t -c 'sudo sockctl top'"
"""These two show nothing by themselves: the one lasts, and the other one shows it, until it is told to stop."""


class Task(NamedTuple):
    """A line of the greeting: what is typed, and what it says of that."""

    typed: str
    told: str


def tasks() -> list[Task]:
    """Everything to try, in the order of the greeting."""
    found = re.findall(r"^  (\S.*?) +# (.+)$", GREETING.read_text(), re.MULTILINE)
    return [Task(typed, told) for typed, told in found]
