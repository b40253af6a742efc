"""What `readiness discover` watches: accounts of the Hub, what is trending there, and images whose tag moves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from matrix.cells import Id, Image, Reason, Record
from matrix.errors import WrongInput
from matrix.load import PACKAGED, read_toml

FILE = "watch.toml"

Count = Annotated[int, msgspec.Meta(ge=1)]


class Account(Record, frozen=True, kw_only=True):
    """Who releases models under a name on the Hub."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    organisation: Reason
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
    """ISO 3166."""


class Nightly(Record, frozen=True, kw_only=True):
    """An engine's image under a tag that is another build every night."""

    engine: Id
    tag: str
    device_kinds: tuple[str, ...]

    def image(self, digest: str | None = None) -> Image:
        """What the tag names, or one build of it."""
        return msgspec.convert(
            {"tag": self.tag, "digest": digest, "device_kinds": self.device_kinds}, Image, from_attributes=True
        )


class Declined(Record, frozen=True, kw_only=True):
    """A repository that is proposed no more."""

    repo: str
    reason: Reason


class Watch(Record, frozen=True, kw_only=True):
    """The table."""

    released_within_days: Count
    """Older models are no news."""
    listed: Count
    """Repositories of one account that are looked at, the newest first."""
    trending: Count
    account: tuple[Account, ...]
    nightly: tuple[Nightly, ...] = ()
    declined: tuple[Declined, ...] = ()

    def of(self, name: str) -> Account | None:
        """Whose repository that is, by `account/name`; None where nobody watched has it."""
        owner = name.partition("/")[0]
        return next((account for account in self.account if account.name == owner), None)

    def declined_for(self, name: str) -> str | None:
        """Why nobody here wants that repository; None where nobody has said so."""
        return next((one.reason for one in self.declined if one.repo == name), None)


def read(folder: Path) -> Watch:
    """The table of a matrix folder, or the packaged one; raises WrongInput at the first slip in it."""
    path = folder / FILE
    path = path if path.is_file() else PACKAGED / FILE
    try:
        watch = msgspec.convert(read_toml(path), Watch)
        for nightly in watch.nightly:
            nightly.image()
    except msgspec.ValidationError as error:
        raise WrongInput(f"{path.name}: {error}") from None
    names = [account.name for account in watch.account]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise WrongInput(f"{path.name}: more than one [[account]] is called {', '.join(twice)}")
    return watch
