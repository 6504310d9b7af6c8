"""The API of AUTOMATIC1111's web UI, for the front ends, plug-ins and scripts that speak it.

Names, defaults and answers follow `modules/api/` of its version 1.10.
"""

from fastapi import APIRouter

from api.compat.automatic1111 import generating, lists, options, picture_info, progress, the_rest

router = APIRouter(prefix="/sdapi/v1", tags=["automatic1111"])
for _part in (generating, progress, options, lists, picture_info, the_rest):
    router.include_router(_part.router)
