"""The quick lane answers every call as FastAPI's own routes do, usual or not."""

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from pydantic import BaseModel, Field

from api.quick import QuickLane


class Asked(BaseModel, extra="forbid"):
    prompt: str = Field(max_length=8)
    seed: int | None = None


async def address(request: Request) -> str:
    return request.url.hostname or ""


async def echo(
    name: str,
    asked: Asked,
    host: Annotated[str, Depends(address)],
    key: Annotated[str | None, Header(max_length=4, alias="x-key")] = None,
    wait: Annotated[float | None, Query(ge=0)] = None,
) -> Response:
    return Response(repr((name, asked, host, key, wait)))


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    quick, own = APIRouter(prefix="/quick"), APIRouter(prefix="/own")
    for router in (quick, own):
        router.post("/{name}")(echo)
        app.include_router(router)
    app.add_middleware(QuickLane, routes=quick.routes)
    return app


BODY = b'{"prompt": "red", "seed": 7}'
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("query", "headers", "body"),
    [
        ("", JSON, BODY),
        ("", {**JSON, "X-Key": "abc"}, BODY),
        ("?wait=3", JSON, BODY),
        ("?unknown=3", JSON, BODY),
        ("", {"content-type": "application/json; charset=utf-8"}, BODY),
        ("", {"content-type": "application/merge-patch+json"}, BODY),
        # Each of these is refused.
        ("?wait=-3", JSON, BODY),
        ("", {**JSON, "X-Key": "abcde"}, BODY),
        ("", {"content-type": "text/plain"}, BODY),
        ("", {}, BODY),
        ("", JSON, b""),
        ("", JSON, b"{"),
        ("", JSON, b"null"),
        ("", JSON, b'{"prompt": "too long a text"}'),
        ("", JSON, b'{"prompt": "red", "size": 7}'),
        ("", JSON, b'{"prompt": "red", "seed": "seven"}'),
        ("", JSON, b'{"prompt": "\xff"}'),
    ],
)
async def test_it_answers_as_fastapi_does(
    app: FastAPI, query: str, headers: dict[str, str], body: bytes
) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        quick, own = [
            await client.post(f"/{prefix}/me{query}", headers=headers, content=body)
            for prefix in ("quick", "own")
        ]
    assert (quick.status_code, quick.content) == (own.status_code, own.content)


async def test_a_usual_call_is_not_left_to_fastapi(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi.routing.solve_dependencies", None)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.post("/quick/me", headers={**JSON, "X-Key": "abc"}, content=BODY)
    assert answer.text == repr(("me", Asked(prompt="red", seed=7), "here", "abc", None))
