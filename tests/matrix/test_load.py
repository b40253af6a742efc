"""Every wrong table is refused with one sentence: the file, the place, what was found and what is known."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.errors import WrongInput
from probes import tables
from tests.matrix.tables import TABLES, read, spoil, write


def refused(folder: Path) -> str:
    with pytest.raises(WrongInput) as caught:
        read(folder)
    return str(caught.value)


def test_right_tables_load(tmp_path: Path) -> None:
    """Two releases, two models, a device and two configs span eight cells."""
    matrix = read(write(tmp_path))
    assert len(matrix.cells()) == 8
    assert matrix.cells()[0].id == "fake-0.0.1__small__cpu__default"


CONTROL = """
[[control]]
engine = "fake"
device_kind = "cpu"
model = "small"
release = "fake-0.0.1"
measured = 2026-11-25
ratio = 0.8
"""


def test_controls_belong_to_the_cells_of_their_engine_and_kind_of_device(tmp_path: Path) -> None:
    """Each release of the engine carries them; without the file nobody does."""
    assert {cell.controls for cell in read(write(tmp_path)).cells()} == {()}
    (tmp_path / "controls.toml").write_text(CONTROL + CONTROL.replace("fake", "vllm").replace("0.8", "0.6"))
    cells = read(tmp_path).cells()
    assert {(cell.release.engine, *(one.ratio for one in cell.controls)) for cell in cells} == {("fake", 0.8)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"fake"',
            '"fkae"',
            "controls.toml: fake-0.0.1 small: unknown 'fkae' (did you mean 'fake'? known: fake, vllm)",
        ),
        ('"small"', '"smal"', "controls.toml: fake-0.0.1 smal: unknown 'smal' (did you mean 'small'?"),
        ('"cpu"', '"cuda"', "controls.toml: fake-0.0.1 small: unknown 'cuda' (known: cpu)"),
        (
            "ratio",
            'config = "defualt"\nratio',
            "controls.toml: fake-0.0.1 small: unknown 'defualt' (did you mean 'default'?",
        ),
        ("ratio =", "raito =", "controls.toml: [[control]] number 1: unknown key 'raito'"),
        ("0.8", "-0.8", "controls.toml: [[control]] number 1: Expected `float` > 0.0"),
    ],
)
def test_wrong_controls_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A control of nothing would be a threshold of nothing."""
    write(tmp_path)
    (tmp_path / "controls.toml").write_text(CONTROL.replace(old, new))
    assert refused(tmp_path).startswith(message)


def test_the_packaged_tables_load() -> None:
    """What comes with the program is right."""
    matrix = tables.matrix()
    assert matrix.cells()


@pytest.mark.parametrize(
    ("file", "old", "new", "parts"),
    [
        ("engines.toml", "version =", "versoin =", ["[[release]] number 1", "unknown key 'versoin'", "mean 'version'"]),
        ("engines.toml", 'build = "official"\n', "", ["[[release]] number 1", "'build' is missing", "found channel"]),
        ("engines.toml", '"fake"', '"vlm"', ["unknown engine 'vlm'", "mean 'vllm'", "known: fake, vllm"]),
        ("engines.toml", "fake.txt", "none.txt", ["fake-0.0.1", "no file 'none.txt'"]),
        ("engines.toml", '"0.0.2"', '"0.0.1"', ["[[release]] number 2", "duplicate id 'fake-0.0.1'"]),
        ("engines.toml", '"0.0.1"', '"0.0 1"', ["[[release]] number 1", "$.version"]),
        ("engines.toml", '"stable"', '"steady"', ["[[release]] number 1", "'steady'", "$.channel"]),
        ("engines.toml", "[[release]]", "[[relaese]]", ["unknown table 'relaese'", "mean 'release'"]),
        ("models.toml", "dtype =", "dtpye =", ["[[model]] number 1 (small)", "unknown key 'dtpye'", "mean 'dtype'"]),
        ("models.toml", '"small"', '"large"', ["[[model]] number 2", "duplicate id 'large'"]),
        ("models.toml", "512", '"512"', ["[[model]] number 1 (small)", "got `str`", "$.context_length"]),
        ("models.toml", "0123456789", "main", ["[[model]] number 2 (large)", "$.source.revision"]),
        ("models.toml", '"folder"', '"floder"', ["[[model]] number 1 (small)", "'floder'", "$.source"]),
        ("devices.toml", "corpus_length", "corpus_lenght", ["workload", "'corpus_lenght'", "mean 'corpus_length'"]),
        ("devices.toml", "[[device]]", "[device]", ["'device' must be written [[device]]"]),
        ("configs.toml", "speed_counts", "speed_count", ["(default)", "unknown key 'speed_count'", "'speed_counts'"]),
        ("profiles.toml", '"cpu"', '"gpu"', ["quick: devices: 'gpu' matches nothing", "mean 'cpu'", "known: cpu"]),
        ("profiles.toml", "fake-*", "vllm-*", ["quick: releases: 'vllm-*' matches nothing", "known: fake-0.0.1"]),
        ("profiles.toml", '"venv"', '"vnev"', ["[[profile]] number 1 (quick)", "'vnev'", "$.launcher"]),
        ("rules.toml", 'reason = "too large"\n', "", ["[[exclude]] number 1", "key 'reason' is missing"]),
        ("rules.toml", '"too large"', '""', ["[[exclude]] number 1", "$.reason"]),
        ("rules.toml", 'reason = "known"\n', "", ["[[expect]] number 1", "key 'reason' is missing"]),
        ("rules.toml", 'link = "https://example.org/1"\n', "", ["[[expect]] number 1", "key 'link' is missing"]),
        ("rules.toml", "https://example.org/1", "see above", ["[[expect]] number 1", "$.link"]),
        ("rules.toml", "0.0.1__large", "0.0.9__large", ["'fake-0.0.9__large__*' matches no cell"]),
        ("rules.toml", "0.0.1__small", "0.0.9__small", ["'fake-0.0.9__small__*__default' matches no cell"]),
        ("rules.toml", '"loading"', '"loadng"', ["unknown probe 'loadng'", "mean 'loading'", "known: correctness"]),
        ("rules.toml", '"FAIL"', '"PASS"', ["[[expect]] number 1", "'PASS'", "$.status"]),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused(file: str, old: str, new: str, parts: list[str], tmp_path: Path) -> None:
    """The sentence begins with the file and holds the table, what was found, and what is known."""
    said = refused(spoil(tmp_path, file, old, new))
    assert said.startswith(f"{file}: ")
    for part in parts:
        assert part in said, said


@pytest.mark.parametrize("file", sorted(TABLES))
def test_a_missing_file_is_refused(file: str, tmp_path: Path) -> None:
    """Each of the six files is needed, and is named when it is not there."""
    (write(tmp_path) / file).unlink()
    assert refused(tmp_path) == f"{tmp_path / file}: no such file; a matrix folder needs it"


@pytest.mark.parametrize("file", sorted(TABLES))
def test_what_is_no_toml_is_refused(file: str, tmp_path: Path) -> None:
    """A file that does not parse is named, with the line."""
    (write(tmp_path) / file).write_text("[[release]\n")
    said = refused(tmp_path)
    assert said.startswith(f"{file}: not TOML: ")
    assert "line 1" in said


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is no TOML."""
    (write(tmp_path) / "models.toml").write_bytes(b"\xff\xfe")
    assert refused(tmp_path).startswith("models.toml: not TOML: ")


@pytest.mark.parametrize("file", ["engines.toml", "models.toml", "devices.toml", "configs.toml", "profiles.toml"])
def test_an_empty_table_is_refused(file: str, tmp_path: Path) -> None:
    """A matrix without releases, models, devices, configs or profiles tests nothing."""
    (write(tmp_path) / file).write_text("")
    assert refused(tmp_path).startswith(f"{file}: no [[")


def test_there_may_be_no_rules(tmp_path: Path) -> None:
    """Nothing excluded and nothing expected is a right state of things."""
    matrix = read(write(tmp_path, rules=""))
    assert (matrix.exclusions, matrix.expectations) == ((), ())


@pytest.mark.parametrize("value", ["[1, 2]", '["cpu"]'])
def test_an_entry_that_is_no_table_is_refused(value: str, tmp_path: Path) -> None:
    """A list of something else under a table's name is wrong input, not a failure of ours."""
    assert refused(write(tmp_path, devices=f"device = {value}\n")).startswith("devices.toml: ")


def test_the_keys_of_an_inner_table_are_told(tmp_path: Path) -> None:
    """A wrong key in a table within a table also brings the known ones."""
    assert "'corpus_length'" in refused(spoil(tmp_path, "devices.toml", "corpus_length", "corpus_lenght"))


@pytest.mark.parametrize(
    "source",
    ['{ from = "package", requirements = "none.txt", member = "a.gguf" }', '{ from = "folder", path = "small" }'],
)
def test_a_model_whose_lock_is_missing_is_refused(source: str, tmp_path: Path) -> None:
    """A requirement file that a model names must be there before anything is started."""
    model = TABLES["models.toml"].split("[[model]]")[1].replace('{ from = "folder", path = "small" }', source)
    folder = write(tmp_path, models=f'[[model]]{model}reference = "none"\n', rules="")
    assert "none" in refused(folder)


ENTRIES = [
    (file, table, number)
    for file, text in TABLES.items()
    for table, entries in tomllib.loads(text).items()
    for number in range(len(entries))
]
KEYS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


@given(place=st.sampled_from(ENTRIES), key=KEYS)
@settings(max_examples=60, deadline=None)
def test_any_unknown_key_is_named(place: tuple[str, str, int], key: str) -> None:
    """Whichever table it stands in, one unknown key is refused by name, with the file and the entry's number."""
    file, table, number = place
    unknown = f"zz{key}"
    blocks = TABLES[file].split(f"[[{table}]]\n")
    blocks[number + 1] = f"{unknown} = 1\n{blocks[number + 1]}"
    with tempfile.TemporaryDirectory() as folder:
        said = refused(write(Path(folder), **{file.removesuffix(".toml"): f"[[{table}]]\n".join(blocks)}))
    assert said.startswith(f"{file}: [[{table}]] number {number + 1}")
    assert f"unknown key '{unknown}'" in said
    assert "known: " in said


@given(key=KEYS)
@settings(max_examples=15, deadline=None)
def test_any_unknown_inner_key_is_named(key: str) -> None:
    """The same holds within a table's table."""
    with tempfile.TemporaryDirectory() as folder:
        said = refused(spoil(Path(folder), "devices.toml", "[device.workload]\n", f"[device.workload]\nzz{key} = 1\n"))
    assert said.startswith("devices.toml: [[device]] number 1 (cpu)")
    assert f"zz{key}" in said
