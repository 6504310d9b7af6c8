"""Which service, and the key to it: from arguments, the environment, or a file of the user's."""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from darkroom.errors import ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:8420"
URL_VARIABLE: Final = "DARKROOM_URL"
KEY_VARIABLE: Final = "DARKROOM_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Service:
    """Where a service is, and what opens it."""

    url: str = DEFAULT_URL
    #: Never shown: not in a representation, not in an error.
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_whole = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            )
        except ValueError:
            is_whole = False
        if not is_whole:
            raise ConfigurationError("the address must be whole, such as https://darkroom.example")
        if parts.username or parts.password:
            raise ConfigurationError("the address must hold no password; a key goes elsewhere")
        # A header takes nothing else, and would name the key in its complaint.
        if self.key is not None and not re.fullmatch(r"[\x21-\x7e]+", self.key):
            raise ConfigurationError("the key must be of visible ASCII characters")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def find(url: str | None = None, key: str | None = None) -> Service:
    """The service to use: what is given here, else the environment's, else the file's.

    The file's key is for the file's address and goes to no other.

    Raises:
        ConfigurationError: what was found cannot be used.
    """
    environment = os.environ
    kept = read()
    url = (url or environment.get(URL_VARIABLE) or kept.get("url") or DEFAULT_URL).rstrip("/")
    key = key or environment.get(KEY_VARIABLE)
    if key is None and url == kept.get("url", DEFAULT_URL).rstrip("/"):
        key = kept.get("key")
    return Service(url=url, key=key or None)


def path() -> Path:
    """Where the file is (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "darkroom" / "config.toml"


def read() -> Mapping[str, str]:
    """What the file holds: `url`, `key`, both or neither.

    Raises:
        ConfigurationError: it cannot be read, or others could read the key in it.
    """
    file = path()
    if not file.exists():
        return {}
    # Most have no such file, and need no parser for it.
    import tomllib

    try:
        kept = tomllib.loads(file.read_text(encoding="utf-8"))
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from None
    if "key" in kept and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{file} holds a key that others can read; chmod 600 {file}")
    return {name: str(kept[name]) for name in ("url", "key") if name in kept}


def write(kept: Mapping[str, str]) -> None:
    """Keep an address and a key, where only their owner can read them.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    file = path()
    # JSON's strings are TOML's, escapes and all.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in kept.items())
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        unfinished.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
