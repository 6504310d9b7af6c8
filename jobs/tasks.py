"""Loops that end when they are told to."""

import asyncio


def is_told_to_end() -> bool:
    """Whether the task that asks was cancelled.

    A loop asks at each turn: an error that a library meets while it cleans up after a cancellation
    replaces that cancellation, and a loop that goes on after errors would then never end.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
