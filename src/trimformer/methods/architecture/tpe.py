"""Bayesian search of an architecture of a given cost: tree-structured Parzen estimators, by Optuna.

Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization", 2011; Akiba et al., "Optuna", 2019.
"""

from __future__ import annotations

from typing import Any, Literal

from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ..base import register
from .layout import LEAST, Layout, Searched, SearchedSettings


class TPESettings(SearchedSettings):
    """Settings of tpe."""

    name: Literal["tpe"] = "tpe"


@register
class TPE(Searched):
    """Ask for layouts where the loss was low before, and leave the one with the lowest."""

    name = "tpe"
    Settings = TPESettings
    example = {"target": 0.6, "trials": 3, "rows": 16}  # noqa: RUF012  (never written to)

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        super().check(settings, config)
        _optuna()

    def decide(self) -> Gates:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.unfit = optuna.trial.TrialState.PRUNED
        self.study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.context.seed))
        return super().decide()

    def draw(self) -> Layout:
        self.trial = trial = self.study.ask()
        layout, parts = Layout.alike(self.layers), self.settings.parts
        for name, may_go in (("layers", self.layouts.may_go), ("attention", self.removable)):
            if name in parts:
                # A number for each says who goes first, and one more how many do.
                worth = {index: trial.suggest_float(f"{name}-{index}", 0.0, 1.0) for index in may_go}
                order = sorted((index for index in may_go if layout.layers[index]), key=worth.__getitem__)
                self.layouts.drop(getattr(layout, name), layout, order, trial.suggest_float(name, 0.0, 1.0))
        for name in ("heads", "units"):
            if name in parts:
                for index in range(self.layers):
                    getattr(layout, name)[index] = trial.suggest_float(f"{name}-{index}", LEAST, 1.0)
        return layout

    def learn(self, loss: float | None) -> None:
        self.study.tell(self.trial, loss, state=self.unfit if loss is None else None)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise TrimformerError('The method tpe needs the package optuna: pip install "trimformer[tpe]".') from error
    return optuna
