"""What can go wrong between a prompt and its pixels."""


class PipelineError(Exception):
    """The family of every error raised here. Its text is fit for the user to read."""


class CatalogError(PipelineError):
    """The model catalogue is wrong; the text names the entry and the mend."""


class ModelLoadError(PipelineError):
    """A model of the catalogue cannot be loaded; the text names the entry and the mend."""


class RequestError(PipelineError):
    """The model cannot do what the request asks; the text names the field and the limit."""


class OutOfMemoryError(PipelineError):
    """A single image does not fit on the device; the text says how large it was."""


class ImageCanceledError(PipelineError):
    """The image was cancelled before it was finished."""


class DeadlineError(PipelineError):
    """The image was not finished by its deadline."""


class EngineFullError(PipelineError):
    """The engine takes no more images now; the text says how many it has."""
