"""When two failures are the same: words without what changes, and patterns of divergence with room for noise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from matrix.cells import Cell, HubSource
from matrix.results import Result, Status
from reports.bugs import pattern, signature
from tests.reports.samples import cell, result

CRASH = "exited with code 1 while loading: RuntimeError: CUDA error at {path}:{line}: shape [{shape}] at 0x{address:x}"


def crash(**words: object) -> Result:
    return result("loading", Status.CRASH, reason=CRASH.format(**words))


def of(
    reason: str, *, model: str = "small", architecture: str = "Small", kind: str = "cpu", status: Status = Status.CRASH
) -> signature.Signature:
    made = cell()
    made = replace(
        made,
        model=replace(made.model, id=model, architecture=architecture),
        device=replace(made.device, kind=kind),
    )
    return signature.of(result("loading", status, of=made, reason=reason))


def wrong(numbers: dict[str, float], *, of: Cell | None = None, status: Status = Status.FAIL) -> signature.Signature:
    made = replace(result("correctness", status, of=of, numbers=numbers), measurement="correctness.measurement.json")
    return signature.of(made)


@given(
    path=some.from_regex(r"(/[a-z0-9._-]{1,8}){1,4}", fullmatch=True),
    line=some.integers(0, 10**6),
    shape=some.lists(some.integers(1, 10**5), min_size=1, max_size=4).map(lambda sizes: ", ".join(map(str, sizes))),
    address=some.integers(0x1000, 2**48),
)
def test_a_crash_is_the_same_wherever_and_whenever_it_happens(path: str, line: int, shape: str, address: int) -> None:
    """Paths, numbers, shapes and addresses do not count."""
    same = crash(path="/opt/engine/x.py", line=7, shape="1, 2", address=0x7F00)
    assert signature.failure_id(crash(path=path, line=line, shape=shape, address=address)) == signature.failure_id(same)


@given(some.text(max_size=200))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    """What stands for something volatile is not volatile itself."""
    once = signature.normalised(text)
    assert signature.normalised(once) == once


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("KeyError: 'model.layers.12.mlp'", "KeyError: 'model.layers.N.mlp'"),
        ("2026-11-24 03:04:05,123 boom", "TIME boom"),
        ("see https://host:80/a?b=1 now", "see URL now"),
        ("blob 3fa9c1b2d4e5 is bad", "blob HEX is bad"),
        ("request 3F2504E0-4F89-41D3-9A0C-0305E82C3301 died", "request HEX died"),
        ("expected [4, 128, 64]", "expected [N]"),
        ("shape '[-1, 4, 64]' and torch.Size([128,])", "shape '[N]' and torch.Size([N])"),
        ("a 4x128x64 tensor", "a N tensor"),
        ("tried to allocate 2.13 GiB, 512 MiB are free", "tried to allocate N bytes, N bytes are free"),
        ("engine 0.32.1rc1+cu128 wants 2.9.0.", "engine N wants N."),
        ("Worker_TP3 (rank7) on cuda:1", "Worker_TPN (rankN) on cuda:N"),
        ("model-00001-of-00004.safetensors in tmpk3_x9qfa", "model-N-of-N.safetensors in TMP"),
        ("\x1b[31mERROR\x1b[0m  x", "ERROR x"),
        ("fp8 and int4 on sm90 with Qwen3", "fp8 and int4 on sm90 with Qwen3"),
    ],
)
def test_only_what_changes_from_run_to_run_is_taken_out(text: str, normal: str) -> None:
    """Names that hold digits stay."""
    assert signature.normalised(text) == normal


def test_a_crash_names_its_cause_whatever_the_model_and_the_device() -> None:
    """The model's own names are taken out, in its classes too; how and when the process ended does not count."""
    one = of(
        "exited with code 1 while loading: AttributeError: 'Qwen3MoeConfig' has no 'eps' (qwen3-30b-a3b)",
        model="qwen3-30b-a3b", architecture="Qwen3MoeForCausalLM",
    )  # fmt: skip
    other = of(
        "ended by SIGKILL while serving: AttributeError: 'Glm4MoeConfig' has no 'eps' (glm-4.5)",
        model="glm-4.5", architecture="Glm4MoeForCausalLM", kind="cuda",
    )  # fmt: skip
    assert one.words == "AttributeError: 'FAMILYConfig' has no 'eps' (MODEL)"
    assert one.id == other.id


LOG = """\
  File "/opt/{version}/lib/python3.11/site-packages/alpha/layers/fused.py", line {line}, in weight_loader
    param.copy_(weight)
  File "/opt/{version}/lib/python3.11/site-packages/torch/_tensor.py", line 12, in copy_
    raise error
{words}
  File "/opt/{version}/lib/python3.11/site-packages/alpha/api.py", line 7, in main
RuntimeError: see above
"""


def test_what_torch_says_is_known_by_where_the_engine_stood() -> None:
    """Its words fit many faults: file and function of the engine's own innermost frame tell them apart."""
    words = "RuntimeError: The size of tensor a ({}) must match the size of tensor b (8) at non-singleton dimension 1"

    def ended(size: int, version: str, log: str = LOG, architecture: str = "Small") -> signature.Signature:
        said = words.format(size)
        made = result("loading", Status.CRASH, reason=f"exited with code 1 while loading: {said}", of=cell())
        model = replace(made.cell.model, architecture=architecture)
        evidence = {"log tail": log.format(words=said, version=version, line=size)}
        return signature.of(
            replace(made, cell=replace(made.cell, model=model), verdict=replace(made.verdict, evidence=evidence))
        )

    known = ended(4, "1.0")
    assert known.words.endswith("at non-singleton dimension N (in layers/fused.py: weight_loader)")
    assert known.id == ended(16, "1.1", architecture="OtherForCausalLM").id
    assert known.id != ended(4, "1.0", LOG.replace("weight_loader", "forward")).id
    without = ended(4, "1.0", "no traceback: {words}")
    assert without.id == ended(5, "1.2", "{words}").id
    assert without.id != ended(4, "1.0", "{words}", architecture="OtherForCausalLM").id


def test_what_a_device_reports_afterwards_is_a_symptom() -> None:
    """The traceback ends wherever its queue was looked at next."""
    said = "exited with code 1 while loading: RuntimeError: CUDA error: an illegal memory access was encountered"
    assert of(said).id != of(said, architecture="OtherForCausalLM").id


def test_an_engine_named_after_a_family_keeps_its_name() -> None:
    """In lower case a family is taken out in quotes alone."""
    said = "exited with code 1 while loading: llama_model_load: unknown tensor of 'llama'"
    assert of(said, architecture="LlamaForCausalLM").words == "llama_model_load: unknown tensor of 'FAMILY'"


def test_a_repository_s_name_is_the_model_s() -> None:
    """With its owner and without."""
    made = cell()
    made = replace(made, model=replace(made.model, source=HubSource(repo="Maker/Big-7B", revision="ab" * 20)))
    said = "exited with code 1 while loading: OSError: maker/big-7b has no Big-7B.json"
    assert (
        signature.of(result("loading", Status.CRASH, of=made, reason=said)).words == "OSError: MODEL has no MODEL.json"
    )


@pytest.mark.parametrize(
    "reason",
    [
        "ended by SIGSEGV while serving",
        "exited with code 1 while loading: out of memory under a limit of 9.0 GiB: it needs more",
    ],
)
def test_an_end_without_the_engines_words_is_a_symptom(reason: str) -> None:
    """Nothing says that two models on two devices end so for one reason."""
    assert of(reason).id != of(reason, architecture="OtherForCausalLM").id
    assert of(reason).id != of(reason, kind="cuda").id
    assert of(reason).id == of(reason, model="another", architecture="SmallForCausalLM").id


def test_a_timeout_is_a_symptom_too() -> None:
    """The time that was waited does not count."""
    late = of("not healthy after 600 s, though its process is alive", status=Status.TIMEOUT)
    later = of("not healthy after 900 s, though its process is alive", status=Status.TIMEOUT)
    other = of("not healthy after 600 s, though its process is alive", status=Status.TIMEOUT, architecture="Other")
    assert late.id == later.id != other.id


def test_each_architecture_that_is_not_known_is_a_failure_by_itself() -> None:
    """Another one is another wish, however alike the sentence; an engine's release may word it anew."""
    said = "does not know the architecture: {} is not supported"
    one, other = (of(said.format(name), architecture=name, status=Status.FAIL) for name in ("ElmLM", "OakLM"))
    reworded = of("does not know the architecture: ElmLM? never heard", architecture="ElmLM", status=Status.FAIL)
    assert one.id == reworded.id != other.id


def test_chat_routes_are_the_same_for_all_models_and_what_is_judged_of_a_model_is_not() -> None:
    """A sentence of the protocol is one failure of the engine; the same of loading is one of the family."""
    for probe, alike in (("protocol", True), ("loading", False)):
        made = [cell(), cell()]
        made[1] = replace(made[1], model=replace(made[1].model, architecture="OtherForCausalLM"))
        results = [result(probe, Status.FAIL, of=one, numbers={}, reason="is healthy and says nothing") for one in made]
        ids = {signature.failure_id(replace(one, measurement="a")) for one in results}
        assert (len(ids) == 1) is alike


def test_a_wrong_answer_is_the_same_at_any_degree_and_release_and_another_on_another_architecture() -> None:
    """The ratio moves from night to night, and DEGRADED becomes FAIL; the fault is one."""
    known = result("correctness", Status.FAIL, reason="prefill: 3 x the noise")
    weaker = result("correctness", Status.DEGRADED, reason="decode: 1.4 x the noise; worst sequence")
    assert signature.failure_id(known) == signature.failure_id(weaker)
    other = cell()
    other = replace(other, model=replace(other.model, architecture="Other"))
    assert signature.failure_id(result("correctness", Status.FAIL, of=other)) != signature.failure_id(known)
    newer = cell()
    newer = replace(newer, release=replace(newer.release, version="1.1"))
    assert signature.failure_id(result("correctness", Status.FAIL, of=newer)) == signature.failure_id(known)


def test_a_slow_cell_is_one_failure_at_any_shape_and_degree() -> None:
    """Which shapes are slow, and how slow, changes from night to night."""
    one = result("throughput", Status.FAIL, numbers={"D1_rho_peer": 0.5}, reason="SLOW: D1: 0.5 x the speed of beta")
    other = result("throughput", Status.DEGRADED, numbers={"P_rho_arch": 0.8}, reason="DEGRADED: P: 0.8 of its bound")
    assert signature.failure_id(one) == signature.failure_id(other)


def numbers(prefill: float, decode: float) -> dict[str, float]:
    return {"prefill_ratio": prefill, "decode_ratio": decode}


def shape(prefill: float, decode: float, curve: tuple[float, ...] = ()) -> pattern.Pattern:
    curves = {"prefill_engine_nats": curve, "prefill_noise_high_nats": (1.0,) * len(curve)} if curve else {}
    found = pattern.pattern("", numbers(prefill, decode), curves)
    assert found is not None
    return found


@given(size=some.floats(1.5, 1e5), moved=some.floats(0.75, 1.33))
def test_a_pattern_that_moves_by_a_third_stays_what_it_is(size: float, moved: float) -> None:
    """At no size is there a border that cuts one fault in two."""
    for one, other in (
        (shape(size, size), shape(size * moved, size * moved)),
        (shape(size * 2, 1.0), shape(size * 2 * moved, 1.0)),
    ):
        assert pattern.alike(one, other)
        assert pattern.alike(other, one)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (shape(40, 38), shape(55, 41), True),
        (shape(40, 38), shape(1.1, 38), False),
        (shape(40, 38), shape(9, 38), True),
        (shape(40, 38), shape(4000, 3800), False),
        (shape(1.2, 1.1), shape(1.1, 9.0), True),
        (shape(40, 38, (40, 41, 39)), shape(40, 38, (1, 41, 39)), False),
        (shape(40, 38, (40, 41, 39)), shape(40, 38), True),
    ],
    ids=[
        "moved", "decode alone", "between off and right", "a hundred times larger",
        "too small to say where", "right at first", "no curve",
    ],
)  # fmt: skip
def test_patterns_differ_by_where_they_are_off_and_by_powers_of_ten(
    one: pattern.Pattern, other: pattern.Pattern, alike: bool
) -> None:
    """What is neither off nor right speaks for nothing."""
    assert pattern.alike(one, other) is alike


def test_faults_with_a_name_are_told_from_those_without() -> None:
    """Numbers that are none, answers to other questions, an off-by-one."""
    plain = pattern.pattern("", numbers(9, 9), {})
    named = [
        pattern.pattern("", {"prefill_nonfinite": 3.0}, {}),
        pattern.pattern("", {**numbers(9, 9), "all at once_foreign": 1.0}, {}),
        pattern.pattern("prefill: shifted by one position: each token…", numbers(9, 9), {}),
    ]
    assert [one.names for one in named if one is not None] == [
        ("not finite",), ("foreign",), ("shifted by one position",),
    ]  # fmt: skip
    every = [one for one in (plain, *named) if one is not None]
    assert [[pattern.alike(one, other) for other in every].count(True) for one in every] == [1, 1, 1, 1]


def test_stretches_are_named_by_the_rank_of_their_breakpoint() -> None:
    """Two models of one family break beyond windows of different lengths in the same way."""
    one = pattern.pattern("", {"below 512_ratio": 1.0, "beyond 512_ratio": 30.0, "beyond 4096_ratio": 50.0}, {})
    other = pattern.pattern("", {"below 1024_ratio": 1.0, "beyond 1024_ratio": 40.0, "beyond 8192_ratio": 45.0}, {})
    assert one is not None
    assert other is not None
    assert one.shares.keys() == {"below #1", "beyond #1", "beyond #2"}
    assert pattern.alike(one, other)
    assert one.words == "off in beyond #1 and beyond #2, by some 100 x the noise (ratio)"


def test_what_quantizing_costs_is_no_divergence() -> None:
    """It is so whatever the engine does."""
    assert pattern.pattern("", {"cost_perplexity_ratio": 40.0}, {}) is None


def test_float32_and_texts_are_measured_against_their_own_noise() -> None:
    """RMS against that of the replicates, and one token in a thousand."""
    rms = pattern.pattern("", {"prefill_rms": 0.63, "prefill_noise_rms": 8e-6}, {})
    text = pattern.pattern("", {"decode_hard_mismatches": 90.0, "decode_tokens": 900.0}, {})
    assert rms is not None
    assert text is not None
    assert (rms.measure, text.measure) == ("rms", "text")
    assert rms.size == pytest.approx(math.log10(0.63 / 8e-6))
    assert text.size == pytest.approx(2.0)


def test_two_kinds_of_device_are_two_failures_where_numbers_are_wrong() -> None:
    """Other kernels, other faults."""
    gpu = cell()
    gpu = replace(gpu, device=replace(gpu.device, id="gpux1", kind="cuda"))
    assert wrong(numbers(9, 9)).id != wrong(numbers(9, 9), of=gpu).id
