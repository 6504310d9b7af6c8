"""What arq writes to Redis and reads back: JSON, so that Redis can never run code in a worker."""

import json
from typing import Any


def serialize(message: dict[str, Any]) -> bytes:
    """arq pickles by default; then whoever can write to Redis could run code in a worker.

    What went wrong with a message of arq's that nobody could read becomes text.
    """
    return json.dumps(message, separators=(",", ":"), default=str).encode()


def deserialize(message: bytes) -> dict[str, Any]:
    decoded = json.loads(message)
    if not isinstance(decoded, dict):
        raise ValueError("a queue message is a JSON object")
    return decoded
