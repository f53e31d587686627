"""Publishes a folder to a repository of datasets on the Hugging Face Hub: hf://datasets/OWNER/NAME[@BRANCH][/PREFIX].

In: the files of `corpus.export.publish.items_of`. Out: commits on a branch of the repository, `_BATCH` files each; it
is made if it does not exist. A call that was interrupted goes on where the commits end, because files that the branch
has with an equal checksum are not sent: the sha256 of a large file, git's own hash of a small one. These checksums are
compared once more when all is sent. The token is HF_TOKEN, or the one of `hf auth login`; HF_ENDPOINT names another
Hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corpus.export.publish import Item, Published, check
from corpus.store.base import join_key
from corpus.store.files import sha256

SCHEME = "hf://"
_BATCH = 50  # files of a commit
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.+))?")


class Repository(NamedTuple):
    """A place on the Hub: the repository, the branch, and the folder in it ("": the root)."""

    id: str
    branch: str
    prefix: str


def repository(address: str, branch: str | None = None) -> Repository:
    """The place that an address names. Raises ValueError showing the form of an address."""
    match = _ADDRESS.fullmatch(address.rstrip("/"))
    if not match:
        raise ValueError(f"{address}: should be hf://datasets/OWNER/NAME, with @BRANCH and /FOLDER behind it if needed")
    if branch and match[2] and branch != match[2]:
        raise ValueError(f"{address}: names the branch {match[2]}, and --branch names {branch}; give one of them")
    return Repository(match[1], branch or match[2] or "main", match[3] or "")


def publish(
    items: Sequence[Item], address: str, branch: str | None, private: bool, say: Callable[[str], object] = print
) -> Published:
    """Publish to the Hub.

    Raises ValueError or OSError in one line for what the Hub answers, and for a file that differs from its record.
    """
    target = repository(address, branch)
    with _explained(address):
        api = _api(address)
        api.create_repo(target.id, repo_type="dataset", private=private, exist_ok=True)
        if target.branch != "main":
            api.create_branch(target.id, repo_type="dataset", branch=target.branch, exist_ok=True)
        todo = [item for item in items if not _is_equal(item, _present(api, target).get(_path(target, item)))]
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            _commit(api, target, batch, f"{len(batch)} files of the corpus")
            say(f"{address}: {start + len(batch):,} of {len(todo):,} files sent")
        present = _present(api, target)
    if wrong := next((item for item in items if not _is_equal(item, present.get(_path(target, item)))), None):
        raise ValueError(f"{address}: the Hub has another checksum of {wrong.key} than this folder; publish it again")
    return Published(len(todo), sum(item.size for item in todo), len(items) - len(todo))


def _api(address: str) -> Any:
    try:
        import huggingface_hub
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ModuleNotFoundError:
        raise ValueError(f"{address}: huggingface_hub is not installed; pip install '.[hub]' brings it") from None
    if not huggingface_hub.get_token():
        raise ValueError(f"{address}: no token; set HF_TOKEN to a token with the right to write, or call hf auth login")
    disable_progress_bars()
    return huggingface_hub.HfApi(library_name="corpus-toolkit")


def _path(target: Repository, item: Item) -> str:
    return join_key(target.prefix, item.key)


def _present(api: Any, target: Repository) -> dict[str, Any]:
    """The files of the branch by their paths."""
    tree = api.list_repo_tree(target.id, repo_type="dataset", revision=target.branch, recursive=True)
    return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}


def _is_equal(item: Item, entry: Any) -> bool:
    """Whether a file of the branch has the content of an item: size, and sha256 or git's hash of a blob."""
    if entry is None or entry.size != item.size:
        return False
    if entry.lfs:
        return bool(entry.lfs.sha256 == item.sha256)
    with _local(item) as local:
        content = local if isinstance(local, bytes) else local.read_bytes()
    return bool(entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


def _commit(api: Any, target: Repository, items: Sequence[Item], message: str) -> None:
    from huggingface_hub import CommitOperationAdd

    with contextlib.ExitStack() as stack:
        operations = []
        for item in items:
            local = stack.enter_context(_local(item))
            check(item, hashlib.sha256(local).hexdigest() if isinstance(local, bytes) else sha256(local))
            operations.append(CommitOperationAdd(_path(target, item), local))
        api.create_commit(target.id, operations, commit_message=message, repo_type="dataset", revision=target.branch)


@contextlib.contextmanager
def _local(item: Item) -> Iterator[Path | bytes]:
    """An item as a local file, or as bytes where it lies in no storage."""
    if item.content is not None:
        yield item.content
        return
    with item.place.local_path(item.source) as path:
        yield path


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Errors of huggingface_hub as one line that names the address and the fix."""
    try:
        yield
    except Exception as error:
        # An upload that fails is a RuntimeError, and what the Hub or the network said is its cause.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if (response := getattr(cause, "response", None)) is not None:
            raise _answered(address, response.status_code, str(cause)) from None
        if type(cause).__name__ == "OfflineModeIsEnabled":
            raise OSError(f"{address}: HF_HUB_OFFLINE forbids the network; unset it") from None
        if type(cause).__module__.startswith(("httpx", "httpcore")):
            raise ConnectionError(f"{address}: {cause}; check HF_ENDPOINT and the network") from None
        raise


def _answered(address: str, status: int, message: str) -> Exception:
    """The error for an answer of the Hub."""
    if status == 401:
        return PermissionError(f"{address}: the Hub does not know this token; check HF_TOKEN, or call hf auth login")
    if status == 403:
        return PermissionError(f"{address}: this token may not write there; make one with the right to write")
    if status == 404:
        return FileNotFoundError(f"{address}: no such owner, repository or branch for this token; check the names")
    return OSError(f"{address}: the Hub answered with {status}: {' '.join(message.split())[:200]}")
