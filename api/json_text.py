"""What a body must be before a JSON parser sees it: text that any parser can take, and write again.

JSON as such allows more than programs can agree on; this is the part of I-JSON (RFC 7493) that a
parser in Python would let through to where it does harm.
"""

import re
from typing import Final

from api.problems import Fault, Problem, invalid_request

#: Lists and objects within each other. A job needs five; parsers and writers recurse.
MAX_DEPTH: Final = 32

_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
#: Escapes in turn, so that a backslash which is itself escaped begins none.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>\\u[dD][89a-fA-F])|\\.", re.DOTALL
)


def check(text: bytes) -> None:
    """
    Raises:
        Problem: `malformed-json`: it is not UTF-8. `invalid-request`: it is nested too deeply, or
            holds half of a character.
    """
    # Python would also read UTF-16 and UTF-32, whose brackets and escapes look otherwise.
    if b"\0" in text:
        raise Problem("malformed-json", "the body is not JSON in UTF-8")
    may_be_deep = text.count(b"[") + text.count(b"{") > MAX_DEPTH
    if may_be_deep and depth(text) > MAX_DEPTH:
        detail = f"lists and objects lie at most {MAX_DEPTH} deep within each other"
        raise invalid_request([Fault(field="body", detail=detail, limit=MAX_DEPTH)])
    if b"\\u" in text and _has_lone_surrogate(text):
        detail = "an escape such as \\ud83d is half of a character, and its other half is missing"
        raise invalid_request([Fault(field="body", detail=detail)])


def depth(text: bytes) -> int:
    """How deep lists and objects lie within each other, also in a text that ends too soon."""
    deepest = level = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        match token[0]:
            case b"[" | b"{":
                level += 1
                deepest = max(deepest, level)
            case b"]" | b"}":
                level -= 1
    return deepest


def _has_lone_surrogate(text: bytes) -> bool:
    return any(escape["lone"] for escape in _ESCAPE.finditer(text))
