"""Models and datasets of the Hugging Face hub: which commit a revision is, and where it lies."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuneforge_specs.errors import EnvironmentMissing

Kind = Literal["model", "dataset"]
COMMIT = re.compile(r"[0-9a-f]{40}")
SECONDS = 15.0


@dataclass(frozen=True)
class Located:
    """A local folder, or a repository at a commit (``folder`` empty until downloaded)."""

    commit: str = ""
    folder: Path | None = None


def cache_folder() -> Path:
    """Give the folder in which huggingface_hub keeps downloads, without importing it."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME")
    # Not Path.expanduser, which is an error for a user without a home, as in some containers.
    return Path(home or os.path.expanduser("~/.cache/huggingface")) / "hub"  # noqa: PTH111


def snapshot(name: str, commit: str, kind: Kind = "model") -> Path:
    """Give the folder in which a repository's commit lies once it is downloaded."""
    return cache_folder() / f"{kind}s--{name.replace('/', '--')}" / "snapshots" / commit


def fetch_small(name: str, commit: str, files: tuple[str, ...]) -> None:
    """Fetch a model's small files into the cache, so that a plan can look at them.

    Where the hub does not give them nothing is said: the base step will, if it needs them.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    for file in files:
        with suppress(HfHubHTTPError, OSError):  # no such file, no access, or not reached
            hf_hub_download(name, file, revision=commit, etag_timeout=SECONDS)


def local_folder(name: str, directory: Path) -> Path | None:
    """Give the folder a name means, relative to the spec's, or None where it is a hub id."""
    folder = directory / Path(name).expanduser()
    if folder.is_dir():
        return folder.absolute()
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise EnvironmentMissing(
            f"model folder not found: {folder}",
            "correct the path; it is relative to the spec's folder",
        )
    return None


def locate(name: str, revision: str, *, kind: Kind, pinned: str, directory: Path) -> Located:
    """Find a local folder, the pinned or cached commit of a repository, or ask the hub.

    Raises EnvironmentMissing where the repository is neither here nor reachable.
    """
    folder = local_folder(name, directory)
    if folder is not None:
        return Located(folder=folder)
    repository = cache_folder() / f"{kind}s--{name.replace('/', '--')}"
    commit = pinned or (revision if COMMIT.fullmatch(revision) else "")
    reference = repository / "refs" / revision
    if not commit and reference.is_file():
        commit = reference.read_text().strip()
    if commit:
        snapshot = repository / "snapshots" / commit
        if snapshot.is_dir():
            return Located(commit, snapshot)
    return Located(_ask(name, commit or revision, kind))


def _ask(name: str, revision: str, kind: Kind) -> str:
    offline = f"{kind} {name}: not on this machine"
    fix = (
        f"name a local folder, or go online once to fetch it "
        f"(hf download {name}{' --repo-type dataset' if kind == 'dataset' else ''})"
    )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise EnvironmentMissing(f"{offline}, and HF_HUB_OFFLINE forbids asking the hub", fix)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    api = HfApi()
    ask = api.model_info if kind == "model" else api.dataset_info
    try:
        sha = ask(name, revision=revision, timeout=SECONDS).sha
    except HFValidationError as error:
        raise EnvironmentMissing(f"{offline}, and no hub id either: {error}", fix) from error
    except RepositoryNotFoundError as error:
        raise EnvironmentMissing(
            f"{kind} {name}: neither a folder here nor a repository of the hub",
            "correct the name; a private repository needs HF_TOKEN",
        ) from error
    except (HfHubHTTPError, OSError, ConnectionError) as error:
        raise EnvironmentMissing(
            f"{offline}, and the hub did not answer ({type(error).__name__})", fix
        ) from error
    except Exception as error:  # the HTTP library's own errors, whichever it is
        if type(error).__module__.split(".")[0] not in {"httpx", "httpcore", "requests"}:
            raise
        raise EnvironmentMissing(
            f"{offline}, and the hub cannot be reached ({type(error).__name__})", fix
        ) from error
    if not sha:
        raise EnvironmentMissing(f"{kind} {name}: the hub names no commit of {revision}", fix)
    return str(sha)
