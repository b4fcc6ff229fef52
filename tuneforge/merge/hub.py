"""Models and adapters from the Hugging Face hub, at a pinned commit."""

from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing

_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")


def snapshot(name: str, commit: str) -> Path:
    """Return the folder of a repository at a commit, downloading what is missing.

    Raises EnvironmentMissing where the hub client is not installed or cannot reach it.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise EnvironmentMissing(
            f"{name}: downloading it needs huggingface_hub", "pip install 'tuneforge[train]'"
        ) from error
    try:
        return Path(snapshot_download(name, revision=commit, allow_patterns=list(_PATTERNS)))
    except Exception as error:  # the hub client raises its HTTP library's errors as they are
        raise EnvironmentMissing(
            f"{name}: could not be fetched from the hub ({type(error).__name__})",
            f"fetch it while online: hf download {name} --revision {commit}",
        ) from error
