"""The scripts that change jobs, each atomic: Lua files beside this one, run by Redis."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from redis.exceptions import NoScriptError

from jobs.exchange import Exchange

#: Each script, and the files of functions that it uses.
USES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "submit": ("fair",),
        "look": (),
        "claim": ("fair", "tell", "owe"),
        "report": ("tell",),
        "emit": ("tell",),
        "restore": (),
        "transition": ("fair", "pace", "tell", "owe"),
        "take_due": (),
        "settle": (),
    }
)


class Script:
    """One script; Redis is sent its text only when it does not have it yet."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        folder = files("jobs") / "lua"
        # Functions first, what uses them last.
        parts = [(folder / f"{part}.lua").read_text() for part in (*USES[name], name)]
        self._text = "\n".join(parts)
        self._sha1 = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        self._exchange = exchange

    async def __call__(self, keys: Sequence[str], args: Sequence[str | int | bytes]) -> Any:
        """Raises as `Exchange`."""
        try:
            return await self._exchange("EVALSHA", self._sha1, len(keys), *keys, *args)
        except NoScriptError:
            return await self._exchange("EVAL", self._text, len(keys), *keys, *args)


class Scripts:
    """Every script, ready to be called with its keys and arguments."""

    def __init__(self, exchange: Exchange) -> None:
        (
            self.submit,
            self.look,
            self.claim,
            self.report,
            self.emit,
            self.restore,
            self.transition,
            self.take_due,
            self.settle,
        ) = (Script(exchange, name) for name in USES)
