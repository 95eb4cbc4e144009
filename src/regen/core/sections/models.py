"""The machine that trains, and each model."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from regen.core.sections.base import Count, Network, Positive, Section, Share

Likelihood = Literal["gaussian", "bernoulli"]
GanLoss = Literal["r3", "ns", "ns-r1", "hinge", "wgan-gp"]


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
    pool: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    """The Prefect work pool whose workers train, such as gpu; in place when absent. It needs a named device."""

    @model_validator(mode="after")
    def names_the_pools_device(self) -> "TrainingConfig":
        """Refuses a pool with device auto: what that comes to on another machine cannot be told from this one."""
        if self.pool is not None and self.device == "auto":
            raise ValueError("pool needs device to be the one that its workers have, such as cuda, not auto")
        return self

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
