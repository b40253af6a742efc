"""llama-cpp-python's, which has a page in the place of a form."""

from __future__ import annotations

from reports.bugs.form import Field, Form

FORM = Form(
    engine="llama-cpp-python",
    project="abetlen/llama-cpp-python",
    template="bug_report.md",
    prefix="",
    fields=(
        Field(label="Expected Behavior", content=("expected",)),
        Field(label="Current Behavior", content=("description", "first_bad")),
        Field(label="Environment and Context", content=("version", "hardware", "system", "environment")),
        Field(label="Steps to Reproduce", content=("reproduction",)),
        Field(label="Failure Logs", content=("log",)),
    ),
    install="pip install llama-cpp-python=={version}",
)
