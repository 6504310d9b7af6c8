"""Whose turn it is: which images share the next forward pass. Pure functions."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class InLine(Protocol):
    """An image in its line."""

    @property
    def rows(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def came_s(self) -> float: ...


Member = TypeVar("Member", bound=InLine)

#: An image may be made to wait this many times as long as its own steps take.
PATIENCE = 4.0


def join_turns(used_s: Mapping[Key, float], active: Iterable[Key]) -> dict[Key, float]:
    """Device seconds used by each active key, newcomers included.

    A newcomer starts level with the key that has used least: it cannot claim the time before it
    came, and need not wait for it either. Keys that are gone are forgotten.
    """
    active = list(active)
    known = [used_s[key] for key in active if key in used_s]
    floor = min(known, default=0.0)
    return {key: used_s.get(key, floor) for key in active}


def next_turn(used_s: Mapping[Key, float]) -> Key:
    """The key that has used least; among equals, the one that comes first.

    This is start-time fair queueing with equal weights (Goyal, Vin and Cheng, 1996): while two keys
    both have work, what they use differs by at most one step of each.
    """
    return min(used_s, key=used_s.__getitem__)


def in_order(line: Iterable[Member], step_s: float) -> list[Member]:
    """Earliest due first, where an image is due some multiple of its own length after it came.

    So a short request overtakes long ones, which costs them little and gains it much; and yet a
    long one is never overtaken by what comes more than its patience later.

    Args:
        step_s: seconds that a step takes.
    """
    return sorted(line, key=lambda image: image.came_s + PATIENCE * image.steps * step_s)


def fill_batch(waiting: Sequence[Member], max_rows: int) -> list[Member]:
    """As much of the head of the line as fits in `max_rows`; never nothing, so all move on."""
    batch: list[Member] = []
    rows = 0
    for member in waiting:
        rows += member.rows
        if batch and rows > max_rows:
            break
        batch.append(member)
    return batch
