"""``python -m trimformer``, which ``accelerate launch -m`` needs."""

from .cli import main

main()
