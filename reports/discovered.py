"""What `readiness discover` has found, as the text of a pull request whose title is the first line. Pure.

Names of repositories are a stranger's words: they stand in code alone, or were checked to be a word of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matrix.discover import Discovery, Find, LeftOut, why
from matrix.untrusted import shortened
from reports.bugs.neutral import code, guarded
from reports.markdown import row

NAMES = 10
"""That are shown of those that were left out for one reason."""
NAME = 120
"""Characters of one."""
BODY = 60_000
"""Characters; GitHub takes 65,536."""

HEADS = ("model", "class", "organisation", "licence", "released", "parameters", "active", "context", "dtype", "on disk")


def render(found: Discovery) -> str:
    """The whole text; ends early, and says so, where it would be longer than GitHub takes."""
    lines = [
        title(found),
        "",
        f"Found by `readiness discover` on {found.day}, among what came since {found.since}.",
        "",
        *_models(found.finds),
        *_forecast(found.finds),
        *_releases(found),
        *_left_out(found.left_out),
        *_unasked(found.unasked),
    ]
    text = guarded("\n".join(lines))
    if len(text) > BODY:
        text = text[:BODY].rpartition("\n")[0] + "\n\nThe rest is too long for this place."
    return f"{text.rstrip()}\n"


def title(found: Discovery) -> str:
    """How much is new, in a line without a stranger's word."""
    counts = {"model": len(found.finds), "release": len(found.releases)}
    said = [f"{count} new {noun}{'s' * (count != 1)}" for noun, count in counts.items() if count]
    return " and ".join(said) or "Nothing new"


def _models(finds: Sequence[Find]) -> Iterator[str]:
    if not finds:
        yield from ("No new model.", "")
        return
    yield from ("## New models", "", row(HEADS), row(["---"] * len(HEADS)))
    yield from (row(_facts(find)) for find in finds)
    yield ""
    for find in finds:
        yield f"- {code(find.model.id)}: {'; '.join(_sentences(find))}."
    yield ""


def _facts(find: Find) -> list[str]:
    model = find.model
    return [
        code(_repository(find)),
        code(model.architecture),
        code(f"{model.organisation}, {model.country}" if model.country else str(model.organisation)),
        code(model.licence) if model.licence else "not said",
        str(model.released),
        _short(model.parameters_total),
        _short(model.parameters_active),
        f"{model.context_length:,}",
        model.dtype,
        "not said" if find.size is None else f"{find.size / 1e9:.1f} GB",
    ]


def _sentences(find: Find) -> Iterator[str]:
    yield why(find)
    if find.gated:
        yield "gated on the Hub, so its entry says `unpublished = true` until somebody takes that away"
    if find.quantized:
        yield f"its weights are quantized ({code(find.quantized)})"
    if find.own_code:
        yield "it brings code of its own; `trust_remote_code` is for a person to set"
    yield find.tiny


def _repository(find: Find) -> str:
    return str(getattr(find.model.source, "repo", find.model.id))


def _forecast(finds: Sequence[Find]) -> Iterator[str]:
    releases = list(dict.fromkeys(release for find in finds for release in find.forecast))
    if releases:
        yield from ("## Forecast of level 0", "", "Whether the newest release with a lock names the class:", "")
        yield from (row(["model", *releases]), row(["---"] * (1 + len(releases))))
        yield from (row([code(find.model.id), *(find.forecast[name] for name in releases)]) for find in finds)
        yield ""


def _releases(found: Discovery) -> Iterator[str]:
    if found.releases:
        yield from ("## New releases", "")
        for one in found.releases:
            yield f"- **{one.engine} {one.version}**, {one.released}. {' '.join(one.said)}"
        yield ""


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Counted by reason, the most frequent first, with a few names."""
    names: dict[str, list[str]] = {}
    for one in left_out:
        names.setdefault(one.reason, []).append(one.name)
    if names:
        yield from ("## Left out", "")
        for reason, of_reason in sorted(names.items(), key=lambda pair: -len(pair[1])):
            shown = [code(shortened(name, NAME)) for name in of_reason if name][:NAMES]
            more = len(of_reason) - len(shown) if shown else 0
            yield f"- {len(of_reason)}: {reason}" + _listed(shown, more)
        yield ""


def _listed(shown: Sequence[str], more: int) -> str:
    return f": {', '.join(shown)}{f' and {more} more' if more else ''}" if shown else ""


def _unasked(unasked: Sequence[str]) -> Iterator[str]:
    if unasked:
        yield from ("## Could not be asked", "", *(f"- {code(shortened(one, 4 * NAME))}" for one in unasked), "")


def _short(parameters: int | None) -> str:
    if parameters is None:
        return "not known"
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"
