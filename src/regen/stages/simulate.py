"""Lets simulated people of a known taste judge a campaign, so that the way from votes to a tuned model runs by itself."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxtyping import Float

from regen.core.seeds import derive
from regen.core.workspace import Workspace
from regen.preferences import campaigns, people, voting
from regen.preferences.store import Clock, Store
from regen.preferences.tables import Choice
from regen.preferences.voting import Shown
from regen.stages.drawing import images_folder, read_pictures
from regen.stages.votes import SIMULATED

if TYPE_CHECKING:
    from torch import Tensor

    from regen.preferences.simulate import Annotator

THOUGHT_MS = 1000


def simulate_votes(workspace: Workspace, store: Store, number: int, n_people: int, seed: int) -> int:
    """Lets simulated people judge a campaign's pictures until none is left for them; gives back how many votes they cast.

    Their taste is known: strokes heavier than usual, but not too heavy. A known pair they answer rightly.

    Raises:
        DataError: the pictures are gone, or all have the same stroke mass.
    """
    import torch

    from regen.preferences.simulate import Annotator

    rows = campaigns.tasks(store, number)
    seen = read_pictures(images_folder(workspace), sorted({row[side] for row in rows for side in ("a", "b")}))
    plain = [seen[row[side]] for row in rows if row["gold"] is None for side in ("a", "b") if row[side] in seen]
    taste = Annotator.of(torch.stack(plain) if plain else torch.zeros(0, 1, 1, 1), seed)
    clock = _Thinking(store.clock)
    slow = replace(store, clock=clock)
    votes = 0
    for name in (f"{SIMULATED}{i + 1}" for i in range(n_people)):
        person = next((one for one in people.everyone(store) if one.name == name), None)
        person = person or people.of_token(store, people.add(store, name))
        while True:
            clock.is_before = True
            pair = voting.next_pair(slow, number, person, lambda sample: sample.sha256 in seen)
            if pair is None:
                break
            clock.is_before = False
            choice = _choose(taste, pair, seen, derive(seed, name, pair.assignment))
            voting.record(slow, person, pair.assignment, choice, f"simulated-{number}-{pair.assignment}".ljust(16, "-"))
            votes += 1
    return votes


@dataclass
class _Thinking:
    """A clock by which a pair was shown a second before it is judged, so that no simulated vote counts as hasty."""

    clock: Clock
    is_before: bool = True

    def __call__(self) -> int:
        return self.clock() - THOUGHT_MS * self.is_before


def _choose(taste: "Annotator", pair: Shown, seen: "dict[str, Float[Tensor, 'c h w']]", seed: int) -> Choice:
    if pair.left.meta.get("spoilt") or pair.right.meta.get("spoilt"):
        return Choice.RIGHT if pair.left.meta.get("spoilt") else Choice.LEFT
    said = taste.choose(seen[pair.left.sha256][None], seen[pair.right.sha256][None], seed)
    if bool(said.both_bad[0]):
        return Choice.BOTH_BAD
    return {-1: Choice.LEFT, 0: Choice.TIE, 1: Choice.RIGHT}[int(said.choice[0])]
