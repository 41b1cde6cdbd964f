"""``python -m trimformer``, which ``accelerate launch -m`` needs."""

from trimformer_cli import main

main()
