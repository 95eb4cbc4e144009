"""The API, for administrators by bearer token: campaigns, pairs, people, agreement and export."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from regen.preferences import agreement, campaigns, export, history, people
from regen.preferences.campaigns import MOST_NEED, Campaign
from regen.preferences.export import Format
from regen.preferences.people import NAME, TOKEN_DAYS, Person
from regen.preferences.refusals import TokenError
from regen.preferences.tables import Role
from regen.web.context import Parts

MEDIA = {
    "parquet": "application/vnd.apache.parquet", "jsonl": "application/x-ndjson", "trl": "application/x-ndjson",
    "labelstudio": "application/json",
}  # fmt: skip
bearer = HTTPBearer(auto_error=False)


def administrator(parts: Parts, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Person:
    """Whose token it is, when they are an administrator.

    Raises:
        TokenError: there is no good token.
    """
    if sent is None:
        raise TokenError("send an administrator's token: Authorization: Bearer TOKEN")
    person = people.of_token(parts.store, sent.credentials)
    if person.role is not Role.ADMIN:
        raise HTTPException(403, "this token is a reviewer's; the API takes an administrator's")
    return person


Admin = Annotated[Person, Depends(administrator)]
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
    for code, text in (
        (400, "Refused"), (401, "No good token"), (403, "Not an administrator's token"), (404, "There is no such thing"),
        (409, "It contradicts what is recorded"), (422, "Not understood"), (503, "The store does not answer"),
    )
}  # fmt: skip
router = APIRouter(prefix="/api", responses=REFUSALS)
Number = Annotated[int, Path(ge=1, lt=2**31)]
Chosen = Annotated[int | None, Query(ge=1, lt=2**31, description="The campaign; the page's own if left out.")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=NAME.pattern)]


class NewPairs(BaseModel):
    """Pairs to add, by the digests of samples that the campaign shows already."""

    model_config = ConfigDict(extra="forbid")
    campaign: Annotated[int, Field(ge=1, lt=2**31)]
    pairs: Annotated[list[tuple[Digest, Digest]], Field(min_length=1, max_length=10_000)]
    need: Annotated[int, Field(ge=1, le=MOST_NEED)] = 1


class NewAnnotator(BaseModel):
    """Somebody who shall vote."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    role: Role = Role.REVIEWER
    days: Annotated[int, Field(ge=1, le=36_500)] | None = TOKEN_DAYS
    """How long the token is good for; for ever if null."""


@router.get("/campaigns")
def list_campaigns(admin: Admin, parts: Parts) -> list[Campaign]:
    """All campaigns, newest first."""
    return campaigns.every(parts.store)


@router.get("/campaigns/{number}")
def get_campaign(admin: Admin, parts: Parts, number: Number) -> Campaign:
    """One campaign."""
    return campaigns.get(parts.store, number)


@router.post("/campaigns/{number}/close")
def close_campaign(admin: Admin, parts: Parts, number: Number) -> Campaign:
    """Ends a campaign."""
    campaigns.close(parts.store, number, admin.name)
    return campaigns.get(parts.store, number)


@router.get("/tasks")
def list_tasks(admin: Admin, parts: Parts, campaign: Chosen = None) -> list[dict[str, Any]]:
    """A campaign's pairs."""
    return campaigns.tasks(parts.store, campaign or parts.settings.campaign)


@router.post("/tasks", status_code=201)
def add_tasks(admin: Admin, parts: Parts, new: NewPairs) -> dict[str, int]:
    """Adds pairs to a campaign."""
    return {"added": campaigns.extend(parts.store, new.campaign, new.pairs, new.need, admin.name)}


@router.get("/annotators")
def list_annotators(admin: Admin, parts: Parts) -> list[dict[str, Any]]:
    """Everybody, with when their tokens end; the tokens themselves cannot be read."""
    return [asdict(person) for person in people.everyone(parts.store)]


@router.post("/annotators", status_code=201)
def add_annotator(admin: Admin, parts: Parts, new: NewAnnotator) -> dict[str, str]:
    """Makes somebody and gives back their token, once."""
    return {"name": new.name, "token": people.add(parts.store, new.name, new.role, new.days, admin.name)}


@router.post("/annotators/{name}/revoke")
def revoke_annotator(admin: Admin, parts: Parts, name: Annotated[str, Path(pattern=NAME.pattern)]) -> dict[str, str]:
    """Ends somebody's token and sessions; their votes stay."""
    people.revoke(parts.store, name, admin.name)
    return {"name": name, "state": "revoked"}


@router.get("/agreement")
def get_agreement(admin: Admin, parts: Parts, campaign: Chosen = None) -> dict[str, Any]:
    """How far the votes can be relied on, and whether the history is whole."""
    number = campaigns.get(parts.store, campaign or parts.settings.campaign).id
    found = agreement.measure(export.votes(parts.store, number)).to_json()
    return {"campaign": number, **found, "first_broken_event": history.first_broken(parts.store)}


@router.get("/export", response_class=Response, responses={200: {"content": {kind: {} for kind in MEDIA.values()}}})
def get_export(
    admin: Admin, parts: Parts, campaign: Chosen = None,
    form: Annotated[Format, Query(alias="format")] = "parquet", training: Literal["true", "false"] = "false",
) -> Response:  # fmt: skip
    """The votes as a file; with training=true only those that a reward may learn from."""
    number = campaigns.get(parts.store, campaign or parts.settings.campaign).id
    found = export.votes(parts.store, number)
    kept = export.for_training(found) if training == "true" else found
    name = f"votes-{number}.{ {'parquet': 'parquet', 'labelstudio': 'json'}.get(form, 'jsonl') }"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(export.write(kept, form), media_type=MEDIA[form], headers=headers)
