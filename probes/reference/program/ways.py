"""The ways through a model: the reference's, and those of the noise replicates.

A way is made of *passes*: lists of forward calls that need nothing from each other, done one list after another. A
model whose weights do not fit into memory reads them once for each list.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .ladder import FP8, FP8_LARGEST
from .lockstep import Job
from .sheet import Ids, Sheet

DECODE_BATCH = 32  # rows decoded together: a step reads every weight once, however many rows share it
PADDED_BATCH = 4
PAD_STEP = 7  # tokens by which the rows of a padded batch differ; coprime to the block sizes of attention kernels
CHUNKS_EIGHTHS = 3  # a prefill chunk is 3/8 of the sequence: two whole chunks and a shorter one, aligned to nothing
HALF_EIGHTHS = 5
SHAKE = 5e-6  # moves logprobs 12 to 17 times as far as rounding does (GLM 5.3, DeepSeek V3.2; 2026-11-26)
ROW_PARALLEL = (
    "o_proj",
    "down_proj",
    "out_proj",
    "c_proj",
    "dense_4h_to_h",
)  # what tensor parallelism splits and adds

SHORT_BLOCK, LONG_BLOCK = 32, 256  # of inputs to quantized weights that share a scale
FP8_BLOCK = 128
WHOLE_ROW = 0  # as a size of a block

Passes = Iterator[list[Job]]


class Replicate(NamedTuple):
    """One way of computing the same logprobs: a name, how the model is built, and how it is fed."""

    name: str
    dtype: str
    attention: str
    way: Callable[[Any, Sheet], Passes]
    arithmetic: Callable[[Any], AbstractContextManager[Any]] = nullcontext


# --- how sequences are fed --------------------------------------------------------------------------------


def whole(model: Any, sheet: Sheet) -> Passes:
    """Each sequence by itself, no cache: the plainest path, used for the reference and for sdpa and eager."""

    def forward(row: int) -> None:
        output = model(input_ids=torch.tensor([sheet.sequences[row]]), use_cache=False)
        sheet.write_run(row, 0, output.logits[0])

    yield [partial(forward, row) for row in range(len(sheet.sequences))]


def left_padded(model: Any, sheet: Sheet) -> Passes:
    """Batches of rows of mixed length, padded on the left, as a static batcher would send them.

    Rows of equal length would need no padding, so each row is continued by a different number of its own
    tokens behind the scored ones: a causal model cannot see them there, and the padding in front becomes
    real.
    """

    def forward(group: Sequence[int]) -> None:
        rows = [_continued(sheet.sequences[row], PAD_STEP * place) for place, row in enumerate(group)]
        width = max(len(ids) for ids in rows)
        pads = [width - len(ids) for ids in rows]
        batch = torch.tensor([ids[:1] * pad + ids for ids, pad in zip(rows, pads, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
        # Without explicit positions a forward call counts the padding too.
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(input_ids=batch, attention_mask=mask, position_ids=positions, use_cache=False).logits
        for place, row in enumerate(group):
            sheet.write_run(row, 0, logits[place, pads[place] :])

    yield [partial(forward, group) for group in groups(len(sheet.sequences), PADDED_BATCH)]


def in_chunks(eighths: int, model: Any, sheet: Sheet) -> Passes:
    """Each sequence by itself in chunks, each attending to the cache that the chunks before it left."""
    sizes = [max(1, len(ids) * eighths // 8) for ids in sheet.sequences]
    caches: dict[int, Any] = {}

    def forward(row: int, start: int) -> None:
        chunk = torch.tensor([sheet.sequences[row][start : start + sizes[row]]])
        output, caches[row] = with_cache(model, chunk, caches.get(row))
        sheet.write_run(row, start, output.logits[0])

    for turn in range(max(-(-len(ids) // size) for ids, size in zip(sheet.sequences, sizes, strict=True))):
        starts = [turn * size for size in sizes]
        yield [partial(forward, row, start) for row, start in enumerate(starts) if start < sheet.lengths[row]]


def decode(model: Any, sheet: Sheet) -> Passes:
    """Token by token with a cache, many rows at once; an ended row is fed its first token and ignored."""
    caches: dict[int, Any] = {}

    def forward(group: Sequence[int], step: int) -> None:
        column = [sheet.sequences[row][step if step < sheet.lengths[row] else 0] for row in group]
        output, caches[group[0]] = with_cache(model, torch.tensor(column)[:, None], caches.get(group[0]))
        alive = [place for place, row in enumerate(group) if step < sheet.lengths[row] - 1]
        sheet.write([group[place] for place in alive], [step] * len(alive), output.logits[alive, -1])

    batches = list(groups(len(sheet.sequences), DECODE_BATCH))
    for step in range(int(sheet.lengths.max()) - 1):
        yield [partial(forward, group, step) for group in batches if step < sheet.lengths[group].max() - 1]


def with_cache(model: Any, ids: Any, cache: Any) -> tuple[Any, Any]:
    """Output and cache; models of recurrent layers alone have another name for it."""
    name = "cache_params" if "cache_params" in inspect.signature(model.forward).parameters else "past_key_values"
    output = model(input_ids=ids, use_cache=True, **{name: cache})
    return output, output[name]


def groups(count: int, size: int) -> Iterator[list[int]]:
    """The numbers below `count` in runs of at most `size`."""
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))


def _continued(ids: Ids, extra: int) -> Ids:
    return ids + (ids * (extra // len(ids) + 1))[:extra]


# --- other arithmetic for the same sums -------------------------------------------------------------------


def math_attention(_: Any) -> AbstractContextManager[Any]:
    """Scaled dot-product attention by plain matrix products instead of the fused kernel."""
    return sdpa_kernel([SDPBackend.MATH])  # type: ignore[no-any-return]  # torch is not here to tell


@contextmanager
def ranks(count: int, model: Any) -> Iterator[None]:
    """Add the layers' outputs from `count` parts, each rounded by itself, as tensor-parallel devices do."""
    layers = [
        layer for name, layer in model.named_modules() if name.endswith(ROW_PARALLEL) and type(layer) is torch.nn.Linear
    ]
    for layer in layers:
        layer.forward = _split(layer, count)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _split(layer: Any, count: int) -> Callable[[Any], Any]:
    linear = torch.nn.functional.linear

    def forward(values: Any) -> Any:
        pieces = zip(values.tensor_split(count, -1), layer.weight.tensor_split(count, 1), strict=True)
        first, *others = (linear(piece, weight) for piece, weight in pieces)
        total = sum(others, first)
        return total if layer.bias is None else total + layer.bias

    return forward


@contextmanager
def shaken(seed: int, model: Any) -> Iterator[None]:
    """Every embedded number off by some millionths: more than float32 rounds, and far less than any fault.

    Where that moves the output by much, a choice (of experts, of keys) is nearly a tie, and right engines differ.
    """
    noise = torch.Generator().manual_seed(seed)

    def shake(_: Any, __: Any, output: Any) -> Any:
        return output * (1 + SHAKE * torch.randn(output.shape, generator=noise))

    handle = model.get_input_embeddings().register_forward_hook(shake)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def rounded_inputs(round_blocks: Callable[[Any], Any], block: int, model: Any) -> Iterator[None]:
    """What every linear layer reads, rounded in blocks with a scale each, as kernels for quantized weights do."""

    def rounded(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        values, *others = given
        width = values.shape[-1]
        size = next((one for one in (block or width, SHORT_BLOCK) if width % one == 0), width)
        blocks = values.float().unflatten(-1, (width // size, size))
        return (round_blocks(blocks).flatten(-2).to(values.dtype), *others)

    handles = [
        layer.register_forward_pre_hook(rounded) for layer in model.modules() if isinstance(layer, torch.nn.Linear)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def int8(blocks: Any) -> Any:
    """As llama.cpp's CPU kernels: 32 numbers with a float16 scale (Q8_0), 256 with a float32 one (Q8_K)."""
    scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    scale = scale.half().float().clamp(min=1e-7) if blocks.shape[-1] == SHORT_BLOCK else scale
    return (blocks / scale).round() * scale


def fp8(blocks: Any) -> Any:
    """As kernels for FP8 weights: e4m3, scaled by the largest of a block."""
    scale = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-12) / FP8_LARGEST
    return (blocks / scale).to(FP8).float() * scale


# --- the reference and its replicates ---------------------------------------------------------------------

REFERENCE = Replicate("reference", "float32", "eager", whole)
# Every replicate rounds to bfloat16, the dtype of the released weights, and none of them is wrong: what they
# disagree about is the rounding noise against which an engine is measured. Padding and chunking alone leave
# every bit as it was in a CPU's kernels (measured: 99% and 100% of the logprobs equal to those of plain
# sdpa), and a replicate that repeats another one says nothing new; hence another arithmetic beside each.
NOISE = (
    Replicate("bf16-sdpa", "bfloat16", "sdpa", whole),
    Replicate("bf16-left-padded", "bfloat16", "sdpa", left_padded, math_attention),
    Replicate("bf16-chunked-prefill", "bfloat16", "sdpa", partial(in_chunks, CHUNKS_EIGHTHS), partial(ranks, 2)),
    Replicate("bf16-decode", "bfloat16", "sdpa", decode),
    Replicate("bf16-eager", "bfloat16", "eager", whole),
)
# Token by token, a model that does not fit into memory would be read from disk once for every token.
STREAMED_NOISE = tuple(
    Replicate("bf16-halves", "bfloat16", "sdpa", partial(in_chunks, HALF_EIGHTHS), partial(ranks, 4))
    if replicate.way is decode
    else replicate
    for replicate in NOISE
)
# For an engine that computes in float32: other orders of the same float32 sums. What they disagree about is a thousand
# times smaller, and no way of the reference's own is among them.
FLOAT32_NOISE = (
    Replicate("f32-sdpa", "float32", "sdpa", whole),
    # Plain attention in float32 repeats eager attention to the bit, so the sums of the layers are cut here too.
    Replicate("f32-left-padded", "float32", "sdpa", left_padded, partial(ranks, 3)),
    Replicate("f32-chunked-prefill", "float32", "sdpa", partial(in_chunks, CHUNKS_EIGHTHS), partial(ranks, 2)),
    Replicate("f32-decode", "float32", "sdpa", decode),
    Replicate("f32-ranks", "float32", "eager", whole, partial(ranks, 4)),
    # No rounding: they show where rounding would decide.
    Replicate("f32-shaken-1", "float32", "eager", whole, partial(shaken, 1)),
    Replicate("f32-shaken-2", "float32", "eager", whole, partial(shaken, 2)),
)
STREAMED_FLOAT32_NOISE = tuple(
    Replicate("f32-halves", "float32", "sdpa", partial(in_chunks, HALF_EIGHTHS), partial(ranks, 5))
    if replicate.way is decode
    else replicate
    for replicate in FLOAT32_NOISE
)


def _rounding_inputs(kind: str, short: Callable[[Any], Any], long: Callable[[Any], Any]) -> tuple[Replicate, ...]:
    return (
        Replicate(f"{kind}-short", "float32", "eager", whole, short),
        Replicate(f"{kind}-long", "float32", "sdpa", whole, long),
        Replicate(f"{kind}-left-padded", "bfloat16", "sdpa", left_padded, short),
        Replicate(f"{kind}-chunked-prefill", "bfloat16", "sdpa", partial(in_chunks, CHUNKS_EIGHTHS), long),
        Replicate(f"{kind}-decode", "bfloat16", "sdpa", decode, short),
    )


def _streamed(kind: str, noise: tuple[Replicate, ...]) -> tuple[Replicate, ...]:
    return tuple(
        Replicate(f"{kind}-halves", "bfloat16", "sdpa", partial(in_chunks, HALF_EIGHTHS), replicate.arithmetic)
        if replicate.way is decode
        else replicate
        for replicate in noise
    )


# For an engine whose kernels read the inputs of quantized weights in int8 or fp8: that is theirs by design, and
# coarser than bfloat16's. Which blocks llama.cpp uses depends on the type of each tensor; both sizes are here.
INT8_NOISE = _rounding_inputs(
    "int8", partial(rounded_inputs, int8, SHORT_BLOCK), partial(rounded_inputs, int8, LONG_BLOCK)
)
STREAMED_INT8_NOISE = _streamed("int8", INT8_NOISE)
# A scale for 128 numbers, or for as many as a row has.
FP8_NOISE = _rounding_inputs("fp8", partial(rounded_inputs, fp8, FP8_BLOCK), partial(rounded_inputs, fp8, WHOLE_ROW))
STREAMED_FP8_NOISE = _streamed("fp8", FP8_NOISE)
