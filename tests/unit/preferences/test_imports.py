"""An import brings back what an export took out; a broken row is named, and then nothing is imported at all."""

import json

import pandas as pd
import pytest

from regen.core.errors import ConfigError, DataError, ValidationError
from regen.preferences import agreement, campaigns, export, history, imports, people, voting
from regen.preferences.refusals import TokenError
from regen.preferences.tables import Choice
from tests.reviews import make_review, open_store

CHOICES = (Choice.LEFT, Choice.RIGHT, Choice.TIE, Choice.BOTH_BAD, Choice.SKIP)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A campaign of two people, judged to its end, as a table and as plain rows."""
    folder = tmp_path_factory.mktemp("exported")
    store = open_store(f"sqlite:///{folder / 'votes.db'}")
    review = make_review(store, folder / "review", n_pairs=20, need=2)
    for name in ("ada", "bob"):
        person = review.person(name)
        while (shown := voting.next_pair(store, review.campaign, person, lambda sample: True)) is not None:
            choice = CHOICES[shown.assignment % len(CHOICES)]
            voting.record(store, person, shown.assignment, choice, f"{name}-{shown.assignment}".ljust(20, "x"))
    table = export.votes(store)
    store.close()
    return table


@pytest.fixture
def lines(exported):
    return export.plain(exported)


def write(tmp_path, lines):
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def comparable(table):
    """The table without the numbers that a store gives."""
    return table.drop(columns=["task", "repeat_of"]).sort_values("key").reset_index(drop=True)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_round_trip_keeps_every_vote(store, exported, tmp_path, form):
    path = tmp_path / f"votes.{form}"
    path.write_bytes(export.write(exported, form))

    new = imports.record(store, imports.read(path))

    found = export.votes(store)
    assert new == len(exported) == 40
    pd.testing.assert_frame_equal(comparable(found), comparable(exported))
    assert agreement.measure(found).repeats == agreement.measure(exported).repeats
    assert history.first_broken(store) is None


def test_importing_again_records_nothing_new(file_store, lines):
    rows = imports.check(lines)
    imports.record(file_store, rows)

    assert imports.record(file_store, rows) == 0
    assert len(export.votes(file_store)) == len(rows)


def test_what_an_import_makes_can_neither_log_in_nor_be_voted_in(file_store, lines):
    imports.record(file_store, imports.check(lines))

    assert campaigns.every(file_store)[0].closed is not None
    assert all(person.revoked is not None for person in people.everyone(file_store))
    with pytest.raises(TokenError, match="unknown"):
        people.of_token(file_store, "none:ada")


def test_votes_join_the_campaign_they_were_taken_from(file_store, tmp_path):
    review = make_review(file_store, tmp_path / "review", n_pairs=4)
    ada = review.person("ada")
    shown = voting.next_pair(file_store, review.campaign, ada, lambda sample: True)
    voting.record(file_store, ada, shown.assignment, Choice.LEFT, "k" * 16)
    lines = export.plain(export.votes(file_store))

    elsewhere = imports.check([{**lines[0], "annotator": "bob", "key": "b" * 16}])

    assert imports.record(file_store, elsewhere) == 1
    assert [found.id for found in campaigns.every(file_store)] == [review.campaign]
    assert len(set(export.votes(file_store).task)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choice": 2}, "choice: -1, 0 or 1, got 2"),
        ({"sample_a": "../../etc/passwd"}, "sample_a: String should match pattern"),
        ({"annotator": "<script>"}, "annotator: String should match pattern"),
        ({"ms": -1}, "ms: greater than or equal to 0, got -1"),
        ({"created": "yesterday"}, "created: a valid datetime"),
        ({"seed_a": 0.5}, "seed_a: a valid integer"),
        ({"key": "short"}, "key: String should match pattern"),
        ({"model_a": "a\x00b"}, "model_a: String should match pattern"),
        ({"choice": 1, "skipped": True, "both_bad": False}, "choice is 0 where both_bad or skipped is true"),
        ({"choice": 0, "skipped": True, "both_bad": True}, "both_bad or skipped, not both"),
        ({"gold": True, "gold_choice": None}, "gold_choice is given where gold is true"),
        ({"repeat": True, "repeat_of": None}, "repeat_of is given where repeat is true"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"values_a": "{bad"}, "values_a: a JSON object of the row's values, got '{bad'"),
        ({"values_a": "[1]"}, "values_a: a JSON object of the row's values, got '[1]'"),
        ({"values_b": "3"}, "values_b: a JSON object of the row's values, got '3'"),
        ({"values_b": '{"age": NaN}'}, "values_b: a JSON object of the row's values"),
        ({"values_b": "[" * 100_000}, "values_b: a JSON object of the row's values"),
        ({"version_a": 0}, "version_a: greater than or equal to 1, got 0"),
        (
            {"seed_a": 1, "seed_b": 1, "sample_a": "0" * 64, "sample_b": "0" * 64},
            "a pair is two samples, not one against itself",
        ),
    ],
)
def test_a_broken_row_is_named_and_nothing_imported(file_store, lines, tmp_path, change, said):
    lines[7] = {**lines[7], **change}

    with pytest.raises(ValidationError, match=r"nothing was imported: line 8: wanted ") as caught:
        imports.record(file_store, imports.read(write(tmp_path, lines)))

    assert said in str(caught.value)
    assert export.votes(file_store).empty
    assert campaigns.every(file_store) == []


def test_a_column_that_is_missing_is_named(lines):
    del lines[2]["sample_b"]

    with pytest.raises(ValidationError, match="row 3: wanted sample_b: required, got nothing"):
        imports.check(lines)


def test_a_line_that_is_no_json_is_named(lines, tmp_path):
    path = write(tmp_path, lines)
    path.write_text(path.read_text() + "{half a li")

    with pytest.raises(ValidationError, match=f"line {len(lines) + 1}: wanted the row"):
        imports.read(path)


def test_lines_are_counted_as_an_editor_counts_them_and_rows_of_a_table_from_one(lines, exported, tmp_path):
    path = tmp_path / "votes.jsonl"
    good, odd = json.dumps(lines[0]), {**lines[1], "model_a": "in\u2028two"}
    path.write_text(f"{good}\n\n{json.dumps(odd, ensure_ascii=False)}\n{json.dumps({**lines[2], 'choice': 9})}\n")
    exported.assign(choice=9).iloc[:1].to_parquet(tmp_path / "votes.parquet")

    with pytest.raises(ValidationError, match="nothing was imported: line 4: wanted choice"):
        imports.read(path)
    with pytest.raises(ValidationError, match="nothing was imported: row 1: wanted choice"):
        imports.read(tmp_path / "votes.parquet")


def test_a_line_with_the_key_of_a_recorded_vote_is_named_by_its_number(file_store, lines, tmp_path):
    imports.record(file_store, imports.check(lines[:1]))
    path = write(tmp_path, [{**lines[0], "ms": 987_654}])
    path.write_text("\n" + path.read_text())

    with pytest.raises(DataError, match="nothing was imported: line 2 has the key of a recorded vote"):
        imports.record(file_store, imports.read(path))


def test_every_broken_row_is_in_the_failures_and_the_first_are_told(lines):
    broken = [{**line, "choice": 9} for line in lines]

    with pytest.raises(ValidationError, match="and 35 more; mend the file") as caught:
        imports.check(broken)

    assert [failure.row for failure in caught.value.failures] == list(range(40))


def test_a_key_or_a_person_twice_on_a_pair_is_named(lines):
    with pytest.raises(ValidationError, match="row 41: wanted a key of its own, got that of row 4"):
        imports.check([*lines, lines[3]])
    with pytest.raises(ValidationError, match="row 41: wanted a pair and annotator of its own"):
        imports.check([*lines, {**lines[3], "key": "n" * 20}])


def test_a_repeat_of_a_pair_that_is_not_there_is_named(lines):
    again = next(i for i, line in enumerate(lines) if line["repeat"])
    lines[again] = {**lines[again], "repeat_of": 12_345}

    with pytest.raises(ValidationError, match=f"row {again + 1}: wanted repeat_of: a pair of this file, got 12345"):
        imports.check(lines)


def test_a_key_that_is_recorded_for_another_vote_stops_everything(store, lines):
    imports.record(store, imports.check(lines[:1]))
    other = {"choice": 0, "both_bad": True, "skipped": False} if not lines[0]["both_bad"] else {"both_bad": False}
    lines[0] = {**lines[0], **other}

    with pytest.raises(DataError, match="nothing was imported: row 1 has the key of a recorded vote"):
        imports.record(store, imports.check(lines))

    assert len(export.votes(store)) == 1
    assert history.first_broken(store) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"campaign": "another"}, "campaign is campaign-under-test there and another here"),
        ({"ms": 987_654}, "ms is .* there and 987654 here"),
        ({"seed_a": 5}, "a is .*"),
        ({"sample_b": "0" * 64}, "b is .* there and .*0000"),
        ({"version_b": 9}, "b is .*"),
        ({"annotator": "eve"}, "annotator is ada there and eve here"),
    ],
)
def test_a_key_that_is_recorded_for_other_circumstances_stops_everything(file_store, lines, change, said):
    imports.record(file_store, imports.check(lines[:1]))
    before = export.votes(file_store)
    lines[0] = {**lines[0], **change}

    with pytest.raises(DataError, match=f"nothing was imported: row 1 has the key of a recorded vote .*: {said}"):
        imports.record(file_store, imports.check([line for line in lines if not line["repeat"]]))

    pd.testing.assert_frame_equal(export.votes(file_store), before)
    assert len(campaigns.every(file_store)) == 1


def test_a_choice_turned_round_with_its_sides_is_another_vote(file_store, lines):
    one = next(line for line in lines if line["choice"] and not line["repeat"] and not line["gold"])
    imports.record(file_store, imports.check([one]))

    with pytest.raises(DataError, match=r"row 1 has the key of a recorded vote .*: flipped is"):
        imports.record(file_store, imports.check([{**one, "choice": -one["choice"], "flipped": not one["flipped"]}]))


def test_two_samples_that_look_alike_are_a_pair(lines):
    alike = {**lines[0], "sample_b": lines[0]["sample_a"]}

    assert imports.check([alike])[0].sample("a") != imports.check([alike])[0].sample("b")


def test_a_second_vote_of_a_person_on_a_recorded_pair_stops_everything(store, lines):
    imports.record(store, imports.check(lines[:1]))

    with pytest.raises(DataError, match="the votes contradict those recorded"):
        imports.record(store, imports.check([{**lines[0], "key": "n" * 20}]))

    assert len(export.votes(store)) == 1


def test_other_files_are_refused(tmp_path):
    (tmp_path / "votes.csv").write_text("a,b\n")
    (tmp_path / "votes.parquet").write_text("no parquet")

    with pytest.raises(ConfigError, match=r"votes\.csv is no \.parquet or \.jsonl file"):
        imports.read(tmp_path / "votes.csv")
    with pytest.raises(DataError, match=r"votes\.parquet cannot be read"):
        imports.read(tmp_path / "votes.parquet")
    with pytest.raises(
        DataError, match=r"none\.jsonl cannot be read: there is no such file; 'regen votes export' writes"
    ):
        imports.read(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"none\.parquet cannot be read: there is no such file"):
        imports.read(tmp_path / "none.parquet")


def test_an_empty_file_imports_nothing(file_store, tmp_path):
    assert imports.record(file_store, imports.read(write(tmp_path, []))) == 0
