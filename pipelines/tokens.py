"""How much of a prompt a model reads."""

from typing import Any


def truncation_warnings(
    text: str, tokenizer: Any, max_tokens: int | None = None
) -> tuple[str, ...]:
    """One warning where the text has more tokens than the model reads, none otherwise.

    Counted as the tokenizer cuts them: with the marks at the start and the end of the text.
    """
    limit = max_tokens if max_tokens is not None else tokenizer.model_max_length
    count = len(tokenizer(text, truncation=False, verbose=False).input_ids)
    if count <= limit:
        return ()
    return (f"prompt: {count} tokens, the model reads the first {limit}",)
