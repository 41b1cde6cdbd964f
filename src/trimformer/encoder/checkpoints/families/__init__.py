"""Conversion from and to Hugging Face checkpoints: one file per family, each a :class:`Family`."""

from transformers import PreTrainedModel

from ....errors import TrimformerError
from ...model.body import TrimformerModel
from ...model.heads import TrimformerWithHead
from .albert import ALBERT
from .bert import BERT
from .camembert import CAMEMBERT
from .deberta import DEBERTA
from .distilbert import DISTILBERT
from .electra import ELECTRA
from .family import Family
from .modernbert import MODERNBERT
from .mpnet import MPNET
from .roberta import ROBERTA
from .xlm_roberta import XLM_ROBERTA

_ALL = (
    ALBERT,
    BERT,
    ROBERTA,
    XLM_ROBERTA,
    CAMEMBERT,
    DISTILBERT,
    ELECTRA,
    MPNET,
    MODERNBERT,
    DEBERTA,
)
FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}


def family_of(model_type: str) -> Family:
    """The family that converts checkpoints of this model type; raises TrimformerError naming the supported ones."""
    if model_type not in FAMILIES:
        raise TrimformerError(
            f"The architecture {model_type!r} is not supported; supported are {', '.join(sorted(FAMILIES))} "
            "and models saved by trimformer."
        )
    return FAMILIES[model_type]


def to_huggingface(model: TrimformerModel | TrimformerWithHead) -> PreTrainedModel:
    """Back to the stock model class, where the shape is uniform and dense; the logits are the same. Of an
    embedding model it is the encoder.

    Raises TrimformerError where a layer was removed: no stock class can hold that shape.
    """
    return family_of(model.config.family).to_stock(model)
