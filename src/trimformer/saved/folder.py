"""Where the files of a model lie: a folder, a hub id, or the demo encoder."""

from __future__ import annotations

from pathlib import Path

from ..errors import TrimformerError
from .demo import demo_folder
from .modules import encoder_folder

DEMO = "demo"


def resolve(path_or_id: str | Path) -> Path:
    """The local folder with the configuration and weights of a model."""
    return encoder_folder(fetch(path_or_id))


def fetch(path_or_id: str | Path) -> Path:
    """The local folder of a model, downloaded from the hub when it is an id."""
    if str(path_or_id) == DEMO:
        return demo_folder()
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    if folder.exists() or str(path_or_id).count("/") > 1 or str(path_or_id).startswith((".", "/", "~")):
        raise TrimformerError(f"{path_or_id} is not a model folder: give a folder with config.json and weights.")
    try:
        import huggingface_hub

        wanted = ["*.json", "*.safetensors", "*.txt", "*.model"]
        return Path(huggingface_hub.snapshot_download(str(path_or_id), allow_patterns=wanted))
    except Exception as error:  # the hub client raises many kinds: offline, unknown id, gated, bad name
        raise TrimformerError(
            f"{path_or_id!r} is neither a folder here nor a model that could be fetched from the hub "
            f"({type(error).__name__}): check the name and the network."
        ) from error
