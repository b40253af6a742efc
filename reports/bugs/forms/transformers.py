"""transformers'."""

from __future__ import annotations

from reports.bugs.form import Field, Form

FORM = Form(
    engine="transformers",
    project="huggingface/transformers",
    template="bug-report.yml",
    prefix="",
    fields=(
        Field(label="System Info", content=("environment",), id="system-info"),
        Field(label="Reproduction", content=("description", "reproduction", "first_bad", "log"), id="reproduction"),
        Field(label="Expected behavior", content=("expected",), id="expected-behavior"),
    ),
    remarks=("Tick *My own modified scripts* and *My own task or dataset*.",),
    install='pip install "transformers[serving]=={version}" torch',
)
