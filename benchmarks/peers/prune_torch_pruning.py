"""Heads and feed-forward units removed by Torch-Pruning, as its example for Hugging Face BERT does.

Of its options these are the ones that it advises for Transformers: first-order Taylor importance from the gradients of
training rows, ranked over all layers among units of the same kind (isomorphic pruning), sizes in multiples of 8. The
width of the residual stream stays, as with the other peers.
"""

import torch_pruning as tp
from pruning import Batches, arguments, read, write
from transformers.models.bert.modeling_bert import BertSelfAttention

MULTIPLE = 8


def main() -> None:
    given = arguments()
    model, batches = read(given.model), Batches(given.rows)
    config = model.config
    heads = {
        layer: attention.num_attention_heads
        for attention in model.modules()
        if isinstance(attention, BertSelfAttention)
        for layer in (attention.query, attention.key, attention.value)
    }
    residual = [model.bert.embeddings, model.bert.pooler, model.classifier]
    for layer in model.bert.encoder.layer:
        residual += [layer.attention.output.dense, layer.output.dense]
    example = {name: tensor[:2] for name, tensor in next(iter(batches)).items() if name != "labels"}
    pruner = tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.GroupTaylorImportance(),
        global_pruning=True,
        isomorphic=True,
        round_to=MULTIPLE,
        pruning_ratio=1 - given.ffn / config.intermediate_size,
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        # A little less than the share, so that rounding never takes one head more.
        head_pruning_ratio=1 - given.heads / config.num_attention_heads - 1e-6,
        ignored_layers=residual,
        output_transform=lambda out: out.logits.sum(),
    )
    for batch in batches:
        model(**batch).loss.backward()
    pruner.step()
    write(model, given.out)


if __name__ == "__main__":
    main()
