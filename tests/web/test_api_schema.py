"""Whatever fits the application's own description, and much that does not, is answered without a server error."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode

from regen.preferences.tables import Role
from regen.web.app import create_app
from regen.web.settings import Settings
from tests.reviews import make_review, open_store

ORIGIN = "http://127.0.0.1"
OPERATIONS = (
    "GET /", "GET /guidelines", "GET /summary", "POST /login", "POST /logout", "POST /vote", "POST /undo",
    "GET /img/{digest}", "GET /healthz", "GET /metrics", "GET /api/campaigns", "GET /api/campaigns/{number}",
    "POST /api/campaigns/{number}/close", "GET /api/tasks", "POST /api/tasks", "GET /api/annotators",
    "POST /api/annotators", "POST /api/annotators/{name}/revoke", "GET /api/agreement", "GET /api/export",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """The application by its own description, and what lets a request in."""

    operations: dict[str, schemathesis.schemas.APIOperation]
    headers: dict[str, str]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder = tmp_path_factory.mktemp("schema")
    store = open_store(f"sqlite:///{folder / 'votes.db'}")
    review = make_review(store, folder / "review", n_pairs=8)
    app = create_app(store, Settings(review.campaign, review.folder, ("*",), votes_per_second=1e6, burst=10**6))
    client = TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=False)
    client.post("/login", data={"token": review.token("ada")})
    headers = {
        "Authorization": f"Bearer {review.token('ops', Role.ADMIN)}", "Origin": ORIGIN, "Host": "127.0.0.1",
        "Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items()),
    }  # fmt: skip
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    found = (result.ok() for result in schema.get_all_operations())
    yield Described({operation.label: operation for operation in found}, headers)
    store.close()


def test_the_description_names_every_operation(described):
    assert set(described.operations) == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_ends_in_a_server_error(described, label, mode):
    operation = described.operations[label]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        assert operation.method.upper() == "GET"  # a request without parameters cannot be wrong
        return
    answered = []

    @settings(
        max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call_and_validate(headers=described.headers, checks=[not_a_server_error])
        answered.append(answer.status_code)

    ask()

    assert len(answered) >= 1
    if mode is GenerationMode.NEGATIVE:
        assert any(400 <= status < 500 for status in answered), "no wrong request was refused"
