"""A review of a registered model: its samples are drawn anew from their seeds, its files named by their digests."""

import hashlib
import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from regen.core.errors import ConfigError, DataError, RegistryError
from regen.core.workspace import Workspace
from regen.models.networks import to_pixels
from regen.preferences import campaigns, export, people, voting
from regen.preferences.tables import Choice, Kind
from regen.registry import packaging
from regen.stages import drawing, review
from regen.stages.simulate import simulate_votes
from tests.unit.registry.conftest import made_store, store  # noqa: F401  # fixtures


@pytest.fixture
def registered(store):  # noqa: F811
    """A store of models with a fresh version of each kind."""
    versions = {kind: store.register(f"review-{kind}", kind) for kind in ("gan", "vae")}
    return store.workspace, versions


@pytest.fixture
def votes(tmp_path, monkeypatch):
    monkeypatch.setenv(review.ADDRESS, f"sqlite:///{tmp_path / 'votes.db'}")
    opened = review.open_store(None)
    yield opened
    opened.close()


def shown_samples(votes, campaign):
    person = people.of_token(votes, people.add(votes, "looker", days=None))
    while (pair := voting.next_pair(votes, campaign, person, lambda sample: True)) is not None:
        yield from (pair.left, pair.right)
        voting.record(votes, person, pair.assignment, Choice.TIE, f"key-{pair.assignment}".ljust(16, "x"))


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_every_sample_is_a_file_by_its_digest_that_its_seed_draws_again(registered, votes, kind):
    workspace, versions = registered
    opened = review.open_review(workspace, votes, f"{versions[kind].model}/{versions[kind].number}", seed=0, n_pairs=10)
    network = packaging.load_network(kind, versions[kind].uri)

    samples = list(shown_samples(votes, opened.campaign.id))

    assert len(samples) == 20
    for sample in samples:
        content = (drawing.images_folder(workspace) / f"{sample.sha256}.png").read_bytes()
        assert hashlib.sha256(content).hexdigest() == sample.sha256
        pixels = to_pixels(network.sample(1, torch.Generator().manual_seed(sample.seed)))[0]
        found = np.asarray(Image.open(io.BytesIO(content)))[..., None]
        if sample.meta.get("spoilt"):
            assert sorted(found.ravel()) == sorted(pixels.ravel())
            assert (found != pixels).any()
        else:
            np.testing.assert_array_equal(found, pixels)
        assert Image.open(io.BytesIO(content)).info == {}


def test_a_known_pair_prefers_the_sample_to_its_spoilt_copy(registered, votes):
    workspace, versions = registered
    opened = review.open_review(workspace, votes, f"{versions['gan'].model}/{versions['gan'].number}", 0, n_pairs=20)
    spoilt = {sample.sha256 for sample in shown_samples(votes, opened.campaign.id) if sample.meta.get("spoilt")}

    known = export.votes(votes)
    known = known[known.gold]

    assert len(known) == 2
    for row in known.itertuples():
        worse = row.sample_b if row.gold_choice == -1 else row.sample_a
        assert worse in spoilt
        assert row.seed_a == row.seed_b


def test_a_second_call_goes_on_and_a_closed_campaign_makes_room_for_another(registered, votes):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"
    first = review.open_review(workspace, votes, reference, 0, n_pairs=6, need=2)

    again = review.open_review(workspace, votes, reference, 0)
    campaigns.close(votes, first.campaign.id)
    second = review.open_review(workspace, votes, reference, 0, n_pairs=6)

    assert first.is_new
    assert people.of_token(votes, first.token).name == first.reviewer == "reviewer-1"
    assert (again.campaign.id, again.is_new, again.token) == (first.campaign.id, False, "")
    assert second.campaign.id != first.campaign.id
    seeds = [{row["a"] for row in campaigns.tasks(votes, number)} for number in (first.campaign.id, second.campaign.id)]
    assert not seeds[0] & seeds[1]  # other samples


def test_a_disagreement_on_pictures_chooses_half_the_pairs(registered, votes):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"

    def contrast(images_a, images_b):
        return (images_a - images_b).square().mean(dim=(1, 2, 3))

    opened = review.open_review(workspace, votes, reference, 0, 40, disagreement=contrast)

    tasks = [row for row in campaigns.tasks(votes, opened.campaign.id) if row["repeat_of"] is None]
    seen = drawing.read_pictures(drawing.images_folder(workspace), {row[side] for row in tasks for side in ("a", "b")})
    found = {
        word: [float(contrast(seen[row["a"]][None], seen[row["b"]][None])) for row in tasks if row["strategy"] == word]
        for word in ("disagreement", "random", "gold")
    }
    assert [len(scores) for scores in found.values()] == [16, 18, 4]  # 27 trained on and 7 held out, each halved
    assert np.median(found["disagreement"]) > np.quantile(found["random"], 0.75)


def test_other_numbers_than_it_was_opened_with_are_refused(registered, votes):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"
    number = review.open_review(workspace, votes, reference, 0, n_pairs=6).campaign.id

    with pytest.raises(
        ConfigError, match=f"is open with 6 pairs for 1 each, not 7 for 1; leave .* 'regen votes close {number}'"
    ):
        review.open_review(workspace, votes, reference, 0, n_pairs=7)


def test_a_model_there_is_none_of_is_told(registered, votes):
    with pytest.raises(RegistryError, match="there is no model ghost"):
        review.open_review(registered[0], votes, "ghost", 0)


def test_a_shuffled_picture_has_the_same_pixels():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)

    found = drawing.shuffled(pixels, np.random.default_rng(0))

    assert found.shape == pixels.shape
    assert {tuple(pixel) for pixel in found.reshape(-1, 3)} == {tuple(pixel) for pixel in pixels.reshape(-1, 3)}
    assert (found != pixels).any()


def test_guidelines_come_from_a_text_file(tmp_path):
    path = tmp_path / "guidelines.txt"
    path.write_text("Look at the strokes.\n", encoding="utf-8")

    assert review.read_guidelines(path) == "Look at the strokes.\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "are empty"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a\x00b", "empty or no text"),
    ],
)
def test_guidelines_that_are_no_text_are_refused(tmp_path, content, said):
    path = tmp_path / "guidelines.txt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=said):
        review.read_guidelines(path)


def test_votes_go_out_to_a_file_and_come_back(registered, votes, tmp_path):
    workspace, versions = registered
    opened = review.open_review(workspace, votes, f"{versions['gan'].model}/{versions['gan'].number}", 0, n_pairs=6)
    list(shown_samples(votes, opened.campaign.id))

    done = review.export_votes(workspace, votes, None, "parquet", tmp_path / "v.parquet", training=False)

    assert done == review.Exported(tmp_path / "v.parquet", opened.campaign.id, 6, 6, 1, is_recorded=False)
    assert review.import_votes(votes, done.file) == (0, 6)


def test_an_export_without_a_name_keeps_out_of_the_folder_that_dvc_records(registered, votes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace, versions = registered
    opened = review.open_review(workspace, votes, f"{versions['gan'].model}/{versions['gan'].number}", 0, n_pairs=6)
    list(shown_samples(votes, opened.campaign.id))

    files = {
        form: review.export_votes(workspace, votes, None, form, None, training=False).file for form in review.FORMATS
    }
    (workspace.root / "votes.dvc").touch()
    kept = review.export_votes(workspace, votes, None, "jsonl", workspace.root / "votes" / "v.jsonl", training=False)

    assert sorted(path.name for path in tmp_path.glob("campaign-*")) == sorted(map(str, files.values()))
    assert len(set(files.values())) == len(review.FORMATS)
    assert kept.is_recorded


def test_an_export_says_how_many_votes_a_format_cannot_hold(registered, votes, tmp_path):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"
    number = review.open_review(workspace, votes, reference, 0, n_pairs=40).campaign.id
    simulate_votes(workspace, votes, number, 1, seed=0)
    held = export.votes(votes)

    done = review.export_votes(workspace, votes, number, "trl", tmp_path / "v.jsonl", training=False)

    assert done.votes == len(held) == 40
    assert done.written == len(done.file.read_text().splitlines())
    assert done.written == ((held.choice != 0) & ~held.gold & ~held.repeat).sum() < 40


def test_simulated_people_judge_all_of_it_by_their_taste_and_never_hastily(registered, votes):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"
    number = review.open_review(workspace, votes, reference, 0, n_pairs=20, need=2).campaign.id

    cast = simulate_votes(workspace, votes, number, 2, seed=0)

    found = export.votes(votes)
    assert cast == len(found) == 40
    assert set(found.annotator) == {"simulated-1", "simulated-2"}
    assert not found.fast.any()
    assert (found[found.gold].choice == found[found.gold].gold_choice).all()
    assert len(set(found.choice)) > 1
    assert simulate_votes(workspace, votes, number, 2, seed=0) == 0


def test_pictures_are_read_by_their_digests_and_those_that_are_gone_left_out(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    digest = drawing.write_picture(tmp_path, pixels, "m", 1, 0).sha256

    found = drawing.read_pictures(tmp_path, [digest, "0" * 64])

    assert list(found) == [digest]
    np.testing.assert_array_equal(to_pixels(found[digest][None])[0], pixels)


def test_nothing_is_simulated_without_pictures(registered, votes):
    workspace, versions = registered
    reference = f"{versions['gan'].model}/{versions['gan'].number}"
    number = review.open_review(workspace, votes, reference, 0, n_pairs=6).campaign.id

    with pytest.raises(DataError, match="a taste is formed on 2 or more images"):
        simulate_votes(Workspace(workspace.root / "elsewhere"), votes, number, 1, seed=0)


def test_rows_of_a_table_are_judged_side_by_side(registered, votes, monkeypatch):
    class Rows:
        def sample(self, n, generator):
            numbers = torch.rand(n, 2, generator=generator).numpy()
            return pd.DataFrame({"age": (numbers[:, 0] * 80).astype(int), "hours": numbers[:, 1]})

    workspace, versions = registered
    monkeypatch.setattr(packaging, "load_network", lambda kind, uri: Rows())

    opened = review.open_review(
        workspace, votes, f"{versions['gan'].model}/{versions['gan'].number}", 0, n_pairs=20, disagreement=fails
    )

    samples = list(shown_samples(votes, opened.campaign.id))
    assert {sample.kind for sample in samples} == {Kind.ROW}
    assert all(set(sample.meta) == {"age", "hours"} for sample in samples)
    found = export.votes(votes)
    assert found.gold.sum() == 2
    assert found.values_a.notna().all()


def fails(images_a, images_b):
    raise AssertionError("a reward of pictures was asked about rows")


def test_a_campaign_about_two_versions_is_another_than_that_about_one(registered, votes):
    workspace, versions = registered
    mine, theirs = (f"{versions[kind].model}/{versions[kind].number}" for kind in ("gan", "vae"))

    alone = review.open_review(workspace, votes, mine, 0, n_pairs=8, invites=False)
    both = review.open_review(workspace, votes, mine, 0, n_pairs=8, against=theirs)
    again = review.open_review(workspace, votes, mine, 0, against=theirs)

    assert (alone.reviewer, alone.token, people.everyone(votes)[0].name) == ("", "", both.reviewer)
    assert both.campaign.subject == f"{mine} against {theirs}"
    assert again.campaign.id == both.campaign.id != alone.campaign.id
    asked = export.votes(votes, both.campaign.id)
    assert asked.empty
    shown = [sample.model for sample in shown_samples(votes, both.campaign.id) if not sample.meta.get("spoilt")]
    assert set(shown) == {versions["gan"].model, versions["vae"].model}


def test_a_version_against_itself_is_refused(registered, votes):
    workspace, versions = registered
    model, number = versions["gan"].model, versions["gan"].number

    with pytest.raises(
        ConfigError, match=f"{model}/{number} and {model}/0{number} are one version, {model}/{number}; name"
    ):
        review.open_review(workspace, votes, f"{model}/{number}", 0, n_pairs=8, against=f"{model}/0{number}")

    assert campaigns.every(votes) == []
    assert people.everyone(votes) == []


def test_votes_do_not_go_out_to_a_folder(registered, votes, tmp_path):
    workspace, versions = registered
    review.open_review(workspace, votes, f"{versions['gan'].model}/{versions['gan'].number}", 0, n_pairs=6)

    with pytest.raises(ConfigError, match=r"is a folder; name a file, such as .*campaign-1\.jsonl"):
        review.export_votes(workspace, votes, None, "jsonl", tmp_path, training=False)
