"""Numbers brought to scales that networks and distances can work with, and back.

Three views of a number: z-scores, which keep how far an outlier lies; normal scores of its rank (the quantile
transformation of Beasley et al., 2009), which spread what is crowded; and its place between least and largest, which
gives a rarely used column no more weight than others.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

KNOTS = 200
"""Most values of a column that its normal scores are interpolated between."""
FAR = 30.0
"""Beyond this many units a view grows by the logarithm, so that no number, however large, overflows."""


class Normaliser(nn.Module):
    """What is known of each column of numbers; fitted once, in float64, so that dates keep their seconds."""

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    whole: Tensor
    values: Tensor
    scores: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        for name, value in {"mean": 0.0, "scale": 1.0, "low": 0.0, "high": 1.0}.items():
            self.register_buffer(name, torch.full((columns,), value, dtype=torch.float64))
        self.register_buffer("whole", torch.zeros(columns, dtype=torch.bool))
        self.register_buffer("values", torch.zeros(columns, KNOTS, dtype=torch.float64))
        self.register_buffer("scores", torch.zeros(columns, KNOTS, dtype=torch.float64))

    def fit(self, numbers: Float64[Tensor, "n p"]) -> None:
        """Learns the columns from rows; NaN is left out, and a column without any value is taken for zeros."""
        for column, all_values in enumerate(numbers.T):
            present = all_values[~all_values.isnan()]
            if not len(present):
                present = torch.zeros(1, dtype=torch.float64, device=numbers.device)
            low, high = present.min(), present.max()
            scale = present.std(correction=0)
            self.mean[column], self.low[column], self.high[column] = present.mean(), low, high
            self.scale[column] = scale if scale > 0 else 1.0
            self.whole[column] = bool((present == present.round()).all())
            known, counts = present.unique(return_counts=True)
            ranks = (counts.cumsum(0) - counts / 2) / len(present)  # in the middle of equal ones
            kept = torch.linspace(0, len(known) - 1, KNOTS, device=known.device).round().long()
            self.values[column], self.scores[column] = known[kept], torch.special.ndtri(ranks[kept])

    def views(self, numbers: Float64[Tensor, "n p"]) -> list[Float64[Tensor, "n p"]]:
        """The three views of numbers: z-scores, normal scores, places."""
        return [self.z_scores(numbers), self.normal_scores(numbers), self.places(numbers)]

    def z_scores(self, numbers: Float64[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
        """Each number's distance from its column's mean, in standard deviations."""
        return tame((numbers - self.mean) / self.scale)

    def places(self, numbers: Float64[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
        """Where each number lies between the column's least (0) and its largest (1); may lie outside."""
        width = self.high - self.low
        return tame((numbers - self.low) / torch.where(width > 0, width, 1.0))

    def normal_scores(self, numbers: Float64[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
        """The standard normal quantile of each number's rank; outside the range it goes on by standard deviations."""
        inside = numbers.clamp(self.low, self.high)
        return tame(_interpolate(inside, self.values, self.scores) + (numbers - inside) / self.scale)

    def numbers_of(self, scores: Float[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
        """Numbers with these normal scores, within the range that was seen; whole where all of the column's were."""
        numbers = _interpolate(scores.double(), self.scores, self.values).clamp(self.low, self.high)
        return torch.where(self.whole, numbers.round(), numbers)


def tame(values: Float64[Tensor, "n p"]) -> Float64[Tensor, "n p"]:
    """The values, and beyond ±30 their logarithm; order is kept.

    Example:
        >>> tame(torch.tensor([[1.0, -30.0, 1e300]], dtype=torch.float64)).round().tolist()
        [[1.0, -30.0, 721.0]]
    """
    over = (values.abs() - FAR).clamp_min(0)
    return torch.where(over > 0, values.sign() * (FAR + over.log1p()), values)


def _interpolate(
    values: Float64[Tensor, "n p"], knots: Float64[Tensor, "p k"], at_knots: Float64[Tensor, "p k"]
) -> Float64[Tensor, "n p"]:
    """Piecewise linear functions, one a column, flat beyond their ends; knots may repeat."""
    if not values.numel():
        return values
    columns = values.T.contiguous()
    upper = torch.searchsorted(knots, columns).clamp(1, knots.shape[1] - 1)
    left, right = knots.gather(1, upper - 1), knots.gather(1, upper)
    start, end = at_knots.gather(1, upper - 1), at_knots.gather(1, upper)
    share = torch.where(right > left, (columns - left) / (right - left), 0.0).clamp(0, 1)
    share = torch.where(columns.isnan(), torch.nan, share)
    return (start + share * (end - start)).T
