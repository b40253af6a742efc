"""What engines and models say is untrusted: before it is stored it is made plain, free of secrets, and short. Pure.

Patterns of secrets are those that their issuers publish, each with a prefix of its own, so that a hash, a digest or a
commit is never taken for one.
"""

from __future__ import annotations

import re
from typing import Any

SENTENCE = 4_000
"""Characters of a verdict's sentence."""
TEXT = 40_000
"""Characters of a piece of evidence, and of the end of a log."""

ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erasing
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, links, everything up to their end
    r"|[ -/]*[0-~])"  # the two-character ones
)
"""Escape sequences of ECMA-48."""

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # controls, but for tab, new line and carriage return
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that show nothing, cannot be written, or turn the direction of what follows (Unicode TR 36)."""

SECRETS = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=\x1b\[[0-9]m)|(?<=\x1b\[[0-9]{2}m))(?:"  # a colour may stand before it
    r"hf_[A-Za-z0-9]{30,}|api_org_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|sk-[A-Za-z0-9_-]{20,}|nvapi-[A-Za-z0-9_-]{40,}|gsk_[A-Za-z0-9]{40,}"  # OpenAI and others; NVIDIA; Groq
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}"  # Amazon, Google
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON web tokens
    r")"
    r"|(?<=://)[^\s/@:]{1,256}:[^\s/@]{1,256}(?=@)"  # user and password in a URL
    r"|(?i:(?<=bearer )|(?<=authorization: basic ))[A-Za-z0-9._~+/=-]{16,}"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)

REDACTED = "[redacted]"


def plain(text: str) -> str:
    """Without escape sequences, and with the line ends of Unix: a progress bar becomes lines."""
    return ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def visible(text: str) -> str:
    """With escapes (`\\u202e`) in the place of characters that cannot be seen, or turn the direction of writing."""
    return INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def redacted(text: str) -> str:
    """With everything that looks like a secret replaced."""
    return SECRETS.sub(REDACTED, text)


def shortened(text: str, limit: int) -> str:
    """Its beginning and its end, where it is longer than a limit, and between them how much was left out."""
    if len(text) <= limit:
        return text
    note = f" … [{len(text) - limit} characters left out] … "
    head = max(0, limit - len(note)) // 2
    tail = max(0, limit - len(note)) - head
    return f"{text[:head]}{note}{text[len(text) - tail :]}"


def safe(text: str, limit: int) -> str:
    """Fit to be stored and shown; a secret is looked for before anything is cut, so that none is left in part."""
    return shortened(visible(shortened(redacted(plain(text)), limit)), limit)


def redacted_values(value: Any) -> Any:
    """A JSON value with the secrets in its texts replaced, and nothing else changed: judges read it."""
    match value:
        case str():
            return redacted(value)
        case dict():
            return {redacted_values(key): redacted_values(one) for key, one in value.items()}
        case list() | tuple():
            return [redacted_values(one) for one in value]
    return value
