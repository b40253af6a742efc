"""What the records say of themselves."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from matrix.cells import FolderSource, HubSource, Image, Model
from tests.fake_engine.bench import CELL

DIGEST = f"sha256:{'a' * 64}"
IMAGE = Image(tag="localhost:5000/lab/fake:v1", device_kinds=("cuda",))
REBUILT = replace(CELL.release, build="third-party", build_note="a rebuild", requirements="fake.txt", image=IMAGE)
GPU = replace(CELL.device, kind="cuda")


def test_an_image_is_pulled_by_its_digest_where_one_is_known() -> None:
    """The port of a registry is no tag."""
    assert IMAGE.name == "localhost:5000/lab/fake:v1"
    assert replace(IMAGE, digest=DIGEST).name == f"localhost:5000/lab/fake@{DIGEST}"


def test_an_official_image_beside_a_rebuild_is_official_on_its_devices_alone() -> None:
    """`build` speaks of the lock there, and of the image where a release has nothing else."""
    here = replace(CELL, release=REBUILT)
    there = replace(here, device=GPU)
    own = replace(there, release=replace(REBUILT, requirements=None))
    assert [(one.image, one.build, one.build_note) for one in (here, there, own)] == [
        (None, "third-party", "a rebuild"), (IMAGE, "official", ""), (IMAGE, "third-party", "a rebuild"),
    ]  # fmt: skip
    assert REBUILT.kinds == ("cpu", "cuda")


@pytest.mark.parametrize(
    ("said", "of_folder", "of_hub"), [(None, False, True), (True, False, False), (False, True, True)]
)
def test_a_checkpoint_on_this_machine_is_unpublished_unless_it_is_said_to_be(
    said: bool | None, of_folder: bool, of_hub: bool
) -> None:
    """What anybody can fetch is published, unless that is said otherwise."""
    hub = HubSource(repo="lab/fake", revision="0" * 40)
    model = Model(id="fake", source=hub, architecture="Fake", dtype="bfloat16", context_length=1, unpublished=said)
    assert (replace(model, source=FolderSource(path="fake")).is_published, model.is_published) == (of_folder, of_hub)


@pytest.mark.parametrize(("licence", "open_to_all"), [("Apache-2.0", True), ("Gemma", False), (None, False)])
def test_weights_are_passed_on_under_open_licences_alone(licence: str | None, open_to_all: bool) -> None:
    """Where nobody knows the licence they are not."""
    assert replace(CELL.model, licence=licence).may_be_passed_on is open_to_all
