"""The wire schema of OpenAI's `images/generations` (API reference, "Create image")."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.model import MAX_IMAGES, OutputFormat

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]


class GenerationRequest(BaseModel):
    """What OpenAI's clients ask for; any further field is one of a job's, such as `seed`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    prompt: str = Field(description="What the picture should show.")
    model: str | None = Field(
        None, description="A model of the catalogue, or an alias of one; the first by default."
    )
    n: int | None = Field(1, ge=1, le=MAX_IMAGES, description="How many pictures.")
    size: str | None = Field(
        None,
        pattern=r"^(auto|[1-9]\d{0,3}x[1-9]\d{0,3})$",
        description="Width and height, as in `1024x1024`; `auto` is the model's own.",
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        None, description="Pictures in the answer, the default, or addresses to fetch them from."
    )
    output_format: OutputFormat | None = None
    stream: bool | None = Field(
        False, description="Answer with server-sent events; their pictures are always in base64."
    )
    partial_images: int | None = Field(
        0, ge=0, le=3, description="How many previews of each picture a stream shows, at most."
    )
    background: Literal["auto", "opaque"] | None = Field(
        None, description="Pictures are always opaque."
    )
    output_compression: int | None = Field(
        None, ge=0, le=100, description="A job's `output_quality`: from small to good."
    )
    quality: Quality | None = Field(None, description="Without effect; see `steps`.")
    style: Literal["vivid", "natural"] | None = Field(None, description="Without effect.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Without effect.")
    user: str | None = Field(None, max_length=512, description="Without effect, and not kept.")
    safety_identifier: str | None = Field(
        None, max_length=512, description="Without effect, and not kept."
    )


class TokenDetails(BaseModel):
    """Of which kind the tokens were."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(BaseModel):
    """Always nothing: here nothing is charged by the token."""

    input_tokens: int = 0
    input_tokens_details: TokenDetails = TokenDetails()
    output_tokens: int = 0
    output_tokens_details: TokenDetails = TokenDetails()
    total_tokens: int = 0


class GeneratedImage(BaseModel):
    """One picture, in the form that was asked for."""

    b64_json: str | None = None
    url: str | None = Field(None, description="Signed, and valid for a short time only.")


class _Described(BaseModel):
    """What an answer repeats of the request."""

    background: Literal["opaque"] = "opaque"
    output_format: OutputFormat
    quality: Quality = "auto"
    size: str = Field(description="Width and height as they are, as in `1024x1024`.")


class ImagesResponse(_Described):
    """The pictures of a job."""

    created: int = Field(description="When the job was submitted, in Unix time.")
    data: list[GeneratedImage]
    usage: Usage = Usage()


class PartialImage(_Described):
    """A preview: small, and WebP whatever the picture will be."""

    type: Literal["image_generation.partial_image"] = "image_generation.partial_image"
    b64_json: str
    created_at: int
    partial_image_index: int


class CompletedImage(_Described):
    """A picture."""

    type: Literal["image_generation.completed"] = "image_generation.completed"
    b64_json: str
    created_at: int
    usage: Usage = Usage()


class ErrorDetail(BaseModel):
    """What is wrong, and where."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """A refusal."""

    error: ErrorDetail
