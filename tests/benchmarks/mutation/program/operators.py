"""The operators, each with the group that it belongs to."""

from __future__ import annotations

from functools import partial

from . import attention, experts, fields, norms, positions, recurrent, rounding, weights
from .hand import Operator

FIELDS = tuple(
    Operator(name, "fields of the config", changes)
    for name, changes in (
        ("norm eps", fields.norm_eps),
        ("window off by one", fields.window_size),
        ("window off", fields.window_off),
        ("window on other layers", fields.window_layers),
        ("layers without RoPE", fields.rope_less_layers),
        ("soft cap", fields.soft_cap),
        ("multiplier dropped", fields.multiplier),
        ("switch turned", fields.switch),
        ("activation's limit", fields.activation_limit),
        ("query scale", fields.query_scale),
        ("RoPE theta", fields.rope_theta),
        ("RoPE scaling", fields.rope_scaling),
        ("RoPE lengths and lists", fields.rope_lists),
        ("partial rotary", fields.partial_rotary),
    )
)

POSITIONS = tuple(
    Operator(name, "positions", changes)
    for name, changes in (
        ("all positions shifted", positions.all_shifted),
        ("positions after a chunk", positions.shifted_later),
        ("positions restart", positions.restarted),
        ("positions when generating", positions.shifted_in_decode),
        ("BOS doubled", positions.doubled_bos),
        ("first token dropped", positions.dropped_first),
        ("chunk boundary", positions.chunk_overlap),
        ("RoPE layout", positions.layout),
        ("RoPE direction", positions.direction),
        ("RoPE in bfloat16", positions.rounded),
        ("RoPE frequencies in bfloat16", positions.frequencies),
        ("RoPE missing in a layer", positions.missing),
    )
)

ATTENTION = tuple(
    Operator(name, "attention", changes)
    for name, changes in (
        ("attention scale", attention.scale),
        ("attention scale of another width", attention.scale_of_other_width),
        ("key heads' order", attention.key_heads),
        ("GQA mapping", attention.grouping),
        ("sinks dropped", attention.sinks),
        ("attention gate", attention.gate),
        ("attention gate in queries", attention.gate_in_queries),
        ("KV cache in fp8", attention.cache_in_fp8),
        ("KV cache in bfloat16", attention.cache_in_bfloat16),
        ("first key lost", attention.first_key_lost),
        ("last key lost when generating", attention.last_key_lost_in_decode),
    )
)

WEIGHTS = (
    *(
        Operator(f"{kind} not loaded", "weights", partial(weights.not_loaded, pattern))
        for kind, pattern in weights.NOT_LOADED.items()
    ),
    *(
        Operator(name, "weights", changes)
        for name, changes in (
            ("matrix not loaded", weights.matrix_not_loaded),
            ("layers swapped", weights.layers_swapped),
            ("attention of two layers swapped", weights.attention_swapped),
            ("gate and up swapped", weights.gate_and_up),
            ("fused gate and up swapped", weights.fused_gate_and_up),
            ("one rank lost", weights.rank_lost),
            ("bias added twice", weights.bias_twice),
            ("tie", weights.tie),
            ("embedding scale", weights.embedding_scale),
            ("per-layer inputs", weights.per_layer_inputs),
        )
    ),
)

NORMS = tuple(
    Operator(name, "norms", changes)
    for name, changes in (
        ("norm missing", norms.missing),
        ("last norm missing", norms.last_missing),
        ("weight or 1 + weight", norms.one_and_weight),
        ("layer norm for RMS norm", norms.mean_taken),
        ("two norms swapped", norms.two_swapped),
        ("norm behind for before", norms.behind),
        ("norm by head for whole", norms.whole_width),
        ("gated norm's groups", norms.gated_groups),
    )
)

EXPERTS = tuple(
    Operator(name, "experts", changes)
    for name, changes in (
        ("norm of top-k weights", experts.norm_of_weights),
        ("router's score function", experts.score_function),
        ("router's bias in weights", experts.bias_in_weights),
        ("router's bias not in the choice", experts.bias_dropped),
        ("weights out of step", experts.out_of_step),
        ("routed scaling dropped", experts.scale_dropped),
        ("top k off by one", experts.count),
        ("expert groups ignored", experts.groups),
        ("experts' order", experts.order),
        ("one expert not loaded", experts.one_not_loaded),
        ("shared expert dropped", experts.shared_dropped),
        ("shared expert's gate", experts.shared_gate),
    )
)

RECURRENT = tuple(
    Operator(name, "recurrent layers", changes)
    for name, changes in (
        ("state lost", recurrent.state_lost),
        ("conv state lost", recurrent.conv_state_lost),
        ("decay", recurrent.decay),
        ("D dropped", recurrent.skip),
        ("conv kernel reversed", recurrent.reversed_kernel),
        ("conv kernel too short", recurrent.last_tap),
        ("heads' decays in another order", recurrent.head_order),
    )
)

ROUNDING = (
    *(
        Operator(f"{word} weights", "rounding and activation", partial(rounding.quantized, name))
        for word, name in (("int8", "int8_rows"), ("fp8", "fp8_tensor"), ("int4", "int4_groups"))
    ),
    *(
        Operator(name, "rounding and activation", changes)
        for name, changes in (
            ("matrix in bfloat16", rounding.accumulated),
            ("output matrix in bfloat16", rounding.output_matrix),
            ("residual in bfloat16", rounding.residual),
            ("activation", rounding.activation),
        )
    ),
)

OPERATORS = (*FIELDS, *POSITIONS, *ATTENTION, *WEIGHTS, *NORMS, *EXPERTS, *RECURRENT, *ROUNDING)
