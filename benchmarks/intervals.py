"""Intervals: how often the 95 % interval of each figure holds the truth, and how wide it is.

Data sets are drawn again and again from populations whose Fréchet distance, ROC-AUC and average precision are known. The
interval is to hold the known value 92 to 98 times in 100, and its mean width to be at most 1.3 times that of an oracle,
which knows how the figure is distributed over data sets: the central 95 % of it. Beside it stands the percentile bootstrap
of the same resamples. Paired differences of two models are judged alike.

    python benchmarks/intervals.py [--quick] [--json] [--replicates 200] [--draws 200] [--jobs 2] [--seed 0]
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from regen.evaluation.anomaly import measure_detection
from regen.evaluation.frechet import Gaussian, frechet_distance, measure_frechet
from regen.evaluation.intervals import Difference, Replicated
from regen.evaluation.ranking import Ranking

CONFIDENCE = 0.95
METRICS = {"auc": "anomaly_auc", "ap": "anomaly_ap"}
TARGETS = {"coverage_least": 0.92, "coverage_most": 0.98, "width_ratio_most": 1.3}
Draw = Callable[[np.random.Generator, int], np.ndarray]


class Kind(NamedTuple):
    """Anomalies and normal rows of one sort, by what draws their scores."""

    anomalies: int
    normal: int
    draw_anomalies: Draw
    draw_normal: Draw


def _normal(mean: float, deviation: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, deviation, n)


DETECTION = {
    "20 of 420, normal": Kind(20, 400, _normal(2.2), _normal(0)),
    "40 of 440, spread wider": Kind(40, 400, _normal(2.6, 1.2), _normal(0)),
    "44 of 443, gamma": Kind(44, 399, lambda rng, n: rng.gamma(6, 1, n), lambda rng, n: rng.gamma(2, 1, n)),
    "50 of 450, hard": Kind(50, 400, _normal(0.8), _normal(0)),
    "30 of 430, easy": Kind(30, 400, _normal(3.3), _normal(0)),
    "40 of 440, 15 % hidden": Kind(
        40, 400, lambda rng, n: rng.normal(np.where(rng.random(n) < 0.15, 0.5, 4.0), 1), _normal(0)
    ),
    "30 of 430, heavy tails": Kind(
        30, 400, lambda rng, n: 2.5 + rng.standard_t(3, n), lambda rng, n: rng.standard_t(3, n)
    ),
}
PAIRED = {
    "20 of 420": (20, 400, 2.2, 2.6, 0.7),
    "44 of 443": (44, 399, 2.2, 2.6, 0.8),
    "equal": (30, 400, 2.2, 2.2, 0.7),
}
"""Anomalies, normal rows, how far each model sets them apart, and the correlation of the two models' scores."""


@dataclass(frozen=True)
class Mixture:
    """Clusters of features; one cluster is a Gaussian."""

    weights: np.ndarray  # (k,)
    means: np.ndarray  # (k, d)
    factors: np.ndarray  # (k, d, d) Cholesky factors of the covariances

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` rows."""
        chosen = rng.multinomial(n, self.weights)
        parts = [
            mean + rng.normal(size=(count, len(mean))) @ factor.T
            for mean, factor, count in zip(self.means, self.factors, chosen, strict=True)
        ]
        return np.concatenate(parts)

    def moments(self) -> Gaussian:
        """Mean and covariance, exactly."""
        mean = self.weights @ self.means
        within = np.einsum("k,kij,klj->il", self.weights, self.factors, self.factors)
        return Gaussian(mean, within + (self.means - mean).T * self.weights @ (self.means - mean))


class Pair(NamedTuple):
    """A real and a fake population, and how much is drawn of each."""

    real: Mixture
    fake: Mixture
    rows: int
    sets: int


def gaussians(d: int, shift: float, scale: float) -> tuple[Mixture, Mixture]:
    """Two Gaussians whose variances fall off as 1/k, apart in mean, in variances and a little in directions."""
    rng = np.random.default_rng(0)
    variances = 10 / np.arange(1, d + 1)
    turned = np.linalg.qr(rng.normal(size=(d, d)))[0]
    turned_more = np.linalg.qr(turned + 0.1 * rng.normal(size=(d, d)))[0]
    others = variances * scale ** rng.choice([-1, 1], d)
    made = []
    for mean, axes, spread in (
        (np.zeros(d), turned, variances),
        (shift * np.sqrt(variances) * rng.normal(size=d), turned_more, others),
    ):
        made.append(Mixture(np.ones(1), mean[None], np.linalg.cholesky(axes * spread @ axes.T)[None]))
    return made[0], made[1]


def clusters(d: int, moved: float, scale: float) -> tuple[Mixture, Mixture]:
    """Ten clusters, as a classifier's features have, and the same ones moved, scaled and weighted otherwise."""
    rng = np.random.default_rng(1)
    means, loadings = 2 * rng.normal(size=(10, d)), 0.5 * rng.normal(size=(10, d, 6))
    factors = np.linalg.cholesky(loadings @ loadings.transpose(0, 2, 1) + 0.1 * np.eye(d))
    elsewhere = means + moved * rng.normal(size=means.shape)
    return (
        Mixture(np.full(10, 0.1), means, factors),
        Mixture(rng.dirichlet(np.full(10, 20.0)), elsewhere, np.sqrt(scale) * factors),
    )


FRECHET = {
    "Gaussians, d 32, n 443, 1 set": Pair(*gaussians(32, 0.2, 1.3), 443, 1),
    "clusters, d 32, n 443, 16 sets": Pair(*clusters(32, 0.6, 0.8), 443, 16),
    "clusters, d 32, n 443, 4 sets, near": Pair(*clusters(32, 0.3, 0.9), 443, 4),
    "clusters, d 64, n 1,000, 1 set": Pair(*clusters(64, 0.4, 0.9), 1000, 1),
    "Gaussians, d 64, n 2,000, 1 set": Pair(*gaussians(64, 0.1, 1.2), 2000, 1),
}


@dataclass
class Tally:
    """How often intervals held a truth, and how wide they were, beside the oracle's width."""

    truth: float
    oracle: float
    below: list[bool] = field(default_factory=list)
    above: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def add(self, low: float, high: float) -> None:
        """Counts one interval."""
        self.below.append(self.truth < low)
        self.above.append(self.truth > high)
        self.widths.append(high - low)

    @property
    def coverage(self) -> float:
        """Share of the intervals that held the truth."""
        return 1 - float(np.mean(self.below) + np.mean(self.above))

    @property
    def width_ratio(self) -> float:
        """Mean width over the oracle's."""
        return float(np.mean(self.widths)) / self.oracle


class Row(NamedTuple):
    """One population's result."""

    figure: str
    population: str
    ours: Tally
    plain: Tally


def _central(values: Sequence[float] | np.ndarray) -> float:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(high - low)


def _add(row: Row, figure: Replicated | Difference, plain: np.ndarray) -> None:
    found = figure.estimate(CONFIDENCE)
    row.ours.add(found.low, found.high)
    row.plain.add(*map(float, np.quantile(plain, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])))


def _row(figure: str, population: str, truth: float, oracle: float) -> Row:
    return Row(figure, population, Tally(truth, oracle), Tally(truth, oracle))


def population_figures(kind: Kind, rng: np.random.Generator, rows: int = 1_000_000) -> dict[str, float]:
    """AUC and AP at the data sets' own share of anomalies, from very many rows."""
    anomalies = np.sort(kind.draw_anomalies(rng, rows))[::-1]
    rates = 1 - np.searchsorted(np.sort(kind.draw_normal(rng, rows)), anomalies) / rows
    hits = kind.anomalies * np.arange(1, rows + 1) / rows
    return {"auc": float(1 - rates.mean()), "ap": float((hits / (hits + kind.normal * rates)).mean())}


def detection(name: str, replicates: int, draws: int, seed: int) -> list[Row]:
    """AUC and AP of one population."""
    kind, rng = DETECTION[name], np.random.default_rng([seed, 1])
    truth = population_figures(kind, np.random.default_rng([seed, 2]))
    is_anomaly = np.arange(kind.anomalies + kind.normal) < kind.anomalies

    def drawn() -> np.ndarray:
        return np.concatenate([kind.draw_anomalies(rng, kind.anomalies), kind.draw_normal(rng, kind.normal)])

    many = [Ranking.of(drawn(), is_anomaly) for _ in range(20 * replicates)]
    oracles = {
        "auc": _central([float(one.auc()[0]) for one in many]),
        "ap": _central([float(one.average_precision()[0]) for one in many]),
    }
    found = {short: _row(short, name, truth[short], oracles[short]) for short in METRICS}
    for repeat in range(replicates):
        measured = measure_detection(drawn(), is_anomaly, draws, repeat)
        for short, metric in METRICS.items():
            _add(found[short], measured[metric], measured[metric].replicates)  # type: ignore[index]
    return list(found.values())


def differences(name: str, replicates: int, draws: int, seed: int) -> list[Row]:
    """The paired difference of two models' AUC and AP on the same rows."""
    anomalies, normal, first, second, shared = PAIRED[name]
    rng, is_anomaly = np.random.default_rng([seed, 3]), np.arange(anomalies + normal) < anomalies
    one, other = (
        population_figures(Kind(anomalies, normal, _normal(apart), _normal(0)), np.random.default_rng([seed, 4]))
        for apart in (first, second)
    )

    def drawn() -> list[np.ndarray]:
        common = rng.normal(size=len(is_anomaly))
        mixed = (np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=len(is_anomaly)) for _ in range(2))
        return [scores + apart * is_anomaly for scores, apart in zip(mixed, (first, second), strict=True)]

    many = [[Ranking.of(scores, is_anomaly) for scores in drawn()] for _ in range(20 * replicates)]
    oracles = {
        "auc": _central([float(b.auc()[0] - a.auc()[0]) for a, b in many]),
        "ap": _central([float(b.average_precision()[0] - a.average_precision()[0]) for a, b in many]),
    }
    found = {short: _row(f"{short}_difference", name, other[short] - one[short], oracles[short]) for short in METRICS}
    for repeat in range(replicates):
        champion, candidate = (measure_detection(scores, is_anomaly, draws, repeat) for scores in drawn())
        for short, metric in METRICS.items():
            gain = candidate[metric].minus(champion[metric])  # type: ignore[index]
            _add(found[short], gain, gain.replicates)
    return list(found.values())


def frechet(name: str, replicates: int, draws: int, seed: int) -> list[Row]:
    """The Fréchet distance of one pair of populations; its truth is that of their exact moments."""
    pair, rng = FRECHET[name], np.random.default_rng([seed, 5])
    truth = frechet_distance(pair.real.moments(), pair.fake.moments())

    def drawn() -> tuple[np.ndarray, list[np.ndarray]]:
        return pair.real.draw(pair.rows, rng), [pair.fake.draw(pair.rows, rng) for _ in range(pair.sets)]

    def distance(real: np.ndarray, fakes: list[np.ndarray]) -> float:
        of_real = Gaussian.fit(real)
        return float(np.mean([frechet_distance(of_real, Gaussian.fit(fake)) for fake in fakes]))

    oracle = _central([distance(*drawn()) for _ in range(5 * replicates)])
    row = _row("frechet", name, truth, oracle)
    for repeat in range(replicates):
        measured = measure_frechet(*drawn(), draws, repeat)
        _add(row, measured, measured.replicates)
    return [row]


def frechet_difference(replicates: int, draws: int, seed: int) -> list[Row]:
    """The paired difference of two generators' Fréchet distances against the same real rows."""
    near, far = clusters(32, 0.3, 0.9), clusters(32, 0.6, 0.8)
    rng, n, sets = np.random.default_rng([seed, 6]), 443, 4
    better, worse = (frechet_distance(real.moments(), fake.moments()) for real, fake in (near, far))
    found: list[tuple[Difference, float]] = []
    for repeat in range(replicates):
        real = near[0].draw(n, rng)
        one, other = (
            measure_frechet(real, [fake.draw(n, rng) for _ in range(sets)], draws, repeat) for fake in (near[1], far[1])
        )
        found.append((one.minus(other), one.point - other.point))
    row = _row("frechet_difference", "clusters, d 32, n 443, 4 sets", better - worse, _central([p for _, p in found]))
    for gain, _ in found:
        _add(row, gain, gain.replicates)
    return [row]


def run(job: tuple[str, str], replicates: int, draws: int, seed: int) -> list[Row]:
    """One population, on one thread."""
    kind, name = job
    with threadpool_limits(1):
        if kind == "frechet_difference":
            return frechet_difference(replicates, draws, seed)
        return {"frechet": frechet, "detection": detection, "differences": differences}[kind](
            name, replicates, draws, seed
        )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 replicates of 100 draws")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--replicates", type=int, default=200, help="data sets a population")
    parser.add_argument("--draws", type=int, default=200, help="resamples a data set")
    parser.add_argument("--jobs", type=int, default=2, help="populations at a time")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn")
    options = parser.parse_args()
    replicates, draws = (40, 100) if options.quick else (options.replicates, options.draws)
    jobs = [("frechet", name) for name in FRECHET] + [("frechet_difference", "")]
    jobs += [("detection", name) for name in DETECTION] + [("differences", name) for name in PAIRED]
    print(f"seed {options.seed}, {replicates} data sets a population, {draws} resamples each", flush=True)
    started = time.perf_counter()
    print("".ljust(56) + "truth    holds it   below/above   width/oracle   plain: holds it   width/oracle")
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for found in pool.map(run, jobs, *([value] * len(jobs) for value in (replicates, draws, options.seed))):
            for row in found:
                ours, plain = row.ours, row.plain
                sides = f"{np.mean(ours.below):.3f}/{np.mean(ours.above):.3f}"
                print(
                    f"{row.figure:<20}{row.population:<36}{ours.truth:<9.4g}{ours.coverage:<11.3f}{sides:<14}"
                    f"{ours.width_ratio:<15.2f}{plain.coverage:<18.3f}{plain.width_ratio:.2f}",
                    flush=True,
                )
            rows += found
    figures: dict[str, float] = {}
    for name in dict.fromkeys(row.figure for row in rows):
        of_figure = [row for row in rows if row.figure == name]
        for suffix, tallies in (("", [r.ours for r in of_figure]), ("_plain", [r.plain for r in of_figure])):
            figures[f"coverage_{name}{suffix}"] = round(float(np.mean([one.coverage for one in tallies])), 4)
            figures[f"width_ratio_{name}{suffix}"] = round(float(np.mean([one.width_ratio for one in tallies])), 3)
        figures[f"coverage_{name}_least"] = round(min(row.ours.coverage for row in of_figure), 4)
        figures[f"width_ratio_{name}_most"] = round(max(row.ours.width_ratio for row in of_figure), 3)
        print(
            f"{name}: holds it {figures[f'coverage_{name}']:.3f} ({figures[f'coverage_{name}_plain']:.3f}), "
            f"width {figures[f'width_ratio_{name}']:.2f} ({figures[f'width_ratio_{name}_plain']:.2f}); plain in brackets"
        )
    print(f"{time.perf_counter() - started:.0f} s with {options.jobs} jobs")
    if options.json:
        print(json.dumps({"benchmark": "intervals", "figures": figures, "targets": TARGETS}))


if __name__ == "__main__":
    main()
