"""vLLM's."""

from __future__ import annotations

from reports.bugs.form import Dialect, Field, Form

FORM = Form(
    engine="vllm",
    project="vllm-project/vllm",
    template="400-bug-report.yml",
    prefix="[Bug]: ",
    fields=(
        Field(label="Your current environment", content=("environment",)),
        Field(label="🐛 Describe the bug", content=("description", "reproduction", "first_bad", "log")),
    ),
    remarks=("It asks to search first, and to try transformers: the repro does that, and prints both.",),
    install="pip install vllm=={version}",
    image="vllm/vllm-openai:v{version}",
    dialect=Dialect(
        path="/v1/completions",
        body='{"model": FOLDER, "prompt": IDS, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 5}',
        rows='[{int(i): one["logprob"] for i, one in row.items()} for row in'
        ' answer["choices"][0]["prompt_logprobs"][1:]]',
        variables={"cpu": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
    ),
)
