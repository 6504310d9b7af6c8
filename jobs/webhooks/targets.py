"""Where webhooks may go: strangers name the target, and must not reach what only we can reach."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: From a host name to its addresses; raises OSError when there are none.
Resolver = Callable[[str], Awaitable[Sequence[Address]]]

#: What `ipaddress` calls global and yet leads inside, or nowhere.
NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            # Azure's platform, its metadata among others: public by number, local by routing.
            "168.63.129.16/32",
            # For protocols (RFC 6890), Oracle's metadata among it; older Pythons know less of it.
            "192.0.0.0/24",
            # 6to4 and its relays hold an IPv4 address (RFC 3056, given up by RFC 7526).
            "192.88.99.0/24",
            "2002::/16",
            # Documentation (RFC 9637); older Pythons do not know it.
            "3fff::/20",
        ),
    )
)


class ForbiddenTargetError(Exception):
    """A webhook must not go there. The text does not tell what a name resolves to."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not a public address, and DARKROOM_WEBHOOK_ALLOW lacks it")


def unmapped(address: Address) -> Address:
    """An IPv4 address in IPv6 form (RFC 4291, 2.5.5.2) as what it is; others as they are."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_public(address: Address) -> bool:
    """Whether an address is one that anybody on the internet means the same host by.

    NAT64, Teredo and IPv4-compatible forms, which hold an IPv4 address, are reserved or private.
    """
    address = unmapped(address)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not (isinstance(address, IPv6Address) and address.is_site_local)
        and not any(address in network for network in NOT_PUBLIC)
    )


def literal(host: str) -> Address | None:
    """The address that a host is, in any notation that the resolver takes; None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        # Decimal, octal, hexadecimal and short forms: 2130706433, 0177.0.0.1, 0x7f.1, 127.1.
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


class Guard:
    """Tells where webhooks may go, and resolves names in no other way."""

    def __init__(self, allow: Iterable[str] = (), resolve: Resolver | None = None) -> None:
        """
        Args:
            allow: host names, addresses and networks that are allowed though they are not public.

        Raises:
            ValueError: one of these is a network with bits of a host.
        """
        self._names, self._networks = _parted(allow)
        self._resolve = resolve or Names()

    def is_allowed(self, host: str, address: Address) -> bool:
        """Whether a webhook to this host may connect to this address of it."""
        address = unmapped(address)
        return (
            host.lower().rstrip(".") in self._names
            or any(address in network for network in self._networks)
            or is_public(address)
        )

    def check(self, url: str) -> None:
        """A first look, without asking for names.

        Raises:
            ForbiddenTargetError: the target is an address that would be refused at any time.
        """
        host = urlsplit(url).hostname or ""
        address = literal(host)
        if address is not None and not self.is_allowed(host, address):
            raise ForbiddenTargetError(host)

    async def addresses(self, host: str) -> Sequence[Address]:
        """What may be connected to for a host, as its name resolves now.

        Raises:
            ForbiddenTargetError: at least one of its addresses is not allowed.
            OSError: it has none.
        """
        address = literal(host)
        found = [address] if address is not None else await self._resolve(host)
        if not all(self.is_allowed(host, address) for address in found):
            raise ForbiddenTargetError(host)
        return found


class Names:
    """The system's resolver, on threads of its own: slow name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="webhook-names")

    async def __call__(self, host: str) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
        return [ip_address(entry[4][0]) for entry in found]


def _parted(allow: Iterable[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Names and networks, told apart."""
    names, networks = set[str](), list[Network]()
    for entry in allow:
        if "/" in entry or literal(entry) is not None:
            networks.append(ip_network(entry.strip("[]")))
        else:
            names.add(entry.lower().rstrip("."))
    return frozenset(names), tuple(networks)
