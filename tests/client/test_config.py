"""Which service is used, and who can read its key."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from both_clients import Client
from darkroom import (
    AsyncDarkroom,
    ConfigurationError,
    Darkroom,
    Image,
    RefusedError,
    UnreachableError,
    config,
)
from darkroom.config import DEFAULT_URL

IMAGE: dict[str, Any] = {
    "index": 0,
    "seed": 7,
    "width": 64,
    "height": 64,
    "content_type": "image/png",
    "size_bytes": 3,
    "sha256": "0" * 64,
}
HOME, AWAY = "https://home.example", "https://away.example"


@pytest.fixture(autouse=True)
def _kept() -> None:
    config.write({"url": HOME, "key": "kept-key"})


def test_what_is_kept_is_used() -> None:
    service = config.find()
    assert (service.url, service.key) == (HOME, "kept-key")
    assert service.headers == {"Authorization": "Bearer kept-key"}


def test_arguments_go_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DARKROOM_URL", AWAY)
    monkeypatch.setenv("DARKROOM_API_KEY", "environment-key")
    assert (config.find().url, config.find().key) == (AWAY, "environment-key")
    given = config.find(HOME + "/", "given-key")
    assert (given.url, given.key) == (HOME, "given-key")


def test_the_kept_key_goes_to_the_kept_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.find(AWAY).key is None
    assert config.find(HOME).key == "kept-key"
    monkeypatch.setenv("DARKROOM_URL", AWAY)
    assert config.find().key is None


def test_without_anything_it_is_this_machine() -> None:
    config.path().unlink()
    assert config.find() == config.Service(url=DEFAULT_URL)


def test_only_its_owner_can_read_the_file() -> None:
    config.write({"url": HOME, "key": "another"})
    assert stat.S_IMODE(config.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(config.path().parent.stat().st_mode) == 0o700
    assert list(config.path().parent.iterdir()) == [config.path()]


def test_a_key_that_others_can_read_is_not_used() -> None:
    config.path().chmod(0o640)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {config.path()}"):
        config.find()


def test_a_file_that_is_no_toml_is_named() -> None:
    config.path().write_text("url = ")
    with pytest.raises(ConfigurationError, match=str(config.path())):
        config.find()


@pytest.mark.parametrize("url", ["home.example", "ftp://home.example", "http://", "http://a:b"])
def test_an_address_that_is_not_whole_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the address must be whole"):
        config.find(url)


def test_a_password_in_the_address_is_refused_and_not_told() -> None:
    with pytest.raises(ConfigurationError, match="must hold no password") as refused:
        config.find("https://me:secret@home.example")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé"])
def test_a_key_that_no_header_takes_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.find(HOME, key)
    assert key not in str(refused.value)


@pytest.mark.parametrize("kind", [Darkroom, AsyncDarkroom])
def test_the_key_is_not_shown(kind: type[Darkroom | AsyncDarkroom], tmp_path: Path) -> None:
    client = kind()
    assert "kept-key" not in f"{client!r} {client.service!r} {vars(client)!r}"


@pytest.mark.parametrize("kind", [Darkroom, AsyncDarkroom])
async def test_the_key_goes_to_the_service_and_not_to_the_storage(
    kind: type[Darkroom | AsyncDarkroom],
) -> None:
    heads: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = Client(kind(url, "s3cret"))
    with pytest.raises(RefusedError):
        await client.call("get", "1")
    with pytest.raises(UnreachableError):
        await client.call("fetch", Image(**IMAGE, url=f"{url}/picture"))
    await client.close()
    server.close()
    assert ["authorization: bearer s3cret" in head for head in heads] == [True, False]
