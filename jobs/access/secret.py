"""What a key looks like, and what is kept of it.

A key is `dk_`, its id, and 256 random bits. Nobody can guess those, however fast the hash is that
they are compared by; a slow one (bcrypt, Argon2) makes up for the few bits of passwords that people
think of, and would only slow each request down. So SHA-256 it is, as for other tokens of so many
random bits (NIST SP 800-63B, 5.1.2.2, "Look-Up Secret Verifiers").
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

PREFIX: Final = "dk_"
_ID_BYTES, _SECRET_BYTES = 6, 32
_FORM: Final = re.compile(rf"{PREFIX}([0-9a-f]{{{2 * _ID_BYTES}}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True)
class KeySecret:
    """A key as its owner holds it."""

    #: May be logged.
    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """None when the text is no key of ours."""
        found = _FORM.fullmatch(text)
        return cls(*found.groups()) if found else None

    @property
    def text(self) -> str:
        return f"{PREFIX}{self.id}_{self.secret}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, sha256: str) -> bool:
        """In a time that tells nothing of where they differ."""
        return hmac.compare_digest(self.sha256.encode(), sha256.encode())
