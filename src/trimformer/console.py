"""Where messages for people go: standard error, so that standard output stays free for results."""

from rich.console import Console

console = Console(stderr=True, highlight=False)
