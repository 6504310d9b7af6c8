"""How much the engine gains over plain diffusers on this machine's CPU.

    python -m bench.engine [--rounds 3] [--requests 64] [--seconds 3] [--into bench]

The same requests at the same moments go through (a) plain diffusers one at a time, (b) plain
diffusers in static batches of equal requests, (c) the engine; rounds alternate, so that whatever
else the machine does falls on all three. Prints a table, and writes it beside its numbers as JSON.
"""

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

from bench.model import save_benchmark_model
from pipelines.catalog import Family, ModelSpec
from pipelines.engine import Engine
from pipelines.pipeline import ImageRequest

CPU = torch.device("cpu")
MAX_BATCH = 16
SHORT_STEPS = 10
SIDE = 64

diffusers.logging.set_verbosity_error()


@dataclass(frozen=True)
class Arrival:
    """A request and when it comes, in seconds from the start."""

    after_s: float
    request: ImageRequest

    @property
    def kind(self) -> tuple[int, float]:
        """What must be equal for plain diffusers to batch."""
        return (self.request.steps, self.request.guidance_scale)


def draw_arrivals(count: int, seconds: float, seed: int) -> list[Arrival]:
    """Requests at random moments, in the round numbers that people choose: 21 kinds."""
    dice = random.Random(seed)
    moments = sorted(dice.uniform(0, seconds) for _ in range(count))
    return [
        Arrival(
            moment,
            ImageRequest(
                prompt=f"picture {number} of {count}",
                width=SIDE,
                height=SIDE,
                steps=dice.choice([SHORT_STEPS, 15, 20, 25, 30, 35, 40]),
                guidance_scale=dice.choice([1.0, 5.0, 7.5]),
                seed=number,
            ),
        )
        for number, moment in enumerate(moments)
    ]


# -- the three ways --------------------------------------------------------------------------------


def paint(pipe: Any, requests: Sequence[ImageRequest]) -> None:
    """One call of plain diffusers for requests of one kind."""
    first = requests[0]
    pipe(
        [request.prompt for request in requests],
        width=first.width,
        height=first.height,
        num_inference_steps=first.steps,
        guidance_scale=first.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
    )


def serve_plainly(pipe: Any, arrivals: Sequence[Arrival], max_batch: int) -> list[float]:
    """Latencies in seconds when the oldest request goes first, with those equal to it that wait."""
    begun_s = time.perf_counter()
    waiting, latencies = list(enumerate(arrivals)), [0.0] * len(arrivals)
    while waiting:
        now_s = time.perf_counter() - begun_s
        if waiting[0][1].after_s > now_s:
            time.sleep(waiting[0][1].after_s - now_s)
            continue
        kind = waiting[0][1].kind
        here = [item for item in waiting if item[1].after_s <= now_s and item[1].kind == kind]
        batch = here[:max_batch]
        paint(pipe, [arrival.request for _, arrival in batch])
        done_s = time.perf_counter() - begun_s
        for index, arrival in batch:
            latencies[index] = done_s - arrival.after_s
        waiting = [item for item in waiting if item not in batch]
    return latencies


def serve_with_engine(engine: Engine, spec: ModelSpec, arrivals: Sequence[Arrival]) -> list[float]:
    """Latencies in seconds through the engine."""
    begun_s = time.perf_counter()
    latencies = [0.0] * len(arrivals)
    handles = []
    for index, arrival in enumerate(arrivals):
        time.sleep(max(0.0, arrival.after_s - (time.perf_counter() - begun_s)))
        handle = engine.submit(spec, arrival.request)

        def note(_: object, index: int = index, after_s: float = arrival.after_s) -> None:
            latencies[index] = time.perf_counter() - begun_s - after_s

        handle.future.add_done_callback(note)
        handles.append(handle)
    for handle in handles:
        handle.future.result()
    return latencies


# -- what is measured ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One way's latencies over one stream of arrivals, in seconds."""

    seconds: float
    #: Seconds of processor time, which other work on the machine does not change much.
    processor_s: float
    latencies: list[float]
    short: list[float]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def measure(serve: Callable[[], list[float]], arrivals: Sequence[Arrival]) -> Run:
    begun_s = time.process_time()
    latencies = serve()
    processor_s = time.process_time() - begun_s
    ends = [arrival.after_s + latency for arrival, latency in zip(arrivals, latencies, strict=True)]
    short = [
        latency
        for arrival, latency in zip(arrivals, latencies, strict=True)
        if arrival.request.steps == SHORT_STEPS
    ]
    return Run(max(ends) - arrivals[0].after_s, processor_s, latencies, short)


def measure_lone(pipe: Any, engine: Engine, spec: ModelSpec, repeats: int) -> dict[str, float]:
    """One request on an idle machine, in milliseconds: plain and through the engine, in turn."""
    plain, ours, plain_cpu, our_cpu = [], [], [], []
    for seed in range(repeats):
        request = ImageRequest(
            prompt="alone", width=SIDE, height=SIDE, steps=20, guidance_scale=5.0, seed=seed
        )
        moments = [(time.perf_counter(), time.process_time())]
        paint(pipe, [request])
        moments.append((time.perf_counter(), time.process_time()))
        engine.submit(spec, request).future.result()
        moments.append((time.perf_counter(), time.process_time()))
        begun, middle, end = moments
        plain.append(middle[0] - begun[0])
        ours.append(end[0] - middle[0])
        plain_cpu.append(middle[1] - begun[1])
        our_cpu.append(end[1] - middle[1])
    return {
        "plain_ms": 1000 * statistics.median(plain),
        "engine_ms": 1000 * statistics.median(ours),
        "ratio": statistics.median(b / a for a, b in zip(plain, ours, strict=True)),
        "processor_ratio": statistics.median(
            b / a for a, b in zip(plain_cpu, our_cpu, strict=True)
        ),
    }


def summarize(runs: Sequence[Run]) -> dict[str, float]:
    every = sorted(latency for run in runs for latency in run.latencies)
    return {
        "images_per_s": statistics.median(run.rate for run in runs),
        "processor_ms_per_image": statistics.median(
            1000 * run.processor_s / len(run.latencies) for run in runs
        ),
        "p50_s": statistics.median(every),
        "p99_s": every[min(len(every) - 1, int(0.99 * len(every)))],
        "short_p50_s": statistics.median(latency for run in runs for latency in run.short),
    }


def run(rounds: int, count: int, seconds: float) -> dict[str, Any]:
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        parameters = save_benchmark_model(Path(folder))
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
        pipe.set_progress_bar_config(disable=True)
        spec = ModelSpec(
            name="benchmark",
            family=Family.STABLE_DIFFUSION,
            source=folder,
            size={"default": (SIDE, SIDE), "max": SIDE, "max_pixels": SIDE * SIDE},
        )
        runs: dict[str, list[Run]] = {
            "(a) one at a time": [],
            "(b) static batches": [],
            "(c) engine": [],
        }
        with Engine(CPU, max_batch_rows=2 * MAX_BATCH) as engine:
            lone = measure_lone(pipe, engine, spec, repeats=3)
            for number in range(rounds):
                arrivals = draw_arrivals(count, seconds, seed=number)
                ways: dict[str, Callable[[], list[float]]] = {
                    "(a) one at a time": lambda a=arrivals: serve_plainly(pipe, a, 1),
                    "(b) static batches": lambda a=arrivals: serve_plainly(pipe, a, MAX_BATCH),
                    "(c) engine": lambda a=arrivals: serve_with_engine(engine, spec, a),
                }
                for name, serve in ways.items():
                    runs[name].append(measure(serve, arrivals))
            lone = measure_lone(pipe, engine, spec, repeats=10 * rounds)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "load_average_before": load,
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "model_parameters": parameters,
        "requests": count,
        "arriving_over_s": seconds,
        "rounds": rounds,
        "ways": {name: summarize(found) for name, found in runs.items()},
        "lone": lone,
    }


def table(result: dict[str, Any]) -> str:
    ways = result["ways"]
    a, b, c = ways["(a) one at a time"], ways["(b) static batches"], ways["(c) engine"]
    rows = [
        f"| {name} | {way['images_per_s']:.2f} | {way['images_per_s'] / a['images_per_s']:.2f} | "
        f"{way['p50_s']:.2f} | {way['p99_s']:.2f} | {way['short_p50_s']:.2f} | "
        f"{way['processor_ms_per_image']:.0f} |"
        for name, way in ways.items()
    ]
    lone = result["lone"]
    return "\n".join(
        [
            f"{result['date']}, {result['machine']}, torch {result['versions']['torch']}, "
            f"diffusers {result['versions']['diffusers']}; {result['requests']} requests arriving "
            f"over {result['arriving_over_s']} s, {result['rounds']} rounds, a UNet of "
            f"{result['model_parameters'] / 1e6:.1f} M parameters at {SIDE}x{SIDE}; load average "
            f"before the start {result['load_average_before']}.",
            "",
            "| | images/s | times (a) | p50 s | p99 s | p50 s of 10-step requests | "
            "processor ms an image |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"- engine: {c['images_per_s'] / b['images_per_s']:.2f} times the rate of static "
            "batches",
            f"- a 10-step request: {b['short_p50_s'] / c['short_p50_s']:.1f} times sooner than in "
            "static batches",
            f"- a lone request: {lone['engine_ms']:.0f} ms against {lone['plain_ms']:.0f} ms, "
            f"{lone['ratio']:.2f} times plain diffusers ({lone['processor_ratio']:.2f} times its "
            "processor time)",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    result = run(options.rounds, options.requests, options.seconds)
    text = table(result)
    print(text)
    (options.into / "engine.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.into / "engine.md").write_text(f"# The engine on a CPU\n\n{text}\n")


if __name__ == "__main__":
    main()
