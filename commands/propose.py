"""A pull request in our own repository, of a branch that a job has pushed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from commands.options import API, ApiOption, out, owner_name
from matrix.errors import WrongInput
from reports import proposal

app = typer.Typer()


@app.command()
def propose(
    text: Annotated[Path, typer.Argument(metavar="FILE", help="First line: the title; the rest: Markdown.")],
    branch: Annotated[str, typer.Option("--branch", help="What is proposed; it is in the repository already.")],
    repository: Annotated[
        str, typer.Option("--repo", metavar="OWNER/NAME", envvar="GITHUB_REPOSITORY", callback=owner_name)
    ],
    api: ApiOption = API,
) -> None:
    """Open a pull request of a branch in our own repository, or bring the text of the one that is open up to date.

    $GITHUB_TOKEN must be allowed to write pull requests. Exit status 3 where GitHub did not let it.
    """
    from reports import github  # here, because GitHub's client takes time that few commands need

    try:
        words = proposal.parse(branch, text.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInput(f"{text}: {error}") from error
    if not words.title:
        raise WrongInput(f"{text} is empty: expected a title in its first line")
    with github.repository(repository, token=os.environ.get("GITHUB_TOKEN", ""), api=api) as there:
        done = proposal.propose(there, words)
    said = "opened" if done.opened else "brought up to date"
    out.print(f"pull request {done.number} of {branch} is {said}")
