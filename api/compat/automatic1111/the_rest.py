"""What clients ask for at their start and is not here: valid answers, and nothing in them."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Request

from api.compat.automatic1111.errors import TranslatedRoute
from api.methods import methods_at
from api.problems import Problem, method_not_allowed

router = APIRouter(route_class=TranslatedRoute)

EMPTY: Final[dict[str, Any]] = {
    "cmd-flags": {},
    "embeddings": {"loaded": {}, "skipped": {}},
    "extensions": [],
    "face-restorers": [],
    "hypernetworks": [],
    "latent-upscale-modes": [],
    "loras": [],
    "prompt-styles": [],
    "realesrgan-models": [],
    "script-info": [],
    "scripts": {"txt2img": [], "img2img": []},
    "sd-modules": [],
    "sd-vae": [],
    "upscalers": [],
}
UNNEEDED: Final = "Workers load the models of the catalogue by themselves."
#: What has no effect.
IDLE: Final = (
    "refresh-checkpoints",
    "refresh-embeddings",
    "refresh-loras",
    "refresh-vae",
    "reload-checkpoint",
    "unload-checkpoint",
)


def _answering(content: Any) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        return content

    return answer


for _path, _content in EMPTY.items():
    router.get(f"/{_path}", summary=f"No {_path}", description="Nothing.")(_answering(_content))
for _path in IDLE:
    router.post(f"/{_path}", summary="Without effect", description=UNNEEDED)(_answering(None))


@router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
async def nothing(path: str, request: Request) -> None:
    """Whatever else AUTOMATIC1111 has, such as `img2img`."""
    if taken := methods_at(request):
        raise method_not_allowed(request, taken)
    raise Problem(
        "not-found", f"Darkroom has no /sdapi/v1/{path[:64]}: it makes pictures from text"
    )
