"""What the page listens on, by which name browsers are told of it, and what is made when it cannot be listened on."""

import socket
from contextlib import closing
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from flows import cli_review
from flows.cli import cli
from regen.core.errors import RegenError
from regen.stages import review
from regen.web import server
from regen.web.settings import LOOPBACK, name_of


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("fd00::1", "[fd00::1]"),
        ("FD00:0:0::0001", "[fd00::1]"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("review.example", "review.example"),
    ],
)
def test_an_address_has_the_name_that_a_browser_sends(host, name):
    assert name_of(host) == name


@pytest.mark.parametrize("host", ["fd00::1", "0.0.0.0", "::", "10.1.2.3"])
def test_the_page_answers_to_the_name_it_is_told_by(new_browser, host):
    browser = new_browser(hosts=(*LOOPBACK, name_of(host)))

    assert browser.get("/healthz", headers={"Host": f"{name_of(host)}:8321"}).status_code == 200


def test_a_port_that_is_taken_is_told_with_the_way_out():
    with closing(server.listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(RegenError, match=rf"127\.0\.0\.1 port {port} cannot be .*; choose another by --port"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "a..b"])
def test_an_address_that_is_not_this_machines_is_told_with_the_way_out(host):
    with pytest.raises(RegenError, match=rf"{host} port 0 cannot be listened on .*; name an address .* by --host"):
        server.listen(host, 0)


def test_what_connects_early_waits_until_the_page_is_served():
    with closing(server.listen("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname(), timeout=5).close()


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "192.0.2.1 port 0 cannot be listened on"), (["--simulate"], "the store was opened")]
)
def test_nothing_is_made_for_a_page_that_cannot_be_listened_on(monkeypatch, arguments, said):
    def open_store(workspace):
        raise RegenError("the store was opened")

    monkeypatch.setattr(cli_review, "open_project", lambda config, settings: SimpleNamespace(workspace=None))
    monkeypatch.setattr(review, "open_store", open_store)

    done = CliRunner().invoke(cli, ["review", "--host", "192.0.2.1", "--port", "0", *arguments])

    assert isinstance(done.exception, RegenError)
    assert said in str(done.exception)
