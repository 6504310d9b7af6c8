"""Tiny models with random weights, saved and loaded as real ones are."""

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel

from pipelines.catalog import Family, ModelSpec
from pipelines.engine import Engine
from pipelines.loading import load_pipeline
from pipelines.pipeline import ImageRequest, Picture, Pipeline

torch.set_num_threads(1)

CPU = torch.device("cpu")


# -- components ------------------------------------------------------------------------------------


def tokenizer() -> transformers.CLIPTokenizer:
    """CLIP's tokenizer with bytes for words: no merges, so every text has many tokens."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def text_encoder(width: int = 32, *, with_projection: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=512,
        eos_token_id=513,
        projection_dim=width,
    )
    kind = (
        transformers.CLIPTextModelWithProjection if with_projection else transformers.CLIPTextModel
    )
    return kind(config).eval()


def vae(latent_channels: int = 4, **options: Any) -> diffusers.AutoencoderKL:
    model = diffusers.AutoencoderKL(
        block_out_channels=[8] * 4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=latent_channels,
        sample_size=64,
        **options,
    )
    # Random weights paint in greys; more contrast lets a comparison of pictures see more.
    model.decoder.conv_out.weight.data *= 5
    return model.eval()


def unet(channels: int = 4, **options: Any) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        **{"cross_attention_dim": 32, **options},
    ).eval()


NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def stable_diffusion(**options: Any) -> diffusers.StableDiffusionPipeline:
    """In the manner of 1.5: it predicts noise and was saved with PNDM."""
    parts = {
        "unet": unet(),
        "vae": vae(),
        "scheduler": diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1, **NOISE),
        **options,
    }
    return diffusers.StableDiffusionPipeline(
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **parts,
    )


def zero_snr() -> diffusers.StableDiffusionPipeline:
    """In the manner of the model that ships: v prediction, zero terminal SNR, 8 latent channels."""
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
        **NOISE,
    )
    return stable_diffusion(unet=unet(8), vae=vae(8, scaling_factor=0.7), scheduler=scheduler)


def guidance_distilled() -> diffusers.StableDiffusionPipeline:
    """In the manner of a latent-consistency model: told its guidance, saved with LCM."""
    return stable_diffusion(
        unet=unet(time_cond_proj_dim=16), scheduler=diffusers.LCMScheduler(steps_offset=1, **NOISE)
    )


def latent_consistency() -> diffusers.LatentConsistencyModelPipeline:
    return diffusers.LatentConsistencyModelPipeline(
        **{**guidance_distilled().components, "image_encoder": None},
        requires_safety_checker=False,
    )


def sdxl() -> diffusers.StableDiffusionXLPipeline:
    conditioned = unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    )
    return diffusers.StableDiffusionXLPipeline(
        unet=conditioned,
        vae=vae(),
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading", **NOISE),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(with_projection=True),
        tokenizer_2=tokenizer(),
    )


def t5() -> dict[str, Any]:
    """A T5 encoder and a tokenizer with letters for words."""
    letters = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    config = transformers.T5Config(
        vocab_size=len(letters), d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4
    )
    vocabulary = [(letter, 0.0) for letter in letters]
    return {
        "encoder": transformers.T5EncoderModel(config).eval(),
        "tokenizer": transformers.T5TokenizerFast(vocab=vocabulary, extra_ids=0),
    }


def stable_diffusion_3() -> diffusers.StableDiffusion3Pipeline:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=64,
        pooled_projection_dim=64,
        pos_embed_max_size=96,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        vae=vae(shift_factor=0.06, scaling_factor=1.5),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=text_encoder(with_projection=True),
        tokenizer=tokenizer(),
        text_encoder_2=text_encoder(with_projection=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux() -> diffusers.FluxPipeline:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    words = t5()
    return diffusers.FluxPipeline(
        transformer=transformer.eval(),
        vae=vae(shift_factor=0.1, scaling_factor=0.4),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(),
        text_encoder_2=words["encoder"],
        tokenizer_2=words["tokenizer"],
    )


def perturbed_attention() -> diffusers.StableDiffusionPAGPipeline:
    """A pipeline that no family here takes apart."""
    parts = stable_diffusion().components
    return diffusers.StableDiffusionPAGPipeline(
        **{**parts, "image_encoder": None},
        requires_safety_checker=False,
        pag_applied_layers=["mid"],
    )


MODELS: dict[str, tuple[Family, Callable[[], Any]]] = {
    "sd": (Family.STABLE_DIFFUSION, stable_diffusion),
    "sd-zero-snr": (Family.STABLE_DIFFUSION, zero_snr),
    "sd-lcm": (Family.STABLE_DIFFUSION, guidance_distilled),
    "lcm": (Family.STABLE_DIFFUSION, latent_consistency),
    "sdxl": (Family.SDXL, sdxl),
    "sd3": (Family.FLOW, stable_diffusion_3),
    "flux": (Family.FLOW, flux),
    "pag": (Family.WHOLE, perturbed_attention),
}


#: What diffusers wants to be told that it is not there.
ABSENT = {
    "sd3": ["text_encoder_3", "tokenizer_3"],
    "lcm": ["safety_checker", "feature_extractor", "image_encoder"],
    "pag": ["safety_checker", "feature_extractor", "image_encoder"],
}


# -- fixtures --------------------------------------------------------------------------------------


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
            size = {"default": (64, 64), "min": 16, "max": 256, "max_pixels": 256 * 256}
            specs[name] = ModelSpec(name=name, family=family, source=str(folder), size=size)
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
