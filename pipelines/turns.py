"""Whose turn it is: which images share the next forward pass. Pure functions."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class HasRows(Protocol):
    @property
    def rows(self) -> int: ...


Member = TypeVar("Member", bound=HasRows)


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
