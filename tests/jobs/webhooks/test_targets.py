"""Every way to write an address that strangers must not reach, and names that lie."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from jobs.webhooks.model import Webhook
from jobs.webhooks.targets import Address, ForbiddenTargetError, Guard, is_public

INSIDE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
    ),
    *("2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:2::1"),
    # IPv4 in disguise: mapped, compatible, translated, NAT64 (both prefixes), 6to4, Teredo.
    *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
]
OUTSIDE = ["93.184.215.14", "8.8.8.8", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1"]

#: Notations of 127.0.0.1, 169.254.169.254 and 10.0.0.1 that resolvers take.
NOTATIONS = [
    *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.01"),
    *("127.1", "127.0.1", "0x7f.1", "0", "%31%32%37.0.0.1", "127.0.0.1."),
    *("\u2460\u2461\u2466.0.0.1", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021"),
    *("2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "10.1"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]"),
    *("[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
]


async def outside(_: str) -> Sequence[Address]:
    return [ip_address("8.8.8.8")]


@pytest.mark.parametrize("address", INSIDE)
def test_what_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_everybody_reaches_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", NOTATIONS)
def test_no_notation_of_an_inner_address_is_taken(host: str) -> None:
    url = Webhook(url=f"http://{host}/").url
    with pytest.raises(ForbiddenTargetError):
        Guard().check(url)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "::1"]
)
async def test_a_notation_that_reaches_the_connection_is_known_there(host: str) -> None:
    with pytest.raises(ForbiddenTargetError):
        await Guard(resolve=outside).addresses(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "ip6-localhost.localhost"])
async def test_names_of_this_machine_are_refused_when_they_resolve(host: str) -> None:
    with pytest.raises((ForbiddenTargetError, OSError)):
        await Guard().addresses(host)


async def test_one_inner_address_among_outer_ones_spoils_a_name() -> None:
    async def both(_: str) -> Sequence[Address]:
        return [ip_address("8.8.8.8"), ip_address("::ffff:10.0.0.1")]

    with pytest.raises(ForbiddenTargetError) as refusal:
        await Guard(resolve=both).addresses("two-faced.example")
    assert "10.0.0.1" not in str(refusal.value), "a stranger must not learn how we resolve names"


@pytest.mark.parametrize(
    ("allow", "host"),
    [
        ("hooks.internal", "hooks.internal"),
        ("Hooks.Internal.", "hooks.internal"),
        ("10.0.0.0/8", "anything.example"),
        ("10.1.2.3", "anything.example"),
    ],
)
async def test_the_operator_allows_inner_targets_by_name_or_network(allow: str, host: str) -> None:
    async def inner(_: str) -> Sequence[Address]:
        return [ip_address("::ffff:10.1.2.3")]

    assert await Guard([allow], inner).addresses(host)
    with pytest.raises(ForbiddenTargetError):
        await Guard(["other.internal", "10.9.0.0/16"], inner).addresses(host)


def test_an_allowed_name_allows_no_other_name_that_ends_like_it() -> None:
    guard = Guard(["internal"])
    assert not guard.is_allowed("evil.internal", ip_address("10.0.0.1"))
    assert not guard.is_allowed("notinternal", ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("unix:///run/redis.sock", "scheme"),
        ("example.com/hook", "relative"),
        ("http://user:word@example.com/", "no user"),
        ("http://user@example.com/", "no user"),
        ("http://", "host"),
        ("http://example.com:99999/", "port"),
        ("http://example.com/" + "x" * 2_048, "at most 2048"),
        ("http://example.com/" + "\u00e9" * 1_000, "at most 2048"),
    ],
)
def test_an_address_that_cannot_be_a_webhook_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Webhook(url=url)


def test_line_ends_cannot_leave_the_address() -> None:
    url = Webhook(url="http://example.com/a\r\nx-evil: 1").url
    assert not set(url) & set("\r\n ")
