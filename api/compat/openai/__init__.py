"""OpenAI's image API, as its own client packages speak it."""
