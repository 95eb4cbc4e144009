"""What dies is started again, ever later and not for ever, and in the end nothing is left."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from flows import supervisor as module
from flows.supervisor import Service, Supervisor, end, family
from regen.core.errors import RegenError

SLEEP = "import time; time.sleep(60)"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SLEEP}'], start_new_session=True); {SLEEP}"


@pytest.fixture
def supervisor(tmp_path):
    made = Supervisor(tmp_path / "logs")
    yield made
    made.stop()


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(module, "pause_before", lambda restart: 0.0)


def until(holds, seconds=20.0):
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def running(supervisor):
    return supervisor.running[0]


def test_a_process_that_dies_is_started_again_and_that_is_said(supervisor, at_once, capsys):
    supervisor.start(Service("clock", ("-c", SLEEP)))
    first = running(supervisor).process

    first.kill()
    until(lambda: first.poll() is not None)
    supervisor.look_after()
    supervisor.look_after()

    assert running(supervisor).process.pid != first.pid
    assert "clock ended with code -9; it starts again in 0 s (1 of 5" in capsys.readouterr().err


def test_a_restart_waits_for_its_time(supervisor):
    supervisor.start(Service("clock", ("-c", "")))
    until(lambda: running(supervisor).process.poll() is not None)

    running(supervisor).look_after(now=100.0)
    running(supervisor).look_after(now=100.9)
    assert running(supervisor).process is None
    running(supervisor).look_after(now=101.0)

    assert running(supervisor).process is not None


def die_often(supervisor, service):
    """Looks after a service that ends at once until it is left alone."""
    supervisor.start(service)
    for _ in range(module.RESTARTS + 1):
        until(lambda: running(supervisor).process.poll() is not None)
        supervisor.look_after()
        supervisor.look_after()


def test_what_dies_again_and_again_ends_all(supervisor, at_once):
    with pytest.raises(RegenError, match=r"crash ended with code 3, 6 times within 10 minutes; look into .*crash\.log"):
        die_often(supervisor, Service("crash", ("-c", "raise SystemExit(3)")))


def test_what_can_be_done_without_is_given_up(supervisor, at_once, capsys):
    die_often(supervisor, Service("crash", ("-c", "raise SystemExit(3)"), essential=False))

    assert running(supervisor).given_up
    assert running(supervisor).process is None
    assert "The others go on without it." in capsys.readouterr().err


def test_deaths_long_ago_do_not_count(supervisor):
    supervisor.start(Service("clock", ("-c", "")))
    running(supervisor).deaths = [0.0] * 9
    until(lambda: running(supervisor).process.poll() is not None)

    running(supervisor).look_after(now=module.WINDOW_SECONDS + 1)

    assert running(supervisor).deaths == [module.WINDOW_SECONDS + 1]


def test_a_process_starts_once_what_it_needs_is_there(supervisor):
    answers = iter((False, True))
    supervisor.start(Service("late", ("-c", SLEEP), can_start=lambda: next(answers)))
    assert running(supervisor).process is None

    supervisor.look_after()

    assert running(supervisor).process is not None


def test_what_a_process_says_is_heard_and_kept_in_no_log(supervisor, tmp_path):
    heard = []
    supervisor.start(Service("secret", ("-c", "print('a token')"), hear=heard.append))

    until(lambda: heard)

    assert heard == ["a token\n"]
    assert (tmp_path / "logs" / "secret.log").read_text() == ""


def test_a_variable_can_be_taken_away(supervisor, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere")
    heard = []
    code = "import os; print(os.environ.get('PREFECT_API_URL'), os.environ['HERE'])"
    supervisor.start(Service("clean", ("-c", code), {"PREFECT_API_URL": None, "HERE": "yes"}, hear=heard.append))

    until(lambda: heard)

    assert heard == ["None yes\n"]


def test_a_death_at_the_very_start_is_an_error(supervisor):
    supervisor.start(Service("port", ("-c", "raise SystemExit(1)")))
    until(lambda: running(supervisor).process.poll() is not None)

    with pytest.raises(RegenError, match="port ended with code 1; look into"):
        supervisor.require_alive()


@pytest.mark.parametrize("survived", [True, False])
def test_children_of_the_dead_go_on_only_where_they_may(supervisor, survived):
    supervisor.start(Service("server", ("-c", ORPHAN), survived_by_children=survived))
    until(lambda: len(list(family(supervisor.mark))) == 2)

    running(supervisor).process.kill()
    running(supervisor).process.wait()
    supervisor.look_after()

    assert len(list(family(supervisor.mark))) == int(survived)


def test_at_the_end_nothing_is_left_not_even_a_child_in_a_session_of_its_own(supervisor):
    supervisor.start(Service("worker", ("-c", ORPHAN)))
    supervisor.start(Service("server", ("-c", SLEEP)))
    until(lambda: len(list(family(supervisor.mark))) == 3)
    all_of_them = list(family(supervisor.mark))

    supervisor.stop(last=["server"])

    assert list(family(supervisor.mark)) == []
    assert not [process for process in all_of_them if psutil.pid_exists(process.pid) and process.is_running()]


def test_what_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    deaf = psutil.Popen(
        [
            sys.executable,
            "-c",
            f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}",
        ],
        stdout=-1,
    )
    assert deaf.stdout.readline() == b"deaf\n"

    end([deaf])

    assert deaf.poll() == -9


def test_what_a_killed_regen_up_left_is_ended_by_the_next(supervisor, tmp_path, capsys):
    from flows.up import _end_leftovers, state_file
    from regen.core import files
    from regen.core.workspace import Workspace

    workspace = Workspace(tmp_path)
    supervisor.start(Service("worker", ("-c", SLEEP)))
    state = {"prefect": "", "mark": supervisor.mark}
    files.write_text(state_file(workspace), json.dumps(state | {"pid": os.getpid()}))
    _end_leftovers(workspace)
    assert running(supervisor).process.poll() is None, "it ended what a living one runs"

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    files.write_text(state_file(workspace), json.dumps(state | {"pid": gone.pid}))
    _end_leftovers(workspace)

    assert list(family(supervisor.mark)) == []
    assert "An earlier 'regen up' was killed; ending what it left running (1 processes)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[]",
        '{"pid": 1}',
        '{"pid": null, "mark": "y"}',
        '{"pid": "x", "mark": "y"}',
        '{"pid": 999999999, "mark": ""}',
    ],
)
def test_a_state_file_that_says_nothing_ends_nothing(tmp_path, text, monkeypatch, capsys):
    from flows import up
    from regen.core.workspace import Workspace

    ended = []
    monkeypatch.setattr(up, "family", lambda mark: [psutil.Process()])  # whatever the mark, somebody has it
    monkeypatch.setattr(up, "end", ended.append)
    up.state_file(Workspace(tmp_path)).parent.mkdir()
    up.state_file(Workspace(tmp_path)).write_text(text)

    up._end_leftovers(Workspace(tmp_path))

    assert ended == []
    assert capsys.readouterr().err == ""
