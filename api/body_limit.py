"""A bound on request bodies, held while they arrive, whatever their headers claim."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem


class BodyLimit:
    """ASGI middleware: answers 413 as soon as a body is, or says it will be, too large."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = Problem(
            "body-too-large", f"a body has at most {self.max_bytes} bytes", headers=_CLOSE
        )
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.max_bytes:
            return await refusal.response()(scope, receive, send)

        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise refusal
            return message

        return await self.app(scope, counted, send)


#: What the client still sends is not read, so the connection cannot be used again.
_CLOSE = {"Connection": "close"}
