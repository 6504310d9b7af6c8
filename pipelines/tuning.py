"""What makes a GPU run a loaded model faster, at the price of a slow first step."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """None of it changes a picture by more than rounding; what a model cannot do is left out."""

    #: Convolutions read pixels with their channels side by side, as tensor cores want them.
    channels_last: bool = False
    #: Queries, keys and values from one matrix product instead of three.
    fused_qkv: bool = False
    #: The blocks that a model repeats are compiled, once each (regional compilation).
    compiled: bool = False
    #: Rows that a step may run, ascending; a batch is padded up to the next, so that few shapes are
    #: compiled. Empty is any number.
    row_buckets: tuple[int, ...] = ()
    #: On a CPU, threads that share the rows of a large batch; 1 leaves them together, None takes as
    #: many as torch uses for one operation. See `cores.py`.
    cpu_threads: int | None = None


def bucket_of(rows: int, buckets: Sequence[int]) -> int:
    """The smallest of the ascending buckets that holds so many rows; `rows` where none does."""
    return next((bucket for bucket in buckets if bucket >= rows), rows)
