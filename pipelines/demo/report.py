"""What the training came to, for people: loss curves, obedience, and a contact sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipelines.demo.course import Course
from pipelines.demo.obedience import (
    Painter,
    Wear,
    blurred,
    judge_accuracy,
    measure,
    noisy,
    pair_prompts,
    score_pair,
    score_single,
    single_prompts,
    untouched,
)

#: Prompts of each kind that the report measures with.
PROMPTS = 200

_TITLES = {
    "text": "Text encoder: cross-entropy of naming the scene",
    "vae": "VAE: absolute and squared error and KL",
    "decoder": "Decoder alone: absolute and squared error",
    "unet": "UNet: squared error of the velocity",
    "codes": "Codes: absolute and squared error and commitment",
    "token-decoder": "Decoder of tokens: absolute and squared error",
    "backbone": "Language model: cross-entropy of tokens and of naming the scene",
}
_SINGLE = {
    "colour": "object colour",
    "ground": "ground colour",
    "shape": "shape, and nothing else drawn",
    "place": "place",
}
_PAIRS = {
    "both": "two things drawn",
    "ground": "ground colour",
    "colours": "both colours, each in its place",
    "shapes": "both shapes, each in its place",
    "all": "everything",
}

_WORN = {
    "untouched": "untouched",
    "noisy": "noisy",
    "blurred": "blurred",
    "through_tokens": "to tokens and back",
}

Curve = Sequence[tuple[int, float]]

_WIDTH, _HEIGHT, _MARGIN = 640, 220, 48

_TILE, _GAP, _LABEL = 192, 24, 46
_PAPER, _INK = (250, 249, 246), (64, 62, 58)

#: What the contact sheet shows, with the seed of each picture.
CONTACT_PROMPTS: tuple[tuple[str, int], ...] = (
    ("a red circle on a blue background", 1),
    ("a yellow star on a purple background", 2),
    ("an orange ring on a black background", 3),
    ("a white cross on a red background", 4),
    ("a small green triangle in the top left corner on a pink ground", 5),
    ("a large cyan square on an orange background", 6),
    ("a red circle left of a blue square on a white background", 7),
    ("a yellow star above a green ring on a black background", 8),
    ("a pink triangle right of a white circle on a cyan background", 9),
    ("a large purple cross on a yellow background", 10),
    ("black background, a tiny white star at the bottom", 11),
    ("an orange circle below a blue triangle on a pink background", 12),
)


def loss_curve(curve: Curve, title: str) -> str:
    """An SVG line of loss over steps; the loss axis is logarithmic."""
    steps, losses = np.array([s for s, _ in curve]), np.array([loss for _, loss in curve])
    low, high = float(losses.min()), float(losses.max())
    across = _MARGIN + steps / steps[-1] * (_WIDTH - 2 * _MARGIN)
    span = np.log(high / low) or 1.0
    down = _HEIGHT - _MARGIN - np.log(losses / low) / span * (_HEIGHT - 2 * _MARGIN)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    right, bottom = _WIDTH - _MARGIN, _HEIGHT - _MARGIN
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"
 font-family="system-ui, sans-serif" font-size="12" fill="#555">
<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>
<text x="{_MARGIN}" y="24" font-size="14" fill="#222">{title}</text>
<path d="M{_MARGIN} {_MARGIN}V{bottom}H{right}" fill="none" stroke="#bbb"/>
<text x="{_MARGIN - 6}" y="{_MARGIN + 4}" text-anchor="end">{high:.3g}</text>
<text x="{_MARGIN - 6}" y="{bottom + 4}" text-anchor="end">{low:.3g}</text>
<text x="{_MARGIN}" y="{bottom + 18}">0</text>
<text x="{right}" y="{bottom + 18}" text-anchor="end">{steps[-1]} steps</text>
<polyline points="{points}" fill="none" stroke="#c2410c" stroke-width="2"/>
</svg>
"""


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], prompts: Sequence[str], columns: int = 4
) -> Image.Image:
    """Pictures enlarged, four to a row, each with its prompt beneath."""
    rows = -(-len(pictures) // columns)
    width = columns * (_TILE + _GAP) + _GAP
    height = rows * (_TILE + _LABEL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True)):
        row, column = divmod(number, columns)
        left = _GAP + column * (_TILE + _GAP)
        top = _GAP + row * (_TILE + _LABEL + _GAP)
        tile = Image.fromarray(picture).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
        sheet.paste(tile, (left, top))
        # A hairline, or a white ground would melt into the paper.
        pen.rectangle((left - 1, top - 1, left + _TILE, top + _TILE), outline=(222, 220, 214))
        label = "\n".join(textwrap.wrap(prompt, 30))
        pen.text((left, top + _TILE + 8), label, fill=_INK, font=font, spacing=3)
    return sheet


def write_report(
    model: str,
    paint: Painter,
    courses: Sequence[Course],
    docs: Path,
    worn: Sequence[Wear] = (untouched, noisy, blurred),
) -> None:
    """Curves and contact sheet into `docs/images`, figures into the model's tables of
    `docs/demo-model.md`. `worn` says what is done to drawn pictures before the judge looks."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    for course in courses:
        name = course.path.stem
        curve = loss_curve(course.losses, _TITLES[name])
        (images / f"demo-{name}-loss.svg").write_text(curve)
    prompts, seeds = zip(*CONTACT_PROMPTS, strict=True)
    sheet = contact_sheet(paint(prompts, seeds), prompts)
    sheet.save(images / f"{model}.png", optimize=True)
    page = docs / "demo-model.md"
    write_between(page, f"{model}: obedience", _obedience_in_words(paint, worn))
    write_between(page, f"{model}: stages", _stages_in_words(courses))
    write_between(page, f"{model}: on the way", _marks_in_words(courses[-1]))


def _obedience_in_words(paint: Painter, worn: Sequence[Wear]) -> str:
    single = measure(paint, single_prompts(PROMPTS), score_single)
    pairs = measure(paint, pair_prompts(PROMPTS), score_pair)
    return "\n\n".join(
        [
            table(
                ["one thing, held-out combination", "right"],
                [[_SINGLE[name], share(value)] for name, value in single.items()],
            ),
            table(
                ["two things", "right"],
                [[_PAIRS[name], share(value)] for name, value in pairs.items()],
            ),
            table(
                ["the judge, on drawn pictures", "wholly right"],
                [[_WORN[wear.__name__], share(judge_accuracy(wear))] for wear in worn],
            ),
        ]
    )


def _stages_in_words(courses: Sequence[Course]) -> str:
    return table(
        ["stage", "weights", "steps", "batch", "minutes", "last loss"],
        [
            [
                course.path.stem,
                f"{sum(weight.numel() for weight in course.model.parameters()):,}",
                f"{course.step:,}",
                f"{course.schedule.batch}",
                f"{course.seconds / 60:.0f}",
                f"{course.losses[-1][1]:.4f}",
            ]
            for course in courses
        ],
    )


def _marks_in_words(course: Course) -> str:
    return table(
        ["step", *course.marks[0][1]],
        [[f"{step:,}", *map(share, mark.values())] for step, mark in course.marks],
    )


def share(value: float) -> str:
    """0.955 as `95.5 %`."""
    return f"{100 * value:.1f} %"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_between(path: Path, mark: str, text: str) -> None:
    """Replaces what stands between `<!-- mark -->` and `<!-- /mark -->` in a Markdown file."""
    before, rest = path.read_text().split(f"<!-- {mark} -->", 1)
    _, after = rest.split(f"<!-- /{mark} -->", 1)
    path.write_text(f"{before}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{after}")
