"""What an engine tells of itself to whoever measures it."""


class Observer:
    """Told on the engine's own threads, so it must be quick. This one keeps nothing."""

    def stepped(self, model: str, rows: int, took_s: float) -> None:
        """A batch of so many rows has made a step."""

    def loaded(self, model: str, took_s: float) -> None:
        """A model was loaded and made ready."""
