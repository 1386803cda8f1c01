"""Broker addresses and routing keys as values."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.address import (
    BrokerAddress,
    Hearing,
    chart_address,
    direct_topic,
    hears,
    is_direct,
    topic_matches,
    validate_routing_key,
    validate_routing_pattern,
    validate_routing_patterns,
)
from miros_mesh.errors import AddressError, ChartAddressError, RoutingKeyError

SENTINEL = "-".join(("marmalade", "in", "the", "attic"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://h", BrokerAddress("amqp", "h", 5672)),
        ("amqp://h/", BrokerAddress("amqp", "h", 5672)),
        ("amqp://h//", BrokerAddress("amqp", "h", 5672)),
        ("amqp://h/%2F", BrokerAddress("amqp", "h", 5672)),
        ("AMQPS://H.example.", BrokerAddress("amqps", "h.example.", 5671)),
        ("amqps://h:1", BrokerAddress("amqps", "h", 1)),
        ("amqp://h/a/b", BrokerAddress("amqp", "h", 5672, "a/b")),
        ("amqp://h/a%40b", BrokerAddress("amqp", "h", 5672, "a@b")),
        ("amqp://u:p@10.0.0.1:9/v", BrokerAddress("amqp", "10.0.0.1", 9, "v", "u", "p")),
        ("amqp://u:p%40%2F%25@h", BrokerAddress("amqp", "h", 5672, "/", "u", "p@/%")),
        ("amqp://u:p@q:r@h", BrokerAddress("amqp", "h", 5672, "/", "u", "p@q:r")),
        ("amqp://[::1]:7//", BrokerAddress("amqp", "::1", 7)),
        ("amqp://[fe80::1%25eth0]", BrokerAddress("amqp", "fe80::1%eth0", 5672)),
    ],
)
def test_a_url_is_read_with_rabbitmqs_defaults(url: str, expected: BrokerAddress) -> None:
    assert BrokerAddress.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "begins with neither amqp:// nor amqps://"),
        ("peter:rabbit@host", "begins with neither amqp:// nor amqps://"),
        ("http://host", "begins with neither amqp:// nor amqps://"),
        ("amqp://", "needs a host"),
        ("amqp://u:p@/v", "needs a host"),
        ("amqp://under score", "white space"),
        ("amqp://h\n", "white space"),
        ("amqp://a,b", "needs a host"),
        ("amqp://:p@h", "needs a user"),
        ("amqp://u@h", "names a user but no password"),
        ("amqp://h:0", "port from 1 to 65535"),
        ("amqp://h:65536", "port from 1 to 65535"),
        ("amqp://h:http", "port that is not a number"),
        ("amqp://h:\N{ARABIC-INDIC DIGIT FIVE}", "port that is not a number"),
        ("amqp://u:p@::1:5672", "an IPv6 host is written in []"),
        ("amqp://[::1", "an IPv6 host in []"),
        ("amqp://[host]", "an IPv6 host in []"),
        ("amqp://[1:x]", "needs a host"),
        ("amqp://u:50%@h", "write a plain '%' as %25"),
        ("amqp://u:%ff@h", "not UTF-8"),
        ("amqp://u:p@h/%2F?heartbeat=3600", "without '?'"),
        ("amqp://u:pa/ss@h", "'/' is written %2F"),
        ("amqp://u:12/34@h", "'/' is written %2F"),
        ("amqp://h/" + "v" * 256, "virtual host of 1 to 255 bytes"),
    ],
)
def test_a_malformed_url_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(AddressError) as caught:
        BrokerAddress.parse(url)
    assert advice in str(caught.value)


def test_a_url_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(AddressError, match="must be a str, not bytes"):
        BrokerAddress.parse(b"amqp://h")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"scheme": "http"}, "scheme"),
        ({"host": ""}, "needs a host"),
        ({"port": 0}, "needs a port"),
        ({"port": True}, "needs a port"),
        ({"virtual_host": ""}, "needs a virtual host"),
        ({"virtual_host": "\ud800"}, "needs a virtual host"),
        ({"user": ""}, "needs a user"),
        ({"user": "\udcff"}, "have a UTF-8 form"),
        ({"password": "\udcff"}, "have a UTF-8 form"),
    ],
)
def test_an_address_made_from_parts_is_checked_too(change: dict[str, str], advice: str) -> None:
    with pytest.raises(AddressError, match=advice):
        replace(BrokerAddress("amqp", "h", 5672), **change)  # type: ignore[arg-type]


def test_host_names_compare_without_their_case() -> None:
    assert BrokerAddress("amqp", "Host", 1) == BrokerAddress.parse("amqp://hOST:1")
    assert len({BrokerAddress("amqp", "Host", 1), BrokerAddress("amqp", "host", 1)}) == 1


def test_the_redacted_form_shows_the_user_and_never_the_password() -> None:
    address = BrokerAddress.parse(f"amqp://peter:{SENTINEL}@host//")
    assert address.redacted == "amqp://peter@host:5672//"
    assert str(address) == address.redacted
    assert repr(address) == f"BrokerAddress({address.redacted})"
    assert f"{address} {address!r}".count(SENTINEL) == 0


@given(
    user=st.text(min_size=1),
    password=st.text(min_size=1),
    virtual_host=st.text(min_size=1, max_size=60),
    host=st.sampled_from(["h", "h.example", "10.0.0.1", "::1", "fe80::1%eth0"]),
)
def test_any_credentials_survive_percent_encoding(
    user: str, password: str, virtual_host: str, host: str
) -> None:
    # The one character that stands for undecodable bytes.
    if "\ufffd" in user + password + virtual_host:
        return
    authority = f"[{host.replace('%', '%25')}]" if ":" in host else host
    encoded = [quote(text, safe="") for text in (user, password, virtual_host)]
    address = BrokerAddress.parse(f"amqp://{encoded[0]}:{encoded[1]}@{authority}:1/{encoded[2]}")
    assert address == BrokerAddress("amqp", host, 1, virtual_host, user, password)


special_characters = st.text(alphabet="/?#@:%[] \n\\,;2F\u2100", max_size=4)


@given(before=special_characters, after=special_characters, scheme=st.sampled_from(["amqp", "x"]))
def test_no_form_of_a_url_makes_its_password_visible(before: str, after: str, scheme: str) -> None:
    url = f"{scheme}://peter:{before}{SENTINEL}{after}@host"
    try:
        shown = repr(BrokerAddress.parse(url))
    except AddressError as error:
        shown = "".join(traceback.format_exception(error)) + repr(error)
    assert SENTINEL not in shown


@pytest.mark.parametrize("key", ["", "heya.man", "a..b", ".", "ü" * 127, "k" * 255])
def test_a_routing_key_that_amqp_carries_is_returned(key: str) -> None:
    assert validate_routing_key(key) == key
    assert validate_routing_pattern(key) == key


@pytest.mark.parametrize("key", ["k" * 256, "ü" * 128, "a\0b", "\ud800", 7, None, b"heya.man"])
def test_what_amqp_refuses_is_refused_as_key_and_as_pattern(key: str) -> None:
    with pytest.raises(RoutingKeyError, match=r"^the routing key "):
        validate_routing_key(key)
    with pytest.raises(RoutingKeyError, match=r"^the routing pattern "):
        validate_routing_pattern(key)


def test_an_overlong_key_is_told_with_its_length_and_not_in_full() -> None:
    with pytest.raises(RoutingKeyError, match="has 300 bytes as UTF-8; AMQP carries") as caught:
        validate_routing_key("k" * 300)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("key", ["#.man", "heya.*", "he*ya"])
def test_a_wildcard_in_a_sent_key_is_refused_with_a_hint(key: str) -> None:
    with pytest.raises(RoutingKeyError, match=r"belong in the pattern .*rx_routing_key"):
        validate_routing_key(key)


@pytest.mark.parametrize("pattern", ["#", "*", "#.man", "a.*.#", "#.#"])
def test_a_pattern_may_hold_wildcards_as_whole_words(pattern: str) -> None:
    assert validate_routing_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["heya.m*", "#man", "**", "a.##.b"])
def test_a_wildcard_inside_a_word_is_refused_for_it_would_match_nothing(pattern: str) -> None:
    with pytest.raises(RoutingKeyError, match="a wildcard is a whole word"):
        validate_routing_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.b", "a", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab", False),
        ("#.man", "man", True),
        ("#.man", "heya.man", True),
        ("#.man", "heya.man.x", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.*", "a.", True),
        ("*", "", False),
        ("#", "", True),
        ("", "", True),
        ("", "a", False),
        ("#.b.#.c", "b.b.x.c.c", True),
        ("#.b.*.c", "b.c.b.x.c", True),
        ("A", "a", False),
    ],
)
def test_topics_match_as_in_amqp(pattern: str, key: str, matches: bool) -> None:
    assert topic_matches(pattern, key) is matches


def reference_match(pattern: list[str], words: list[str]) -> bool:
    """Read AMQP's definition aloud, without a thought of speed."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(reference_match(pattern[1:], words[at:]) for at in range(len(words) + 1))
    fits = bool(words) and pattern[0] in ("*", words[0])
    return fits and reference_match(pattern[1:], words[1:])


def dotted(alphabet: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(alphabet), max_size=7).map(".".join)


@given(pattern=dotted(["a", "b", "", "*", "#", "#"]), key=dotted(["a", "b", ""]))
def test_topics_match_as_the_reference_model_says(pattern: str, key: str) -> None:
    split = [text.split(".") if text else [] for text in (pattern, key)]
    assert topic_matches(pattern, key) is reference_match(*split)


@given(key=dotted(["a", "b", "", "heya", "man"]))
def test_a_key_matches_itself_and_what_stands_for_anything(key: str) -> None:
    assert topic_matches(key, key)
    assert topic_matches("#", key)
    assert topic_matches(f"#.{key}", key) if key else True
    assert topic_matches(f"{key}.#", key) if key else True


def test_a_pattern_full_of_wildcards_does_not_explode() -> None:
    assert not topic_matches("#.a." * 60 + "b", "a." * 120 + "a")


# Charts


@pytest.mark.parametrize(
    ("address", "node", "chart"),
    [
        ("node/chart", "node", "chart"),
        ("n", "", ""),
        ("a/b/c", "a", "b/c"),
        ("ü.*/#%", "ü.*", "#%"),
    ],
)
def test_an_address_of_a_chart_is_read(address: str, node: str, chart: str) -> None:
    if node:
        assert chart_address(address) == (node, chart)
    else:
        with pytest.raises(ChartAddressError):
            chart_address(address)


@pytest.mark.parametrize(
    "address", ["", "/", "node/", "/chart", "node", 3, None, b"n/c", "\udc80/c"]
)
def test_what_is_no_address_of_a_chart_is_refused_and_the_form_is_told(address: object) -> None:
    with pytest.raises(ChartAddressError, match="node/chart"):
        chart_address(address)


def test_an_address_that_no_chart_can_have_for_its_length_is_refused_as_an_address() -> None:
    """The wire has room for no longer one, and would refuse it as a payload."""
    assert chart_address("n" * 100 + "/" + "c" * 154) == ("n" * 100, "c" * 154)
    with pytest.raises(ChartAddressError, match=r"256 characters, and 255 are the most"):
        chart_address("n" * 100 + "/" + "c" * 155)


keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
patterns = st.lists(st.sampled_from("abc*#"), min_size=1, max_size=4).map(".".join)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


@given(names, names)
def test_a_direct_topic_is_one_that_a_broker_takes_and_no_pattern_of_a_program_names(
    node: str, chart: str
) -> None:
    topic = direct_topic(node, chart)

    assert is_direct(topic)
    assert len(topic.encode()) <= 255
    assert "*" not in topic
    assert "#" not in topic
    assert topic.count(".") == 3
    assert topic_matches("miros_mesh.to.*.*", topic)
    with pytest.raises(RoutingKeyError, match="to='node/chart'"):
        validate_routing_key(topic)
    with pytest.raises(RoutingKeyError, match="its own address in any case"):
        validate_routing_patterns(["a", topic])


@given(names, names, names, names)
def test_two_charts_have_two_direct_topics(
    node: str, chart: str, other_node: str, other: str
) -> None:
    same = direct_topic(node, chart) == direct_topic(other_node, other)
    assert same == ((node, chart) == (other_node, other))


def test_who_hears_all_topics_hears_no_address_but_its_own() -> None:
    own, other = direct_topic("n", "c"), direct_topic("n", "d")
    heard = Hearing(("#", own))

    assert heard("a.b")
    assert heard(own)
    assert not heard(other)
    assert not Hearing(("miros_mesh.#",))(other)


@given(st.lists(patterns, max_size=4), keys)
def test_who_hears_several_patterns_hears_what_any_of_them_matches(
    several: list[str], key: str
) -> None:
    assert Hearing(several)(key) == any(topic_matches(each, key) for each in several)
    assert hears(several, key) == Hearing(several)(key)


def test_patterns_are_several_or_one_each_once_and_in_order() -> None:
    assert validate_routing_patterns("a.#") == ("a.#",)
    assert validate_routing_patterns(["b", "a.#", "b"]) == ("a.#", "b")
    assert validate_routing_patterns({"b"}) == ("b",)


@pytest.mark.parametrize(
    "several", [(), ["a", ""], ["a", "x" * 256], ["a", 3], 3, b"a", [f"t.{n}" for n in range(101)]]
)
def test_what_are_no_patterns_is_refused(several: Any) -> None:
    with pytest.raises(RoutingKeyError):
        validate_routing_patterns(several)
