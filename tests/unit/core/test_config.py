"""The project file: what it accepts, and what it says of what it refuses."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from regen.core import config
from regen.core.config import Config, load, parse
from regen.core.errors import ConfigError
from regen.core.sections.evaluation import OF_IMAGES, OF_TABLES, Metric
from regen.core.sections.models import VaeConfig


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text("project: digits\nvae: {images: 500, width: 4}\n")
    return path


def test_a_project_needs_no_more_than_its_name() -> None:
    assert parse({"project": "digits"}) == Config(project="digits")


def test_a_file_sets_what_it_names_and_leaves_the_rest_at_its_default(params: Path) -> None:
    read = load(params)

    assert (read.vae.images, read.vae.width) == (500, 4)
    assert read.vae.latent_dim == Config(project="digits").vae.latent_dim
    assert read.gan == Config(project="digits").gan


def test_a_model_is_named_after_its_project_and_kind() -> None:
    assert parse({"project": "digits"}).model_name("vae") == "digits-vae"


@pytest.mark.parametrize(
    ("raw", "unknown", "nearest"),
    [
        ({"sed": 1}, "sed", "seed"),
        ({"trainig": {}}, "trainig", "training"),
        ({"vae": {"widht": 8}}, "vae.widht", "vae.width"),
        ({"gate": {"vae": {"primry": "anomaly_auc"}}}, "gate.vae.primry", "gate.vae.primary"),
        ({"gan": {"latent-dim": 8}}, "gan.latent-dim", "gan.latent_dim"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(raw: dict, unknown: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key {unknown}; did you mean {nearest}\?"):
        parse({"project": "digits", **raw})


@pytest.mark.parametrize(
    ("raw", "rightful"),
    [
        ({"data": {"device": "cpu"}}, "training.device"),
        ({"gan": {"score_draws": 4}}, "vae.score_draws"),
        ({"vae": {"confidence": 0.9}}, "evaluation.confidence"),
        ({"vae": {"seed": 1}}, "seed"),
        ({"evaluation": {"floors": {}}}, r"gate\.(vae|gan)\.floors"),
        ({"bootstrap_draws": 100}, "evaluation.bootstrap_draws"),
        ({"learning_rate": 0.1}, r"(vae|gan|extractor)\.learning_rate"),
    ],
)
def test_a_key_in_the_wrong_section_names_its_rightful_place(raw: dict, rightful: str) -> None:
    with pytest.raises(ConfigError, match=rf"did you mean {rightful}\?"):
        parse({"project": "digits", **raw})


def test_an_unknown_key_like_no_other_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown key zzzzqqqq; known ones: project, seed, data, data\.source"):
        parse({"project": "digits", "zzzzqqqq": 1})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"seed": "many"}, r"seed: .*integer.*'many'"),
        ({"vae": {"images": [1]}}, r"vae\.images: .*integer.*\[1\]"),
        ({"vae": 3}, r"vae: .*dictionary.*3"),
        ({"vae": {"network": "resnet"}}, r"vae\.network: .*'conv', 'mlp' or 'transformer'.*'resnet'"),
        ({"data": {"source": "folder:"}}, r"data\.source: .*folder:PATH"),
        ({"data": {"source": "imagenet"}}, r"data\.source: a source is digits, .*, or folder:PATH, got 'imagenet'"),
    ],
)
def test_a_wrong_type_is_refused_with_its_key_and_what_was_met(raw: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({"project": "digits", **raw})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"seed": -1}, r"seed: .*greater than or equal to 0.*-1"),
        ({"vae": {"width": 0}}, r"vae\.width: .*greater than or equal to 1.*0"),
        ({"vae": {"learning_rate": 0}}, r"vae\.learning_rate: .*greater than 0"),
        ({"gan": {"augment_probability": 1.0}}, r"gan\.augment_probability: .*less than 1"),
        ({"evaluation": {"bootstrap_draws": 49}}, r"evaluation\.bootstrap_draws: .*greater than or equal to 50"),
        ({"evaluation": {"confidence": 0.5}}, r"evaluation\.confidence: .*greater than 0\.5"),
        ({"training": {"device": "tpu"}}, r"training\.device: .*pattern.*'tpu'"),
        ({"gate": {"vae": {"guards": {"anomaly_auc": -0.1}}}}, r"gate\.vae\.guards\.anomaly_auc: .*-0\.1"),
        ({"project": "Digits 2"}, r"project: .*pattern.*'Digits 2'"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key_and_what_was_met(raw: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({"project": "digits", **raw})


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"project is missing; seed: .*; unknown key vae\.widht"):
        parse({"seed": -1, "vae": {"widht": 8}})


def test_a_file_without_a_project_is_refused(params: Path) -> None:
    params.write_text("seed: 1\n")

    with pytest.raises(ConfigError, match=r"params\.yaml: project is missing"):
        load(params)


def test_shares_that_leave_too_little_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data: the shares leave 5% of the rows to train on; at least 10% is needed"):
        parse({"project": "digits", "data": {"extractor_share": 0.3, "validation_share": 0.3, "test_share": 0.35}})


@pytest.mark.parametrize("shares", [(0, 0.5, 0.4), (0.2, 0.1, 0.6), (0.3, 0.3, 0.3)])
def test_shares_that_leave_a_tenth_to_train_on_are_accepted(shares: tuple[float, float, float]) -> None:
    names = ("extractor_share", "validation_share", "test_share")

    read = parse({"project": "digits", "data": dict(zip(names, shares, strict=True))})

    assert (read.data.extractor_share, read.data.validation_share, read.data.test_share) == shares


@pytest.mark.parametrize("part", ["floors", "guards"])
def test_an_unknown_metric_in_the_gate_is_refused_and_the_known_ones_named(part: str) -> None:
    with pytest.raises(ConfigError, match=rf"gate\.vae\.{part}\.anomly_auc: .*'anomaly_auc'.*got 'anomly_auc'"):
        parse({"project": "digits", "gate": {"vae": {part: {"anomly_auc": 0.9}}}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("section", "key"),
    [("vae", "learning_rate"), ("gan", "penalty_weight"), ("data", "test_share"), ("evaluation", "confidence")],
)
def test_nan_and_infinity_are_refused(section: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{key}: "):
        parse({"project": "digits", section: {key: value}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", ["floors", "guards"])
def test_the_gate_refuses_nan_and_infinity(part: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"gate\.gan\.{part}\.frechet_distance: "):
        parse({"project": "digits", "gate": {"gan": {part: {"frechet_distance": value}}}})


@pytest.mark.parametrize("metric", ["kid", "density", "anomaly_recall_fpr01", "memorisation", "preference_win_rate"])
def test_every_figure_can_be_a_floor(metric: str) -> None:
    read = parse({"project": "digits", "gate": {"vae": {"floors": {metric: 0.5}}}})

    assert read.gate.vae.floors == {metric: 0.5}


@pytest.mark.parametrize("rows", [0, -1, 1.5])
def test_the_least_rows_of_the_gate_are_a_count(rows: float) -> None:
    with pytest.raises(ConfigError, match=rf"gate\.least_rows: .*{rows}"):
        parse({"project": "digits", "gate": {"least_rows": rows}})


def test_an_override_replaces_the_files_value_and_nothing_else(params: Path) -> None:
    read = load(params, {"vae.images": "10"})

    assert read.vae.images == 10
    assert read.vae.width == 4


def test_an_override_may_open_a_section_that_the_file_leaves_out(params: Path) -> None:
    read = load(params, {"gate.gan.floors": "{frechet_distance: 10}", "data.anomaly_class": "null", "seed": "3"})

    assert read.gate.gan.floors == {"frechet_distance": 10}
    assert read.data.anomaly_class is None
    assert read.seed == 3


def test_an_override_of_an_unknown_key_names_the_nearest(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key vae\.imags; did you mean vae\.images\?"):
        load(params, {"vae.imags": "10"})


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("project.name", "a", "--set project.name: project is no section"),
        ("vae.images", "[1", r"--set vae\.images: '\[1' is not a YAML value"),
        ("vae.learning_rate", ".nan", r"vae\.learning_rate: .*finite"),
    ],
)
def test_an_override_that_cannot_be_used_says_why(params: Path, key: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(params, {key: text})


def test_a_missing_file_names_one_of_a_like_name(params: Path) -> None:
    with pytest.raises(ConfigError, match=r"no project file .*param\.yaml; did you mean .*params\.yaml\?"):
        load(params.with_name("param.yaml"))


def test_a_missing_file_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no project file .*params\.yaml; run the command where params\.yaml is"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [b"project: [digits", b"\xff\xfe\x00", b"a: b: c", b"\x00"])
def test_a_file_that_is_not_yaml_is_refused(params: Path, content: bytes) -> None:
    params.write_bytes(content)

    with pytest.raises(ConfigError, match=r"params\.yaml cannot be read as YAML: "):
        load(params)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load(tmp_path)


@pytest.mark.parametrize(("content", "met"), [("", "NoneType"), ("- a\n", "list"), ("digits\n", "str")])
def test_a_file_that_holds_no_mapping_is_refused(params: Path, content: str, met: str) -> None:
    params.write_text(content)

    with pytest.raises(ConfigError, match=rf"params\.yaml holds {met}, wanted keys and values"):
        load(params)


def test_a_configuration_is_frozen() -> None:
    read = parse({"project": "digits"})

    with pytest.raises(ValidationError, match="frozen"):
        read.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        read.vae.images = 1


def test_the_keys_are_those_of_every_section() -> None:
    known = list(config.keys())

    assert {"project", "vae", "vae.width", "gate.vae.floors", "gate.mode"} <= set(known)
    assert len(known) == len(set(known))


def test_a_gate_that_is_off_may_be_written_as_yaml_reads_it(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("project: digits\ngate: {mode: off}\n")

    assert load(path).gate.mode == "off"
    assert load(path, {"gate.mode": "off"}).gate.mode == "off"


def test_a_precision_of_32_bits_may_be_written_as_a_number(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("project: digits\ntraining: {precision: 32}\n")

    assert load(path).training.precision == "32"
    assert load(path, {"training.precision": "32"}).training.precision == "32"
    with pytest.raises(ConfigError, match=r"training\.precision: input should be 'auto', '32' or 'bf16', got 16"):
        load(path, {"training.precision": "16"})


@pytest.mark.parametrize("rules", [{"floors": {"anomaly_auc": 0.5}}, {"primary": "iwae_bits"}])
def test_a_gan_is_not_judged_by_what_it_has_none_of(rules: dict) -> None:
    with pytest.raises(ConfigError, match=r"gate\.gan: a GAN has no (anomaly_auc|iwae_bits); judge it by its samples"):
        parse({"project": "digits", "gate": {"gan": rules}})


@pytest.mark.parametrize(
    ("source", "kind", "rules", "told"),
    [
        (
            "digits",
            "vae",
            {"guards": {"column_error": 0.1}},
            "gate.vae asks for column_error, which no model of images has",
        ),
        ("digits", "gan", {"primary": "utility_auc"}, "gate.gan asks for utility_auc, which no model of images has"),
        (
            "transactions",
            "vae",
            {"floors": {"iwae_bits": 1}},
            "gate.vae asks for iwae_bits, which no model of a table has",
        ),
        ("transactions", "gan", {"primary": "kid"}, "gate.gan asks for kid, which no model of a table has"),
    ],
)
def test_a_gate_asks_for_no_figure_that_such_rows_have_none_of(source: str, kind: str, rules: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse({"project": "digits", "data": {"source": source}, "gate": {kind: rules}})


def test_every_figure_belongs_to_images_or_tables_or_both() -> None:
    both = {"anomaly_auc", "anomaly_ap", "anomaly_recall_fpr1", "anomaly_recall_fpr01", "preference_win_rate"}

    assert not OF_IMAGES & OF_TABLES
    assert OF_IMAGES | OF_TABLES | both == set(get_args(Metric))


def test_the_nearest_of_several_namesakes_shares_the_most_sections() -> None:
    with pytest.raises(ConfigError, match=r"unknown key gan\.floors; did you mean gate\.gan\.floors\?"):
        parse({"project": "digits", "gan": {"floors": {}}})


@pytest.mark.parametrize("key", ["bootstrap_draws", "sample_sets"])
def test_what_no_memory_could_hold_is_refused_before_anything_is_trained(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"evaluation\.{key}: input should be less than or equal to"):
        parse({"project": "digits", "evaluation": {key: 10**9}})


def test_a_table_has_models_of_its_own_and_settings_of_others_are_refused() -> None:
    config = parse({"project": "payments", "data": {"source": "transactions"}, "tables": {"vae": {"rows": 5}}})

    assert config.recipe("vae") == config.tables.vae
    assert parse({"project": "digits"}).recipe("vae") == VaeConfig()
    with pytest.raises(ConfigError, match=r"the section vae is of images, and the source is a table; set tables\.vae"):
        parse({"project": "payments", "data": {"source": "transactions"}, "vae": {"images": 5}})


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"tables": {"windows_days": [1]}}, "the section tables is of tables, and the source digits gives images"),
        ({"data": {"simulator": {"days": 9}}}, "data.simulator goes with the source transactions alone"),
        ({"data": {"source": "transactions", "resolution": 8}}, "data.resolution is of images, and the source is a table"),
        ({"data": {"source": "table:a.csv", "anomaly_class": 1}}, "data.anomaly_class is of images"),
        ({"data": {"source": "table:a.csv", "simulator": {"days": 9}}}, "data.simulator goes with the source transactions"),
        ({"data": {"source": "table:a.csv"}, "extractor": {"width": 8}}, "the section extractor is of images"),
    ],
)  # fmt: skip
def test_settings_that_nobody_would_read_are_refused(raw: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse({"project": "a", **raw})
