"""Janus-Pro-7B's true architecture with random weights: transformers against the engine, on a GPU.

    python -m bench.janus_gpu [--into bench]    # 576 tokens, 1, 8 and 32 images under way, bf16
    python -m bench.janus_gpu --small           # the same code on a CPU with small shapes

A token cannot come faster than the weights and the keys and values that it needs can be read; the
share of that limit is stated, with the card's bandwidth measured in the same run. Without a GPU the
table says "not measured": the small shapes prove that the script runs.
"""

import argparse
import datetime
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from bench.janus_model import PRO_7B, SMALL, Shape, build
from bench.timing import seconds_of
from pipelines.catalog import Family, ModelSpec
from pipelines.engine import Engine
from pipelines.formats import ModelAndProcessor
from pipelines.janus import Janus
from pipelines.loading import default_device
from pipelines.pipeline import ImageRequest
from pipelines.tuning import Tuning

PROMPT = "a photograph of a lighthouse at dusk, its lamp lit, with waves on the rocks below"
#: Images under way at once.
CROWDS = (1, 8, 32)
TUNINGS = {"engine": Tuning(), "engine, compiled": Tuning(compiled=True)}


def spec_of(shape: Shape) -> ModelSpec:
    side = shape.side
    return ModelSpec(
        name="janus",
        family=Family.JANUS,
        source="./random",
        size={"default": (side, side), "min": side, "max": side, "max_pixels": side**2},
        steps={"default": shape.image_tokens, "max": shape.image_tokens},
        slots=2 * max(CROWDS),
        prompt_tokens=160,
    )


# -- the ways --------------------------------------------------------------------------------------


def plainly(parts: ModelAndProcessor, images: int) -> None:
    """One call of transformers' `generate` for all the images, and their pixels."""
    message = {"role": "user", "content": [{"type": "text", "text": PROMPT}]}
    text = parts.processor.apply_chat_template([message], add_generation_prompt=True)
    inputs = parts.processor(text=[text] * images, generation_mode="image", return_tensors="pt")
    tokens = parts.model.generate(
        **inputs.to(parts.model.device),
        generation_mode="image",
        do_sample=True,
        guidance_scale=5.0,
        top_k=0,
    )
    parts.model.decode_image_tokens(tokens).float().cpu()


def with_engine(engine: Engine, spec: ModelSpec, images: int) -> None:
    width, height = spec.size.default
    crowd = [
        ImageRequest(
            prompt=PROMPT,
            width=width,
            height=height,
            steps=spec.steps.default,
            guidance_scale=5.0,
            seed=seed,
        )
        for seed in range(images)
    ]
    for handle in [engine.submit(spec, request) for request in crowd]:
        handle.future.result()


# -- the limit -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """What every token has to read."""

    #: The language model's layers and the head that scores image tokens.
    weights_bytes: int
    #: Keys and values of one position of one row.
    position_bytes: int
    #: Positions that a row reads, on average over a picture.
    positions: float
    bandwidth_bytes_per_s: float

    def token_s(self, images: int) -> float:
        """Seconds a token, when so many images take two rows each."""
        cache_bytes = 2 * images * self.positions * self.position_bytes
        return (self.weights_bytes + cache_bytes) / self.bandwidth_bytes_per_s


def limit_of(parts: ModelAndProcessor, shape: Shape, bandwidth: float) -> Limit:
    read = [*parts.model.model.language_model.layers, parts.model.model.generation_head]
    weights = [weight for module in read for weight in module.parameters()]
    prompt = len(parts.processor.tokenizer(PROMPT).input_ids)
    return Limit(
        weights_bytes=sum(weight.nbytes for weight in weights),
        position_bytes=2 * shape.layers * shape.width * weights[0].element_size(),
        positions=prompt + shape.image_tokens / 2,
        bandwidth_bytes_per_s=bandwidth,
    )


def bandwidth_of(device: torch.device, size_bytes: int) -> float:
    """Bytes a second that the device reads and writes when it copies a block."""
    block = torch.zeros(size_bytes, dtype=torch.uint8, device=device)
    copy = torch.empty_like(block)

    def work(times: int) -> None:
        for _ in range(times):
            copy.copy_(block)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work(3)
    begun_s = time.perf_counter()
    work(10)
    return 10 * 2 * size_bytes / (time.perf_counter() - begun_s)


# -- the run ---------------------------------------------------------------------------------------


def run(shape: Shape, device: torch.device) -> dict[str, Any]:
    spec, is_cuda = spec_of(shape), device.type == "cuda"
    parts = build(shape, device, torch.bfloat16 if is_cuda else torch.float32)
    limit = limit_of(parts, shape, bandwidth_of(device, 2**32 if is_cuda else 2**24))
    plain = {images: seconds_of(lambda n=images: plainly(parts, n)) for images in CROWDS}
    seconds = {"transformers": plain}
    for name, tuning in TUNINGS.items():
        with Engine(
            device,
            max_batch_rows=2 * max(CROWDS),
            max_decode_batch=4,
            tuning=tuning,
            load=lambda spec, device: Janus(spec, parts, device),
        ) as engine:
            seconds[name] = {
                images: seconds_of(lambda n=images, e=engine: with_engine(e, spec, n))
                for images in CROWDS
            }
    alone_s = plain[1]
    return {
        "date": datetime.date.today().isoformat(),
        "card": torch.cuda.get_device_name(device) if is_cuda else None,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "shape": asdict(shape),
        "limit": asdict(limit),
        "ways": {
            name: {
                str(images): {
                    "images_per_s": images / taken_s,
                    "tokens_per_s": images * shape.image_tokens / taken_s,
                    "of_one_at_a_time": images * alone_s / taken_s,
                    "of_limit": shape.image_tokens * limit.token_s(images) / taken_s,
                }
                for images, taken_s in taken.items()
            }
            for name, taken in seconds.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    shape, is_measured = result["shape"], result["card"] is not None
    where = f"{result['card']}, bf16" if is_measured else "no GPU was at hand"
    lines = [
        f"{result['date']}, {where}; Janus-Pro-7B's architecture with random weights, "
        f"{shape['grid'] ** 2} tokens an image, guidance on, pixels included.",
        "",
        "| | images under way | images/s | tokens/s | times one at a time | of the limit |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, crowds in result["ways"].items():
        for images, way in crowds.items():
            cells = ["not measured"] * 4
            if is_measured:
                cells = [
                    f"{way['images_per_s']:.3f}",
                    f"{way['tokens_per_s']:.0f}",
                    f"{way['of_one_at_a_time']:.2f}",
                    f"{100 * way['of_limit']:.0f} %",
                ]
            lines.append(f"| {name} | {images} | {' | '.join(cells)} |")
    if is_measured:
        limit = result["limit"]
        weights, position = limit["weights_bytes"] / 1e9, limit["position_bytes"] / 1e6
        bandwidth = limit["bandwidth_bytes_per_s"] / 1e9
        lines += [
            "",
            f"The limit: {weights:.1f} GB of weights, and {position:.2f} MB for each position of "
            f"each row, {limit['positions']:.0f} on average, at the {bandwidth:.0f} GB/s that the "
            "card was measured to copy with.",
        ]
    return "\n".join(lines)


def not_measured(result: dict[str, Any]) -> dict[str, Any]:
    """What may be said of a run without a GPU."""
    crowds = dict.fromkeys(map(str, CROWDS))
    kept = {name: value for name, value in result.items() if name != "limit"}
    return {
        **kept,
        "shape": asdict(PRO_7B),
        "note": "not measured: ran small, on a CPU",
        "ways": dict.fromkeys(result["ways"], crowds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small shapes, on the CPU")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    device = torch.device("cpu") if options.small else default_device()
    if device.type == "cpu" and not options.small:
        parser.error("there is no GPU here; --small proves on a CPU that the script runs")
    result = run(SMALL if options.small else PRO_7B, device)
    if result["card"] is None:
        result = not_measured(result)
    text = table(result)
    print(text)
    (options.into / "janus_gpu.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.into / "janus_gpu.md").write_text(f"# Janus-Pro-7B on a GPU\n\n{text}\n")


if __name__ == "__main__":
    main()
