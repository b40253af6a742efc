"""mlx-lm's, which has no form."""

from __future__ import annotations

from reports.bugs.form import Field, Form

FORM = Form(
    engine="mlx-lm",
    project="ml-explore/mlx-lm",
    template=None,
    prefix="",
    fields=(
        Field(label="Describe the bug", content=("description", "first_bad", "log")),
        Field(label="To reproduce", content=("reproduction",)),
        Field(label="Expected behavior", content=("expected",)),
        Field(label="Versions", content=("version", "system", "hardware", "environment")),
    ),
    install='pip install "mlx-lm[cpu]=={version}"',
)
