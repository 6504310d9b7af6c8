"""A loop ends when it is told to, even where the telling is swallowed."""

import asyncio

from jobs.tasks import is_told_to_end


async def test_a_swallowed_cancellation_ends_the_loop_at_its_next_turn() -> None:
    begun = asyncio.Event()

    async def loop() -> None:
        while not is_told_to_end():
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                # What a library does when its clean-up fails.
                continue

    task = asyncio.create_task(loop())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(5):
        await task
    assert not task.cancelled()
