"""What the playground says to the person in front of it."""

from tests.support.lab.topology import (
    ONLY_WAN2,
    PROXY,
    PROXY6,
    SECOND_CLIENT,
    TARGET_6,
    TARGET_A,
    TARGET_B,
    WAN1,
    WAN2,
)

PICTURE = f"""\
  inside 10.1.0.2 --- eth1 gateway wan1 --- outside  192.0.2.1     {TARGET_A} and {TARGET_B} are behind both,
         10.1.0.3  10.1.0.1        wan2 --- outside2 198.51.100.1  {ONLY_WAN2} behind wan2 only"""

_PROXY = f"socks5h://{PROXY}:1080"

# What is typed, and what it shows.
_TRY = (
    (f"curl http://{TARGET_A}/", "no path without the gateway"),
    (f"curl --proxy {_PROXY} http://{TARGET_A}/", f"source {WAN1}: wan1; {WAN2}: wan2"),
    (f"curl --proxy {_PROXY} http://www.example/", "the gateway looks the name up"),
    (f"curl --proxy socks5h://[{PROXY6}]:1080 'http://[{TARGET_6}]/'", "IPv6 all the way"),
    (f"curl --proxy http://{PROXY}:1080 -p http://{TARGET_B}/", "HTTP CONNECT"),
    (f"curl --interface {SECOND_CLIENT} --proxy {_PROXY} telnet://{TARGET_A}:7", "refused: a line of sockd.conf"),
    ("lab log", "what sockd wrote of all that"),
    ("lab on gateway sockctl check gateway.toml", "its files, checked; edit them, then: lab restart"),
    (f"lab on gateway sockctl explain -f gateway.toml --from 10.1.0.3 --to {TARGET_A}:7", "which line decides"),
    (f"lab on outside curl -m 2 --proxy socks5h://{WAN1}:1080 http://{TARGET_A}/", "nothing listens outside"),
    ("lab on gateway sysctl net.ipv4.ip_forward", "0: it forwards nothing"),
    ("lab pull wan1; lab on gateway ip -brief link; lab restore wan1", "a cable out and in again"),
    ("lab help", "every command of the lab"),
)

THINGS_TO_TRY = "You are inside. Things to try:\n" + "\n".join(f"  {typed:<85}# {shows}" for typed, shows in _TRY)
