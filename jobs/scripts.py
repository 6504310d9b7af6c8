"""The scripts that change jobs, each atomic: Lua files beside this one, run by Redis."""

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from arq.connections import ArqRedis
from redis.commands.core import AsyncScript

#: Each script, and the files of functions that it uses.
USES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "submit": ("fair",),
        "claim": ("fair", "tell"),
        "report": ("tell",),
        "emit": ("tell",),
        "restore": (),
        "transition": ("fair", "pace", "tell"),
    }
)


class Scripts:
    """Every script, ready to be called with its keys and arguments."""

    def __init__(self, redis: ArqRedis) -> None:
        self.submit, self.claim, self.report, self.emit, self.restore, self.transition = (
            _script(redis, name) for name in USES
        )


def _script(redis: ArqRedis, name: str) -> AsyncScript:
    """Functions first, what uses them last."""
    folder = files("jobs") / "lua"
    return redis.register_script(
        "\n".join((folder / f"{part}.lua").read_text() for part in (*USES[name], name))
    )
