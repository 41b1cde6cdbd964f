"""Read config.json into the configuration of the one encoder."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig

from ...errors import TrimformerError
from ...saved.config import CONFIG, check_values, read_json
from ..shape.config import TrimformerConfig
from .families import family_of


def read_config(folder: Path) -> TrimformerConfig:
    """The configuration in a folder, of a trimformer model or of a supported family.

    Raises TrimformerError where there is none, and for sizes and label names that no model can have.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise TrimformerError(f"There is no {CONFIG} in {folder}: give the folder of a saved model.")
    values = read_json(file)
    model_type = values.get("model_type")
    family = None if model_type == TrimformerConfig.model_type else family_of(str(model_type))
    check_values(values, file)
    try:
        if family is None:
            return TrimformerConfig.from_pretrained(folder)
        return family.to_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    except TrimformerError:
        raise
    except Exception as error:  # the libraries raise their own kinds for values of all kinds
        raise TrimformerError(
            f"{file} is not a valid configuration: {error}; use the file that was saved with the weights."
        ) from error
