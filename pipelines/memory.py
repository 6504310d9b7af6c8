"""How large a batch may be: what its like has been seen to take, against what there is."""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipelines.pipeline import Phase

#: Measured need is taken this much larger: kernels borrow working memory that is not measured.
MARGIN = 1.25
#: Steps at a cap that running out has set, before one row more is tried.
STEPS_BEFORE_GROWING = 200


class Work(NamedTuple):
    """What takes memory; in proportion to the pixels, other things being equal."""

    model: str
    phase: Phase
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass
class Need:
    """What one row of some work has been seen to take."""

    #: The most rows ever measured, and what one of them took; 0 is not measured yet.
    rows: int = 0
    row_bytes: float = 0.0
    #: Rows that did fit after more did not; None is no such limit.
    cap: int | None = None
    steps_at_cap: int = 0

    def learn(self, rows: int, peak_bytes: int) -> None:
        self.row_bytes = max(self.row_bytes, peak_bytes / rows)
        self.rows = max(self.rows, rows)

    def run_out(self, rows: int) -> None:
        self.cap, self.steps_at_cap = max(1, rows // 2), 0

    def succeed(self, rows: int) -> None:
        """Memory may have been short for a moment only, so a cap is not for ever."""
        if self.cap is not None and rows >= self.cap:
            self.steps_at_cap += 1
            if self.steps_at_cap >= STEPS_BEFORE_GROWING:
                self.cap, self.steps_at_cap = self.cap + 1, 0


def rows_that_fit(row_bytes: float, free_bytes: int) -> int:
    """Rows of a measured size that fit, with a margin; never none, for trying is finding out."""
    return max(1, int(free_bytes / (row_bytes * MARGIN)))


@dataclass
class Memory:
    """A device's memory, as far as batches are concerned."""

    device: torch.device
    #: What models and batches may take together; None asks a GPU and does not limit a CPU.
    limit_bytes: int | None
    #: What the loaded models take.
    models_bytes: Callable[[], int]
    _needs: dict[Work, Need] = field(default_factory=dict)

    def max_rows(self, work: Work, wanted: int) -> int:
        """How many rows to run; work never seen before is tried with one image first.

        Args:
            wanted: the rows to run were there no end of memory.
        """
        need = self._needs.get(work)
        if need and need.cap is not None:
            wanted = min(wanted, need.cap)
        free_bytes = self.free_bytes()
        if free_bytes is None:
            return wanted
        row_bytes = need.row_bytes if need and need.rows else self._scaled(work)
        return min(wanted, rows_that_fit(row_bytes, free_bytes)) if row_bytes else 1

    @contextlib.contextmanager
    def watch(self, work: Work, rows: int) -> Iterator[None]:
        """Around the work: measures it when so many of its rows have not been measured."""
        need = self._needs.setdefault(work, Need())
        if self.free_bytes() is None or rows <= need.rows:
            yield
        else:
            with measure_peak(self.device) as peak:
                yield
            need.learn(rows, peak.bytes)
        need.succeed(rows)

    def run_out(self, work: Work, rows: int) -> None:
        """So many rows did not fit."""
        self._needs.setdefault(work, Need()).run_out(rows)

    def free_bytes(self) -> int | None:
        """What a batch may take now; None is no limit."""
        if self.limit_bytes is not None:
            return max(0, self.limit_bytes - self.models_bytes())
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            kept = torch.cuda.memory_reserved(self.device)
            return free + kept - torch.cuda.memory_allocated(self.device)
        return None

    def _scaled(self, work: Work) -> float:
        """What a row should take, told from other picture sizes; 0 where there are none."""
        return max(
            (
                need.row_bytes * work.pixels / other.pixels
                for other, need in list(self._needs.items())
                if need.rows and (other.model, other.phase) == (work.model, work.phase)
            ),
            default=0.0,
        )


# -- measuring -------------------------------------------------------------------------------------


@dataclass
class Peak:
    #: The most that was held at once beyond what was held before; 0 until the work is done.
    bytes: int = 0


@contextlib.contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """The most memory that this thread's work holds at once, beyond what it found.

    On a GPU the allocator knows, and other threads' work counts too. On a CPU every operation is
    watched, which costs microseconds each.
    """
    peak = Peak()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
    else:
        with _LiveTensors() as live:
            yield peak
        peak.bytes = live.peak_bytes


class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors made while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.peak_bytes = 0
        self._bytes = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {id(leaf.untyped_storage()) for leaf in tree_leaves(args) if _has_storage(leaf)}
        for leaf in tree_leaves(result):
            if _has_storage(leaf):
                storage = leaf.untyped_storage()
                if id(storage) not in known and id(storage) not in self._seen:
                    self._add(storage)
        return result

    def _add(self, storage: Any) -> None:
        self._seen.add(id(storage))
        self._bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._drop, id(storage), storage.nbytes())

    def _drop(self, identity: int, size_bytes: int) -> None:
        self._seen.discard(identity)
        self._bytes -= size_bytes


def _has_storage(leaf: Any) -> bool:
    """Whether it is a tensor that tells its memory; weights packed for oneDNN are and do not."""
    return isinstance(leaf, torch.Tensor) and not leaf.is_mkldnn
