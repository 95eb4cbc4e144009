"""What the Prefect server does by itself when it is told of something: drift starts a retraining, silence ends a run."""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from tasks.common import DRIFT

DRIFT_PAUSE = timedelta(minutes=10)
"""What keeps two monitors at once from starting two retrainings; the monitor's own cooldown is longer."""
HEARTBEAT = "prefect.flow-run.heartbeat"
LOST_AFTER = timedelta(minutes=10)
"""Three heartbeats that did not come."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")
RESOURCE = "prefect.resource.id"


def on_drift(project: str, retrain: UUID) -> AutomationCore:
    """Drift in a project's data starts its retraining, the deployment with this id."""
    return AutomationCore(
        name=f"retrain {project} on drift",
        description=f"Starts the retraining of {project} when its monitor finds that the data has drifted.",
        trigger=EventTrigger(
            expect={DRIFT}, posture=Posture.Reactive, threshold=1, within=DRIFT_PAUSE,
            match=ResourceSpecification({RESOURCE: f"regen.project.{project}"}),
        ),
        actions=[RunDeployment(source="selected", deployment_id=retrain, parameters=None)],
    )  # fmt: skip


def on_silence() -> AutomationCore:
    """A run whose machine died is marked as crashed, so that whoever waits for it goes on."""
    return AutomationCore(
        name="mark silent runs as crashed",
        description="A machine that dies cannot say so, and its runs would seem to go on for ever.",
        trigger=EventTrigger(
            after={HEARTBEAT}, expect={HEARTBEAT, *(f"prefect.flow-run.{end}" for end in ENDS)}, for_each={RESOURCE},
            match=ResourceSpecification({RESOURCE: "prefect.flow-run.*"}), posture=Posture.Proactive, threshold=1,
            within=LOST_AFTER,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="it fell silent; its machine may be gone")],
    )  # fmt: skip


def apply(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Makes or changes the automation of that name; says made, changed or unchanged."""
    whole = AutomationCore.model_validate(wanted.model_dump())  # an update sends only fields that were set
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(whole)
        return "made"
    if AutomationCore.model_validate(found[0].model_dump()) == whole:
        return "unchanged"
    client.update_automation(found[0].id, whole)
    return "changed"
