"""Both clients of the service behind one face, so that a test can drive either."""

import asyncio
from dataclasses import dataclass
from typing import Any

from darkroom import AsyncDarkroom, Darkroom


@dataclass
class Client:
    """One of the two."""

    darkroom: Darkroom | AsyncDarkroom

    async def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A method's result."""
        bound = getattr(self.darkroom, method)
        if isinstance(self.darkroom, AsyncDarkroom):
            return await bound(*arguments, **options)
        return await asyncio.to_thread(bound, *arguments, **options)

    async def all(self, method: str, *arguments: Any, **options: Any) -> list[Any]:
        """All that a method iterates over."""
        told = getattr(self.darkroom, method)(*arguments, **options)
        if isinstance(self.darkroom, AsyncDarkroom):
            return [each async for each in told]
        return await asyncio.to_thread(list, told)

    async def close(self) -> None:
        await self.call("aclose" if isinstance(self.darkroom, AsyncDarkroom) else "close")
