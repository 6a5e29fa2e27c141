"""The settings file: what `run` makes of it, and what `config` says of it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.service.client import Client

from .support.agent import Wherry


def write(place: Path, text: str) -> Path:
    file = place / "wherry.yaml"
    file.write_text(text)
    return file


def runners(client: Client) -> list[str]:
    return sorted(r["name"] for r in client.status()["runners"])


def test_run_registers_the_runners_of_the_file(wherry: Wherry, client: Client, place: Path) -> None:
    url = client.status()["url"]
    pat = place / "pat"
    pat.write_text(client.status()["pat"] + "\n")
    pat.chmod(0o600)
    file = write(place, f"""
service: {{url: {url}/acme/web}}
credentials: {{org: {{pat: {{file: pat}}}}, none: {{token: {{env: NOT_SET_HERE}}}}}}
runners:
  - {{name: "box-{{index}}", count: 2, labels: [images], credentials: org, work: {wherry.folder}/work}}
  - {{name: lost, credentials: none, work: {wherry.folder}/work}}
log: {{level: debug}}
""")
    wherry.start("--config", str(file), client=client)
    client.wait_runners(2)
    assert runners(client) == ["box-1", "box-2"]
    assert "images" in json.dumps(client.runner("box-1"))
    wherry.stop()
    said = wherry.log_text()
    assert "runner lost of" in said and "NOT_SET_HERE is not set" in said, "one that can't register is told, and keeps no other from starting"
    assert pat.read_text().strip() not in said
    wherry.start("--config", str(file), client=client)
    wherry.stop()
    assert runners(client) == ["box-1", "box-2"], "what is registered is not registered again"


def test_run_refuses_a_file_with_mistakes(wherry: Wherry, place: Path) -> None:
    file = write(place, "cahce: {max-size: 1g}\njobs: {max: many}\n")
    done = wherry.run("run", "--config", file)
    assert done.returncode == 1
    assert f"{file}:1:1: error: there is no setting 'cahce' here; did you mean 'cache'?" in done.stderr
    assert f"{file}:2:13: error: jobs.max: 'many' is no whole number" in done.stderr


def test_config_show_tells_where_each_value_is_from(wherry: Wherry, place: Path) -> None:
    file = write(place, "cache: {max-size: 20g}\n")
    drop_ins = place / "wherry.yaml.d"
    drop_ins.mkdir()
    (drop_ins / "10.yaml").write_text("jobs: {max: 3}\n")
    wherry.env["WHERRY_LOG_LEVEL"] = "warning"
    shown = wherry.run("config", "show", "--config", file, check=True).stdout
    assert "max-size: 20g" in shown and f"{file}:1:19" in shown
    assert f"{drop_ins}/10.yaml:1:13" in shown and "# WHERRY_LOG_LEVEL" in shown
    told = json.loads(wherry.run("config", "show", "--json", "--config", file, check=True).stdout)
    assert told["cache"]["max-size"] == 20 << 30 and told["jobs"]["max"] == 3 and told["log"]["level"] == "warning"


def test_config_init_writes_a_file_that_is_right(wherry: Wherry, place: Path) -> None:
    file = place / "new" / "wherry.yaml"
    wherry.run("config", "init", "--config", file, check=True)
    assert "fine" in wherry.run("config", "check", "--config", file, check=True).stdout
    again = wherry.run("config", "init", "--config", file)
    assert again.returncode == 1 and "is there already" in again.stderr
