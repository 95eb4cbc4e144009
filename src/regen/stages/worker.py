"""Runs stages in a process of their own: two trainings in one process would share torch's threads and global state.

The child sends its progress as JSON lines; an error crosses back as the same error. When the parent dies, so does the child.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import FrameType

from regen.core.config import Config, parse
from regen.core.environment import bootstrap
from regen.core.errors import BY_NAME, KilledError, RegenError, TrainingError
from regen.core.workspace import Workspace
from regen.stages import progress
from regen.stages.base import Context, Outcome


def run_in_process(context: Context, *stages: str) -> Outcome:
    """Runs stages one after the other in a new process, shows its progress here, and gives back the last one's outcome.

    Raises:
        RegenError: whatever a stage raised, or TrainingError when the process was killed.
    """
    order = {
        "root": str(context.workspace.root), "config": context.config.model_dump(mode="json"), "stages": stages,
        "publishes": context.publishes,
    }  # fmt: skip
    stage = stages[-1]
    shown, last_words = progress.current(), deque[str](maxlen=20)
    with subprocess.Popen(
        [sys.executable, "-m", "regen.stages.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
    ) as child:  # fmt: skip
        assert child.stdin and child.stdout and child.stderr  # all three are pipes
        listener = threading.Thread(target=lambda: last_words.extend(child.stderr or ()), daemon=True)
        listener.start()
        try:
            child.stdin.write(json.dumps(order) + "\n")
            child.stdin.flush()
            outcome = _listen(child.stdout, shown, last_words)
        finally:
            if sys.exc_info()[0] is not None:
                child.terminate()
            child.stdin.close()
            code = child.wait()
            listener.join(timeout=5)  # before the pipe is closed under it
    if outcome is not None:
        return outcome
    if code < 0:
        raise KilledError(
            f"{stage} was killed by signal {-code}; run the command again, it goes on from its last checkpoint"
        )
    raise TrainingError(f"{stage} ended with code {code}: {(last_words or ['no message'])[-1].strip()}")


def _listen(lines: object, shown: progress.Progress, last_words: "deque[str]") -> Outcome | None:
    for line in lines:  # type: ignore[attr-defined]  # a text pipe
        try:
            event = json.loads(line)
        except ValueError:
            last_words.append(line)
            continue
        if "say" in event:
            shown.say(event["say"])
        elif "task" in event:
            shown.update(event["task"], event["done"], event["total"], event["terms"], event["rate"], event["of"])
        elif "error" in event:
            raise BY_NAME[event["error"]](event["message"])
        elif "outcome" in event:
            return Outcome(**event["outcome"])
    return None


def _die_with_parent() -> None:
    """Ends this process when the parent closes its end of standard input, by exiting or being killed."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The child's side: reads its order from standard input, runs the stages, sends what came of the last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to answer, it ends this process
    signal.signal(signal.SIGTERM, _interrupt)
    order = json.loads(sys.stdin.readline())
    _die_with_parent()
    context = Context(Workspace(Path(order["root"])), _config(order["config"]), order["publishes"])
    bootstrap(context.workspace)
    progress.use(progress.Events())
    try:
        from regen.stages.catalogue import STAGES

        outcome = [STAGES[stage](context) for stage in order["stages"]][-1]
    except RegenError as error:
        progress.Events.send({"error": type(error).__name__, "message": str(error)})
        sys.stdout.flush()
        os._exit(1)
    progress.Events.send({"outcome": {"stage": outcome.stage, "key": outcome.key, "reused": outcome.reused}})
    sys.stdout.flush()
    os._exit(0)  # at once: the watching thread still reads


def _config(raw: dict[str, object]) -> Config:
    return parse(raw, "the project")


if __name__ == "__main__":
    main()
