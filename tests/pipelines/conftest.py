"""Tiny models, saved and loaded as real ones are, and what plain diffusers makes of them."""

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from plain_janus import PlainJanus
from tiny_models import ABSENT, ENTRIES, MODELS

from pipelines.catalog import ModelSpec
from pipelines.engine import Engine
from pipelines.loading import load_pipeline
from pipelines.pipeline import ImageRequest, Picture, Pipeline

torch.set_num_threads(1)

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def spec_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModelSpec]:
    """The catalogue entry of a tiny model, saved in a folder."""
    specs: dict[str, ModelSpec] = {}

    def spec_of(name: str) -> ModelSpec:
        if name not in specs:
            family, build = MODELS[name]
            torch.manual_seed(len(name))
            folder = tmp_path_factory.mktemp(name)
            build().save_pretrained(folder)
            entry = ENTRIES[name]
            specs[name] = ModelSpec(name=name, family=family, source=str(folder), **entry)
        return specs[name]

    return spec_of


@pytest.fixture(scope="session")
def pipeline_of(spec_of: Callable[[str], ModelSpec]) -> Callable[[str], Pipeline]:
    """A tiny model, loaded."""
    pipelines: dict[str, Pipeline] = {}

    def pipeline_of(name: str) -> Pipeline:
        if name not in pipelines:
            pipelines[name] = load_pipeline(spec_of(name), CPU)
        return pipelines[name]

    return pipeline_of


@pytest.fixture
def load_fresh(spec_of: Callable[[str], ModelSpec]) -> Callable[[str], Pipeline]:
    """A tiny model that no other test sees."""
    return lambda name: load_pipeline(spec_of(name), CPU)


@pytest.fixture(scope="session")
def reference(spec_of: Callable[[str], ModelSpec]) -> Callable[..., np.ndarray]:
    """What plain diffusers paints for a request, alone: (height, width, 3)."""
    plain: dict[str, Any] = {}

    def paint(name: str, request: ImageRequest, **options: Any) -> np.ndarray:
        if name not in plain:
            none = dict.fromkeys(ABSENT.get(name, []))
            plain[name] = diffusers.DiffusionPipeline.from_pretrained(spec_of(name).source, **none)
            plain[name].set_progress_bar_config(disable=True)
        return paint_plainly(plain[name], request, **options)

    return paint


@pytest.fixture(scope="session")
def plain_janus(spec_of: Callable[[str], ModelSpec]) -> PlainJanus:
    """The tiny Janus through plain transformers."""
    return PlainJanus(spec_of("janus"))


@pytest.fixture
def janus(pipeline_of: Callable[[str], Pipeline]) -> Pipeline:
    return pipeline_of("janus")


def paint_plainly(pipe: Any, request: ImageRequest, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        # Its schedulers hand tensors to numpy in a way that numpy 2 deprecates.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return _paint_plainly(pipe, request, options)


def _paint_plainly(pipe: Any, request: ImageRequest, options: dict[str, Any]) -> np.ndarray:
    own = pipe.scheduler
    if request.scheduler is not None:
        is_flow = type(own).__name__.startswith("FlowMatch")
        table = PLAIN_FLOW_SCHEDULERS if is_flow else PLAIN_SCHEDULERS
        name, overrides = table[request.scheduler]
        pipe.scheduler = getattr(diffusers, name).from_config(own.config, **overrides)
    try:
        reads_none = (diffusers.FluxPipeline, diffusers.LatentConsistencyModelPipeline)
        if request.negative_prompt and not isinstance(pipe, reads_none):
            options = {**options, "negative_prompt": request.negative_prompt}
        picture = pipe(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            **options,
        ).images[0]
    finally:
        pipe.scheduler = own
    return np.asarray(picture)


#: Written out again here, so that a slip in our table cannot hide in the comparison with it.
PLAIN_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DDIM": ("DDIMScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "DPM++ 2M SDE Karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "Euler Karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "DDPM": ("DDPMScheduler", {}),
    "TCD": ("TCDScheduler", {}),
    "PNDM": ("PNDMScheduler", {}),
}
_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
PLAIN_FLOW_SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "Euler Karras": ("FlowMatchEulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "Heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", _FLOW),
    "UniPC": ("UniPCMultistepScheduler", _FLOW),
    "DPM++ 2M SDE": (
        "DPMSolverMultistepScheduler",
        {**_FLOW, "algorithm_type": "sde-dpmsolver++"},
    ),
    "LCM": ("FlowMatchLCMScheduler", {}),
}


@pytest.fixture
def engine(pipeline_of: Callable[[str], Pipeline]) -> Iterator[Engine]:
    with Engine(CPU, max_batch_rows=16, load=lambda spec, _: pipeline_of(spec.name)) as engine:
        yield engine


def request(**changes: Any) -> ImageRequest:
    plain = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 4}
    return ImageRequest(**{**plain, "guidance_scale": 5.0, "seed": 1, **changes})


@pytest.fixture(scope="session")
def make_request() -> Callable[..., ImageRequest]:
    return request


def largest_difference(picture: Picture | Image.Image | np.ndarray, other: np.ndarray) -> int:
    """The largest difference of two pictures in levels of 255, over all pixels and colours."""
    image = picture.image if isinstance(picture, Picture) else picture
    return int(np.abs(np.asarray(image).astype(int) - other.astype(int)).max())


@pytest.fixture(scope="session")
def difference() -> Callable[[Any, np.ndarray], int]:
    return largest_difference


class Gate:
    """Holds a pipeline before each of its steps until let through."""

    def __init__(self, pipeline, monkeypatch):
        self.batches = []
        self._is_open = False
        self.arrived, self._open = threading.Semaphore(0), threading.Semaphore(0)
        step = pipeline.step

        def gated(states):
            self.batches.append([state.request.seed for state in states])
            self.arrived.release()
            assert self._is_open or self._open.acquire(timeout=30)
            step(states)

        monkeypatch.setattr(pipeline, "step", gated)

    def await_step(self):
        assert self.arrived.acquire(timeout=30)

    def let_through(self):
        self._open.release()

    def open(self):
        """No more holding, until closed."""
        self._is_open = True
        self._open.release()

    def close(self):
        self._is_open = False
        self.batches.clear()
        for semaphore in (self.arrived, self._open):
            while semaphore.acquire(blocking=False):
                pass


@pytest.fixture
def hold_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[Pipeline], Gate]:
    return lambda pipeline: Gate(pipeline, monkeypatch)
