"""An official runner's files: taken over, written back byte for byte, just-in-time, and all that may be wrong with them."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.service.client import Client

from .support.agent import Wherry

BOM = b"\xef\xbb\xbf"
FILES = (".runner", ".credentials", ".credentials_rsaparams")
Change = Callable[[dict[str, Any]], Any]


def text_of(value: Any) -> bytes:
    """As the official runner writes it."""
    return BOM + json.dumps(value, indent=2, ensure_ascii=False).encode()


def numbers(bits: int = 2048, strip: bool = False) -> dict[str, str]:
    key = rsa.generate_private_key(65537, bits).private_numbers()
    whole, half = bits // 8, bits // 16

    def encoded(value: int, size: int) -> str:
        return base64.b64encode(value.to_bytes((value.bit_length() + 7) // 8 if strip else size, "big")).decode()

    return {"d": encoded(key.d, whole), "dp": encoded(key.dmp1, half), "dq": encoded(key.dmq1, half), "exponent": "AQAB",
            "inverseQ": encoded(key.iqmp, half), "modulus": encoded(key.public_numbers.n, whole), "p": encoded(key.p, half),
            "q": encoded(key.q, half)}


def official(url: str = "https://github.com/acme/web") -> dict[str, Any]:
    return {
        ".runner": {"agentId": 4711, "agentName": "box1", "poolId": 1, "poolName": "Default", "disableUpdate": True, "serverUrl": "https://t.example/",
                    "gitHubUrl": url, "workFolder": "_work", "useV2Flow": True, "useRunnerAdminFlow": True, "serverUrlV2": "https://b.example/"},
        ".credentials": {"scheme": "OAuth", "data": {"clientId": "0a1b2c3d-0000-4000-8000-000000000001", "authorizationUrl": "https://a.example/77",
                                                     "requireFipsCryptography": "True"}},
        ".credentials_rsaparams": numbers(),
    }


def write(folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else text_of(value))
    return folder


@pytest.fixture
def exported(wherry: Wherry, client: Client, place: Path) -> Path:
    """The files of a runner that the service knows, and that this state folder knows no more."""
    wherry.register(client)
    folder = place / "official"
    wherry.run("export", folder, check=True)
    wherry.run("unregister", "--local", check=True)
    return folder


# -- there and back --------------------------------------------------------------------------------------------------
def test_exported_runner_serves_again(wherry: Wherry, client: Client, exported: Path) -> None:
    for name in FILES:
        data = (exported / name).read_bytes()
        assert data.startswith(BOM) and stat.S_IMODE((exported / name).stat().st_mode) == 0o600
        json.loads(data[3:])
    registered = len(client.requests(endpoint="api.register"))
    wherry.run("import", exported, check=True)
    wherry.start(client=client)
    assert len(client.requests(endpoint="api.register")) == registered
    client.check()


def test_tokens_come_from_the_endpoint_of_their_own(wherry: Wherry, client: Client, exported: Path) -> None:
    """oauthEndpointUrl is where the call goes; the audience stays authorizationUrl."""
    data = json.loads((exported / ".credentials").read_bytes()[3:])
    right = data["data"]["authorizationUrl"]
    data["data"]["oauthEndpointUrl"] = right + "?by=endpoint"
    (exported / ".credentials").write_bytes(text_of(data))
    wherry.run("import", exported, check=True)
    wherry.start(client=client)
    assert all(r["path"].endswith("?by=endpoint") for r in client.requests(endpoint="oauth.token"))
    client.check(ignore=["query"])


@pytest.mark.parametrize("flow", ["v1", "v2"])
def test_imported_v1_runner(wherry: Wherry, client: Client, place: Path, flow: str) -> None:
    client.options(registration="v1", listener=flow)
    wherry.register(client)
    wherry.run("export", place / "official", check=True)
    kept = json.loads((place / "official/.runner").read_bytes()[3:])
    assert ("useV2Flow" in kept) == (flow == "v2") and "useRunnerAdminFlow" not in kept
    wherry.run("unregister", "--local", check=True)
    wherry.run("import", place / "official", check=True)
    token, _ = client.token(kind="remove")
    wherry.run("unregister", "--token-file", "-", given=token, check=True)
    assert client.status()["runners"] == []
    client.check()


@pytest.mark.parametrize("change", [
    lambda f: None,
    lambda f: f[".runner"].update(ephemeral=True, monitorSocketAddress="/run/x", someFutureField={"a": [1, "é"]}),
    lambda f: f.update({".runner": {"isHostedServer": False, **{k: v for k, v in f[".runner"].items() if k not in ("useV2Flow", "useRunnerAdminFlow",
                                                                                                                 "serverUrlV2")}}}),
    lambda f: f[".credentials"]["data"].update(requireFipsCryptography="False"),
    lambda f: f[".credentials"]["data"].update(oauthEndpointUrl="https://o.example/", enableAuthMigrationByDefault="true",
                                               authorizationUrlV2="https://a2.example/", later="x"),
    lambda f: f.update({".credentials_rsaparams": numbers(4096)}),
])
def test_bytes_come_back(wherry: Wherry, place: Path, change: Change) -> None:
    files = official()
    change(files)
    order = ["isHostedServer", "agentId", "agentName", "skipSessionRecover", "poolId", "poolName", "disableUpdate", "ephemeral", "serverUrl",
             "gitHubUrl", "workFolder", "monitorSocketAddress", "useV2Flow", "useRunnerAdminFlow", "serverUrlV2", "someFutureField"]
    files[".runner"] = dict(sorted(files[".runner"].items(), key=lambda item: order.index(item[0])))
    folder = write(place / "from", files)
    wherry.run("import", folder, check=True)
    wherry.run("export", place / "to", check=True)
    for name in FILES:
        assert (place / "to" / name).read_bytes() == (folder / name).read_bytes(), name
    assert set(p.name for p in (place / "to").iterdir()) == set(FILES)


def test_other_spellings(wherry: Wherry, place: Path) -> None:
    """PascalCase, numbers and bools as strings, no BOM, no leading zeros, CRLF."""
    files = official()
    folder = write(place / "from", {
        ".runner": json.dumps({k[:1].upper() + k[1:]: str(v) for k, v in files[".runner"].items()}, indent=1).replace("\n", "\r\n").encode(),
        ".credentials": json.dumps({"Scheme": "oauth", "Data": {k.upper(): v for k, v in files[".credentials"]["data"].items()}}).encode(),
        ".credentials_rsaparams": json.dumps(numbers(strip=True)).encode()})
    wherry.run("import", folder, check=True)
    wherry.run("export", place / "to", check=True)
    assert (place / "to/.runner").read_bytes() == text_of(files[".runner"])
    assert (place / "to/.credentials").read_bytes() == text_of(files[".credentials"])


def test_the_services_later_version_comes_first(wherry: Wherry, place: Path) -> None:
    files = official()
    folder = write(place / "from", files)
    (folder / ".runner_migrated").write_bytes(text_of({**files[".runner"], "serverUrlV2": "https://later.example/"}))
    (folder / ".credentials_migrated").write_bytes(text_of({"scheme": "OAuth", "data": {**files[".credentials"]["data"], "authorizationUrlV2": "https://v2.example/"}}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    wherry.run("import", folder, check=True)
    assert json.loads((wherry.state / "runners/box1/runner.json").read_text())["serverUrlV2"] == "https://b.example/", "the registration stays"
    wherry.run("export", place / "to", check=True)
    assert {path.name: path.read_bytes() for path in (place / "to").iterdir()} == before
    wherry.run("import", write(place / "anew", files), "--replace", check=True)
    wherry.run("export", place / "again", check=True)
    assert {path.name for path in (place / "again").iterdir()} == set(FILES), "of another registration nothing is left"


@pytest.mark.parametrize("name,value,words", [
    (".runner_migrated", {"agentId": 4712}, "agentId is 4712, this runner's is 4711"),
    (".runner_migrated", {"serverUrlV2": ""}, "serverUrlV2 is missing"),
    (".runner_migrated", b"{", "truncated or damaged"),
    (".credentials_migrated", {"data": {"clientId": "other", "authorizationUrl": "https://a.example/77"}}, "clientId is other"),
    (".credentials_migrated", {"scheme": "Basic"}, "scheme"),
])
def test_bad_later_versions(wherry: Wherry, place: Path, name: str, value: Any, words: str) -> None:
    files = official()
    folder = write(place / "from", files)
    base = files[name.removesuffix("_migrated")]
    (folder / name).write_bytes(value if isinstance(value, bytes) else text_of({**base, **value}))
    done = wherry.run("import", folder)
    assert done.returncode == 1 and name in done.stderr and words in done.stderr, done.stderr
    assert not (wherry.state / "runners/box1").exists()


def test_nothing_is_written_over(wherry: Wherry, place: Path) -> None:
    folder = write(place / "from", official())
    wherry.run("import", folder, check=True)
    again = wherry.run("import", folder)
    assert again.returncode == 1 and "--replace" in again.stderr
    wherry.run("import", folder, "--replace", check=True)
    before = {name: (folder / name).read_bytes() for name in FILES}
    done = wherry.run("export", folder)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert before == {name: (folder / name).read_bytes() for name in FILES}


def test_work_folder(wherry: Wherry, place: Path) -> None:
    files = official()
    files[".runner"]["workFolder"] = "/srv/work"
    wherry.run("import", write(place / "from", files), check=True)
    assert json.loads((wherry.state / "runners/box1/runner.json").read_text())["work"] == "/srv/work"


# -- bad files -------------------------------------------------------------------------------------------------------
def _set(name: str, **fields: Any) -> Change:
    return lambda f: f[name].update(fields)


def _drop(name: str, field: str) -> Change:
    return lambda f: f[name].pop(field)


def _data(**fields: Any) -> Change:
    return lambda f: f[".credentials"]["data"].update(fields)


def _cut(name: str, keep: int) -> Change:
    return lambda f: f.update({name: text_of(f[name])[:keep]})


def _swap(f: dict[str, Any]) -> None:
    f[".credentials_rsaparams"]["p"] = numbers()["p"]


@pytest.mark.parametrize("change, words", [
    (_cut(".runner", 60), "truncated"),
    (_cut(".runner", 0), "truncated"),
    (_cut(".credentials", 30), "truncated"),
    (_cut(".credentials_rsaparams", 300), ".credentials_rsaparams"),
    (lambda f: f.update({".runner": b"\0\1\2\3"}), "truncated"),
    (lambda f: f.update({".runner": [1]}), "no object"),
    (lambda f: f.update({".runner": b" " * (1 << 20)}), "larger than the limit"),
    (_drop(".runner", "agentId"), "field agentId is missing"),
    (_drop(".runner", "agentName"), "field agentName is missing"),
    (_drop(".runner", "serverUrlV2"), "field serverUrlV2 is missing"),
    (lambda f: (f[".runner"].pop("useV2Flow"), f[".runner"].pop("serverUrl")), "field serverUrl is missing"),
    (_set(".runner", agentId="many"), "agentId must be a number"),
    (_set(".runner", agentId=-5), "agentId must be a number"),
    (_set(".runner", useV2Flow="perhaps"), "useV2Flow must be true or false"),
    (_set(".runner", serverUrl="file:///etc"), "serverUrl must be a web address"),
    (_set(".runner", serverUrlV2=17), "serverUrlV2 must be a web address"),
    (_set(".runner", gitHubUrl="https://github.com/a/b/c/d"), "gitHubUrl"),
    (_set(".runner", agentName="../../etc"), "cannot name a folder"),
    (_set(".credentials", scheme="OAuthAccessToken"), "OAuthAccessToken"),
    (_drop(".credentials", "scheme"), "field scheme is missing"),
    (_drop(".credentials", "data"), "field data is missing"),
    (_data(clientId=""), "clientId is missing"),
    (_data(authorizationUrl="nowhere"), "authorizationUrl must be a web address"),
    (_data(requireFipsCryptography="maybe"), "requireFipsCryptography must be true or false"),
    (lambda f: f.update({".credentials_rsaparams": numbers(1024)}), "1024 bits"),
    (_drop(".credentials_rsaparams", "d"), "field d is missing"),
    (_set(".credentials_rsaparams", q="*" * 20), "field q is not a number"),
    (_set(".credentials_rsaparams", exponent=base64.b64encode(b"\1" * 300).decode()), "longer than belongs"),
    (_swap, "do not belong together"),
])
def test_bad_files(wherry: Wherry, place: Path, change: Change, words: str) -> None:
    files = official()
    change(files)
    done = wherry.run("import", write(place / "from", files))
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert files[".credentials_rsaparams"] is None or str(files[".credentials_rsaparams"])[10:60] not in done.stderr
    assert not (wherry.state / "runners/box1").exists()


@pytest.mark.parametrize("missing", FILES)
def test_missing_file(wherry: Wherry, place: Path, missing: str) -> None:
    folder = write(place / "from", official())
    (folder / missing).unlink()
    done = wherry.run("import", folder)
    assert done.returncode == 1 and f"no file {missing}" in done.stderr


def test_a_folder_that_is_not_there(wherry: Wherry, place: Path) -> None:
    done = wherry.run("import", place / "nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr


# -- our own file ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("change, words", [
    (lambda text: text[: len(text) // 2], "runner.json"),
    (lambda text: text.replace('"format": 1', '"format": 9'), "newer wherry"),
    (lambda text: text.replace('"4711"', '"x"'), "field id is missing"),
    (lambda text: text.replace("serverUrlV2", "serverUrlV3"), "serverUrlV2"),
])
def test_own_file_of_another_version_or_edited(wherry: Wherry, place: Path, change: Callable[[str], str], words: str) -> None:
    wherry.run("import", write(place / "from", official()), check=True)
    kept = wherry.state / "runners/box1/runner.json"
    kept.write_text(change(kept.read_text()))
    done = wherry.run("run", "--once")
    assert done.returncode == 1 and words in done.stderr, done.stderr


# -- just in time ----------------------------------------------------------------------------------------------------
def jit_of(files: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps({
        name: base64.b64encode(value if isinstance(value, bytes) else text_of(value)).decode() for name, value in files.items()}).encode()).decode()


@pytest.fixture
def jit(wherry: Wherry, client: Client) -> str:
    done = wherry.run("jit", "--url", f"{client.status()['url']}/acme/web", "--pat", "-", "--name", "jit1", "--labels", "self-hosted,Linux",
                      given=client.status()["pat"], check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("way", ["file", "stdin", "argv", "environment"])
def test_jit_runner_takes_one_job(wherry: Wherry, client: Client, place: Path, jit: str, runs: Any, way: str) -> None:
    file = place / "jit"
    file.write_text("\n".join(jit[i:i + 76] for i in range(0, len(jit), 76)) + "\n")
    user = ["--job-user", str(wherry.job_user)] if wherry.job_user is not None else []
    job = runs.queue("on: push\njobs:\n  j:\n    runs-on: [self-hosted, linux]\n    steps:\n      - run: echo hello\n")
    given = {"file": str(file), "stdin": "-", "argv": jit, "environment": ""}[way]
    env = {"ACTIONS_RUNNER_INPUT_JITCONFIG": jit} if way == "environment" else {}
    done = wherry.run("run", *(["--jitconfig", given] if given else []), *user, env=env, given=file.read_text() if way == "stdin" else None)
    assert done.returncode == 0, done.stderr
    assert jit not in done.stderr
    assert client.wait(job)["conclusion"] == "succeeded"
    assert client.status()["runners"] == []
    assert not (wherry.state / "runners/jit1").exists(), "one job, then its files are gone"
    client.check()


def test_jit_to_a_file(wherry: Wherry, client: Client, place: Path) -> None:
    wherry.run("jit", "--url", f"{client.status()['url']}/acme", "--pat", "-", "--labels", "a,b", "--runnergroup", "Builders", "--work", "/srv/w",
               "--output", place / "out", given=client.status()["pat"], check=True)
    assert stat.S_IMODE((place / "out").stat().st_mode) == 0o600
    runner = client.status()["runners"][0]
    assert runner["labels"] == ["a", "b"] and runner["group"] == 3 and runner["ephemeral"]
    client.check()


@pytest.mark.parametrize("arguments, words", [
    (["--labels", ","], "--labels"),
    (["--labels", "a", "--runnergroup", "builders"], "no group but the default"),
    (["--labels", "a", "--name", "a b"], "--name wants"),
])
def test_jit_bad_usage(wherry: Wherry, client: Client, arguments: list[str], words: str) -> None:
    done = wherry.run("jit", "--url", f"{client.status()['url']}/acme/web", "--pat", "-", *arguments, given=client.status()["pat"])
    assert done.returncode in (1, 2) and words in done.stderr


def test_jit_name_taken(wherry: Wherry, client: Client, jit: str) -> None:
    done = wherry.run("jit", "--url", f"{client.status()['url']}/acme/web", "--pat", "-", "--name", "jit1", "--labels", "a",
                      given=client.status()["pat"])
    assert done.returncode == 1 and 'a runner named "jit1"' in done.stderr and "--replace" not in done.stderr


def test_jit_wants_more_than_a_registration_token(wherry: Wherry, client: Client) -> None:
    token, url = client.token()
    done = wherry.run("jit", "--url", url, "--token-file", "-", "--labels", "a", given=token)
    assert done.returncode == 1 and "--pat" in done.stderr


@pytest.mark.parametrize("make, words", [
    (lambda f: "not base64!" * 20, "is not base64"),
    (lambda f: jit_of(f)[:400], "is cut off"),
    (lambda f: base64.b64encode(b"[]").decode(), "no map of files"),
    (lambda f: "", "is empty"),
    (lambda f: "\n \n", "is empty"),
    (lambda f: "A" * (600 << 10), "524288"),
    (lambda f: jit_of({k: v for k, v in f.items() if k != ".credentials"}), "lacks the file .credentials"),
    (lambda f: jit_of({k: v for k, v in f.items() if k != ".runner"}), "lacks the file .runner"),
    (lambda f: base64.b64encode(json.dumps({".runner": "%%%"}).encode()).decode(), "file .runner is not base64"),
    (lambda f: jit_of({**f, ".runner": text_of(f[".runner"])[:50]}), "truncated"),
    (lambda f: jit_of({**f, ".credentials_rsaparams": numbers(1024)}), "1024 bits"),
])
def test_bad_jit(wherry: Wherry, place: Path, make: Callable[[dict[str, Any]], str], words: str) -> None:
    done = wherry.run("run", "--jitconfig", "-", given=make(official()))
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not (wherry.state / "runners").exists() or not list((wherry.state / "runners").glob("*/runner.json"))


def test_jit_writes_no_other_files(wherry: Wherry, client: Client, place: Path, jit: str) -> None:
    """A map may name any file; the official runner would write it."""
    files = json.loads(base64.b64decode(jit))
    files["../../evil"] = base64.b64encode(b"x").decode()
    file = place / "jit"
    file.write_text(base64.b64encode(json.dumps(files).encode()).decode())
    user = ["--job-user", str(wherry.job_user)] if wherry.job_user is not None else []
    wherry.start("--jitconfig", str(file), *user, client=client)
    assert not list(place.rglob("evil"))
    assert {p.name for p in (wherry.state / "runners/jit1").iterdir()} <= {"runner.json", "credentials.sealed", "lock", "session"}


def test_jit_string_that_is_no_file(wherry: Wherry) -> None:
    done = wherry.run("run", "--jitconfig", "no-such-file")
    assert done.returncode == 1 and "no-such-file" in done.stderr
