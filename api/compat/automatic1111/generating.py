"""`txt2img`: a job that is waited for."""

import asyncio
import json

from fastapi import APIRouter, Request, Response

from api.admission import admit
from api.compat.attending import no_pictures, pictures_in_base64, see_through
from api.compat.automatic1111.errors import TranslatedRoute, responses
from api.compat.automatic1111.model import TextToImage, TextToImageResponse
from api.compat.automatic1111.session import CallerSession
from api.compat.automatic1111.translating import to_job_request
from api.compat.dialect import OF_PICTURES
from api.parts import Deps
from jobs.infotext import infotext
from jobs.model import Job, JobStatus

router = APIRouter(route_class=TranslatedRoute)


@router.post(
    "/txt2img",
    summary="Make pictures as AUTOMATIC1111 does",
    response_model=TextToImageResponse,
    responses=responses(*OF_PICTURES),
)
async def txt2img(
    asked: TextToImage, request: Request, parts: Deps, session: CallerSession
) -> Response:
    """Put a job in line and hold the answer until its pictures are there.

    The job of a client that leaves is cancelled.
    """
    options = {**await session.options(), **(asked.override_settings or {})}
    wanted = to_job_request(asked, options, parts.catalog)
    with parts.waiters.place():
        job = await parts.jobs.submit(
            admit(wanted, parts.catalog, parts.blocklists), caller=session.caller
        )
        async with session.waiting_for(job, asked.force_task_id or job.id):
            job = await see_through(parts, job, request)
    if job.status is JobStatus.FAILED:
        raise no_pictures(job)
    is_to_be_sent = asked.send_images and job.status is JobStatus.SUCCEEDED
    answer = TextToImageResponse(
        images=await pictures_in_base64(parts, job) if is_to_be_sent else [],
        parameters=asked.model_dump(),
        info=_info(job, asked),
    )
    content = await asyncio.to_thread(answer.model_dump_json)
    return Response(content, media_type="application/json")


def _info(job: Job, asked: TextToImage) -> str:
    """How pictures were made (`Processed.js` in `modules/processing.py`); JSON in JSON, as there.

    Picture i is made from seed + i, there as here.
    """
    request = job.request
    seeds = [request.seed + index for index in range(request.images)]
    made = {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * request.images,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * request.images,
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": request.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.scheduler or "",
        "cfg_scale": request.guidance_scale,
        "steps": request.steps,
        "batch_size": asked.batch_size or 1,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.model,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [infotext(request, seed) for seed in seeds],
        "styles": [],
        "job_timestamp": f"{job.created_at:%Y%m%d%H%M%S}",
        "clip_skip": 1,
        "is_using_inpainting_conditioning": False,
        "version": "",
    }
    return json.dumps(made, ensure_ascii=False)
