"""What prompts must not ask for: words, phrases and patterns, however they are dressed up.

No list stops somebody who is determined; it stops what is asked for plainly or in trivial disguise.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import re2

from pipelines.catalog import Catalog
from pipelines.errors import CatalogError

#: Accents and the like; marks that are vowels in their script stay.
_ACCENTS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
#: Letters of other scripts that look like a Latin one (Unicode TR 39 has them all).
_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u043a\u043c\u043e\u0440\u0455\u0442\u0443\u0445"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0131",
    "acdehijkmopstyx" + "aeikvoptuxi",
)
#: Digits that stand for a letter, within a word that has others.
_DIGITS: Final = str.maketrans("013457", "oieast")
_WORD: Final = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """A text without what disguises it: case, width, accents, invisible and foreign letters."""
    if text.isascii():
        return text.lower()
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    visible = (char for char in plain if unicodedata.category(char) != "Cf")
    return "".join(visible).casefold().translate(_LOOKALIKES)


def words_of(text: str) -> list[str]:
    """The words of a folded text; one that is spelled letter by letter is one word."""
    words = list[str]()
    spelled = ""
    for word in (*map(_with_letters, _WORD.findall(text)), ""):
        if len(word) == 1:
            spelled += word
            continue
        words += [spelled] if len(spelled) > 2 else spelled
        words, spelled = [*words, word] if word else words, ""
    return words


def _with_letters(word: str) -> str:
    return word if word.isdigit() or word.isalpha() else word.translate(_DIGITS)


class Blocklist:
    """Looks through a prompt in time linear in its length, whatever the list holds."""

    def __init__(self, phrases: Iterable[str] = (), patterns: Iterable[Any] = ()) -> None:
        """
        Args:
            phrases: words, by a space.
            patterns: of RE2, which never goes back in a text.
        """
        self._phrases, self._patterns = frozenset(phrases), tuple(patterns)
        self._longest = max((phrase.count(" ") + 1 for phrase in self._phrases), default=0)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file: on each line a word, a phrase, or a `/pattern/`; `#` begins a comment.

        Raises:
            CatalogError: it cannot be read; file and line are named.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogError(f"the blocklist {path} cannot be read: {error}") from None
        phrases, patterns = list[str](), list[Any]()
        for number, line in enumerate(map(str.strip, lines), start=1):
            if not line or line.startswith("#"):
                continue
            if len(line) > 2 and line.startswith("/") and line.endswith("/"):
                patterns.append(_pattern(line[1:-1], f"the blocklist {path}, line {number}"))
            elif phrase := " ".join(words_of(folded(line))):
                phrases.append(phrase)
            else:
                raise CatalogError(f"the blocklist {path}, line {number}: there is no word in it")
        return cls(phrases, patterns)

    def __add__(self, other: "Blocklist") -> "Blocklist":
        return Blocklist(self._phrases | other._phrases, self._patterns + other._patterns)

    def found_in(self, prompt: str) -> str | None:
        """The first thing that is on the list, as the folded prompt has it."""
        text = folded(prompt)
        for phrase in self._runs(words_of(text)):
            if phrase in self._phrases:
                return phrase
        matches = (pattern.search(text) for pattern in self._patterns)
        return next((match[0] for match in matches if match), None)

    def _runs(self, words: list[str]) -> Iterator[str]:
        """All runs of words that are short enough to be a phrase of the list."""
        for start in range(len(words)):
            for length in range(1, self._longest + 1):
                yield " ".join(words[start : start + length])


def load_blocklists(catalog: Catalog, for_all: Path | None) -> Mapping[str, Blocklist]:
    """The list of each model that has one: its own, together with that for all models.

    Raises: as `Blocklist.load`.
    """
    common = Blocklist.load(for_all) if for_all else None
    own = {
        name: Blocklist.load(Path(spec.blocklist))
        for name, spec in catalog.items()
        if spec.blocklist
    }
    if common is None:
        return own
    return {name: own[name] + common if name in own else common for name in catalog}


def _pattern(text: str, where: str) -> Any:
    options = re2.Options()
    # It is matched against a folded text, and RE2 would tell of errors on standard error.
    options.case_sensitive = options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        (reason,) = error.args
        told = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise CatalogError(f"{where}: the pattern is none that RE2 knows: {told}") from None
