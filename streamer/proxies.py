"""Which proxy an address is reached through. Pure: the environment is given, nothing is looked up.

The libraries beneath disagree (picows knows no NO_PROXY and no ``socks5h://``, none reads ALL_PROXY alike), so it is decided here, once.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from streamer.errors import UsageError

PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""Schemes of proxies, with the port when the url names none. With ``socks5`` we resolve the host, with ``socks5h`` the proxy does."""
_SECURE: Final = {"ws": False, "http": False, "wss": True, "https": True}


class Proxy(Struct, frozen=True):
    """A proxy. Its text form never shows the credentials."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{authority(self.host, self.port)}"

    __repr__ = __str__


def authority(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(text: str, source: str = "proxy") -> Proxy:
    """A `Proxy` from its url (``http://`` when there is no scheme). Raises `UsageError` naming `source`, without the credentials."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    scheme = url.partition("://")[0].lower()
    if scheme not in PORTS:
        raise UsageError(f"{source}: {scheme!a:.20} proxies are not supported: use http://, https://, socks5:// or socks5h://")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[scheme]
    except ValueError:
        host, port = None, 0
    if not host or " " in url or not url.isprintable():
        raise UsageError(f"{source}: not the url of a proxy: write SCHEME://[USER:PASSWORD@]HOST:PORT")
    user, password = (None if x is None else unquote(x) for x in (parts.username, parts.password))
    return Proxy(scheme, host, port, user, password)


def loopback(host: str) -> bool:
    """Is this name or address this machine itself?"""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Proxies:
    """The proxy of every address. `explicit` is for all; without it the environment decides: HTTPS_PROXY for wss and https, HTTP_PROXY for
    ws and http, else ALL_PROXY, none for what NO_PROXY names (lower-case names win). This machine is never reached through a proxy.

    Raises `UsageError` at once for a proxy that cannot be used.
    """

    def __init__(self, explicit: str | None, environ: Mapping[str, str]) -> None:
        self._explicit = parse(explicit) if explicit else None
        both = _variable(environ, "all_proxy")
        self._secure = _variable(environ, "https_proxy") or both
        self._plain = _variable(environ, "http_proxy") or both
        names = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._exempt = [_Exempt(name) for name in names.replace(" ", ",").split(",") if name]

    def of(self, url: str) -> Proxy | None:
        """The proxy for a ws, wss, http or https address, or None."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", _SECURE[parts.scheme]
        if loopback(host):
            return None
        if self._explicit is not None:
            return self._explicit
        port = parts.port or (443 if secure else 80)
        if any(e.covers(host, port) for e in self._exempt):
            return None
        return self._secure if secure else self._plain


def _variable(environ: Mapping[str, str], name: str) -> Proxy | None:
    for key in (name, name.upper()):
        text = environ.get(key)
        if text:
            return parse(text, f"environment variable {key}")
    return None


class _Exempt:
    """One name of NO_PROXY: ``*``, a host (with all below it), ``host:port``, an IP address or a network."""

    def __init__(self, text: str) -> None:
        name, self._port = _split_port(text.lower())
        self._all = name == "*"
        self._name = name.removeprefix("*").strip(".")
        self._network = _network(name)

    def covers(self, host: str, port: int) -> bool:
        if self._port is not None and self._port != port:
            return False
        if self._all:
            return True
        address = _network(host)
        if self._network is not None or address is not None:
            return self._network is not None and address is not None and address.network_address in self._network
        return bool(self._name) and f".{host.rstrip('.')}".endswith(f".{self._name}")


def _split_port(text: str) -> tuple[str, int | None]:
    """The name and, where it ends in ``:port``, the port. An IPv6 address with a port has brackets."""
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        return name, int(rest[1:]) if rest[:1] == ":" and rest[1:].isdecimal() else None
    name, _, port = text.rpartition(":")
    return (name, int(port)) if port.isdecimal() and name and ":" not in name else (text, None)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
