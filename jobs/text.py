"""What a text from a stranger may hold: what people write, and nothing that steers a terminal."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

#: Control characters (Unicode's category Cc) but for tabs and line ends: escape sequences of
#: terminals begin with them, and no model reads them.
_CONTROLS: Final = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_CONTROL: Final = re.compile(f"[{_CONTROLS}]")


def plain(text: str) -> str:
    """A text with its lines ended as on Unix.

    Marks of writing direction, joiners and markup stay: they are part of languages, and whoever
    shows a text shows it as text.

    Raises:
        ValueError: it holds a control character; which one, and where.
    """
    if found := _CONTROL.search(text):
        raise ValueError(
            f"character {found.start()} is the control character U+{ord(found[0]):04X}; of these "
            "only tabs and line ends are taken"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


#: A text that is kept and shown again.
PlainText = Annotated[
    str, AfterValidator(plain), Field(json_schema_extra={"pattern": f"^[^{_CONTROLS}]*$"})
]
