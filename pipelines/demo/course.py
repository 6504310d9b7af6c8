"""A training stage under way, kept on disk so that a kill costs at most a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipelines.demo.recipe import Schedule

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0
LOG_EVERY_STEPS = 50
#: On a CPU a batch is halved between two threads, each computing alone. On small models this
#: beats sharing every operation between two cores, by half when other programs want the cores.
CPU_WORKERS = 2


class Stateful(Protocol):
    """What a checkpoint holds: modules, optimizers."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Course:
    """One model's way through its schedule: where it is, how long it took, how it went."""

    def __init__(self, path: Path, model: nn.Module, schedule: Schedule) -> None:
        self.path, self.model, self.schedule = path, model, schedule
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=schedule.peak_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.device = next(model.parameters()).device
        self.workers = CPU_WORKERS if self.device.type == "cpu" else 1
        self.parts: dict[str, Stateful] = {"model": model, "optimizer": self.optimizer}
        self.step = 0
        self.seconds = 0.0
        #: Mean loss of each LOG_EVERY_STEPS steps, by the step it ends at.
        self.losses: list[tuple[int, float]] = []
        #: Measures taken on the way, by step.
        self.marks: list[tuple[int, dict[str, float]]] = []

    @property
    def finished(self) -> bool:
        return self.step >= self.schedule.steps

    def restore(self) -> None:
        """Goes on from the checkpoint at `path`, if there is one."""
        if not self.path.exists():
            return
        kept = torch.load(self.path, map_location=self.device, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(kept[name])
        self.step, self.seconds = kept["step"], kept["seconds"]
        self.losses, self.marks = kept["losses"], kept["marks"]
        log.info("%s: goes on from step %d", self.path.stem, self.step)

    def save(self) -> None:
        kept: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        kept |= {"step": self.step, "seconds": self.seconds}
        kept |= {"losses": self.losses, "marks": self.marks}
        save_whole(kept, self.path)

    def run(
        self,
        batch_at: Callable[[int], Sequence[Tensor]],
        loss_of: Callable[..., Tensor],
        after_step: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Trains to the end of the schedule.

        `batch_at(step)` depends on the step alone; `loss_of(*batch)` is a mean over the batch,
        so that parts of a batch can be taken side by side.
        """
        self.model.train()
        sums: list[float] = []
        started = saved = time.monotonic()
        with _one_thread_each(self.workers) as pool:
            while not self.finished:
                sums.append(self._descend(batch_at(self.step), loss_of, pool))
                self.step += 1
                after_step(self.step)
                now = time.monotonic()
                self.seconds += now - started
                started = now
                if self.step % LOG_EVERY_STEPS == 0 or self.finished:
                    self._note(sum(sums) / len(sums))
                    sums.clear()
                if now - saved > SAVE_EVERY_S or self.finished:
                    self.save()
                    saved = now
        self.model.eval()

    def _descend(
        self, batch: Sequence[Tensor], loss_of: Callable[..., Tensor], pool: Executor
    ) -> float:
        """One step down the batch's gradient; its loss before the step."""

        def slope(*part: Tensor) -> tuple[float, tuple[Tensor, ...]]:
            loss = loss_of(*part)
            return float(loss.detach()), torch.autograd.grad(loss, self.weights)

        parts = [tensor.to(self.device).chunk(self.workers) for tensor in batch]
        slopes = list(pool.map(slope, *parts))
        for weight, *gradients in zip(self.weights, *(slope for _, slope in slopes), strict=True):
            weight.grad = torch.stack(gradients).mean(0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        return sum(loss for loss, _ in slopes) / len(slopes)

    def _note(self, loss: float) -> None:
        self.losses.append((self.step, loss))
        log.info(
            "%s: step %d of %d, loss %.4f, %.0f s",
            self.path.stem,
            self.step,
            self.schedule.steps,
            loss,
            self.seconds,
        )


def save_whole(kept: object, path: Path) -> None:
    """Writes the file in one move, so a kill leaves the old one, the new one or none."""
    fresh = path.with_suffix(".new")
    torch.save(kept, fresh)
    fresh.replace(path)


def cached(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, made once and then read from `path` as far as it is needed."""
    if not path.exists():
        log.info("%s: making it", path.stem)
        save_whole(make(), path)
    kept: Tensor = torch.load(path, weights_only=True, mmap=True)
    return kept


def generator(seed: int, step: int) -> torch.Generator:
    """Chance that depends on the step alone, so a resumed run draws what the first would have."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


@torch.no_grad()
def blend(average: nn.Module, model: nn.Module, step: int, keep: float) -> None:
    """Moves the average towards the model; faster at first, when the model is still far off."""
    share = 1 - min(keep, (1 + step) / (10 + step))
    pairs = zip(average.parameters(), model.parameters(), strict=True)
    for mean, weight in pairs:
        mean.lerp_(weight, share)


@contextmanager
def _one_thread_each(workers: int) -> Iterator[Executor]:
    """Workers, and a main thread, that each compute alone.

    The main thread too: OpenMP's threads wait for the slowest at each of their meetings, which
    took a second whenever another program had its core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if workers > 1 else threads)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
