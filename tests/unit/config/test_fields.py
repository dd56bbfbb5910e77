"""`gateway.config.fields`: each field of a line, with both sides of its edges."""

import pytest

from gateway.address import Name
from gateway.config.fields import (
    BadField,
    check_ignored_mask,
    looks_numeric,
    mask_of,
    parse_ident,
    parse_name,
    parse_pair,
    parse_port_test,
    parse_prefix,
    parse_users,
    prefix_length,
    quoted,
    users_warning,
)
from gateway.config.rules import (
    AddressPattern,
    Dialect,
    IdentLevel,
    NamePattern,
    PortOperator,
    UserFile,
    UserGroup,
    UserName,
)
from tests.support.accessfiles import SERVICES

CLASSIC, Y1992 = Dialect.CLASSIC, Dialect.Y1992


def fault_of(read: object, *arguments: object) -> str:
    assert callable(read)
    with pytest.raises(BadField) as caught:
        read(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "mask", "number"),
    [
        pytest.param(CLASSIC, "255.0.0.0", 0xFF00_0000, id="today one bits are those that must match"),
        pytest.param(Y1992, "0.255.255.255", 0xFF00_0000, id="in 1992 one bits are those that need not"),
        pytest.param(CLASSIC, "255.255.255.255", 0xFFFF_FFFF, id="one host today"),
        pytest.param(Y1992, "0.0.0.0", 0xFFFF_FFFF, id="one host in 1992"),
        pytest.param(CLASSIC, "255.0.255.0", 0xFF00_FF00, id="masks may have holes"),
    ],
)
def test_a_pair_keeps_the_address_and_the_mask_in_todays_sense(dialect: Dialect, mask: str, number: int) -> None:
    assert parse_pair("10.0.0.0", mask, dialect)[0] == AddressPattern(4, 10 << 24, number)


def test_bits_of_the_address_beyond_the_mask_are_kept() -> None:
    assert parse_pair("10.1.2.3", "255.0.0.0", CLASSIC)[0] == AddressPattern(4, 0x0A010203, 0xFF000000)


@pytest.mark.parametrize(
    ("address", "mask", "dialect", "warning"),
    [
        pytest.param("10.0.0.0", "255.0.0.0", CLASSIC, None, id="a network"),
        pytest.param("10.0.0.1", "255.255.255.255", CLASSIC, None, id="a host"),
        pytest.param("0.0.0.0", "0.0.0.0", CLASSIC, None, id="everybody"),
        pytest.param("0.0.0.0", "255.255.255.255", CLASSIC, None, id="the host 0.0.0.0"),
        pytest.param("10.0.0.0", "0.255.255.255", Y1992, None, id="a network of 1992"),
        pytest.param("0.0.0.0", "255.255.255.255", Y1992, None, id="everybody of 1992"),
        pytest.param("10.0.0.1", "0.0.0.0", Y1992, None, id="a host of 1992"),
        pytest.param(
            "10.0.0.0", "0.0.0.255", CLASSIC,
            "the mask 0.0.0.255 looks inverted: 1 bits are those that must match; 255.255.255.0 may be meant",
            id="an inverted mask today",
        ),
        pytest.param(
            "10.0.0.0", "255.255.255.0", Y1992,
            "the mask 255.255.255.0 looks like a netmask: in the 1992 dialect 1 bits are ignored; "
            "0.0.0.255 may be meant",
            id="a netmask in 1992",
        ),
        pytest.param(
            "192.168.1.0", "0.0.0.0", CLASSIC,
            "192.168.1.0 has bits beyond its mask: this covers every IPv4 address",
            id="a network with the mask of everybody",
        ),
        pytest.param(
            "192.168.1.1", "255.255.255.255", Y1992,
            "192.168.1.1 has bits beyond its mask: this covers every IPv4 address",
            id="a host with the mask of everybody of 1992",
        ),
        pytest.param(
            "10.1.2.3", "255.255.0.0", CLASSIC,
            "10.1.2.3 has bits beyond its mask: this covers 10.1.0.0/16",
            id="a host with the mask of its network",
        ),
        pytest.param(
            "10.0.0.0", "255.255.225.0", CLASSIC,
            "the mask 255.255.225.0 has holes: 1 bits and 0 bits are mixed",
            id="a slip of the finger",
        ),
        pytest.param(
            "255.255.255.0", "192.168.1.0", CLASSIC, "the address and the mask look exchanged", id="the wrong way round"
        ),
    ],
)  # fmt: skip
def test_pairs_that_look_mistaken_are_warned_of(address: str, mask: str, dialect: Dialect, warning: str | None) -> None:
    assert parse_pair(address, mask, dialect)[1] == warning


@pytest.mark.parametrize(
    "word", ["256.0.0.1", "10.0.0.01", "010.0.0.1", "10.0.0", "10.0.0.0.0", "1.2.3.", "0x0a.0.0.1", "1"]
)
def test_an_address_is_a_strict_dotted_quad(word: str) -> None:
    expected = f"'{word}' is no IPv4 address: four numbers from 0 to 255 without leading zeros, as in 10.0.0.1"
    assert fault_of(parse_pair, word, "255.0.0.0", CLASSIC) == expected
    assert fault_of(parse_name, word) == expected


@pytest.mark.parametrize("word", ["255.255.255.256", "255.255.255.00", "255.255.255", "0xff.0.0.0", "24"])
def test_a_mask_is_a_strict_dotted_quad(word: str) -> None:
    with pytest.raises(BadField, match=f"'{word}' is no mask") as caught:
        parse_pair("10.0.0.0", word, CLASSIC)
    assert caught.value.word == 1


def test_a_number_in_place_of_a_mask_may_be_a_port() -> None:
    assert fault_of(parse_pair, "10.0.0.0", "80", CLASSIC).endswith("; a port is written 'eq 80'")


@pytest.mark.parametrize(
    ("mask", "dialect", "everyone", "warning"),
    [
        pytest.param("255.255.255.255", CLASSIC, False, None, id="one host beside a name"),
        pytest.param("0.0.0.0", Y1992, False, None, id="one host of 1992 beside a name"),
        pytest.param("0.0.0.0", CLASSIC, True, None, id="everybody beside ALL"),
        pytest.param("255.255.255.255", CLASSIC, True, None, id="one host beside ALL, as in files of 4.3"),
        pytest.param(
            "0.0.0.0", CLASSIC, False, "the mask 0.0.0.0 has no effect beside a host name", id="everybody beside a name"
        ),
        pytest.param(
            "255.0.0.0",
            CLASSIC,
            False,
            "the mask 255.0.0.0 has no effect beside a host name",
            id="a network beside a name",
        ),
        pytest.param(
            "0.0.0.255", Y1992, False, "the mask 0.0.0.255 has no effect beside a host name", id="a network of 1992"
        ),
    ],
)
def test_a_mask_without_effect_is_warned_of_unless_customary(
    mask: str, dialect: Dialect, everyone: bool, warning: str | None
) -> None:
    assert check_ignored_mask(mask, dialect, everyone) == warning


@pytest.mark.parametrize(
    ("mask", "everyone", "fault"),
    [
        pytest.param("192.0.2.1", True, "192.0.2.1 is no mask for ALL; a destination of that address", id="an address"),
        pytest.param("255.0.0.0", True, "255.0.0.0 is no mask for ALL; a destination of that address", id="a netmask"),
        pytest.param("192.0.2.1", False, "192.0.2.1 is no mask for a host name", id="an address beside a name"),
        pytest.param("192.0.2", False, "'192.0.2' is no mask: four numbers", id="no dotted quad"),
    ],
)
def test_what_follows_all_is_never_taken_for_a_mask_when_it_may_be_a_destination(
    mask: str, everyone: bool, fault: str
) -> None:
    assert fault_of(check_ignored_mask, mask, CLASSIC, everyone).startswith(fault)


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        pytest.param("10.0.0.0/8", AddressPattern(4, 10 << 24, 0xFF00_0000), id="IPv4 prefix"),
        pytest.param("10.0.0.1/32", AddressPattern(4, 10 << 24 | 1, 0xFFFF_FFFF), id="IPv4 host"),
        pytest.param("0.0.0.0/0", AddressPattern(4, 0, 0), id="all of IPv4"),
        pytest.param("2001:db8::/32", AddressPattern(6, 0x20010DB8 << 96, mask_of(6, 32)), id="IPv6 prefix"),
        pytest.param("2001:db8::1", AddressPattern(6, 0x20010DB8 << 96 | 1, mask_of(6, 128)), id="IPv6 host"),
        pytest.param("::/0", AddressPattern(6, 0, 0), id="all of IPv6"),
        pytest.param("::1/128", AddressPattern(6, 1, mask_of(6, 128)), id="loopback"),
    ],
)
def test_prefixes(word: str, pattern: AddressPattern) -> None:
    assert parse_prefix(word) == (pattern, None)


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        pytest.param("10.0.0.0/33", "'10.0.0.0/33': the number of bits after '/' is from 0 to 32", id="33 bits"),
        pytest.param("::/129", "'::/129': the number of bits after '/' is from 0 to 128", id="129 bits"),
        pytest.param("10.0.0.0/08", "'10.0.0.0/08': the number of bits after '/' is from 0 to 32", id="a leading zero"),
        pytest.param(
            "10.0.0.0/", "'10.0.0.0/': the number of bits after '/' is from 0 to 32", id="nothing after slash"
        ),
        pytest.param("10.0.0.0/-1", "'10.0.0.0/-1': the number of bits after '/' is from 0 to 32", id="negative"),
        pytest.param(
            "10.0.0.0/255.0.0.0", "'10.0.0.0/255.0.0.0': the number of bits after '/' is from 0 to 32", id="a mask"
        ),
        pytest.param("10/8", "'10/8' is no IPv4 address: four numbers", id="a short address"),
        pytest.param("256.0.0.0/8", "'256.0.0.0/8' is no IPv4 address: four numbers", id="256"),
        pytest.param("1:2:3", "'1:2:3' is no IPv4 or IPv6 address", id="a short IPv6 address"),
        pytest.param("fe80::1%eth0", "'fe80::1%eth0' is no IPv4 or IPv6 address", id="a zone"),
        pytest.param("example.com/24", "'example.com/24' is no IPv4 or IPv6 address", id="a name with a slash"),
    ],
)
def test_what_is_no_prefix_is_refused(word: str, fault: str) -> None:
    assert fault_of(parse_prefix, word).startswith(fault)


def test_prefixes_that_look_mistaken_are_warned_of() -> None:
    assert parse_prefix("10.1.2.3/8")[1] == "10.1.2.3 has bits beyond its mask: this covers 10.0.0.0/8"
    assert parse_prefix("2001:db8::1/32")[1] == "2001:db8::1 has bits beyond its mask: this covers 2001:db8::/32"
    assert parse_prefix("2001:db8::1/0")[1] == "2001:db8::1 has bits beyond its mask: this covers every IPv6 address"


@pytest.mark.parametrize(
    ("word", "warned"),
    [
        pytest.param("::ffff:10.0.0.0/104", True, id="a network of mapped addresses"),
        pytest.param("::ffff:0:0/96", True, id="all mapped addresses"),
        pytest.param("::ffff:0:0/95", False, id="one bit wider"),
        pytest.param("::fffe:0:0/96", False, id="the neighbour below"),
        pytest.param("::1:0:0:0/96", False, id="the neighbour above"),
    ],
)
def test_mapped_addresses_are_warned_of(word: str, warned: bool) -> None:
    warning = parse_prefix(word)[1]
    assert ("IPv4-mapped" in (warning or "")) == warned


@pytest.mark.parametrize("length", [0, 1, 31, 32])
def test_prefix_lengths_of_ipv4(length: int) -> None:
    assert prefix_length(AddressPattern(4, 0, mask_of(4, length))) == length


def test_a_mask_with_holes_has_no_prefix_length() -> None:
    assert prefix_length(AddressPattern(4, 0, 0xFF00FF00)) is None
    assert prefix_length(AddressPattern(6, 0, 1)) is None
    assert prefix_length(AddressPattern(6, 0, mask_of(6, 77))) == 77


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        pytest.param("example.com", NamePattern(Name("example.com"), False), id="a name"),
        pytest.param(".example.com", NamePattern(Name("example.com"), True), id="a name and all below"),
        pytest.param("Example.COM.", NamePattern(Name("example.com"), False), id="capitals and a dot at the end"),
        pytest.param("report.", NamePattern(Name("report"), False), id="a word of the grammar with a dot"),
        pytest.param(".in", NamePattern(Name("in"), True), id="a top level that is an operator"),
        pytest.param("_dmarc.x_y", NamePattern(Name("_dmarc.x_y"), False), id="underscores"),
        pytest.param("3com.example", NamePattern(Name("3com.example"), False), id="a digit in front"),
        pytest.param("xn--bcher-kva.example", NamePattern(Name("xn--bcher-kva.example"), False), id="international"),
    ],
)
def test_names(word: str, pattern: NamePattern) -> None:
    assert parse_name(word) == pattern


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        pytest.param("any", "'any': write ALL for every destination, or any. for a host", id="any"),
        pytest.param("All", "'All': write ALL for every destination, or all. for a host", id="all in other letters"),
        pytest.param("EQ", "'EQ' does not stand here; a host of that name is written eq. with a dot", id="an operator"),
        pytest.param("permit", "'permit' does not stand here", id="a second action"),
        pytest.param("bücher.example", "'bücher.example' is not ASCII; write an international", id="not ASCII"),
        pytest.param("\u212aoln.example", "'\u212aoln.example' is not ASCII", id="the Kelvin sign, which folds to k"),
        pytest.param("*.example.com", "'*.example.com': '*' has no meaning", id="a star"),
        pytest.param(".", "'.' is no address and no host name: the host name is empty", id="a dot alone"),
        pytest.param("a..b", "'a..b' is no address and no host name: a host name has an empty label", id="empty label"),
        pytest.param(
            "-a.b", "'-a.b' is no address and no host name: a label of a host name begins or ends", id="hyphen"
        ),
        pytest.param("[2001", "'[2001' is no address and no host name", id="a bracket"),
        pytest.param(
            "a.0x7f", "'a.0x7f' is no address and no host name: a host name ends in a number", id="number last"
        ),
        pytest.param("127.1", "'127.1' is no IPv4 address", id="a short address"),
    ],
)
def test_what_is_no_name_is_refused(word: str, fault: str) -> None:
    assert fault_of(parse_name, word).startswith(fault)


@pytest.mark.parametrize(
    ("letter", "level"),
    [("I", IdentLevel.STRICT), ("i", IdentLevel.LENIENT), ("n", IdentLevel.OFF), ("", IdentLevel.OFF)],
)
def test_ident_letters(letter: str, level: IdentLevel) -> None:
    assert parse_ident(letter) is level


@pytest.mark.parametrize("letter", ["N", "x", "ii", "off"])
def test_other_ident_letters_are_refused(letter: str) -> None:
    assert fault_of(parse_ident, letter) == f"'?={letter}': after '?=' comes I (strict), i (lenient) or n (off)"


def test_users_are_names_files_and_groups() -> None:
    assert parse_users("fred,/etc/goodusers,@staff,Fred") == (
        UserName("fred"),
        UserFile("/etc/goodusers"),
        UserGroup("staff"),
        UserName("Fred"),
    )


def test_an_empty_user_list_is_everybody() -> None:
    assert parse_users("") == ()


@pytest.mark.parametrize("text", [",", "fred,", ",fred", "fred,,julie"])
def test_an_empty_item_of_a_user_list_is_refused(text: str) -> None:
    assert "an empty item in the list of users" in fault_of(parse_users, text)


def test_a_group_needs_a_name() -> None:
    assert "the name of a group is missing after '@'" in fault_of(parse_users, "fred,@")


def test_a_user_id_that_looks_like_a_file_is_warned_of() -> None:
    assert users_warning(parse_users("fred,etc/users")) is not None
    assert users_warning(parse_users("fred,/etc/users,@a/b")) is None


@pytest.mark.parametrize("operator", ["eq", "neq", "lt", "le", "gt", "ge"])
@pytest.mark.parametrize(
    ("word", "port"),
    [("0", 0), ("65535", 65535), ("telnet", 23), ("080", 80)],
)
def test_operators_take_a_service_or_a_number(operator: str, word: str, port: int) -> None:
    test = parse_port_test(operator, word, SERVICES)
    assert (test.operator, test.operands) == (PortOperator(operator), ((port, port),))


@pytest.mark.parametrize("word", ["65536", "-1", "telnot", "80,443", "80-90", "0x50", "٨٠", "Telnet"])
def test_what_is_no_port_is_refused(word: str) -> None:
    fault = fault_of(parse_port_test, "eq", word, SERVICES)
    assert fault == f"'{word}' is no port: a service of /etc/services or a number from 0 to 65535"


def test_a_list_of_ports_keeps_its_order() -> None:
    test = parse_port_test("in", "8000-8080,http-alt,telnet,443,9-9", SERVICES)
    assert test.operands == ((8000, 8080), (8080, 8080), (23, 23), (443, 443), (9, 9))


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        pytest.param("80,,443", "there is an empty item in the list of ports", id="an empty item"),
        pytest.param("", "there is an empty item in the list of ports", id="nothing"),
        pytest.param("90-80", "'90-80' is no range of ports: the lower port comes first", id="downwards"),
        pytest.param("80-65536", "'80-65536' is no range of ports", id="too high"),
        pytest.param("80-", "'80-' is no port", id="open at the top"),
        pytest.param("-80", "'-80' is no port", id="open at the bottom"),
        pytest.param("telnet-http", "'telnet-http' is no port", id="names in a range"),
    ],
)
def test_lists_of_ports_that_are_refused(word: str, fault: str) -> None:
    assert fault_of(parse_port_test, "in", word, SERVICES).startswith(fault)


@pytest.mark.parametrize("word", ["10.0.0.1", "1", "0x7f", "1.", "10.0.0.999"])
def test_numbers_with_dots_look_numeric(word: str) -> None:
    assert looks_numeric(word)


@pytest.mark.parametrize("word", ["", ".1", "10.0.0.0/8", "a1", "3com", "1:2", "-1"])
def test_other_words_do_not(word: str) -> None:
    assert not looks_numeric(word)


def test_words_in_messages_are_escaped_and_cut() -> None:
    assert quoted("a\x1b[2Jb") == r"'a\x1b[2Jb'"
    assert quoted("a" * 40) == f"'{'a' * 40}'"
    assert quoted("a" * 41) == f"'{'a' * 40}...'"
