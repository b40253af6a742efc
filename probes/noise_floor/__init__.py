"""The noise-floor ratio test: is an engine further from the reference than the model's own rounding noise?

No absolute threshold fits all models, so each model brings its own: the same weights are run in bfloat16
along several numeric paths (the *replicates*), and an engine is judged by how many times further from the
float32 reference it lies than they do. Everything here is pure: arrays in, frozen records out; nothing reads
a file or talks to an engine.

Shapes: S sequences, N columns, K listed ids, J replicates. Column n holds token n + 1 of its sequence, given the
tokens before it. Logprobs are natural logarithms; divergences are in nats a token. What is NaN in the *reference's*
target logprobs is padding, or left out by `restrict`, and is looked at nowhere.

    limits      how far, how sure, what is noise: every threshold with its source
    logprobs    what one run says of given tokens
    divergence  how it differs from the reference at each token
    noise       what the replicates show, and scores in units of it
    sides       the faults that a mean cannot see
    ratio       the ratio and the rule
    scale       the ladder of visible roundings, by which a ratio can be read
    margins     the test of generated text alone, where an engine gives no logprobs
    float32     the test of engines that compute in float32, where no ratio applies
    verdicts    what the tests answer
"""

from __future__ import annotations

from probes.noise_floor.divergence import TokenKl, flips, token_difference, token_kl
from probes.noise_floor.float32 import SHAKEN, Rounding, judge_float32, rounding
from probes.noise_floor.limits import (
    FAIL_ALPHA,
    FLOAT32_TIES,
    HARD_MARGIN,
    MARGIN_FAIL_ALPHA,
    MIN_REPLICATES,
    PASS_ALPHA,
)
from probes.noise_floor.logprobs import (
    Flags,
    Floats,
    Ints,
    TokenLogprobs,
    counted_part,
    family,
    first_seen,
    listed_count,
    nonfinite,
    restrict,
    rows,
    runs,
    top_margin,
)
from probes.noise_floor.margins import generated_margins, greedy_margins, judge_margins, judge_partings
from probes.noise_floor.noise import noise_tau
from probes.noise_floor.ratio import judge_ratio
from probes.noise_floor.scale import INT8, ladder, placed
from probes.noise_floor.sides import rate_excess
from probes.noise_floor.verdicts import (
    Decision,
    Estimate,
    Float32Verdict,
    MarginVerdict,
    PartingVerdict,
    RatioVerdict,
    SideStatistic,
)

__all__ = [
    "FAIL_ALPHA",
    "FLOAT32_TIES",
    "HARD_MARGIN",
    "INT8",
    "MARGIN_FAIL_ALPHA",
    "MIN_REPLICATES",
    "PASS_ALPHA",
    "SHAKEN",
    "Decision",
    "Estimate",
    "Flags",
    "Float32Verdict",
    "Floats",
    "Ints",
    "MarginVerdict",
    "PartingVerdict",
    "RatioVerdict",
    "Rounding",
    "SideStatistic",
    "TokenKl",
    "TokenLogprobs",
    "counted_part",
    "family",
    "first_seen",
    "flips",
    "generated_margins",
    "greedy_margins",
    "judge_float32",
    "judge_margins",
    "judge_partings",
    "judge_ratio",
    "ladder",
    "listed_count",
    "noise_tau",
    "nonfinite",
    "placed",
    "rate_excess",
    "restrict",
    "rounding",
    "rows",
    "runs",
    "token_difference",
    "token_kl",
    "top_margin",
]
