"""What an augmentation did."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Replaced(BaseModel):
    """A row before and after."""

    model_config = ConfigDict(extra="forbid")

    before: list[str] = Field(description="the text, and the second one of a pair")
    after: list[str] = Field(description="the same, with new words")


class AugmentationInfo(BaseModel):
    """What an augmentation did, counted over the rows that were kept."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="name of the augmentation")
    seed: int = Field(description="seed of what was replaced")
    rows: int = Field(description="training rows that new ones were made of")
    new: int = Field(description="new rows that were kept")
    twice: int = Field(description="new rows that were dropped because there was an equal one")
    held_out: int = Field(description="new rows that were dropped because a selection or validation row is equal")
    sources: dict[str, str] = Field(description="where new words come from, in words, by a short name")
    replaced: dict[str, int] = Field(description="words that were replaced, by that name")
    words: int = Field(description="words that the changed texts had before")
    seconds: float = Field(description="wall-clock time that it took, in seconds")
    examples: list[Replaced] = Field(description="three of the new rows")

    @property
    def share(self) -> float:
        """The share of words that were replaced."""
        return sum(self.replaced.values()) / max(1, self.words)

    def sentence(self) -> str:
        """What was done, in one sentence."""
        counts = ", ".join(f"{count:,} by {self.sources[name]}" for name, count in self.replaced.items() if count)
        return (
            f"{self.name} made {self.new:,} new rows of {self.rows:,} training rows and replaced {self.share:.0%} of "
            f"the words of the texts that it changed ({counts or 'none'}); the teacher labels them."
        )
