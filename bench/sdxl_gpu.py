"""SDXL's true architecture with random weights: plain diffusers against the engine, on a GPU.

    python -m bench.sdxl_gpu [--into bench]      # 1024x1024, 30 steps, 16 requests, bf16
    python -m bench.sdxl_gpu --small             # the same code on a CPU with small shapes

Without a GPU the table says "not measured": the small shapes prove that the script runs, and their
times mean nothing.
"""

import argparse
import datetime
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from bench.model import tokenizer
from bench.timing import seconds_of
from pipelines.catalog import Family, ModelSpec
from pipelines.engine import Engine
from pipelines.loading import default_device
from pipelines.pipeline import ImageRequest
from pipelines.sdxl import StableDiffusionXL
from pipelines.tuning import Tuning

WORDS_TOKENIZER = tokenizer()


@dataclass(frozen=True)
class Shape:
    """How large the model, the pictures and the crowd are."""

    channels: tuple[int, int, int]
    transformer_layers: tuple[int, int, int]
    vae_channels: tuple[int, int, int, int]
    #: Width and layers of the two text encoders.
    encoders: tuple[tuple[int, int], tuple[int, int]]
    side: int
    steps: int
    requests: int
    #: Side of the square matrices that the card's speed is measured with.
    matrix: int


SDXL = Shape(
    channels=(320, 640, 1280),
    transformer_layers=(1, 2, 10),
    vae_channels=(128, 256, 512, 512),
    encoders=((768, 12), (1280, 32)),
    side=1024,
    steps=30,
    requests=16,
    matrix=8192,
)
SMALL = Shape(
    channels=(64, 64, 128),
    transformer_layers=(1, 1, 2),
    vae_channels=(32, 32, 32, 32),
    encoders=((64, 2), (64, 2)),
    side=128,
    steps=4,
    requests=4,
    matrix=512,
)


def build(shape: Shape, device: torch.device) -> diffusers.StableDiffusionXLPipeline:
    """The pipeline with random weights, made where they stay."""
    torch.manual_seed(0)
    (width_1, layers_1), (width_2, layers_2) = shape.encoders
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    try:
        with device:
            unet = diffusers.UNet2DConditionModel(
                sample_size=shape.side // 8,
                block_out_channels=shape.channels,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=shape.transformer_layers,
                attention_head_dim=[channels // 64 for channels in shape.channels],
                cross_attention_dim=width_1 + width_2,
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=width_2 + 6 * 256,
            )
            vae = diffusers.AutoencoderKL(
                block_out_channels=shape.vae_channels,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=4,
                sample_size=shape.side,
                scaling_factor=0.13025,
            )
            text_encoder = transformers.CLIPTextModel(_encoder_config(width_1, layers_1))
            text_encoder_2 = transformers.CLIPTextModelWithProjection(
                _encoder_config(width_2, layers_2)
            )
    finally:
        torch.set_default_dtype(torch.float32)
    pipe = diffusers.StableDiffusionXLPipeline(
        unet=unet.eval(),
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        text_encoder_2=text_encoder_2.eval(),
        tokenizer=WORDS_TOKENIZER,
        tokenizer_2=WORDS_TOKENIZER,
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _encoder_config(width: int, layers: int) -> transformers.CLIPTextConfig:
    return transformers.CLIPTextConfig(
        vocab_size=len(WORDS_TOKENIZER),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        bos_token_id=len(WORDS_TOKENIZER) - 2,
        eos_token_id=len(WORDS_TOKENIZER) - 1,
    )


def requests(shape: Shape) -> list[ImageRequest]:
    return [
        ImageRequest(
            prompt=f"picture {number}",
            width=shape.side,
            height=shape.side,
            steps=shape.steps,
            guidance_scale=5.0,
            seed=number,
        )
        for number in range(shape.requests)
    ]


# -- the ways --------------------------------------------------------------------------------------


def plainly(pipe: Any, crowd: list[ImageRequest]) -> None:
    for request in crowd:
        pipe(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )


def with_engine(engine: Engine, spec: ModelSpec, crowd: list[ImageRequest]) -> None:
    for handle in [engine.submit(spec, request) for request in crowd]:
        handle.future.result()


def matmul_flops(device: torch.device, side: int) -> float:
    """The multiply-adds per second, counted as two, that the card reaches on large matrices."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    matrix = torch.randn(side, side, device=device, dtype=dtype)

    def work(times: int) -> None:
        for _ in range(times):
            matrix @ matrix
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work(5)
    begun_s = time.perf_counter()
    work(20)
    return 20 * 2 * side**3 / (time.perf_counter() - begun_s)


def flops_per_image(pipe: Any, shape: Shape) -> float:
    """What the UNet does for one picture: two rows, every step; the rest is a few percent."""
    unet = pipe.unet
    row = {"device": unet.device, "dtype": unet.dtype}
    words, pooled = unet.config.cross_attention_dim, shape.encoders[1][0]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        unet(
            torch.zeros(2, 4, shape.side // 8, shape.side // 8, **row),
            torch.zeros(2, device=unet.device),
            torch.zeros(2, 77, words, **row),
            added_cond_kwargs={
                "text_embeds": torch.zeros(2, pooled, **row),
                "time_ids": torch.zeros(2, 6, **row),
            },
        )
    return float(counter.get_total_flops() * shape.steps)


def run(shape: Shape, device: torch.device) -> dict[str, Any]:
    crowd = requests(shape)
    size = {"default": (shape.side, shape.side), "max": shape.side, "max_pixels": shape.side**2}
    spec = ModelSpec(name="sdxl", family=Family.SDXL, source="./random", size=size)
    rows = 2 * shape.requests
    tunings = {
        "engine": Tuning(),
        "engine, compiled": Tuning(
            channels_last=True, fused_qkv=True, compiled=True, row_buckets=(2, rows // 2, rows)
        ),
    }
    pipe = build(shape, device)
    flops = flops_per_image(pipe, shape)
    seconds = {"plain diffusers": seconds_of(lambda: plainly(pipe, crowd))}
    for name, tuning in tunings.items():
        fresh = build(shape, device)
        with Engine(
            device,
            max_batch_rows=rows,
            tuning=tuning,
            load=lambda spec, device, fresh=fresh: StableDiffusionXL(spec, fresh, device),
        ) as engine:
            seconds[name] = seconds_of(lambda: with_engine(engine, spec, crowd))
        del fresh
    pipe.unet.compile_repeated_blocks(fullgraph=True)
    seconds["plain diffusers, compiled"] = seconds_of(lambda: plainly(pipe, crowd))
    limit = matmul_flops(device, shape.matrix)
    return {
        "date": datetime.date.today().isoformat(),
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "shape": asdict(shape),
        "unet_flops_per_image": flops,
        "matmul_flops_per_s": limit,
        "ways": {
            name: {
                "images_per_s": len(crowd) / taken_s,
                "of_plain": seconds["plain diffusers"] / taken_s,
                "of_limit": flops * len(crowd) / taken_s / limit,
            }
            for name, taken_s in seconds.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    shape = result["shape"]
    where = f"{result['card']}, bf16" if result["card"] else "no GPU was at hand"
    lines = [
        f"{result['date']}, {where}; {shape['requests']} requests at once, "
        f"{shape['side']}x{shape['side']}, {shape['steps']} steps, guidance on, random weights.",
        "",
        "| | images/s | times plain diffusers | of the card's matmul rate |",
        "| --- | --- | --- | --- |",
    ]
    for name, way in result["ways"].items():
        if result["card"]:
            numbers = [f"{way['images_per_s']:.3f}", f"{way['of_plain']:.2f}"]
            cells = [*numbers, f"{100 * way['of_limit']:.0f} %"]
        else:
            cells = ["not measured"] * 3
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small shapes, on the CPU")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    device = torch.device("cpu") if options.small else default_device()
    if device.type == "cpu" and not options.small:
        parser.error("there is no GPU here; --small proves on a CPU that the script runs")
    result = run(SMALL if options.small else SDXL, device)
    if result["card"] is None:
        result = {**result, "shape": asdict(SDXL), "note": "not measured: ran small, on a CPU"}
        result["ways"] = dict.fromkeys(result["ways"])
        del result["unet_flops_per_image"], result["matmul_flops_per_s"]
    text = table(result)
    print(text)
    (options.into / "sdxl_gpu.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.into / "sdxl_gpu.md").write_text(f"# SDXL on a GPU\n\n{text}\n")


if __name__ == "__main__":
    main()
