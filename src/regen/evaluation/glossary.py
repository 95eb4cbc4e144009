"""What people read of each figure: its name, what it means in a few words, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One figure's words."""

    label: str
    meaning: str
    higher_is_better: bool

    @property
    def better(self) -> str:
        """Which way is better, as a word."""
        return "higher" if self.higher_is_better else "lower"


GLOSSARY: dict[str, Entry] = {
    "anomaly_auc": Entry(
        "ROC-AUC", "Chance that an anomaly scores above a normal row; 0.5 is guessing, 1 is perfect.", True
    ),
    "anomaly_ap": Entry(
        "Average precision", "Share of true anomalies among the alarms, averaged over recalls; 1 is perfect.", True
    ),
    "anomaly_recall_fpr1": Entry(
        "Recall at 1 % false alarms", "Share of the anomalies found if 1 % of the normal rows may raise an alarm.", True
    ),
    "anomaly_recall_fpr01": Entry(
        "Recall at 0.1 % false alarms",
        "Share of the anomalies found if 0.1 % of the normal rows may raise an alarm.",
        True,
    ),
    "anomaly_precision_top_k": Entry(
        "Precision of the day’s top alerts",
        "Share of anomalies among the highest-scored rows of each day, as many as people can look into; mean over days.",
        True,
    ),
    "column_error": Entry(
        "Reconstruction error a column",
        "Mean over columns: of numbers the absolute error in standard deviations, of categories the share that differs.",
        False,
    ),
    "column_shapes": Entry(
        "Column shapes", "Likeness of each column’s distribution to the real one, mean over columns; 1 is equal.", True
    ),
    "pair_trends": Entry(
        "Pair trends", "Likeness of how each two columns go together, mean over pairs; 1 is equal.", True
    ),
    "utility_auc": Entry(
        "Utility: ROC-AUC", "What trees that learnt from synthetic rows alone reach on real test rows.", True
    ),
    "utility_f1": Entry(
        "Utility: macro-F1", "The same trees’ F1, mean over the label’s values; rare ones count as much as frequent.", True
    ),
    "told_apart_auc": Entry(
        "Told apart from real rows",
        "ROC-AUC of trees that learn which rows are synthetic; 0.5 cannot tell, 1 always can.",
        False,
    ),
    "closer_than_control": Entry(
        "Closer to training rows than unseen rows are",
        "How often a synthetic row’s closest training row is closer than that of an unseen real row; ½ is best, 1 copies.",
        False,
    ),
    "copies": Entry("Copies of training rows", "Share of synthetic rows equal to some training row.", False),
    "reconstruction_mse": Entry(
        "Reconstruction MSE", "Mean squared pixel error after encoding and decoding; pixels run from 0 to 1.", False
    ),
    "reconstruction_psnr": Entry(
        "Reconstruction PSNR, dB", "The same error on a logarithmic scale; 20 dB is an error of a tenth.", True
    ),
    "reconstruction_ssim": Entry(
        "Reconstruction SSIM", "Likeness of local structure between original and reconstruction; 1 is identical.", True
    ),
    "negative_elbo_bits": Entry(
        "−ELBO, bits per dimension", "Upper bound on the bits that a pixel costs under the model.", False
    ),
    "iwae_bits": Entry(
        "−IWAE bound, bits per dimension", "A tighter upper bound on the same, from many latent draws an image.", False
    ),
    "frechet_distance": Entry(
        "Fréchet distance", "How far generated features are from real ones, in mean and spread; 0 is no difference.", False
    ),
    "kid": Entry(
        "Kernel distance (KID)", "The same question without assuming Gaussians; 0, or a little below, is best.", False
    ),
    "precision": Entry("Precision of samples", "Share of the samples that lie where real images lie.", True),
    "recall": Entry("Recall of modes", "Share of the real images that lie where samples lie; low if modes are missing.", True),
    "density": Entry(
        "Density", "How thick with real images it is around samples; 1 is as among real ones.", True
    ),
    "coverage": Entry("Coverage of real rows", "Share of the real images with a sample close by.", True),
    "class_shift": Entry(
        "Class shift", "Share of the samples that would have to change class for the real balance; 0 is balanced.", False
    ),
    "memorisation": Entry(
        "Memorisation",
        "Share of the samples nearer to a training image than to as many unseen ones, less ½; 0 copies nothing, ½ all.",
        False,
    ),
    "preference_win_rate": Entry(
        "Preference win rate", "Share of people's choices that fell on this model; 0.5 is a draw.", True
    ),
}  # fmt: skip
"""Every figure that the report may be given."""
