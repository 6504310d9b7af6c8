"""Trains the demo models from nothing: `python -m pipelines.demo.train`.

Each in stages, then its weights and its part of the report. Killed and started again, it goes on
where it was. Delete the work folder to start over.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from pipelines.demo import janus, stable_diffusion
from pipelines.demo.recipe import DiffusionRecipe, JanusRecipe
from pipelines.demo.report import write_report

#: Where the weights that come with the repository lie, each model's in a folder of its name.
_SHIPPED = Path(__file__).parent


def train_shapes_sd(out: Path, work: Path, docs: Path, last_steps: int | None) -> None:
    recipe = DiffusionRecipe()
    if last_steps:
        recipe = replace(recipe, unet=replace(recipe.unet, steps=last_steps))
    pipeline, courses = stable_diffusion.train(recipe, work)
    stable_diffusion.save(pipeline, out)
    paint = stable_diffusion.painter(stable_diffusion.load(out), recipe)
    write_report("shapes-sd", paint, courses, docs)


def train_shapes_janus(out: Path, work: Path, docs: Path, last_steps: int | None) -> None:
    recipe = JanusRecipe()
    if last_steps:
        recipe = replace(recipe, backbone=replace(recipe.backbone, steps=last_steps))
    model, courses = janus.train(recipe, work)
    janus.save(model, out)
    shipped = janus.load(out)
    worn = (janus.tokenised(shipped),)
    write_report("shapes-janus", janus.painter(shipped), courses, docs, worn)


MODELS = {"shapes-sd": train_shapes_sd, "shapes-janus": train_shapes_janus}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", choices=MODELS, help="one model, not all")
    arguments.add_argument("--work", type=Path, default=Path("var/train-demo"))
    arguments.add_argument("--out", type=Path, default=_SHIPPED, help="the models' parent folder")
    arguments.add_argument("--docs", type=Path, default=Path("docs"))
    arguments.add_argument("--last-steps", type=int, help="end the last stage sooner or later")
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in [chosen.only] if chosen.only else MODELS:
        MODELS[name](chosen.out / name, chosen.work, chosen.docs, chosen.last_steps)


if __name__ == "__main__":
    main()
