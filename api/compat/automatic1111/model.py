"""The wire schema of AUTOMATIC1111's `txt2img`, `progress` and `png-info`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TextToImage(BaseModel):
    """What is asked for. Fields that are not listed have no effect, but for some that are refused.

    What is left out, or null, takes the model's default.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    prompt: str | None = ""
    negative_prompt: str | None = ""
    steps: int | None = None
    cfg_scale: float | None = Field(None, description="A job's `guidance_scale`.")
    width: int | None = None
    height: int | None = None
    seed: int | None = Field(-1, ge=-1, description="-1 draws one.")
    sampler_name: str | None = Field(None, description="One of `GET /sdapi/v1/samplers`.")
    sampler_index: str | None = Field(None, description="The sampler's name in older clients.")
    scheduler: str | None = Field(None, description="One of `GET /sdapi/v1/schedulers`.")
    batch_size: int | None = Field(1, ge=1)
    n_iter: int | None = Field(1, ge=1, description="Times `batch_size` is how many pictures.")
    send_images: bool | None = True
    override_settings: dict[str, Any] | None = Field(
        None, description="Options that hold for this request, such as `sd_model_checkpoint`."
    )
    alwayson_scripts: dict[str, Any] | None = None
    force_task_id: str | None = Field(
        None, max_length=128, description="What `progress` calls it as `current_task`."
    )


class TextToImageResponse(BaseModel):
    """The pictures, and how they were made."""

    images: list[str] = Field(description="In base64; none after `interrupt`.")
    parameters: dict[str, Any] = Field(description="The request.")
    info: str = Field(description="JSON: seeds, parameters and whatever else made the pictures.")


class ProgressState(BaseModel):
    """What AUTOMATIC1111 tells of what it does."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(0, description="How many requests of the caller are under way.")
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressResponse(BaseModel):
    """How far the caller's foremost request is."""

    progress: float = Field(0.0, description="From 0 to 1.")
    eta_relative: float = Field(0.0, description="Seconds until its pictures are there.")
    state: ProgressState = ProgressState()
    current_image: str | None = Field(None, description="A small WebP in base64.")
    textinfo: str | None = None
    current_task: str | None = Field(None, description="Its `force_task_id`, or its job's id.")


class PictureInfoRequest(BaseModel):
    """A picture to be looked at."""

    image: str = Field(description="A PNG, JPEG or WebP file in base64, or as a `data:` address.")


class PictureInfo(BaseModel):
    """What a picture carries of its making."""

    info: str = Field("", description="Its `parameters`, as they stand.")
    items: dict[str, str] = Field({}, description="Whatever else it carries.")
    parameters: dict[str, str] = Field({}, description="The same, by name.")
