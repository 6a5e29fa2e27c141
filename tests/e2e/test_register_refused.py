"""What the service answers when it refuses, and what the user reads then: each cause has its own sentence."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Client
from tests.service.process import ServiceProcess

from .support import app
from .support.agent import Wherry

PAT = "ghp_weakweakweakweak"


@pytest.fixture(autouse=True)
def quick(wherry: Wherry) -> None:
    """Waits between tries are not what is tested here."""
    wherry.env["WHERRY_TEST_CLOCK"] = "50"


def attempt(wherry: Wherry, client: Client, *arguments: str | Path, scope: str = "acme/web", token: str | None = None, **options: Any) -> str:
    """A registration that must fail; what it said."""
    if token is None:
        token, _ = client.token(scope)
    done = wherry.run("register", "--url", f"{client.status()['url']}/{scope}", "--name", "box1", *arguments,
                      env={} if arguments and str(arguments[0]).startswith(("--pat", "--app")) else {"ACTIONS_RUNNER_INPUT_TOKEN": token},
                      **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert token not in done.stderr and done.stderr.startswith("wherry register: ")
    assert not (wherry.state / "runners/box1").exists()
    return done.stderr


def body(message: str, **more: Any) -> str:
    return json.dumps({"message": message, "documentation_url": "https://docs.github.com/rest", **more})


# -- tokens ----------------------------------------------------------------------------------------------------------
def test_unknown_token(wherry: Wherry, client: Client) -> None:
    said = attempt(wherry, client, token="AWRONG")
    assert "does not know this registration token" in said and "Settings > Actions > Runners" in said and "request id" in said


def test_expired_token(wherry: Wherry, client: Client) -> None:
    client.fault("api.tenant", "status", status=401, body=body("Token expired."))
    assert "has expired" in attempt(wherry, client)


def test_token_of_another_place(wherry: Wherry, client: Client) -> None:
    token, _ = client.token("other/place")
    assert "of another repository" in attempt(wherry, client, token=token)


def test_unknown_pat(wherry: Wherry, client: Client) -> None:
    said = attempt(wherry, client, "--pat", "-", given="ghp_nobodynobodynobody")
    assert "does not know this personal access token" in said and "nobody" not in said


@pytest.mark.parametrize("scope, right", [("acme/web", "scope repo"), ("acme", "admin:org"), ("enterprises/big", "manage_runners:enterprise")])
def test_pat_without_the_right(wherry: Wherry, client: Client, scope: str, right: str) -> None:
    client.options(weak_pats=[PAT])
    said = attempt(wherry, client, "--pat", "-", given=PAT, scope=scope)
    assert "may not administer runners" in said and right in said


def test_single_sign_on(wherry: Wherry, client: Client) -> None:
    client.fault("api.registration-token", "status", status=403, body=body("Resource protected by organization SAML enforcement."),
                 headers={"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?authorization_request=AB"})
    said = attempt(wherry, client, "--pat", "-", given=client.status()["pat"])
    assert "single sign-on" in said and "https://github.com/orgs/acme/sso" in said


def test_address_not_allowed(wherry: Wherry, client: Client) -> None:
    client.fault("api.registration-token", "status", status=403,
                 body=body("Although you appear to have the correct authorization credentials, the organization has an IP allow list enabled"))
    assert "IP allow list of" in attempt(wherry, client, "--pat", "-", given=client.status()["pat"])


# -- places ----------------------------------------------------------------------------------------------------------
def test_no_such_repository(wherry: Wherry, client: Client) -> None:
    client.options(absent=["acme/nothing"])
    token, _ = client.token()
    said = attempt(wherry, client, scope="acme/nothing", token=token)
    assert "there is no repository" in said and "misspelt" in said


def test_user_page(wherry: Wherry, client: Client) -> None:
    token, _ = client.token()
    said = attempt(wherry, client, scope="octocat", token=token)
    assert "is a user's page" in said and "/octocat/REPO" in said


def test_no_such_organisation_by_pat(wherry: Wherry, client: Client) -> None:
    client.fault("api.registration-token", "status", status=404, body=body("Not Found"))
    said = attempt(wherry, client, "--pat", "-", given=client.status()["pat"], scope="nobody")
    assert "there is no organisation" in said and "may not see it" in said


@pytest.mark.parametrize("url, words", [
    ("https://github.com/settings/actions/runners", "page"),
    ("https://github.com/acme/web/settings/actions/runners/new", "give https://github.com/acme/web\n"),
    ("https://github.com/orgs/acme/teams", "give https://github.com/acme\n"),
    ("https://github.com/organizations/acme/settings/actions/runners", "give https://github.com/acme\n"),
    ("https://github.com/enterprises/big/settings", "give https://github.com/enterprises/big\n"),
    ("https://github.com", "names a server only"),
    ("https://github.com/", "names a server only"),
    ("https://me:secret@github.com/acme/web", "user name or password"),
    ("http://github.com/acme/web", "give https"),
    ("github.com/acme/web", "not the URL"),
    ("ftp://github.com/acme/web", "not the URL"),
    ("https://github.com/a b/web", "not the URL"),
    ("https://github.com/enterprises", "not the URL"),
    ("", "not the URL"),
])
def test_urls(wherry: Wherry, url: str, words: str) -> None:
    done = wherry.run("register", "--url", url, "--token", "A1")
    assert done.returncode == 1 and words in done.stderr and "secret" not in done.stderr, done.stderr


# -- limits and versions ---------------------------------------------------------------------------------------------
def test_rate_limit_with_its_end(wherry: Wherry, client: Client) -> None:
    reset = int(time.time()) + 1800
    client.fault("api.tenant", "status", status=403, body=body("API rate limit exceeded for user ID 1."), times=9,
                 headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)})
    said = attempt(wherry, client)
    assert "rate limit is used up until " + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(reset)) in said
    assert len(client.requests(endpoint="api.tenant")) == 1, "nobody waits half an hour in a command"


def test_secondary_rate_limit_is_waited_for(wherry: Wherry, client: Client) -> None:
    client.fault("api.tenant", "status", status=429, body=body("You have exceeded a secondary rate limit."), retry_after=1)
    wherry.register(client)
    assert len(client.requests(endpoint="api.tenant")) == 2


def test_version_too_old(wherry: Wherry, client: Client) -> None:
    client.fault("api.register", "status", status=403,
                 body=body("Runner version v2.100.0 is deprecated and cannot be registered."))
    said = attempt(wherry, client, "--runner-version", "2.100.0")
    assert "no runners of version 2.100.0" in said and "--runner-version" in said


def test_v1_version_too_old(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v1")
    client.fault("v1.agent-add", "status", status=403,
                 body=json.dumps({"message": "no", "typeKey": "AccessDeniedException", "errorCode": 1}))
    assert "takes no runners of version" in attempt(wherry, client)


@pytest.mark.parametrize("option", ["--ephemeral", "--disableupdate"])
def test_server_too_old_for_an_option(wherry: Wherry, client: Client, option: str) -> None:
    """It is deleted there again."""
    client.options(registration="v1", listener="v1", v1_old=True)
    said = attempt(wherry, client, option)
    assert f"too old for {option}" in said and client.status()["runners"] == []


# -- names and groups ------------------------------------------------------------------------------------------------
def test_name_taken_between_look_and_deed(wherry: Wherry, client: Client) -> None:
    client.fault("api.register", "status", status=409, body=body("A runner exists with the same name box1."))
    said = attempt(wherry, client)
    assert 'a runner named "box1" is registered' in said and "--replace" in said


def test_v1_name_taken_between_look_and_deed(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v1")
    client.fault("v1.agent-add", "status", status=409, body=json.dumps({"message": "exists", "typeKey": "TaskAgentExistsException"}))
    assert 'a runner named "box1" is registered' in attempt(wherry, client)


def test_group_gone(wherry: Wherry, client: Client) -> None:
    client.fault("api.register", "status", status=404, body=body("Not Found"))
    assert "the runner group is gone" in attempt(wherry, client)


def test_v1_unknown_group(wherry: Wherry, client: Client) -> None:
    client.options(registration="v1", listener="v1")
    said = attempt(wherry, client, "--runnergroup", "nobody")
    assert 'no runner group "nobody"' in said and "Default, builders" in said


# -- the server ------------------------------------------------------------------------------------------------------
def test_html(wherry: Wherry, client: Client) -> None:
    client.fault("api.tenant", "body", body="<html>Log in</html>", content_type="text/html")
    assert "does not answer as GitHub does" in attempt(wherry, client)


def test_html_404(wherry: Wherry, client: Client) -> None:
    client.fault("api.tenant", "status", status=404, body="<html>nginx</html>", content_type="text/html")
    assert "does not answer as GitHub does" in attempt(wherry, client)


def test_hundred_megabytes(wherry: Wherry, client: Client) -> None:
    client.fault("api.tenant", "body", body="x" * (8 << 20), times=9)
    assert "bytes" in attempt(wherry, client)


@pytest.mark.parametrize("endpoint, path", [("api.tenant", "/api/v3/actions/runner-registration"),
                                            ("api.groups", "/api/v3/repos/acme/web/actions/runner-groups")])
def test_redirect_takes_no_credentials_along(wherry: Wherry, client: Client, place: Path, endpoint: str, path: str) -> None:
    with ServiceProcess(place / "other.log") as other:
        client.fault(endpoint, "status", status=307, headers={"Location": other.url.replace("127.0.0.1", "localhost") + path})
        assert "is for this host alone" in attempt(wherry, client)
        assert other.client.requests() == []


def test_tenant_elsewhere(wherry: Wherry, client: Client) -> None:
    """A GHES that sends its runners to a host that is not its own would get their credentials there."""
    client.fault("api.tenant", "body", body=json.dumps({"url": "https://evil.example/t/", "token": "t", "token_schema": "OAuthAccessToken"}))
    said = attempt(wherry, client)
    assert "which is not its own" in said and "evil.example" in said


@pytest.mark.parametrize("answer", ['{"url":"https://x/"', "[]", '{"use_v2_flow":false}', '{"url":"javascript:1","token":"t"}'])
def test_broken_answers(wherry: Wherry, client: Client, answer: str) -> None:
    client.fault("api.tenant", "body", body=answer, times=9)
    assert "answer" in attempt(wherry, client)


def test_busy_runner_is_not_removed(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    token, _ = client.token(kind="remove")
    client.fault("api.remove", "status", status=422, body=body("Runner \"box1\" is currently running a job and cannot be deleted."))
    done = wherry.run("unregister", "--token-file", "-", given=token)
    assert done.returncode == 1 and "runs a job" in done.stderr
    assert (wherry.state / "runners/box1/runner.json").exists()


def test_registration_token_does_not_remove(wherry: Wherry, client: Client) -> None:
    wherry.register(client)
    token, _ = client.token()
    done = wherry.run("unregister", "--token-file", "-", given=token)
    assert done.returncode == 1 and "does not know this remove token" in done.stderr
    assert len(client.status()["runners"]) == 1


# -- App -------------------------------------------------------------------------------------------------------------
def by_app(wherry: Wherry, client: Client, key: Path, *more: str) -> str:
    return attempt(wherry, client, "--app-id", "12345", "--app-key", key, *more, scope="acme")


def test_key_of_another_app(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place)
    app.make_key(key)
    assert "does not take the App's signature" in by_app(wherry, client, key)


def test_unknown_app(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place, app_id="99")
    assert "knows no App of this id" in by_app(wherry, client, key)


def test_app_is_not_installed_there(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place, "elsewhere")
    assert "no such installation" in by_app(wherry, client, key)


def test_unknown_installation(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place)
    assert "no such installation" in by_app(wherry, client, key, "--app-installation", "1")


def test_suspended_app(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place, app_suspended=True)
    assert "suspended" in by_app(wherry, client, key)


def test_app_without_the_right(wherry: Wherry, client: Client, place: Path) -> None:
    key = app.install(client, place)
    client.fault("api.registration-token", "status", status=403, body=body("Resource not accessible by integration"))
    said = by_app(wherry, client, key)
    assert "the App may not administer runners" in said and "Self-hosted runners: write" in said


@pytest.mark.parametrize("more, words", [(["--app-id", "x y"], "is not an App's id"), (["--app-installation", "abc"], "App's installation")])
def test_bad_app_options(wherry: Wherry, client: Client, place: Path, more: list[str], words: str) -> None:
    key = app.install(client, place)
    done = wherry.run("register", "--url", "https://github.com/acme", "--app-id", "1", "--app-key", key, *more)
    assert done.returncode == 1 and words in done.stderr
