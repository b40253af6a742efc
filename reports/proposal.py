"""A pull request of a branch of ours: one at a time, and its text as the newest look has it."""

from __future__ import annotations

from github.PullRequest import PullRequest

from matrix.cells import Record
from reports.github import There, told


class Proposal(Record, frozen=True, kw_only=True):
    """What is proposed."""

    branch: str
    """Of this repository; it is there already."""
    title: str
    body: str
    """Markdown."""


class Proposed(Record, frozen=True, kw_only=True):
    """The pull request that stands for it."""

    number: int
    opened: bool
    """By us, now."""


def parse(branch: str, text: str) -> Proposal:
    """A text as `git commit` reads one: its first line is the title, the rest the body."""
    title, _, body = text.strip().partition("\n")
    return Proposal(branch=branch, title=title, body=body.lstrip("\n"))


def propose(there: There, proposal: Proposal) -> Proposed:
    """Open a pull request of a branch, or give the one that is open the new text."""
    with told():
        found = _open(there, proposal.branch)
        if found is not None:
            found.edit(title=proposal.title, body=proposal.body)
            return Proposed(number=found.number, opened=False)
        # A lazy repository does not know what its default branch is until it is asked.
        made = there.once(
            lambda: there.repository.create_pull(
                base=there.repository.default_branch, head=proposal.branch, title=proposal.title, body=proposal.body
            ),
            lambda: _open(there, proposal.branch),
        )
        return Proposed(number=made.number, opened=True)


def _open(there: There, branch: str) -> PullRequest | None:
    owner = there.repository.full_name.partition("/")[0]
    return next(iter(there.repository.get_pulls(state="open", head=f"{owner}:{branch}")), None)
