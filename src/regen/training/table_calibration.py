"""What a trained generator of tables makes of each column, moved to how the real rows are distributed; no weight changes.

A number goes from its place among what is made to the same place among what is real; the logits of a code are shifted
until its shares are the real ones. How columns hang together stays as it was learnt, since both are monotone.
"""

import numpy as np
import torch
from torch import Tensor

from regen.core.seeds import derive
from regen.data.encoding import Encoded
from regen.models.table_gan import CHUNK, KNOTS, TableGenerator

MADE = 20_000
"""Rows that are made to see how each column is distributed."""
ROUNDS = 10
"""Shifts of the logits."""
LEAST_SHARE = 1e-5
"""Added to shares before their ratio is taken."""


@torch.no_grad()
def calibrate(generator: TableGenerator, rows: Encoded, seed: int, *, numbers: bool) -> None:
    """Fits the shifts of the codes' logits, the label's among them, and if so told the maps of the numbers."""
    layout, device = generator.layout, generator.owners.device
    rng = torch.Generator().manual_seed(derive(seed, "table gan", "calibration"))
    wanted = _shares(rows, layout.sizes).to(device)
    if generator.label is not None:
        first = generator.positions.start - layout.n_numbers
        generator.label_shares.copy_(wanted[first : first + len(generator.label_shares)])
    known, given = generator.first_label(rng, *generator.nothing(MADE))
    latents = torch.randn(MADE, generator.latent_dim, generator=rng).to(device)
    noise = torch.rand(MADE, layout.size - layout.n_numbers, generator=rng).to(device)
    chunks = zip(latents.split(CHUNK), known.split(CHUNK), given.split(CHUNK), strict=True)
    raw = torch.cat([generator.raw(*some) for some in chunks])
    for _ in range(ROUNDS):
        shares = generator.draw(raw, noise, known, given)[:, layout.n_numbers :].mean(dim=0)
        generator.shift += ((wanted + LEAST_SHARE) / (shares + LEAST_SHARE)).log()
    made = layout.split(generator.draw(raw, noise, known, given))
    levels = np.linspace(0, 1, KNOTS)
    flags = {number: layout.offsets.index(position - 1) for number, position in layout.masks}
    for place in range(layout.n_numbers if numbers else 0):
        parts = [
            table.numbers[:, place][table.codes[:, flags[place]] == 0] if place in flags else table.numbers[:, place]
            for table in (made, rows)
        ]
        if all(map(len, parts)):
            for buffer, part in zip((generator.made, generator.real), parts, strict=True):
                buffer[place] = torch.from_numpy(np.quantile(part, levels))
    if generator.label is not None:
        made_rows = torch.cat([generator.make(CHUNK, rng, *generator.nothing(CHUNK)) for _ in range(MADE // CHUNK + 1)])
        logits = generator.label_logits(made_rows)
        for _ in range(ROUNDS):
            shares = (logits + generator.label_shift).softmax(dim=1).mean(dim=0)
            generator.label_shift += ((generator.label_shares + LEAST_SHARE) / (shares + LEAST_SHARE)).log()


def _shares(rows: Encoded, sizes: tuple[int, ...]) -> Tensor:
    found = [np.bincount(codes, minlength=size) / len(rows) for codes, size in zip(rows.codes.T, sizes, strict=True)]
    return torch.from_numpy(np.concatenate([np.zeros(0), *found])).float()
