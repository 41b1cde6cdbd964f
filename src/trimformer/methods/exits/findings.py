"""What exits cost and save at each threshold, on the rows that the threshold is chosen on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ExitPoint(BaseModel):
    """What one threshold gives."""

    model_config = ConfigDict(extra="forbid")

    threshold: float = Field(description="of the rule: entropy below which a text leaves, or agreements in a row")
    layers: float = Field(description="layers that a text goes through, a mean")
    flops: float = Field(description="operations for a text of the mean length, a mean over where the texts leave")
    score: float = Field(description="official metric on the selection examples")


class ExitFindings(BaseModel):
    """The thresholds that were tried, from that at which no text leaves on, and the one that was chosen."""

    model_config = ConfigDict(extra="forbid")

    rule: str = Field(description="entropy or patience")
    points: list[ExitPoint] = Field(description="by falling number of layers")
    chosen: int = Field(description="index of the point that was chosen")
    executed: list[int] = Field(description="selection examples that go through 1, 2, … layers there")
