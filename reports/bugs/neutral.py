"""What others have said, made fit for an issue: nothing in it mentions, links, closes, hides or draws. Pure.

Foreign text stands in `fenced`, `code` or `title`; `guarded` then goes over the whole, for what came past them.
GitHub looks for mentions and references in what Markdown has made of a text, but never in code.
"""

from __future__ import annotations

import re

from matrix.cells import Record
from matrix.untrusted import plain, shortened, visible

ZERO_WIDTH_SPACE = "\u200b"
"""Parts a mention or a reference, and is not seen."""

TITLE = 200
"""Characters; GitHub takes 256."""

REFERENCE = re.compile(r"@(?=[a-z0-9])|#(?=\d)|(?<![a-z0-9])GH\\?-(?=\d)", re.I)
"""What makes a mention or a reference of the word behind it: `@name`, `#1`, `owner/name#1`, `GH-1`."""

PROSE = re.compile(
    r"(?P<kept>(?P<run>`+)(?!`).+?(?<!`)(?P=run)(?!`)|\\[\\`!]|&(?:amp|lt|gt|quot|nbsp);|"
    r"</?(?:details|summary|sub|sup|br)>)"
    r"|(?P<backticks>`+)"
    r"|(?P<url>https?:/{0,2}(?:[^\s<>`\"')!\[\]\\&]|\\(?![\\`!])|&(?!#|\w+;))+)"
    rf"|(?P<reference>{REFERENCE.pattern})"
    r"|(?P<commit>(?<![a-z0-9])(?=[0-9a-f]{0,39}\d)(?=[0-9a-f]{0,39}[a-f])[0-9a-f]{7,40}(?![a-z0-9]))"
    r"|(?P<sign>[<&]|!(?=\[))",
    re.I,
)
"""Of a line outside of fences. Kept: code, what is escaped already, and tags that only lay out."""

SIGNS = {"<": "&lt;", "&": "&amp;", "!": "\\!"}

CROSS_LINK = re.compile(
    r"(?<=//)(?:www\.)?(github\.com/[^/]+/[^/]+/(?:issues|pull|discussions|commits?)/)(?!new\b)", re.I
)
"""A URL that the page it leads to would show as a mention of it."""

IN_URL = re.compile(r"@(?=[a-z0-9])|(?:(?<=#)|(?<=GH-)|(?<=GH\\-))\d", re.I)

OPENING = re.compile(r" {0,3}(?P<fence>`{3,}(?=[^`]*$)|~{3,})(?P<language>.*)")

MARKER = re.compile(r"<!--(?=\s*readiness)")


class Block(Record, frozen=True, kw_only=True):
    """Lines of Markdown: those between two fences, or those outside of any."""

    fence: str = ""
    """What opens it; empty outside of fences."""
    language: str = ""
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it is written, fences included."""
        around = (f"{self.fence}{self.language}", self.fence) if self.fence else ()
        return "\n".join([*around[:1], *self.lines, *around[1:]])


def fenced(text: str, language: str = "text") -> str:
    """A block of code that the text cannot end."""
    said = visible(plain(text)).strip("\n")
    fence = "`" * max(3, 1 + _longest_run(said))
    return f"{fence}{language}\n{said}\n{fence}"


def code(text: str) -> str:
    """One line of code within a sentence, which the text cannot end. In a table, a `|` would."""
    said = " ".join(visible(plain(text)).split())
    fence = "`" * (1 + _longest_run(said))
    space = " " if not said or said[0] == "`" or said[-1] == "`" else ""
    return f"{fence}{space}{said}{space}{fence}"


def title(text: str) -> str:
    """One line without references, where GitHub knows no code."""
    said = shortened(" ".join(visible(plain(text)).split()), TITLE)
    return REFERENCE.sub(lambda found: found[0] + ZERO_WIDTH_SPACE, said)


def guarded(markdown: str) -> str:
    """A text of ours in which nothing outside of code mentions, refers, or is HTML; twice changes nothing more.

    A link to an issue of another project leads there by a host that leaves no trace on that issue.
    """
    written: list[str] = []
    for block in blocks(markdown):
        if not block.fence:
            written.append("\n".join(PROSE.sub(_harmless, line) for line in block.lines))
            continue
        if written and written[-1].rsplit("\n", 1)[-1].strip():
            written.append("")  # right below a tag, a fence would be a part of the HTML
        written.append(block.text)
    return MARKER.sub("<!- -", "\n".join(written))


def blocks(markdown: str) -> list[Block]:
    """A text by its fences; one that is open at the end is closed there."""
    found: list[Block] = []
    fence, language, lines = "", "", list[str]()
    for line in markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        opening = None if fence else OPENING.fullmatch(line)
        closing = bool(fence) and re.fullmatch(rf" {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*", line) is not None
        if opening is None and not closing:
            lines.append(line)
            continue
        if fence or lines:
            found.append(Block(fence=fence, language=language, lines=tuple(lines)))
        fence, language = (opening["fence"], opening["language"]) if opening else ("", "")
        lines = []
    if fence or lines:
        found.append(Block(fence=fence, language=language, lines=tuple(lines)))
    return found


def _harmless(found: re.Match[str]) -> str:
    word = found[0]
    match found.lastgroup:
        case "backticks":
            return "\\`" * len(word)  # without a partner in its line, it might find one elsewhere
        case "url":
            return IN_URL.sub(_encoded, CROSS_LINK.sub(r"redirect.\1", word))
        case "reference":
            return word + ZERO_WIDTH_SPACE
        case "commit":
            beside = found.string[max(0, found.start() - 1) : found.end() + 1]
            alone = not {"`", "\\"} & {*beside}
            return f"`{word}`" if alone else ZERO_WIDTH_SPACE.join(re.findall(".{1,6}", word))
        case "sign":
            return SIGNS[word]
    return word


def _encoded(found: re.Match[str]) -> str:
    """The same address, by other characters."""
    return f"%{ord(found[0]):02X}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
