"""Uploading an export to a Hugging Face hub: a plan by default, an upload when told so."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError

from tuneforge.manifest import MANIFEST, compare, read_manifest

IGNORED = (".DS_Store", "*.tmp")


@dataclass(frozen=True)
class Upload:
    """What would be uploaded, and where."""

    folder: Path
    repository: str
    endpoint: str
    private: bool
    files: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


def plan_upload(
    folder: Path, repository: str, *, endpoint: str = "", private: bool = True
) -> Upload:
    """Return the upload of an export's folder; refuse a folder that is not one, or not as built.

    Raises UsageError, DataError where a file is not what the manifest says, EnvironmentMissing.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UsageError(f"{repository!r} is no repository", "name it as OWNER/NAME")
    if not (folder / "verification.json").is_file():
        raise UsageError(f"{folder} is no export", "name a folder that an export step made")
    if (folder / MANIFEST).is_file():
        damages = compare(folder, read_manifest(folder))
        if damages:
            raise DataError(
                f"{folder}: {damages[0].file}: {damages[0].message}", "build it again, then push"
            )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise EnvironmentMissing("huggingface_hub is not installed", "pip install huggingface_hub")
    from huggingface_hub import constants

    files = sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    )
    where = endpoint or constants.ENDPOINT
    return Upload(folder, repository, where, private, tuple(files))


def upload(plan: Upload, token: str | None = None) -> str:
    """Upload in one commit, return its address; ``token`` None is that of `hf auth login`."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(endpoint=plan.endpoint, token=token)
    try:
        api.create_repo(plan.repository, private=plan.private, exist_ok=True)
        done: Any = api.upload_folder(
            repo_id=plan.repository,
            folder_path=plan.folder,
            commit_message="Upload by Tuneforge",
            ignore_patterns=list(IGNORED),
        )
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        secret = token or get_token()  # a hub may repeat it in what it answers
        said = said.replace(secret, "***") if secret else said
        raise EnvironmentMissing(
            f"{plan.endpoint} did not take {plan.repository}: {said}",
            "log in with `hf auth login`, and check the name and the network",
        ) from error
    return str(done.commit_url)
