"""What the playground says to the person in front of it."""

from tests.support.lab.topology import (
    CLIENT,
    INSIDE_WEB,
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

_HTTP = f"curl --proxy http://{PROXY}:1080 --proxytunnel"
_SOCKS = f"curl --proxy socks5h://{PROXY}:1080"
_OPS = f"curl --proxy socks5h://ops:ops@{PROXY}:1080"
_CTL = "lab on gateway sockctl"
_EXPLAIN = f"{_CTL} explain -s control.sock --from"
_SLOWLY = (
    f"curl -s -o /dev/null --limit-rate 1M --proxy socks4://fred@{PROXY}:1080 http://{TARGET_B}/bytes?n=9999999999 &"
)

# What is typed, and what it shows.
_TRY = (
    (f"curl http://{TARGET_A}/", "no path without the gateway"),
    (f"{_SOCKS} http://{TARGET_A}/", f"source {WAN1}: by wan1, the default"),
    (f"{_SOCKS} http://{TARGET_B}/", f"source {WAN2}: by wan2, as sockd.route says"),
    (f"{_OPS} http://{TARGET_A}/", "ops goes by wan2 only, wherever to"),
    (f"{_SOCKS} http://www.example/", "the gateway looks the name up"),
    (f"curl --proxy socks5h://[{PROXY6}]:1080 'http://[{TARGET_6}]/'", "IPv6 all the way"),
    (f"{_HTTP} http://{TARGET_B}/", "HTTP CONNECT"),
    (f"curl --interface {SECOND_CLIENT} --proxy socks5h://{PROXY}:1080 telnet://{TARGET_A}:7", "refused by sockd.conf"),
    (f"{_EXPLAIN} 10.1.0.3 --to {TARGET_A}:7", "which line it was"),
    (f"{_CTL} routes -f gateway.toml", "the uplinks, and what goes where"),
    (f"{_CTL} status -f gateway.toml", "its processes, and what each may still do"),
    ("getent ahostsv4 corp.example", f"{INSIDE_WEB}: what the inside's own name server says"),
    ("lab on outside getent ahostsv4 corp.example", f"{TARGET_A}: what the world knows of it"),
    (f"getent hosts intranet; getent hosts {CLIENT}", "with the domain; and the name of an address"),
    (f"{_CTL} resolve -f gateway.toml --trace many.corp.example", "which zone and which server, and why"),
    (_SLOWLY, "a session that lasts"),
    ("ps axf | grep '[s]ockd: '", "what each process does"),
    (f"{_CTL} top -f gateway.toml", "live; h shows its keys, q ends it"),
    (f"{_CTL} tail -f gateway.toml &", "a line for each session that ends, from now on"),
    (f"{_CTL} kill --user fred -f gateway.toml", "ends it"),
    (f"sed -i s/permit/permitt/ sockd.conf; {_CTL} reload -f gateway.toml", "refused, and nothing changes"),
    (f"sed -i s/permitt/permit/ sockd.conf; {_CTL} reload -f gateway.toml", "edit the files, then this"),
    ("lab pull wan1", "a cable out: everything goes by wan2 now"),
    (f"{_EXPLAIN} 10.1.0.2 --to {TARGET_A}:80", "by which way out, and why"),
    ("lab restore wan1", "preferred again when it has worked for 10 s"),
    ("lab mute wan1; sleep 6; lab log -n 1; lab unmute wan1", "silence: only the probes notice it"),
    ("lab pull wan2", "ops is refused now; then: lab restore wan2"),
    ("lab log", "what sockd wrote of all that"),
    (f"{_CTL} check gateway.toml", "its files, checked, without the daemon"),
    (f"lab on outside curl -m 2 --proxy socks5h://{WAN1}:1080 http://{TARGET_A}/", "nothing listens outside"),
    ("lab on gateway sysctl net.ipv4.ip_forward", "0: it forwards nothing"),
    ("lab help", "every command of the lab"),
)

THINGS_TO_TRY = "You are inside. Things to try:\n" + "\n".join(f"  {typed:<83} # {shows}" for typed, shows in _TRY)
