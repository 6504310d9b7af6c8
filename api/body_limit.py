"""Bounds on request bodies, held while they arrive, whatever their headers claim."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.json_text import check
from api.problems import Problem


class BodyLimit:
    """ASGI middleware: whoever reads a body that is, or says it will be, too large is refused.

    So is a whole body that no JSON parser should be given. The refusal is raised where the body is
    read, so that each route gives it in its own form.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, at: Mapping[str, int]) -> None:
        """
        Args:
            at: the limits of paths that have one of their own.
        """
        self.app = app
        self.max_bytes, self.at = max_bytes, at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = self.at.get(scope["path"], self.max_bytes)
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        is_announced = announced.isdigit() and int(announced) > limit
        received, chunks = 0, list[bytes]()

        async def counted() -> Message:
            nonlocal received
            if not is_announced:
                message = await receive()
                chunks.append(message.get("body", b""))
                received += len(chunks[-1])
            if is_announced or received > limit:
                detail = f"a body has at most {limit} bytes"
                raise Problem("body-too-large", detail, headers=_CLOSE)
            if chunks[-1] and not message.get("more_body"):
                check(b"".join(chunks))
            return message

        return await self.app(scope, counted, send)


#: What the client still sends is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}
