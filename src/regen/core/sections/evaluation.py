"""How figures are measured, and what they must be."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from regen.core.sections.base import Count, Positive, Section

Metric = Literal[
    "anomaly_auc", "anomaly_ap", "reconstruction_mse", "reconstruction_psnr", "reconstruction_ssim",
    "negative_elbo_bits", "iwae_bits", "frechet_distance", "kid", "precision", "recall", "density", "coverage",
    "class_shift", "anomaly_recall_fpr1", "anomaly_recall_fpr01", "memorisation", "preference_win_rate",
    "anomaly_precision_top_k", "column_error", "column_shapes", "pair_trends", "utility_auc", "utility_f1",
    "told_apart_auc", "closer_than_control", "copies",
]  # fmt: skip
"""Every figure that a gate can judge by."""


class EvaluationConfig(Section):
    """How figures are measured."""

    sample_sets: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Sets of samples, each as large as the reference, that a Fréchet distance averages over."""
    bootstrap_draws: Annotated[int, Field(ge=50, le=100_000)] = 400
    """Resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Share of repetitions in which an interval should hold the truth."""
    alerts_a_day: Count = 20
    """How many rows of a table can be looked into each day; anomaly_precision_top_k is the share of anomalies among them."""


class GateRules(Section):
    """What a candidate must show to be promoted."""

    primary: Metric | None = None
    """The metric that must be better than the champion's by its interval."""
    floors: dict[Metric, float] = {}
    """Metric to the worst value allowed: a minimum where higher is better, a maximum where lower is."""
    guards: dict[Metric, Annotated[float, Field(ge=0)]] = {}
    """Metric to the margin by which it may be worse than the champion's."""

    @property
    def asked(self) -> frozenset[Metric]:
        """Every figure that the rules speak of."""
        return frozenset({*self.floors, *self.guards, *([self.primary] if self.primary else [])})


OF_A_VAE: frozenset[Metric] = frozenset({
    "anomaly_auc", "anomaly_ap", "anomaly_recall_fpr1", "anomaly_recall_fpr01", "reconstruction_mse",
    "reconstruction_psnr", "reconstruction_ssim", "negative_elbo_bits", "iwae_bits", "anomaly_precision_top_k",
    "column_error",
})  # fmt: skip
"""Figures that a GAN has none of."""
OF_TABLES: frozenset[Metric] = frozenset({
    "anomaly_precision_top_k", "column_error", "column_shapes", "pair_trends", "utility_auc", "utility_f1",
    "told_apart_auc", "closer_than_control", "copies",
})  # fmt: skip
"""Figures that models of images have none of."""
OF_IMAGES: frozenset[Metric] = frozenset({
    "reconstruction_mse", "reconstruction_psnr", "reconstruction_ssim", "negative_elbo_bits", "iwae_bits",
    "frechet_distance", "kid", "precision", "recall", "density", "coverage", "class_shift", "memorisation",
})  # fmt: skip
"""Figures that models of tables have none of."""


class GateConfig(Section):
    """Who is promoted, and whether anyone is."""

    mode: Literal["off", "dry-run", "automatic", "approval"] = "automatic"
    """off judges nothing; dry-run judges and writes the ledger; automatic also promotes; approval asks a person first."""
    approval_days: Positive = 7.0
    """Days that a candidate waits for approval before it must be judged anew."""
    least_rows: Count = 200
    """Test rows under which a candidate is held, since its figures say too little."""
    vae: GateRules = GateRules()
    """Rules for the VAE."""
    gan: GateRules = GateRules()
    """Rules for the GAN."""

    @field_validator("gan")
    @classmethod
    def asks_what_a_gan_can_answer(cls, rules: GateRules) -> GateRules:
        """Refuses figures that would reject every GAN, since none has them."""
        if wrong := sorted(rules.asked & OF_A_VAE):
            raise ValueError(f"a GAN has no {', '.join(wrong)}; judge it by its samples, such as frechet_distance")
        return rules

    @field_validator("mode", mode="before")
    @classmethod
    def off_is_a_word(cls, value: object) -> object:
        """YAML reads a bare off as false."""
        return "off" if value is False else value
