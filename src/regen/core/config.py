"""The project file: one frozen model reads every YAML, and names the nearest known key when it meets an unknown one.

YAML holds what differs from the defaults below, which are the published ones where there are such.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from regen.core.errors import ConfigError

Network = Literal["conv", "mlp", "transformer"]
Metric = Literal[
    "anomaly_auc", "anomaly_ap", "reconstruction_mse", "reconstruction_psnr", "reconstruction_ssim",
    "negative_elbo_bits", "iwae_bits", "frechet_distance", "kid", "precision", "recall", "density", "coverage",
    "class_shift", "anomaly_recall_fpr1", "anomaly_recall_fpr01", "memorisation", "preference_win_rate",
]  # fmt: skip
"""Every figure that a gate can judge by."""
Likelihood = Literal["gaussian", "bernoulli"]
GanLoss = Literal["r3", "ns", "ns-r1", "hinge", "wgan-gp"]
NAMED_SOURCES = ("digits", "mnist", "fashion-mnist", "cifar10")
"""Sources that need no path."""
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the project file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the rows come from, what makes them valid, and how they are split."""

    source: str = "digits"
    """What materialises `data/PROJECT/`: digits, mnist, fashion-mnist, cifar10, or folder:PATH with a subfolder a class."""
    file: str | None = None
    """A local copy of the source's archive, or the folder of its files, instead of a download."""
    resolution: Count = 32
    """Height and width in pixels that a folder's images are brought to."""
    channels: Literal[1, 3] = 3
    """1 makes a folder's images grey, 3 colour."""
    max_rows: Count | None = None
    """Most rows to take of the source, spread evenly over it; all when absent."""
    anomaly_class: int | None = None
    """The class that the VAE never trains on and that its test counts as the anomaly; none when absent."""
    min_per_class: Count = 50
    """Fewest rows a class may have."""
    max_duplicate_share: Share = 0.05
    """Largest share of exact duplicates; up to it they are removed before the split, beyond it validation fails."""
    split_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Decides, with its digest, a row's split; apart from `seed`, so that models of every seed share their test rows."""
    extractor_share: Share = 0.2
    """Share of the rows that only the feature extractor trains on."""
    validation_share: Share = 0.1
    """Share of the rows that calibrates thresholds."""
    test_share: Share = 0.25
    """Share of the rows that every figure is measured on; what the three shares leave is the training split."""

    @field_validator("source")
    @classmethod
    def is_known(cls, value: str) -> str:
        """Refuses a source there is none of."""
        if value not in NAMED_SOURCES and not (value.startswith("folder:") and value != "folder:"):
            raise ValueError(f"a source is {', '.join(NAMED_SOURCES)}, or folder:PATH")
        return value

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self) -> "DataConfig":
        """Refuses shares that leave under a tenth of the rows to train on."""
        left = round(1 - self.extractor_share - self.validation_share - self.test_share, 9)
        if left < 0.1:
            raise ValueError(f"the shares leave {left:.0%} of the rows to train on; at least 10% is needed")
        return self


class TrainingConfig(Section):
    """The machine that trains, and how often it reports and saves."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda, cuda:N or mps; auto takes an accelerator where there is one."""
    devices: Count = 1
    """How many devices of that kind one training runs on, each with its share of every batch (torch.distributed)."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Arithmetic of the networks: auto takes bf16 on a CUDA device and 32 bits elsewhere; bf16 pays on CPUs with AMX."""
    resident_mib: Count = 2048
    """Data up to this size is kept on the device, in MiB; beyond, batches are read ahead from a memory-mapped file."""
    threads: Count = 1
    """CPU threads of one training process; results are equal bit for bit only at the same number."""
    log_every_images: Count = 12_800
    """Images between two log points."""
    checkpoint_every_images: Count = 64_000
    """Images between two checkpoints; an interrupted training goes on from the last one."""
    checkpoints_kept: Count = 2
    """How many of the newest checkpoints stay on disk until the training is done."""

    @field_validator("precision", mode="before")
    @classmethod
    def bits_are_a_word(cls, value: object) -> object:
        """YAML reads a bare 32 as a number."""
        return "32" if type(value) is int and value == 32 else value


class VaeConfig(Section):
    """The VAE: σ-VAE likelihood (Rybkin et al., 2021), AdamW with a cosine, β warmed up linearly."""

    network: Network = "conv"
    """conv (strided convolutions), mlp (fully connected) or transformer, for both encoder and decoder."""
    width: Count = 16
    """Channels at the full resolution, doubled at each halving; a fully connected layer has 16 times as many units."""
    latent_dim: Count = 16
    """Dimensions of the latent space."""
    likelihood: Likelihood = "gaussian"
    """gaussian with one calibrated σ, or bernoulli for images of pixels 0 and 255 only."""
    images: Count = 128_000
    """Budget: how many images training sees."""
    seconds: Positive | None = None
    """Budget: how many seconds training takes at most; its schedules end with whichever budget ends first."""
    batch_size: Count = 64
    """Images in a step."""
    learning_rate: Positive = 1e-3
    """AdamW's, at the start; it falls to 0 along a cosine."""
    warmup_share: Share = 0.2
    """Share of the budget over which β rises from 0 to 1."""
    free_bits: Annotated[float, Field(ge=0)] = 0.05
    """Nats a latent dimension may hold for free once active units have fallen under a tenth; 0 never."""
    ema_half_life_images: Count = 10_000
    """Images after which a weight's share in the average has halved."""
    score_draws: Count = 16
    """Latent draws, from a fixed seed, that one anomaly score averages over."""
    score_neighbours: Annotated[int, Field(ge=0, le=10)] = 2
    """Nearest training rows that the anomaly score compares an image with, beside −ELBO; 0 leaves −ELBO alone."""
    score_reference: Count = 10_000
    """Most training rows, spread evenly over all, that the score measures distances to; they are kept with the model."""
    flag_quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """A row is flagged when its score lies above this quantile of the validation rows' scores."""


class GanConfig(Section):
    """The GAN: R3GAN's loss and schedules (Huang et al., NeurIPS 2024), scaled with the budget."""

    loss: GanLoss = "r3"
    """r3 (R3GAN), ns (non-saturating), ns-r1 (with R1), hinge, or wgan-gp."""
    conditional: bool = True
    """Whether the GAN learns each class by its label, so that samples of one class can be asked for."""
    network: Network = "conv"
    """conv (strided convolutions), mlp (fully connected) or transformer, for both generator and discriminator."""
    width: Count = 16
    """Channels at the full resolution, doubled at each halving; a fully connected layer has 16 times as many units."""
    latent_dim: Count = 64
    """Dimensions of the latent space."""
    images: Count = 192_000
    """Budget: how many real images the discriminator sees."""
    seconds: Positive | None = None
    """Budget: how many seconds training takes at most; its schedules end with whichever budget ends first."""
    batch_size: Count = 32
    """Real images in a step."""
    learning_rate: Positive = 1e-3
    """Adam's, at the start, for both networks."""
    final_learning_rate: Positive = 1e-4
    """Adam's, at the end; a cosine leads there."""
    penalty_weight: Positive = 0.5
    """γ of the gradient penalties at the start; a cosine leads it to a tenth. Of wgan-gp, λ is twenty times this."""
    ema_half_life_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The generator's average halves a weight's share after this share of the images seen so far."""
    augment_probability: Share = 0.3
    """How often each augmentation touches what the discriminator sees at most; a ramp over 30 % of the budget leads there."""
    augment_target: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """Augmentation grows only while the discriminator tells real from fake more surely than this; 0 grows it always."""
    stop_on_collapse: bool = False
    """Whether a collapse of the samples' diversity ends the training with an error; it always warns."""


class ExtractorConfig(Section):
    """The classifier whose features every Fréchet distance is measured in."""

    width: Count = 16
    """Channels at the full resolution, doubled at each halving."""
    features: Count = 32
    """Dimensions of the feature space; at most 192 keep the bootstrap quick."""
    images: Count = 96_000
    """Budget: how many images training sees."""
    batch_size: Count = 64
    """Images in a step."""
    learning_rate: Positive = 1e-3
    """AdamW's, at the start; it falls to 0 along a cosine."""
    judge: Literal["mlp", "transformer"] = "mlp"
    """The architecture of the second judge, which sees half as many images and decides nothing: mlp or transformer."""


class RewardConfig(Section):
    """The reward: a few small networks that learn from votes which of two images people prefer (Davidson, 1970)."""

    network: Network = "conv"
    """conv (strided convolutions), mlp (fully connected) or transformer, for every member."""
    width: Count = 8
    """Channels at the full resolution, doubled at each halving; a fully connected layer has 16 times as many units."""
    members: Annotated[int, Field(ge=2)] = 4
    """Networks, each trained on votes of its own drawing; what they disagree on is what is not known yet."""
    pairs: Count = 20_000
    """Budget: how many pairs each member sees, the same ones again and again."""
    batch_size: Count = 64
    """Pairs in a step."""
    learning_rate: Positive = 1e-3
    """AdamW's, at the start; it falls to 0 along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """AdamW's."""
    min_votes: Annotated[int, Field(ge=20)] = 100
    """Fewest votes, skipped ones left out, that a reward is learned from."""


class AlignGanConfig(Section):
    """How the GAN is tuned: adversarial loss + λ·relu(cap − pessimistic reward) + γ·squared distance from the base."""

    images: Count = 25_600
    """Budget: how many real images the discriminator sees."""
    learning_rate: Positive = 1e-3
    """Adam's, at the start, for both networks."""
    final_learning_rate: Positive = 1e-4
    """Adam's, at the end; a cosine leads there."""
    adversarial_weight: Annotated[float, Field(ge=0)] = 1.0
    """What the adversarial loss counts; without it nothing keeps samples like the data."""
    reward_weight: Annotated[float, Field(ge=0)] = 0.4
    """λ: what one sd of reward short of the cap costs; 0 leaves the reward out."""
    anchor_weight: Annotated[float, Field(ge=0)] = 0.3
    """γ: what a squared distance of 1, summed over pixels, between an image and the base's of the same latents costs."""


class AlignVaeConfig(Section):
    """How the VAE is tuned: its prior refitted to draws weighted by exp(reward/β), then its decoder."""

    prior_temperature: Positive = 0.5
    """β, in sd of the reward: the smaller, the farther the prior moves toward what people prefer."""
    prior_draws: Count = 10_000
    """Latents of each class that the prior is refitted to, before they are weighted."""
    images: Count = 40_000
    """Budget: how many images the decoder makes as it is tuned; 1 leaves it nearly as it was."""
    batch_size: Count = 64
    """Images in a step."""
    learning_rate: Positive = 1e-4
    """Adam's."""
    reward_weight: Annotated[float, Field(ge=0)] = 2.0
    """λ: what one sd of reward short of the cap costs."""
    anchor_weight: Annotated[float, Field(ge=0)] = 10.0
    """γ: what a squared distance of 1, summed over pixels, between an image and the base's of the same latents costs."""


class AlignConfig(Section):
    """How a model is tuned toward the reward, when the tuning is stopped, and what it must show to be promoted."""

    reward_cap: Positive = 1.05
    """Sd of the base's samples above their mean from which more reward counts for nothing."""
    pessimism: Annotated[float, Field(ge=0)] = 0.5
    """β: how many sd of the members' rewards are taken off their mean."""
    gan: AlignGanConfig = AlignGanConfig()
    """How the GAN is tuned."""
    vae: AlignVaeConfig = AlignVaeConfig()
    """How the VAE is tuned."""
    ema_half_life_images: Count = 2_000
    """Images after which a weight's share in the tuned model's average has halved; it starts from the base's weights."""
    inspect_every_images: Count = 3_200
    """Images between two looks at the Fréchet distance, and at fresh votes where there are any."""
    tripwire_factor: Annotated[float, Field(gt=1)] = 3.0
    """Fréchet distance at a look, as a multiple of the base's, beyond which tuning stops."""
    frechet_factor: Annotated[float, Field(gt=1)] = 1.6
    """Largest Fréchet distance that a tuned model is promoted with, as a multiple of the base's."""
    win_rate_floor: Annotated[float, Field(ge=0.5, lt=1)] = 0.55
    """The lower bound of the win rate over the base must lie above this."""
    bias_tolerance: Share = 0.1
    """Largest total variation between the classes' shares and the declared ones that passes without a test."""
    unsafe_most: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Largest share of unacceptable samples, by its upper 95 % bound; 0 among 3,000 samples just meets 0.001."""


class EvaluationConfig(Section):
    """How figures are measured."""

    sample_sets: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Sets of samples, each as large as the reference, that a Fréchet distance averages over."""
    bootstrap_draws: Annotated[int, Field(ge=50, le=100_000)] = 400
    """Resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Share of repetitions in which an interval should hold the truth."""


class GateRules(Section):
    """What a candidate must show to be promoted."""

    primary: Metric | None = None
    """The metric that must be better than the champion's by its interval."""
    floors: dict[Metric, float] = {}
    """Metric to the worst value allowed: a minimum where higher is better, a maximum where lower is."""
    guards: dict[Metric, Annotated[float, Field(ge=0)]] = {}
    """Metric to the margin by which it may be worse than the champion's."""


OF_A_VAE: frozenset[Metric] = frozenset({
    "anomaly_auc", "anomaly_ap", "anomaly_recall_fpr1", "anomaly_recall_fpr01", "reconstruction_mse",
    "reconstruction_psnr", "reconstruction_ssim", "negative_elbo_bits", "iwae_bits",
})  # fmt: skip
"""Figures that a GAN has none of."""


class GateConfig(Section):
    """Who is promoted, and whether anyone is."""

    mode: Literal["off", "dry-run", "automatic"] = "automatic"
    """off judges nothing; dry-run judges and writes the ledger; automatic also promotes."""
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
        asked = {*rules.floors, *rules.guards, *([rules.primary] if rules.primary else [])}
        if wrong := sorted(asked & OF_A_VAE):
            raise ValueError(f"a GAN has no {', '.join(wrong)}; judge it by its samples, such as frechet_distance")
        return rules

    @field_validator("mode", mode="before")
    @classmethod
    def off_is_a_word(cls, value: object) -> object:
        """YAML reads a bare off as false."""
        return "off" if value is False else value


class Config(Section):
    """A whole project."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """Name: the folder under data/, the MLflow experiment, and the first half of the models' names."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Every random draw descends from it, but for the splits' and the extractor's."""
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    extractor: ExtractorConfig = ExtractorConfig()
    vae: VaeConfig = VaeConfig()
    gan: GanConfig = GanConfig()
    reward: RewardConfig = RewardConfig()
    align: AlignConfig = AlignConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()

    def model_name(self, kind: str) -> str:
        """The registered model's name, such as digits-vae."""
        return f"{self.project}-{kind}"


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Config:
    """Reads a project file; `overrides` maps dotted keys to YAML values that replace its own.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or a value is not accepted.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = (
            f"did you mean {path.with_name(near[0])}?"
            if near
            else "run the command where params.yaml is, or name a project file"
        )
        raise ConfigError(f"there is no project file {path}; {hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds {type(raw).__name__}, wanted keys and values such as 'project: digits'")
    for key, text in (overrides or {}).items():
        _set(raw, key, text)
    return parse(raw, str(path))


def parse(raw: Mapping[str, Any], origin: str = "the project") -> Config:
    """The configuration that `raw` describes; errors speak of `origin`.

    Example:
        >>> parse({"project": "digits", "vae": {"widht": 8}})
        Traceback (most recent call last):
        regen.core.errors.ConfigError: the project: unknown key vae.widht; did you mean vae.width?
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_explain(dict(e)) for e in error.errors())) from None


def _explain(error: dict[str, Any]) -> str:
    where = [str(part) for part in error["loc"] if part != "[key]"]
    dotted = ".".join(where)
    if error["type"] == "extra_forbidden":
        known = list(keys())
        section = "".join(f"{part}." for part in where[:-1])
        inside = {key.removeprefix(section): key for key in known if key.startswith(section)}
        namesakes = [key for key in known if key.split(".")[-1] == where[-1]]
        near = sorted(namesakes, key=lambda key: -len({*key.split(".")} & {*where}))[:1]
        near = near or [inside[name] for name in get_close_matches(where[-1], inside, n=1, cutoff=0.6)]
        near = near or get_close_matches(dotted, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known ones: {', '.join(known)}"
        return f"unknown key {dotted}; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{dotted} is missing"
    met = error["input"]
    return f"{dotted}: {message[0].lower()}{message[1:]}" + (f", got {met!r}" if not isinstance(met, dict) else "")


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key the project file knows, dotted, sections included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")


def _set(raw: dict[str, Any], dotted: str, text: str) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        inner = raw.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {dotted}: {section} is no section")
        raw = inner
    try:
        raw[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {dotted}: {text!r} is not a YAML value") from None
