"""Tiny models with random weights, in the structure of real ones."""

from collections.abc import Callable
from typing import Any

import diffusers
import transformers
from tiny_janus import GRID, PATCH, janus
from tokenizers.pre_tokenizers import ByteLevel

from pipelines.catalog import Family


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
    "janus": (Family.JANUS, janus),
}

#: What the entry of a model says beside its family and source.
_SIZE = {"default": (64, 64), "min": 16, "max": 256, "max_pixels": 256 * 256}
_SIDE = GRID * PATCH
ENTRIES: dict[str, dict[str, Any]] = {name: {"size": _SIZE} for name in MODELS} | {
    "janus": {
        "size": {"default": (_SIDE, _SIDE), "min": _SIDE, "max": _SIDE, "max_pixels": _SIDE**2},
        "steps": {"default": GRID**2, "max": GRID**2},
        "slots": 16,
        "prompt_tokens": 96,
    }
}


#: What diffusers wants to be told that it is not there.
ABSENT = {
    "sd3": ["text_encoder_3", "tokenizer_3"],
    "lcm": ["safety_checker", "feature_extractor", "image_encoder"],
    "pag": ["safety_checker", "feature_extractor", "image_encoder"],
}
