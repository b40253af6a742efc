"""SGLang's."""

from __future__ import annotations

from reports.bugs.form import Dialect, Field, Form

FORM = Form(
    engine="sglang",
    project="sgl-project/sglang",
    template="1-bug-report.yml",
    prefix="[Bug] ",
    fields=(
        Field(label="Describe the bug", content=("description", "first_bad", "log")),
        Field(label="Reproduction", content=("reproduction", "command")),
        Field(label="Environment", content=("environment",)),
    ),
    remarks=("It asks whether the bug persists in the latest version: try that before you submit.",),
    install="pip install sglang=={version}",
    image="lmsysorg/sglang:v{version}",
    dialect=Dialect(
        path="/generate",
        body='{"input_ids": IDS, "sampling_params": {"max_new_tokens": 1, "temperature": 0}, "return_logprob": True,'
        ' "logprob_start_len": 0, "top_logprobs_num": 5}',
        rows="[{i: p for p, i, _ in [*top, own]} for own, top in zip(*("
        "answer['meta_info'][f'input_{kind}_logprobs'][1:] for kind in ('token', 'top')))]",
        variables={"cpu": {"SGLANG_USE_CPU_ENGINE": "1"}},
    ),
)
