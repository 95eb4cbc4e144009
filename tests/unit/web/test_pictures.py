"""Pictures of the campaign are served, and nothing else; a pair whose files are gone or changed is passed over."""

import os

import pytest

from regen.core import files
from regen.preferences import campaigns
from tests.reviews import CAMPAIGN, MODEL, SEED, pictures
from tests.unit.web.conftest import DIGEST


def test_pictures_of_the_campaign_are_served_for_long(ada):
    digest = DIGEST.findall(ada.get("/").text)[0]

    answer = ada.get(f"/img/{digest}")

    assert answer.headers["Content-Type"] == "image/png"
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("0" * 64, 404), ("0" * 63, 422), ("g" * 64, 422), ("A" * 64, 422), ("..%2f..%2fvotes.db", 404),
        ("0" * 64 + ".png", 422), ("../votes.db", 404),
    ],
)  # fmt: skip
def test_nothing_else_can_be_asked_for(ada, name, status):
    assert ada.get(f"/img/{name}").status_code == status


def test_a_picture_of_another_campaign_is_not_served(ada, review, tmp_path):
    stray = pictures(review.folder, 1, seed=5)[0]

    assert ada.get(f"/img/{stray.sha256}").status_code == 404


def test_a_pair_whose_file_was_deleted_is_passed_over(ada, review):
    first = DIGEST.findall(ada.get("/").text)
    (review.folder / f"{first[0]}.png").unlink()

    after = DIGEST.findall(ada.get("/").text)

    assert first[0] not in after
    assert ada.get(f"/img/{first[0]}").status_code == 404
    assert any(row["withdrawn"] for row in campaigns.tasks(review.store, review.campaign))


def test_a_picture_whose_file_was_changed_is_not_served(ada, review):
    digest = DIGEST.findall(ada.get("/").text)[0]
    (review.folder / f"{digest}.png").write_bytes(b"something else")

    assert ada.get(f"/img/{digest}").status_code == 404


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_pair_whose_file_is_damaged_is_passed_over(ada, review, content):
    first = DIGEST.findall(ada.get("/").text)
    (review.folder / f"{first[0]}.png").write_bytes(content)

    assert first[0] not in DIGEST.findall(ada.get("/").text)


def test_a_picture_is_read_once_to_know_it_whole_and_again_when_its_file_is_another(ada, review, monkeypatch):
    read = []
    real = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path.stem) or real(path))
    shown = DIGEST.findall(ada.get("/").text)
    ada.get("/")
    assert sorted(read) == sorted(shown)

    path = review.folder / f"{shown[0]}.png"
    path.touch()
    os.utime(path, ns=(0, 0))

    assert DIGEST.findall(ada.get("/").text) == shown
    assert sorted(read) == sorted([*shown, shown[0]])


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("how", ["moved", "emptied", "a file in its place"])
def test_while_the_folder_of_pictures_is_away_nothing_is_withdrawn(ada, review, tmp_path, how, held):
    shown = DIGEST.findall(ada.get("/").text) if held else []
    review.folder.rename(tmp_path / "elsewhere")
    if how == "emptied":
        review.folder.mkdir()
    elif how == "a file in its place":
        review.folder.write_text("")

    answer = ada.get("/")

    assert answer.status_code == 503
    assert "The folder of pictures is not there; try again in a moment." in answer.text
    assert str(review.folder) not in answer.text
    assert not any(row["withdrawn"] for row in campaigns.tasks(review.store, review.campaign))

    if how == "emptied":
        review.folder.rmdir()
    elif how == "a file in its place":
        review.folder.unlink()
    (tmp_path / "elsewhere").rename(review.folder)
    after = DIGEST.findall(ada.get("/").text)
    assert after == shown if held else len(after) == 2


def test_no_page_tells_of_the_model(ada, review):
    texts = []
    while "No pairs left" not in (page := ada.get("/").text):
        texts.append(page)
        texts += [ada.get(f"/img/{digest}").content.decode("latin-1") for digest in DIGEST.findall(page)]
        ada.vote()
    texts += [
        ada.get(path).text for path in ("/", "/guidelines", "/summary", "/metrics", "/healthz", "/api/openapi.json")
    ]

    assert len(texts) > 20
    for secret in (MODEL, str(SEED)[:7], "gold", CAMPAIGN, "version 3", "tEXt", "iTXt"):
        assert not any(secret in text for text in texts), secret
