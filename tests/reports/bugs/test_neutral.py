"""What engines say cannot reach anybody: read as GitHub reads it, by a Markdown parser that is not ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports.bugs import neutral

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

CROSS_LINK = r"//(?:www\.)?github\.com/[^/]+/[^/]+/(?:issues|pull|discussions|commits?)/(?!new\b)"
REACHES = re.compile(rf"@[a-z0-9]|#\d|\bGH-\d|{CROSS_LINK}", re.I)
"""What GitHub makes a mention, a reference or a cross-link of."""
COMMIT = re.compile(r"(?<!\w)(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}(?!\w)")
ADDRESS = re.compile(r"https?:\S+")

LAYOUT = re.compile(r"\s*(</?(details|summary|sub|sup|br)>\s*)+", re.I)

PIECES = (
    "@name", "@org/team", "#1", "GH-12", "owner/name#3", "name@0123abc", "0123abc4567def", "&#64;name",
    "&commat;name", "&num;1", "\\@name", "GH\\-1", "Fixes #4", "https://github.com/o/r/issues/1", "http://x/@name#1",
    "<https://github.com/o/r/pull/2>", "[x](https://www.github.com/o/r/commit/0123abc)", "![x](https://e.org/x.png)",
    "<img src=x>", "<!-- readiness-failure", "-->", "<details>", "</details>", "<script>", "<x@name>",
    "`", "``", "```", "````", "~~~", "```text\n", "\\`", "\\", "\\\\", "\n", "\n\n", "\r\n", "\t", " ", "    ",
    "> ", "- ", "# ", "|", "x", "*", "_", "!", "[", "]", "(", ")", "<", "&",
)  # fmt: skip

markdown = some.lists(some.sampled_from(PIECES) | some.text(max_size=3), max_size=25).map("".join)


def read(text: str) -> Iterator[Token]:
    """Every token, those within paragraphs too."""
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def prose(text: str) -> Iterator[str]:
    """What is looked at for references: the words of each paragraph outside of code."""
    for token in PARSER.parse(text):
        parts = [child.content if child.type == "text" else "\n" for child in token.children or ()]
        yield "".join(parts)


def addresses(text: str) -> Iterator[str]:
    yield from (str(token.attrs["href"]) for token in read(text) if token.type == "link_open")


@given(markdown)
def test_a_guarded_text_reaches_nobody_and_draws_nothing(text: str) -> None:
    """No mention, reference, cross-link, HTML or picture is left, however the pieces fall together."""
    guarded = neutral.guarded(text)
    assert [words for words in prose(guarded) if REACHES.search(words)] == []
    assert [words for words in prose(guarded) if COMMIT.search(ADDRESS.sub("x", words))] == []
    assert [address for address in addresses(guarded) if re.search(CROSS_LINK, address, re.I)] == []
    assert [token for token in read(guarded) if token.type == "image"] == []
    tags = [token.content for token in read(guarded) if token.type.startswith("html")]
    assert [tag for tag in tags if not LAYOUT.match(tag)] == []
    assert "<!-- readiness-" not in guarded


@given(markdown)
def test_guarding_twice_changes_nothing_more(text: str) -> None:
    """What is neutral stays as it is, so that a text is not written anew every night."""
    once = neutral.guarded(text)
    assert neutral.guarded(once) == once


@given(some.text() | markdown)
def test_a_fence_cannot_be_ended_by_its_text(text: str) -> None:
    """Between two paragraphs it is one block of code, whatever it holds, and guarding leaves it alone."""
    whole = f"before\n\n{neutral.fenced(text)}\n\nafter"
    kinds = [token.type for token in PARSER.parse(whole)]
    paragraph = ["paragraph_open", "inline", "paragraph_close"]
    assert kinds == [*paragraph, "fence", *paragraph]
    assert neutral.guarded(whole) == whole.replace("<!-- readiness-", "<!- - readiness-")


@given(some.text() | markdown)
def test_code_within_a_sentence_cannot_be_ended_by_its_text(text: str) -> None:
    """It stays one piece of code on one line."""
    (inline,) = [token for token in PARSER.parse(f"before {neutral.code(text)} after") if token.type == "inline"]
    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]


@given(some.text() | markdown)
def test_a_title_is_one_short_line_that_refers_to_nothing(text: str) -> None:
    """GitHub takes 256 characters."""
    title = neutral.title(text)
    assert len(title) <= 256 and "\n" not in title
    assert not re.search(r"@[a-z0-9]|#\d|\bGH-\d", title, re.I)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see #1 and @org/team", "see #\u200b1 and @\u200borg/team"),
        ("`@name` stays", "`@name` stays"),
        ("at 0123abc4567def, not in 1048576 or defaced", "at `0123abc4567def`, not in 1048576 or defaced"),
        ("https://github.com/o/r/issues/1", "https://redirect.github.com/o/r/issues/1"),
        ("[form](https://github.com/o/r/issues/new?body=%40x)", "[form](https://github.com/o/r/issues/new?body=%40x)"),
        ("https://e.org/0123abc4567def/@x#1", "https://e.org/0123abc4567def/%40x#%31"),
        ("<details>\n<img src=x>", "<details>\n&lt;img src=x>"),
        ("<summary>x</summary>\n```text\n@a\n```", "<summary>x</summary>\n\n```text\n@a\n```"),
        ("```python\n@decorator # 1\n", "```python\n@decorator # 1\n\n```"),
    ],
)
def test_only_what_reaches_somebody_is_changed(text: str, shown: str) -> None:
    """Code, form links and addresses of pages stay as they were."""
    assert neutral.guarded(text) == shown
