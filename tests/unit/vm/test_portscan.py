"""What nmap says of ports."""

import pytest

from tests.support.vm.portscan import parse

SAID = """\
<?xml version="1.0"?><nmaprun><host><status state="up"/><ports>
<extraports state="filtered" count="997"></extraports>
<port protocol="tcp" portid="22"><state state="open"/></port>
<port protocol="tcp" portid="53"><state state="closed"/></port>
</ports></host></nmaprun>
"""


def test_ports_are_listed_or_counted() -> None:
    ports = parse(SAID)
    assert ports.having("open") == {"tcp/22"}
    assert ports.others == {"filtered": 997}
    assert ports.states() == {"open", "closed", "filtered"}


def test_an_answer_without_ports_is_none() -> None:
    with pytest.raises(ValueError, match="looked at no port"):
        parse("<nmaprun></nmaprun>")
