"""OpenAI's image API, as its own client packages speak it."""

from api.compat.openai.generations import router

__all__ = ["router"]
