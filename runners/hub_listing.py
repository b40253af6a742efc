"""What the Hugging Face Hub has: listings, facts of a repository, its config.json and the headers of its weights.

Whatever a repository holds was written by a stranger, so every answer is read up to a limit and no further.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
from huggingface_hub import HfApi, ModelInfo, get_session, hf_hub_url, hf_raise_for_status, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, SafetensorsParsingError
from huggingface_hub.hf_api import ExpandModelProperty_T
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers

from matrix.discover import GATED, Checkpoint, NotUnderstood, Repository, checked
from matrix.errors import Infrastructure, ReadinessError

ANSWER_BYTES = 32 * 2**20
"""Of any answer; the header of a safetensors file may have 25 MB."""
CONFIG_BYTES = 2**20
"""Of a config.json; the longest published ones, with a list of every module that is not quantized, have a fifth."""
MOST_SHARDS = 200
"""Whose headers are read, one request each, where the Hub has not counted the parameters."""

TRIES = 4
RETRIED = (408, 429, *range(500, 600))
LONGEST_WAIT_S = 60.0
"""A server that wants more is not asked again."""
PATIENCE_S = 600.0
"""Of waiting in all, before a server that still refuses is not asked twice any more."""
TIMEOUT_S = 30.0

LISTED: tuple[ExpandModelProperty_T, ...] = (
    "createdAt", "gated", "pipeline_tag", "private", "safetensors", "sha", "siblings", "tags",
)  # fmt: skip
"""No card: its keys are a stranger's, and the client takes some of them for its own parameters."""

SPOILT = (
    TypeError, ValueError, KeyError, AttributeError, RecursionError, AssertionError, msgspec.ValidationError,
)  # fmt: skip
"""What the client raises where an answer has another form than it expects."""


class TooLong(ReadinessError):
    """An answer has more bytes than are read."""


class Hub:
    """The questions; each raises Infrastructure where the Hub does not answer, with its own words."""

    def __init__(self, api: HfApi) -> None:
        self._api = api

    def by(self, account: str, since: dt.date, at_most: int) -> list[Repository]:
        """An account's repositories since a day, the newest first."""
        with _asked(f"the models of {account}"):
            listed = self._api.list_models(author=account, sort="created_at", limit=at_most, expand=[*LISTED])
            return list(_since(listed, since))

    def trending(self, at_most: int) -> list[Repository]:
        """What is looked at most these days, of repositories with safetensors."""
        with _asked("what is trending"):
            listed = self._api.list_models(filter="safetensors", sort="trending_score", limit=at_most, expand=[*LISTED])
            return [_repository(info) for info in listed]

    def name_now(self, name: str) -> str | None:
        """What a repository is called now; None where the Hub does not show it."""
        try:
            with _read(name):
                return str(self._api.model_info(name, expand=["sha"], timeout=TIMEOUT_S).id)
        except NotUnderstood:
            return None

    def checkpoint(self, listed: Repository) -> Checkpoint:
        """A repository with what its files say; raises NotUnderstood for what is refused or is not to be read."""
        with _read(listed.name):
            info = self._api.model_info(listed.name, files_metadata=True, timeout=TIMEOUT_S)
            found = _repository(info)
            config = checked(_parsed(_beginning(self._api, found, "config.json", CONFIG_BYTES)))
            if not found.elements:
                found = msgspec.structs.replace(found, elements=self._elements(found))
            licence = getattr(info.card_data, "license_name", None)
            return Checkpoint(
                repository=found,
                config=config,
                sizes={file.rfilename: file.size for file in info.siblings or () if isinstance(file.size, int)},
                licence=licence if isinstance(licence, str) else None,
            )

    def _elements(self, found: Repository) -> dict[str, int]:
        """Elements by type, of the headers of its weights; none where they cannot be read."""
        elements: dict[str, int] = {}
        if len(found.weights) > MOST_SHARDS:
            return elements
        try:
            for name in found.weights:
                header = self._api.parse_safetensors_file_metadata(found.name, name, revision=found.revision)
                for dtype, count in header.parameter_count.items():
                    elements[str(dtype)] = elements.get(str(dtype), 0) + int(count)
        except (SafetensorsParsingError, TooLong, *SPOILT):
            return {}
        return elements


@contextmanager
def asking() -> Iterator[Hub]:
    """The Hub that HF_ENDPOINT names, asked with bounds for the time of the block."""
    set_client_factory(_Client)
    try:
        yield Hub(HfApi(endpoint=os.environ.get("HF_ENDPOINT")))  # the hub's client reads it only when it is imported
    finally:
        set_client_factory(default_client_factory)


class _Client(httpx2.Client):
    """Waits as a server asks, a few times; reads no more than ANSWER_BYTES."""

    def __init__(self) -> None:
        super().__init__(
            follow_redirects=True,
            timeout=TIMEOUT_S,
            headers={"Accept-Encoding": "identity"},  # a compressed answer is longer than what is counted
            event_hooks={"response": [_limit]},
        )
        self._patience_s = PATIENCE_S

    def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """Ask, and ask again; raises Infrastructure where that does not help."""
        for tried in range(1, TRIES + 1):
            try:
                response = super().send(request, **how)
            except httpx2.TransportError as error:
                said, wait_s = str(error) or type(error).__name__, float(tried)
            else:
                if response.status_code not in RETRIED:
                    return response
                response.close()
                said, wait_s = f"status {response.status_code}", _wanted_wait_s(response.headers, float(tried))
            if tried == TRIES or wait_s > min(LONGEST_WAIT_S, self._patience_s):
                break
            self._patience_s -= wait_s
            time.sleep(wait_s)  # at most TRIES times, and all waits together within the patience
        raise Infrastructure(f"{said}, asked {tried} time{'s' if tried > 1 else ''}")


def _wanted_wait_s(headers: httpx2.Headers, otherwise: float) -> float:
    """What the server asks for, in either of the forms of HTTP, or by the Hub's own header."""
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal():
        return float(said[:9])
    try:
        until = email.utils.parsedate_to_datetime(said)
        return max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())
    except (ValueError, TypeError):
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else otherwise


def _limit(response: httpx2.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise TooLong("the answer is compressed, though that was not asked for")
    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = _Limited(response.stream)


class _Limited(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for part in self._stream:
            read += len(part)
            if read > ANSWER_BYTES:
                raise TooLong(f"the answer has more than {ANSWER_BYTES} bytes")
            yield part

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _asked(what: str) -> Iterator[None]:
    """Whatever goes wrong inside is the Hub's doing, or ours."""
    try:
        yield
    except HfHubHTTPError as error:
        raise Infrastructure(f"the Hub did not give {what}: status {error.response.status_code}") from error
    except (Infrastructure, TooLong, httpx2.HTTPError) as error:
        raise Infrastructure(f"the Hub did not give {what}: {' '.join(str(error).split())[:200]}") from error
    except SPOILT as error:
        raise Infrastructure(f"the Hub did not give {what} in a form that is known: {type(error).__name__}") from error


@contextmanager
def _read(name: str) -> Iterator[None]:
    """The same of one repository, where what a stranger has put there may be at fault."""
    with _asked(name):
        try:
            yield
        except HfHubHTTPError as error:
            raise NotUnderstood(_refusal(error.response.status_code)) from error
        except TooLong as error:
            raise NotUnderstood(str(error)) from error
        except SPOILT as error:
            raise NotUnderstood("what the Hub says of it has no form that is known") from error


def _refusal(status: int) -> str:
    match status:
        case 401 | 403:
            return GATED
        case 404:
            return "is gone, or has no config.json"
    return f"the Hub refuses it with status {status}"


def _since(listed: Iterable[ModelInfo], since: dt.date) -> Iterator[Repository]:
    for info in listed:
        found = _repository(info)
        if found.created is not None and found.created.date() < since:
            return
        yield found


def _repository(info: ModelInfo) -> Repository:
    counted = info.safetensors.parameters if info.safetensors is not None else {}
    made = {
        "name": info.id,
        "revision": info.sha,
        "created": info.created_at,
        "gated": bool(info.gated),
        "private": bool(info.private),
        "task": info.pipeline_tag,
        "tags": info.tags or (),
        "files": [file.rfilename for file in info.siblings or ()],
        "elements": counted,
    }
    try:
        return msgspec.convert(made, Repository)
    except msgspec.ValidationError:
        return Repository(name=str(info.id))  # of which it is then said what lacks, and the others are read


def _beginning(api: HfApi, found: Repository, file: str, limit: int) -> bytes:
    """A file of at most so many bytes; NotUnderstood for a longer one, of which no more is read."""
    url = hf_hub_url(found.name, file, revision=found.revision, endpoint=api.endpoint)
    headers = {**build_hf_headers(), "Range": f"bytes=0-{limit}"}
    read = b""
    with get_session().stream("GET", url, headers=headers) as response:
        hf_raise_for_status(response)
        for part in response.iter_bytes():
            read += part
            if len(read) > limit:
                raise NotUnderstood(f"{file} has more than {limit} bytes")
    return read


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise NotUnderstood("config.json is not JSON, or is nested too deep") from None
