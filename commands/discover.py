"""New models, new releases of engines, and nightly images: additions to the tables, and the text of a pull request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from commands.options import MatrixOption, day, err, out
from matrix import discover as judging
from matrix import load
from matrix import watch as watching
from matrix.cells import HubSource, Model
from matrix.discover import Checkpoint, Discovery, Find, LeftOut, NewRelease, NotUnderstood, Repository
from matrix.errors import Infrastructure, WrongInput
from matrix.load import Matrix
from matrix.results import write_bytes
from matrix.watch import Watch
from probes import tables as own_tables
from probes.checkpoints import proposed, recipes
from probes.checkpoints.recipes import Recipe
from reports import discovered, outcome
from runners import daemon, forecast, hub_listing, new_releases, tables
from runners import registry as engine_registry
from runners.claims import Registry
from runners.hub_listing import Hub
from runners.new_releases import Digest

app = typer.Typer()

T = TypeVar("T")

MOST_FINDS = 30
"""Of one look; the next one finds the others."""
LATER = "there is enough for one pull request; it will be found again"


@app.command()
def discover(
    matrix: MatrixOption = None,
    since: Annotated[
        dt.date | None,
        typer.Option(metavar="DAY", parser=day, help="Models from this day (UTC) on (default: as watch.toml says)."),
    ] = None,
    recipes_folder: Annotated[
        Path | None, typer.Option("--recipes", metavar="DIR", help="Also write recipes of tiny checkpoints there.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--body", metavar="FILE", help="Also write the text of a pull request, as Markdown.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and write no table.")] = False,
) -> None:
    """Look for new models on the Hub, new releases of engines and tonight's images, and add them to the tables.

    The tables of --matrix are edited in place: what stands there stays as it is, and nothing is written that would
    not load. No engine is started and nothing is installed. Exit status 3 where something did not answer; what was
    found is written all the same.
    """
    if matrix is None and not dry_run:
        raise WrongInput("discover edits tables: name their folder with --matrix DIR, or give --dry-run")
    folder = Path(matrix) if matrix is not None else load.PACKAGED
    watch, today = watching.read(folder), dt.datetime.now(dt.UTC).date()
    first = since or today - dt.timedelta(days=watch.released_within_days)
    search = Search(own_tables.matrix(folder), watch, today, first)
    found = search.everything()
    _edit(folder, found, dry_run)
    if recipes_folder is not None and not dry_run:
        for name, recipe in search.recipes.items():
            write_bytes(recipes_folder / f"{name}.toml", recipes.to_toml(recipe).encode())
    text = discovered.render(found)
    if body is not None:
        write_bytes(body, text.encode())
    out.print(text, end="")
    raise SystemExit(outcome.NOT_MEASURED if found.unasked else outcome.OK)


def _edit(folder: Path, found: Discovery, dry_run: bool) -> None:
    """Write what has changed, or print the difference."""
    entries = [one.entry for one in found.releases if one.entry is not None]
    before = {name: tables.read(folder / name) for name in (tables.MODELS, tables.ENGINES)}
    after = {
        tables.MODELS: tables.with_finds(before[tables.MODELS], found.finds),
        tables.ENGINES: tables.with_releases(before[tables.ENGINES], entries),
    }
    changed = {name: text for name, text in after.items() if text != before[name]}
    if changed:
        tables.write(folder, changed, own_tables.matrix, dry_run=dry_run)
    for name, text in changed.items() if dry_run else ():
        out.print(tables.difference(name, before[name], text))


class Search:
    """One look: what was found so far, what was left out, and what did not answer."""

    def __init__(self, matrix: Matrix, watch: Watch, today: dt.date, since: dt.date) -> None:
        self.matrix = matrix
        self.watch = watch
        self.today = today
        self.since = since
        self.recipes: dict[str, Recipe] = {}
        """New ones, by the name of their file."""
        self._left_out: list[LeftOut] = []
        self._unasked: list[str] = []
        self._finds: list[Find] = []
        sources = [model.source for model in matrix.models.values()]
        self._known = {source.repo for source in sources if isinstance(source, HubSource)}
        self._classes = {model.architecture for model in matrix.models.values()}
        self._registries: Mapping[str, Registry | str] = {}

    def everything(self) -> Discovery:
        """Ask for all of it."""
        with hub_listing.asking() as hub:
            candidates = self._candidates(hub)
            if candidates:
                self._known |= self._names_now(hub)
                self._registries = forecast.registries(forecast.newest(self.matrix), engine_registry.engines())
            for repository in candidates:
                self._look(hub, repository)
        releases = self._releases()
        return Discovery(
            day=self.today, since=self.since, finds=tuple(self._finds), left_out=tuple(self._left_out),
            releases=tuple(releases), unasked=tuple(self._unasked),
        )  # fmt: skip

    def _asked(self, question: Callable[[], T]) -> T | None:
        """The answer; where there is none, that is remembered and the rest goes on."""
        try:
            return question()
        except Infrastructure as error:
            err.print(str(error))
            self._unasked.append(str(error))
            return None

    def _candidates(self, hub: Hub) -> list[Repository]:
        """What the listings show and nothing in them speaks against, the oldest first."""
        listings = [partial(self._by, hub, account.name) for account in self.watch.account]
        listings.append(partial(hub.trending, self.watch.trending))
        listed = {one.name: one for listing in listings for one in self._asked(listing) or ()}
        chosen = [one for one in listed.values() if self._may_be_new(one)]
        return sorted(chosen, key=lambda one: (str(one.created), one.name))

    def _by(self, hub: Hub, account: str) -> list[Repository]:
        err.print(f"listing {account}")
        found = hub.by(account, self.since, self.watch.listed)
        if len(found) >= self.watch.listed:
            self._unasked.append(f"{account}: only the newest {self.watch.listed} of its repositories were looked at")
        return found

    def _may_be_new(self, repository: Repository) -> bool:
        reason = judging.why_not(repository, self.watch, self.since, self._known)
        if reason is not None:
            self._leave_out(repository, reason)
        return reason is None

    def _leave_out(self, repository: Repository, reason: str) -> None:
        name = "" if reason == judging.PRIVATE else repository.name
        self._left_out.append(LeftOut(name=name, reason=reason))

    def _names_now(self, hub: Hub) -> set[str]:
        """What the repositories of the tables are called today: a renamed one is no new one."""
        names = [self._asked(partial(hub.name_now, name)) for name in sorted(self._known)]
        return {name for name in names if name is not None}

    def _look(self, hub: Hub, listed: Repository) -> None:
        if listed.name in self._known:
            self._leave_out(listed, judging.IN_TABLES)
            return
        if len(self._finds) >= MOST_FINDS:
            self._leave_out(listed, LATER)
            return
        err.print(f"looking at {listed.name}")
        try:
            checkpoint = self._asked(partial(hub.checkpoint, listed))
            if checkpoint is not None and self._may_be_new(checkpoint.repository):
                self._finds.append(self._find(checkpoint))
                self._known.add(checkpoint.repository.name)
        except NotUnderstood as error:
            self._leave_out(listed, str(error))

    def _find(self, checkpoint: Checkpoint) -> Find:
        repository, config = checkpoint.repository, checkpoint.config
        text, made_of = proposed.parts(config)
        taken = {*self.matrix.models, *(find.model.id for find in self._finds)}
        model = judging.model(checkpoint, text, made_of, self.watch, judging.model_id(repository.name, taken))
        known = model.architecture in self._classes
        self._classes.add(model.architecture)
        named = self._registries.items()
        kind = str(config.get("model_type", ""))
        return Find(
            model=model, gated=repository.gated, watched=self.watch.of(repository.name) is not None,
            new_class=not known, size=checkpoint.size, quantized=checkpoint.quantized, own_code="auto_map" in config,
            tiny=self._tiny(checkpoint, model),
            forecast={name: forecast.foretold(one, model.architecture, kind) for name, one in named},
        )  # fmt: skip

    def _tiny(self, checkpoint: Checkpoint, model: Model) -> str:
        """Keep the recipe of its tiny checkpoint; what became of it, in a sentence."""
        if checkpoint.repository.gated:
            return "no tiny recipe: its config.json is not for everybody to read"
        proposal = proposed.proposed(
            checkpoint.config, model.id, {**recipes.recipes(), **self.recipes},
            published=checkpoint.repository.name, organisation=model.organisation or "", country=model.country or "",
        )  # fmt: skip
        if proposal.recipe is not None:
            self.recipes[model.id] = proposal.recipe
        return proposal.said

    def _releases(self) -> list[NewRelease]:
        with ExitStack() as stack:
            digest = _digest(stack)
            engines = dict.fromkeys(release.engine for release in self.matrix.releases.values())
            questions = [partial(self._of_engine, engine, digest) for engine in engines]
            if digest is not None:
                nightlies = self.watch.nightly
                questions += [partial(new_releases.of_tag, self.matrix, one, digest, self.today) for one in nightlies]
            found = [self._asked(question) for question in questions]
        return [one for one in found if one is not None]

    def _of_engine(self, engine: str, digest: Digest | None) -> NewRelease | None:
        err.print(f"releases of {engine}")
        try:
            return new_releases.of_engine(self.matrix, engine, digest)
        except WrongInput as error:  # nothing says what the index calls it
            err.print(str(error))
            return None


def _digest(stack: ExitStack) -> Digest | None:
    """How registries are asked, as long as the stack is open; None without a daemon, which is said."""
    try:
        return new_releases.digests(stack.enter_context(daemon.connected()))
    except Infrastructure as error:
        err.print(f"images are left out: {error}")
        return None
