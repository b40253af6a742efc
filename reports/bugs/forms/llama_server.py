"""llama.cpp's, for its server."""

from __future__ import annotations

from reports.bugs.form import Field, Form

FORM = Form(
    engine="llama-server",
    project="ggml-org/llama.cpp",
    template="011-bug-results.yml",
    prefix="Eval bug: ",
    fields=(
        Field(label="Name and Version", content=("version",), id="version"),
        Field(label="Operating systems", content=("system",)),
        Field(label="GGML backends", content=("device",)),
        Field(label="Hardware", content=("hardware",), id="hardware"),
        Field(label="Models", content=("model",), id="model"),
        Field(label="Problem description & steps to reproduce", content=("description", "reproduction"), id="info"),
        Field(label="First Bad Commit", content=("first_bad",), id="first_bad_commit"),
        Field(label="Relevant log output", content=("command", "log"), id="logs"),
    ),
    remarks=(
        "Its maintainers do not take texts that a machine has written: tell it in your own words.",
        "What is no matter of a model's answers goes into the form *Bug (misc.)*, which asks for the same.",
    ),
    install="pip install xllamacpp=={version}",
    image="ghcr.io/ggml-org/llama.cpp:server",
)
