"""The stage that takes new data in brings the recorded data here first, and shows what came."""

import numpy as np
from PIL import Image

from regen.data import sources
from regen.stages.ingest import ingest, markdown, picture


def test_new_images_are_taken_in_and_shown(open_project, tmp_path):
    context, rng = open_project(), np.random.default_rng(0)
    (tmp_path / "new" / "7").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(rng.integers(1, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "new" / "7" / f"{i}.png")
    (tmp_path / "new" / "7" / "broken.png").write_bytes(b"no image")
    context = open_project({"ingest.max_bad_share": "0.5"})

    found = ingest(context, tmp_path / "new")

    shown = markdown(found, picture(context, found))
    assert sources.read(context.workspace.data("digits")).labels[-3:].tolist() == [7, 7, 7]
    assert shown.startswith("# digits: 3 taken in\n")
    assert "- 1 time: no PNG" in shown
    assert "data:image/png;base64," in shown


def test_where_nothing_came_in_nothing_is_shown(open_project, tmp_path):
    context = open_project()
    raw = sources.read(context.workspace.data("digits"))
    (tmp_path / "new" / "0").mkdir(parents=True)
    Image.fromarray(np.asarray(raw.images[0, ..., 0])).save(tmp_path / "new" / "0" / "copy.png")

    found = ingest(context, tmp_path / "new")

    assert (found.added, found.duplicates) == (0, 1)
    assert picture(context, found) is None
    assert "as before" in markdown(found)
