"""How much the engine gains over transformers' `generate` with the Janus that ships, on a CPU.

    python -m bench.janus [--rounds 3] [--requests 16] [--seconds S] [--into bench]

The same requests at the same moments go through `generate` (a) one at a time, (b) in one static
batch once the last has come, (c) in static batches of whoever waits, and through (d) the engine;
rounds alternate, so that whatever else the machine does falls on all four. By default they come
over as long as a static batch of them takes, so that the machine is neither idle nor swamped.
Prints a table, and writes it beside its numbers as JSON.
"""

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from pipelines.catalog import Catalog, ModelSpec
from pipelines.engine import Engine
from pipelines.formats import ModelAndProcessor, Transformers
from pipelines.pipeline import ImageRequest, Progress

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parent.parent
MODEL = "shapes-janus"
COLOURS = ("red", "green", "blue", "yellow", "white", "black")
SHAPES = ("circle", "square", "triangle", "star")


@dataclass
class Arrival:
    """A request, when it comes, and what its client sees; in seconds from the start."""

    after_s: float
    request: ImageRequest
    preview_s: float | None = None
    end_s: float = 0.0


@dataclass
class Clock:
    begun_s: float = field(default_factory=time.perf_counter)

    @property
    def now_s(self) -> float:
        return time.perf_counter() - self.begun_s

    def wait_until(self, moment_s: float) -> None:
        time.sleep(max(0.0, moment_s - self.now_s))


def draw_arrivals(spec: ModelSpec, count: int, seconds: float, seed: int) -> list[Arrival]:
    """Requests at random moments, each in its own words and with its own seed."""
    dice = random.Random(seed)
    width, height = spec.size.default
    rules = {option: getattr(spec, option).default for option in spec.options}
    return [
        Arrival(
            moment,
            ImageRequest(
                prompt=f"a {dice.choice(COLOURS)} {dice.choice(SHAPES)} on a "
                f"{dice.choice(COLOURS)} background",
                width=width,
                height=height,
                steps=spec.steps.default,
                seed=number,
                **rules,
            ),
        )
        for number, moment in enumerate(sorted(dice.uniform(0, seconds) for _ in range(count)))
    ]


# -- the ways --------------------------------------------------------------------------------------


def paint(parts: ModelAndProcessor, requests: Sequence[ImageRequest]) -> None:
    """One call of `generate`, down to the pixels."""
    texts = [
        parts.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "text", "text": request.prompt}]}],
            add_generation_prompt=True,
        )
        for request in requests
    ]
    inputs = parts.processor(text=texts, generation_mode="image", padding=True, return_tensors="pt")
    rules = ("guidance_scale", "temperature", "top_p", "top_k")
    tokens = parts.model.generate(
        **inputs,
        generation_mode="image",
        do_sample=True,
        **{rule: getattr(requests[0], rule) for rule in rules},
    )
    pixels = parts.model.decode_image_tokens(tokens).detach().permute(0, 3, 1, 2)
    parts.processor.postprocess(list(pixels), return_tensors="PIL.Image.Image")


def serve_plainly(parts: ModelAndProcessor, arrivals: Sequence[Arrival], max_batch: int) -> None:
    """Whoever waits, up to a number, in the order in which they came."""
    clock, waiting = Clock(), list(arrivals)
    while waiting:
        clock.wait_until(waiting[0].after_s)
        here = [each for each in waiting if each.after_s <= clock.now_s]
        batch = (here or waiting[:1])[:max_batch]
        paint(parts, [arrival.request for arrival in batch])
        for arrival in batch:
            # There is nothing to see before the end.
            arrival.preview_s = arrival.end_s = clock.now_s
        waiting = waiting[len(batch) :]


def serve_at_once(parts: ModelAndProcessor, arrivals: Sequence[Arrival]) -> None:
    """All of them, once the last has come."""
    clock = Clock()
    clock.wait_until(arrivals[-1].after_s)
    paint(parts, [arrival.request for arrival in arrivals])
    for arrival in arrivals:
        arrival.preview_s = arrival.end_s = clock.now_s


def serve_with_engine(engine: Engine, spec: ModelSpec, arrivals: Sequence[Arrival]) -> None:
    clock, handles = Clock(), []
    for arrival in arrivals:
        clock.wait_until(arrival.after_s)

        def see(progress: Progress, arrival: Arrival = arrival) -> None:
            if progress.preview and arrival.preview_s is None:
                arrival.preview_s = clock.now_s

        def end(_: object, arrival: Arrival = arrival) -> None:
            arrival.end_s = clock.now_s

        handle = engine.submit(spec, arrival.request, on_progress=see)
        handle.future.add_done_callback(end)
        handles.append(handle)
    for handle in handles:
        handle.future.result()


# -- what is measured ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One way's stream of arrivals."""

    arrivals: list[Arrival]
    #: Seconds of processor time, which other work on the machine does not change much.
    processor_s: float

    @property
    def images_per_s(self) -> float:
        ends = [arrival.end_s for arrival in self.arrivals]
        return len(ends) / (max(ends) - self.arrivals[0].after_s)


def measure(serve: Callable[[list[Arrival]], None], arrivals: list[Arrival]) -> Run:
    begun_s = time.process_time()
    serve(arrivals)
    return Run(arrivals, time.process_time() - begun_s)


def summarize(runs: Sequence[Run]) -> dict[str, float]:
    every = [arrival for run in runs for arrival in run.arrivals]
    ends = sorted(arrival.end_s - arrival.after_s for arrival in every)
    # A picture that is finished before its first preview is seen when it is finished.
    seen = [(arrival.preview_s or arrival.end_s) - arrival.after_s for arrival in every]
    return {
        "images_per_s": statistics.median(run.images_per_s for run in runs),
        "preview_p50_s": statistics.median(seen),
        "end_p50_s": statistics.median(ends),
        "end_p99_s": ends[min(len(ends) - 1, int(0.99 * len(ends)))],
        "processor_ms_per_image": statistics.median(
            1000 * run.processor_s / len(run.arrivals) for run in runs
        ),
    }


def run(rounds: int, count: int, seconds: float | None) -> dict[str, Any]:
    load = round(os.getloadavg()[0], 1)
    spec = Catalog.load(REPOSITORY / "models.yaml")[MODEL]
    folder = Path(spec.source)
    index = json.loads((folder / "config.json").read_text())
    parts = Transformers().load(spec, index, folder, CPU, torch.float32)
    runs: dict[str, list[Run]] = {}
    with Engine(CPU, max_batch_rows=2 * count) as engine:
        ways: dict[str, Callable[[list[Arrival]], None]] = {
            "(a) one at a time": lambda arrivals: serve_plainly(parts, arrivals, 1),
            "(b) one static batch": lambda arrivals: serve_at_once(parts, arrivals),
            "(c) static batches": lambda arrivals: serve_plainly(parts, arrivals, count),
            "(d) engine": lambda arrivals: serve_with_engine(engine, spec, arrivals),
        }
        for serve in ways.values():
            serve(draw_arrivals(spec, 2, 0.0, seed=0))
        if seconds is None:
            # The faster of two, for the first of its size fills caches.
            batches = [
                measure(ways["(b) one static batch"], draw_arrivals(spec, count, 0.0, seed=0))
                for _ in range(2)
            ]
            seconds = round(count / max(batch.images_per_s for batch in batches), 1)
        for number in range(rounds):
            for name, serve in ways.items():
                arrivals = draw_arrivals(spec, count, seconds, seed=number)
                runs.setdefault(name, []).append(measure(serve, arrivals))
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "load_average_before": load,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "model": MODEL,
        "tokens_per_image": spec.steps.default,
        "requests": count,
        "arriving_over_s": seconds,
        "rounds": rounds,
        "ways": {name: summarize(found) for name, found in runs.items()},
    }


def table(result: dict[str, Any]) -> str:
    ways = result["ways"]
    alone, at_once, batches, engine = ways.values()
    rows = [
        f"| {name} | {way['images_per_s']:.2f} | "
        f"{way['images_per_s'] / alone['images_per_s']:.2f} | {way['preview_p50_s']:.2f} | "
        f"{way['end_p50_s']:.2f} | {way['end_p99_s']:.2f} | {way['processor_ms_per_image']:.0f} |"
        for name, way in ways.items()
    ]
    versions = result["versions"]
    return "\n".join(
        [
            f"{result['date']}, {result['machine']}, torch {versions['torch']}, transformers "
            f"{versions['transformers']}; {result['requests']} requests arriving over "
            f"{result['arriving_over_s']} s, {result['rounds']} rounds, {result['model']} with "
            f"{result['tokens_per_image']} tokens an image; load average before the start "
            f"{result['load_average_before']}.",
            "",
            "| | images/s | times (a) | p50 s to the first preview | p50 s to the end | "
            "p99 s to the end | processor ms an image |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"The engine makes {engine['images_per_s'] / alone['images_per_s']:.2f} times as many "
            "images as one at a time, "
            f"{engine['images_per_s'] / at_once['images_per_s']:.2f} times as many as one static "
            f"batch, {engine['images_per_s'] / batches['images_per_s']:.2f} times as many as "
            "static batches of whoever waits.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--seconds", type=float, help="over which the requests come")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    result = run(options.rounds, options.requests, options.seconds)
    text = table(result)
    print(text)
    (options.into / "janus.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.into / "janus.md").write_text(f"# Janus on a CPU\n\n{text}\n")


if __name__ == "__main__":
    main()
