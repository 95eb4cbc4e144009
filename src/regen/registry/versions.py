"""Registered versions: each trained network is registered once, known by its training's key, and tagged with its lineage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regen.core.errors import RegistryError
from regen.evaluation.gate import Verdict
from regen.registry.tracking import KEY, Run, speaking_plainly

CHAMPION, PREVIOUS = "champion", "previous"
GATE_TITLE = "## Gate: "
MOST_DESCRIBED = 5000
"""Characters that MLflow's database keeps of a description."""
FINGERPRINT = "regen.fingerprint"
"""The tag that says for which inputs a version has been judged, written when all else is done."""


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    model: str
    number: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    created: int
    """Milliseconds since 1970."""

    @property
    def uri(self) -> str:
        """Where MLflow loads it from."""
        return f"models:/{self.model}/{self.number}"

    @property
    def key(self) -> str:
        """The key of the training that made it."""
        return self.tags.get(KEY, "")

    @property
    def kind(self) -> str:
        """Vae, gan or extractor."""
        return self.tags.get("regen.kind", "")

    @property
    def verdict(self) -> str:
        """What the gate said last; empty before it spoke."""
        return self.tags.get("regen.verdict", "")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the gate said so."""
        try:
            return tuple(json.loads(self.tags.get("regen.reasons", "[]")))
        except ValueError:
            return ("the tag regen.reasons is damaged, so the reasons are unknown",)

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """Every check that the gate made last; one that says so where the tag is damaged."""
        try:
            found: list[dict[str, Any]] = json.loads(self.tags.get("regen.ledger", "[]"))
        except ValueError:
            return [{"kind": "ledger", "metric": "", "wanted": "JSON", "met": "a damaged tag", "passed": False}]
        return found


def _version(record: Any) -> Version:
    return Version(
        record.name, int(record.version), record.run_id or "", tuple(record.aliases), dict(record.tags),
        int(record.creation_timestamp),
    )  # fmt: skip


def all_versions(model: str | None = None, key: str | None = None) -> list[Version]:
    """Every version that Regen registered, of one model or one training key if named; newest first."""
    import mlflow

    client = mlflow.MlflowClient()
    parts = [f"name = '{model}'"] * (model is not None) + [f"tags.`{KEY}` = '{key}'"] * (key is not None)
    found: list[Version] = []
    token: str | None = None
    with speaking_plainly("reading the registry"):
        while token is None or token:
            page = client.search_model_versions(" and ".join(parts) or None, page_token=token)
            # a search leaves the aliases out, so each version is read by itself
            found += [_version(client.get_model_version(record.name, record.version)) for record in page]
            token = page.token or ""
    return sorted((v for v in found if v.key), key=lambda v: (v.model, -v.number))


def by_key(model: str, key: str) -> Version | None:
    """The version that the training with this key made."""
    found = all_versions(model, key)
    return found[-1] if found else None


def by_alias(model: str, alias: str) -> Version | None:
    """The version that carries the alias."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    with speaking_plainly(f"looking for {model}@{alias}"):
        try:
            return _version(client.get_model_version_by_alias(model, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def by_number(model: str, number: int) -> Version:
    """The version with this number.

    Raises:
        RegistryError: there is none.
    """
    found = all_versions(model)
    for version in found:
        if version.number == number:
            return version
    raise RegistryError(f"{model} has no version {number}; it has {_listed(found)}; 'regen models' lists what there is")


def _listed(found: list[Version]) -> str:
    """The newest versions and their aliases, for an error."""
    shown = [f"{v.number} ({', '.join(v.aliases)})" if v.aliases else str(v.number) for v in found[:5]]
    return f"{', '.join(shown)}{', …' if len(found) > 5 else ''}" if shown else "none"


def resolve(reference: str) -> Version:
    """The version that NAME, NAME@ALIAS or NAME/NUMBER stands for; a bare name means its champion.

    Raises:
        RegistryError: there is no such version.
    """
    if "/" in reference:
        model, _, number = reference.partition("/")
        if not number.isdigit():
            raise RegistryError(f"{reference} is no version; write NAME, NAME@ALIAS or NAME/NUMBER")
        return by_number(model, int(number))
    model, _, alias = reference.partition("@")
    alias = alias or CHAMPION
    if version := by_alias(model, alias):
        return version
    if not (found := all_versions(model)):
        known = sorted({version.model for version in all_versions()})
        raise RegistryError(
            f"there is no model {model}; registered are: {', '.join(known) or 'none yet, run regen run'}"
        )
    raise RegistryError(
        f"{model} has no {alias}, but {_listed(found)}; 'regen models' lists its versions, and {model}/NUMBER names one"
    )


def register(model: str, kind: str, run: Run, model_uri: str, key: str, tags: Mapping[str, str], card: str) -> Version:
    """Makes a version of a logged model, once for each training key."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if found := by_key(model, key):
        return found
    client = mlflow.MlflowClient()
    with speaking_plainly(f"registering {model}"):
        try:
            client.create_registered_model(model, tags={"regen.kind": kind})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            model, model_uri, run_id=run.id, tags={KEY: key, "regen.kind": kind, **tags}, description=card,
            model_id=model_uri.removeprefix("models:/"),  # a server asks for it
        )  # fmt: skip
        return _version(client.get_model_version(model, made.version))


def point(version: Version, alias: str) -> None:
    """Lets an alias name this version."""
    import mlflow

    with speaking_plainly(f"setting {version.model}@{alias}"):
        mlflow.MlflowClient().set_registered_model_alias(version.model, alias, str(version.number))


def record_verdict(version: Version, verdict: Verdict, against: int | None) -> None:
    """Tags a version with what the gate said of it, why, and against whom, and adds it to its description."""
    import mlflow

    client, number = mlflow.MlflowClient(), str(version.number)
    with speaking_plainly(f"describing {version.model} {number}"):
        card = client.get_model_version(version.model, number).description or ""
        client.update_model_version(version.model, number, described(card, verdict, against))
    tag(
        version,
        {
            "regen.verdict": str(verdict.decision),
            "regen.reasons": json.dumps(list(verdict.reasons)),
            "regen.against": "" if against is None else str(against),
            "regen.ledger": json.dumps(verdict.to_json()["checks"]),
        },
    )


def described(card: str, verdict: Verdict, against: int | None) -> str:
    """A version's model card with the gate's ledger under it, in the place of an earlier one.

    Example:
        >>> from regen.evaluation.gate import Decision
        >>> print(described("# digits-vae", Verdict(Decision.HOLD, ("not judged",)), 3))
        # digits-vae
        <BLANKLINE>
        ## Gate: HOLD, against version 3
        <BLANKLINE>
        - not judged
    """
    compared = "no champion" if against is None else f"version {against}"
    lines = [f"{GATE_TITLE}{verdict.decision}, against {compared}", "", *(f"- {reason}" for reason in verdict.reasons)]
    if verdict.checks:
        lines += ["", "| check | wanted | met | |", "|---|---|---|---|"]
        lines += [
            f"| {c.kind} {c.metric} | {c.wanted} | {c.met} | {'✓' if c.passed else '✗'} |" for c in verdict.checks
        ]
    text = "\n".join([card.partition(f"\n{GATE_TITLE}")[0].rstrip(), "", *lines])
    return text if len(text) <= MOST_DESCRIBED else text[: MOST_DESCRIBED - 1] + "…"


def delete(version: Version) -> None:
    """Takes a version out of the registry; its run and what was logged there stay."""
    import mlflow

    with speaking_plainly(f"deleting {version.model} {version.number}"):
        mlflow.MlflowClient().delete_model_version(version.model, str(version.number))


def tag(version: Version, tags: Mapping[str, str]) -> None:
    """Sets tags on a version."""
    import mlflow

    client = mlflow.MlflowClient()
    with speaking_plainly(f"tagging {version.model} {version.number}"):
        for name, value in tags.items():
            client.set_model_version_tag(version.model, str(version.number), name, value)
