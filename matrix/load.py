"""Read the tables of the matrix strictly: the first wrong key dies, named by file, table and what is known."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

import msgspec

from matrix.cells import (
    Cell,
    Config,
    Control,
    Device,
    Doubt,
    Exclusion,
    Expectation,
    Model,
    PackageSource,
    Profile,
    Record,
    Release,
)
from matrix.errors import WrongInput

PACKAGED = Path(__file__).parent
"""The tables that come with the program."""

NAMED = 4
"""Of many ids, those that an error names."""

R = TypeVar("R", bound=Record)


class Matrix(Record, frozen=True, kw_only=True):
    """Everything the tables say, checked."""

    folder: Path
    releases: dict[str, Release]
    models: dict[str, Model]
    devices: dict[str, Device]
    configs: dict[str, Config]
    profiles: dict[str, Profile]
    exclusions: tuple[Exclusion, ...]
    expectations: tuple[Expectation, ...]
    doubts: tuple[Doubt, ...]
    controls: tuple[Control, ...] = ()

    def cells(self) -> list[Cell]:
        """Every cell that the tables span, before any rule."""
        axes = product(self.releases.values(), self.models.values(), self.devices.values(), self.configs.values())
        return [Cell(release=r, model=m, device=d, config=c, controls=self._controls(r, d)) for r, m, d, c in axes]

    def _controls(self, release: Release, device: Device) -> tuple[Control, ...]:
        wanted = release.engine, device.kind
        return tuple(one for one in self.controls if (one.engine, one.device_kind) == wanted)

    def exclusion(self, cell: Cell) -> Exclusion | None:
        """The first rule that leaves this cell out."""
        return next((rule for rule in self.exclusions if fnmatchcase(cell.id, rule.cells)), None)

    def expectation(self, cell_id: str, probe: str) -> Expectation | None:
        """The first rule that foresees this probe's outcome."""
        matching = (rule for rule in self.expectations if fnmatchcase(cell_id, rule.cells) and rule.probe == probe)
        return next(matching, None)

    def doubt(self, cell_id: str) -> Doubt | None:
        """The first rule that calls this cell's reference wrong."""
        return next((rule for rule in self.doubts if fnmatchcase(cell_id, rule.cells)), None)

    def path(self, relative: str) -> Path:
        """A data file that a table names."""
        return self.folder / relative


def load(
    folder: Path = PACKAGED, *, engines: Iterable[str], probes: Iterable[str], models: Iterable[Model] = ()
) -> Matrix:
    """Read the six tables of a folder, and its controls if it has any; raises WrongInput with one clear message.

    `models` are there beside those of the folder, which may have one of its own by the same id.
    """
    releases = _keyed(folder / "engines.toml", "release", Release)
    all_models = {model.id: model for model in models} | _keyed(folder / "models.toml", "model", Model)
    devices = _keyed(folder / "devices.toml", "device", Device)
    configs = _keyed(folder / "configs.toml", "config", Config)
    profiles = _keyed(folder / "profiles.toml", "profile", Profile)
    rules = read_toml(folder / "rules.toml")
    _only_tables(folder / "rules.toml", rules, ("exclude", "expect", "doubt"))
    matrix = Matrix(
        folder=folder,
        releases=releases,
        models=all_models,
        devices=devices,
        configs=configs,
        profiles=profiles,
        exclusions=tuple(_records(folder / "rules.toml", rules, "exclude", Exclusion)),
        expectations=tuple(_records(folder / "rules.toml", rules, "expect", Expectation)),
        doubts=tuple(_records(folder / "rules.toml", rules, "doubt", Doubt)),
        controls=_controls(folder / "controls.toml"),
    )
    _check_references(matrix, sorted(engines), sorted(probes))
    return matrix


def _controls(path: Path) -> tuple[Control, ...]:
    """None where there is no file: thresholds are then the strictest."""
    if not path.exists():
        return ()
    document = read_toml(path)
    _only_tables(path, document, ("control",))
    return tuple(_records(path, document, "control", Control))


def _keyed(path: Path, table: str, kind: type[R]) -> dict[str, R]:
    document = read_toml(path)
    _only_tables(path, document, (table,))
    keyed: dict[str, R] = {}
    for index, record in enumerate(_records(path, document, table, kind)):
        record_id: str = record.id  # type: ignore[attr-defined]  # every keyed record has an id
        if record_id in keyed:
            raise WrongInput(f"{path.name}: [[{table}]] number {index + 1}: duplicate id {record_id!r}")
        keyed[record_id] = record
    if not keyed:
        raise WrongInput(f"{path.name}: no [[{table}]] in it")
    return keyed


def read_toml(path: Path) -> dict[str, Any]:
    """A table as it stands; raises WrongInput where it is not there, or is no TOML."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise WrongInput(f"{path}: no such file; a matrix folder needs it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongInput(f"{path.name}: not TOML: {error}") from None


def _only_tables(path: Path, document: dict[str, Any], known: Sequence[str]) -> None:
    for name, value in document.items():
        if name not in known:
            raise WrongInput(f"{path.name}: unknown table {name!r}{did_you_mean(name, known)}")
        if not isinstance(value, list):
            raise WrongInput(f"{path.name}: {name!r} must be written [[{name}]], one block an entry")


def _records(path: Path, document: dict[str, Any], table: str, kind: type[R]) -> list[R]:
    entries = document.get(table, [])
    return [_record(f"{path.name}: [[{table}]] number {i + 1}", entry, kind) for i, entry in enumerate(entries)]


def _record(where: str, entry: dict[str, Any], kind: type[R]) -> R:
    if not isinstance(entry, dict):
        raise WrongInput(f"{where}: found {entry!r}, expected a table with keys")
    where += f" ({entry['id']})" if "id" in entry else ""
    _check_keys(where, entry, kind)
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise WrongInput(f"{where}: {error}") from None


def _check_keys(where: str, entry: dict[str, Any], kind: type[msgspec.Struct], tag: str | None = None) -> None:
    """Name the first unknown or missing key of a table or of a table inside it."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    known = [*fields, *([tag] if tag else [])]
    for key in entry:
        if key not in known:
            raise WrongInput(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")
    for key, field in fields.items():
        if field.required and key not in entry:
            raise WrongInput(f"{where}: key {key!r} is missing; found {', '.join(sorted(entry)) or 'nothing'}")
        if isinstance(entry.get(key), dict):
            _check_inner(f"{where}: {key}", entry[key], field.type)


def _check_inner(where: str, entry: dict[str, Any], annotation: object) -> None:
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if _is_struct(kind)]
    for kind in kinds:
        config = kind.__struct_config__
        if len(kinds) == 1 or entry.get(str(config.tag_field)) == config.tag:
            _check_keys(where, entry, kind, config.tag_field if config.tag else None)


def _is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The tail of an error message: the nearest known word, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    listed = f"known: {', '.join(known)}"
    return f" (did you mean {near[0]!r}? {listed})" if near else f" ({listed})"


def nearest(word: str, known: Sequence[str]) -> str:
    """Those that a word is most like, where there are too many to name them all, and how many others there are."""
    named = difflib.get_close_matches(word, known, n=NAMED, cutoff=0) if len(known) > NAMED else known
    others = len(known) - len(named)
    return ", ".join(named) + (f" and {others} others" if others else "")


def _check_references(matrix: Matrix, engines: Sequence[str], probes: Sequence[str]) -> None:
    for release in matrix.releases.values():
        if release.engine not in engines:
            hint = did_you_mean(release.engine, engines)
            raise WrongInput(f"engines.toml: {release.id}: unknown engine {release.engine!r}{hint}")
        if release.requirements and not matrix.path(release.requirements).is_file():
            raise WrongInput(f"engines.toml: {release.id}: no file {release.requirements!r} in the matrix folder")
    for model in matrix.models.values():
        wanted = [f"requirements/{model.reference}.txt"]
        wanted += [model.source.requirements] if isinstance(model.source, PackageSource) else []
        for name in wanted:
            if not matrix.path(name).is_file():
                raise WrongInput(f"models.toml: {model.id}: no file {name!r} in the matrix folder")
    for control in matrix.controls:
        for name, known in (
            (control.engine, engines),
            (control.model, list(matrix.models)),
            (control.config, list(matrix.configs)),
            (control.device_kind, sorted({device.kind for device in matrix.devices.values()})),
        ):
            if name not in known:
                raise WrongInput(
                    f"controls.toml: {control.release} {control.model}: unknown {name!r}{did_you_mean(name, known)}"
                )
    for profile in matrix.profiles.values():
        _check_patterns(profile, "releases", profile.releases, matrix.releases)
        _check_patterns(profile, "models", profile.models, matrix.models)
        _check_patterns(profile, "devices", profile.devices, matrix.devices)
        _check_patterns(profile, "configs", profile.configs, matrix.configs)
        _check_patterns(profile, "probes", profile.probes, probes)
    ids = [cell.id for cell in matrix.cells()]
    patterns = [rule.cells for rules in (matrix.exclusions, matrix.expectations, matrix.doubts) for rule in rules]
    for pattern in patterns:
        if not any(fnmatchcase(cell_id, pattern) for cell_id in ids):
            raise WrongInput(f"rules.toml: {pattern!r} matches no cell; remove the rule or mend the pattern")
    for expectation in matrix.expectations:
        if expectation.probe not in probes:
            hint = did_you_mean(expectation.probe, probes)
            raise WrongInput(f"rules.toml: {expectation.cells!r}: unknown probe {expectation.probe!r}{hint}")


def _check_patterns(profile: Profile, axis: str, patterns: Sequence[str], known: Iterable[str]) -> None:
    known = list(known)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            hint = did_you_mean(pattern, known)
            raise WrongInput(f"profiles.toml: {profile.id}: {axis}: {pattern!r} matches nothing{hint}")
