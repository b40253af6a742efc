"""What engines say, before it is stored."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.untrusted import REDACTED, plain, redacted, redacted_values, safe, shortened, visible

# Put together here, so that no scanner takes this file for a leak.
FAKE = {
    "hugging face": "hf_" + "Ab1" * 12,
    "github": "ghp_" + "Ab1" * 12,
    "github, fine-grained": "github_pat_" + "A1_b" * 20,
    "gitlab": "glpat-" + "Ab1-" * 6,
    "openai": "sk-" + "proj-" + "Ab1" * 12,
    "aws": "AKIA" + "ABCDEFGHIJKLMNOP",
    "google": "AIza" + "Ab1_x" * 7,
    "slack": "xoxb-" + "1234567890-abc",
    "npm": "npm_" + "Ab1" * 12,
    "nvidia": "nvapi-" + "Ab1_" * 12,
    "web token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".abcdefghijkl",
}


@pytest.mark.parametrize("name", FAKE)
def test_what_looks_like_a_token_is_replaced_wherever_it_stands(name: str) -> None:
    """In a sentence, a URL, a header, JSON, or glued to punctuation."""
    token = FAKE[name]
    for around in ("token {} here", "https://host/?key={}&x=1", '{{"token": "{}"}}', "({})", "TOKEN={}"):
        assert redacted(around.format(token)) == around.format(REDACTED)


def test_passwords_in_urls_headers_and_private_keys_are_replaced() -> None:
    """Whoever they were given to."""
    assert redacted("git clone https://user:pa55@host/x") == f"git clone https://{REDACTED}@host/x"
    assert redacted("Authorization: Bearer abcdefgh12345678") == f"Authorization: Bearer {REDACTED}"
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
    assert redacted(f"before {key} after") == f"before {REDACTED} after"


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "ab" * 32,
        "commit " + "0123456789abcdef" * 2 + "01234567",
        "sk-learn and hf_transfer and github_pat",
        "vllm-0.33.0__gemma-4-31b-it__h100x1__default",
        "http://127.0.0.1:8000/v1@2",
        "bearer of news",
    ],
)
def test_digests_commits_names_and_addresses_are_no_secrets(text: str) -> None:
    """They are what an issue is made of."""
    assert redacted(text) == text


def test_escape_sequences_go_and_what_cannot_be_seen_is_shown() -> None:
    """Colours, links and cursor movements are for terminals; marks that turn a text around would forge one."""
    assert plain("\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07link\x1b]8;;\x1b\\ 50%\r100%\r\n") == "red link 50%\n100%\n"
    assert visible("a\u202eb\x00\ufeff\ud800") == "a\\u202eb\\x00\\ufeff\\ud800"


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    """And says how much is missing between them."""
    short = shortened("a" * 5_000 + "z" * 5_000, 1_000)
    assert len(short) <= 1_000
    assert short.startswith("aaa") and short.endswith("zzz")
    assert "[9000 characters left out]" in short
    assert shortened("short", 1_000) == "short"


def test_a_token_across_the_cut_is_gone_whole() -> None:
    """It is looked for before anything is cut."""
    text = "x" * 480 + " " + FAKE["github"] + " " + "y" * 20_000
    assert "ghp_" not in safe(text, 1_000)


@pytest.mark.parametrize("piece", ["x", "hf_", "http://a", "\x1b]", "\x1b[31m", "\u202e", "sk-a", "-----BEGIN A"])
def test_ten_million_characters_of_anything_end(piece: str) -> None:
    """No pattern takes more than linear time; the bound is that of a stuck one, not of a slow machine."""
    began = time.process_time()
    assert len(safe(piece * (10_000_000 // len(piece)), 1_000)) <= 1_000
    assert time.process_time() - began < 60.0


def test_in_a_measurement_only_secrets_are_replaced() -> None:
    """Judges read it: its characters are what the engine sent."""
    value = {"text": "\x1b[1m" + FAKE["aws"], "ids": [1, 2], FAKE["npm"]: None}
    assert redacted_values(value) == {"text": f"\x1b[1m{REDACTED}", "ids": [1, 2], REDACTED: None}


@given(st.text(max_size=3_000), st.integers(min_value=100, max_value=2_000))
def test_what_is_safe_is_short_visible_and_stays_as_it_is(text: str, limit: int) -> None:
    """Done twice it is done once; and it can be written as UTF-8."""
    once = safe(text, limit)
    assert len(once) <= limit
    assert once.encode().decode() == once
    assert safe(once, limit) == once
