"""Heads and feed-forward units removed by TextPruner: iteratively, with uneven heads, its best published setting."""

import tempfile

from pruning import Batches, arguments, read, write
from textpruner import GeneralConfig, TransformerPruner, TransformerPruningConfig

ITERATIONS = 16


def main() -> None:
    given = arguments()
    model = read(given.model)
    with tempfile.TemporaryDirectory() as folder:
        pruner = TransformerPruner(
            model,
            transformer_pruning_config=TransformerPruningConfig(
                target_ffn_size=given.ffn,
                target_num_of_heads=given.heads,
                pruning_method="iterative",
                n_iters=ITERATIONS,
                head_even_masking=False,
            ),
            general_config=GeneralConfig(use_device="cpu", output_dir=folder),
        )
        pruner.prune(dataloader=Batches(given.rows), save_model=False)
    write(model, given.out)


if __name__ == "__main__":
    main()
