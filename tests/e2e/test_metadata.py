"""docker/metadata-action and docker/setup-qemu-action, built in: what later steps get of them, and the build that takes tags and labels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.repository import Repository, git
from .test_exec import execute
from .test_jobs import steps


@pytest.fixture
def repo(place: Path) -> Repository:
    repo = Repository.create(place / "git", "acme/web", place / "tree")
    repo.write({"README.md": "x\n", "Dockerfile": "FROM scratch\nCOPY README.md /\n"})
    repo.commit()
    (place / "tree").chmod(0o755)
    return repo


CHECKOUT = "uses: actions/checkout@v6"
META = "id: meta\nuses: docker/metadata-action@v6\nwith:\n"


def test_outputs_and_variables(wherry: Wherry, repo: Repository) -> None:
    git(repo.work, "tag", "v1.2.3")
    text = steps(CHECKOUT, META + "  images: Reg.lan/App\n  labels: team=core\n  tags: |\n    type=semver,pattern={{version}}\n    type=semver,pattern={{major}}.{{minor}}\n"
                 "    type=sha,format=long\n  context: git\n",
                 "run: |\n  test \"$(printf %s \"$DOCKER_METADATA_OUTPUT_TAGS\" | tr '\\n' ,)\" = '${{ join(fromJSON(steps.meta.outputs.json).tags) }}'\n"
                 "  grep -q docker-metadata-action '${{ steps.meta.outputs.bake-file }}'\n  echo \"v=${{ steps.meta.outputs.version }} n=$DOCKER_METADATA_OUTPUT_TAG_NAMES\" | tr '\\n' ' '")
    git(repo.work, "checkout", "-q", "--detach", "v1.2.3")
    # Two names for one commit: git's own order decides, and a branch is none of them here.
    git(repo.work, "branch", "-q", "-D", "main")
    done = execute(wherry, repo.work, text)
    assert done.returncode == 0, done.stdout + done.stderr
    sha = git(repo.work, "rev-parse", "HEAD")
    assert f"v=1.2.3 n=1.2.3 1.2 sha-{sha} latest" in done.stdout
    for line in (f"reg.lan/app:sha-{sha}", "reg.lan/app:latest", "org.opencontainers.image.version=1.2.3",
                 f"org.opencontainers.image.revision={sha}", "team=core", "##[group]Bake file definition (labels)"):
        assert line in done.stdout, done.stdout


def test_the_build_takes_them(wherry: Wherry, repo: Repository, place: Path) -> None:
    text = steps(CHECKOUT, META + "  images: local/app\n  tags: type=ref,event=branch\n",
                 "uses: docker/build-push-action@v6\nwith:\n  context: .\n  tags: ${{ steps.meta.outputs.tags }}\n  labels: ${{ steps.meta.outputs.labels }}\n"
                 f"  outputs: type=oci,dest={place}/out/image.tar\n")
    (place / "out").mkdir(mode=0o777)
    (place / "out").chmod(0o777)
    done = execute(wherry, repo.work, text)
    assert done.returncode == 0, done.stdout + done.stderr
    layout = place / "image"
    layout.mkdir()
    subprocess.run(["tar", "-C", layout, "-xf", place / "out/image.tar"], check=True)
    blob = lambda descriptor: json.loads((layout / "blobs" / descriptor["digest"].replace(":", "/")).read_text())
    [manifest] = json.loads((layout / "index.json").read_text())["manifests"]
    labels = blob(blob(manifest)["config"])["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == "main"
    assert labels["org.opencontainers.image.revision"] == git(repo.work, "rev-parse", "HEAD")


@pytest.mark.parametrize("inputs,said", [
    ("  tags: type=nope\n", "Unknown tag type attribute: nope"), ("  context: svn\n", "Invalid context source: svn"),
    ("  flavor: latest=maybe\n", "Invalid latest flavor entry: latest=maybe"), ("  tags: type=raw,value={{#each x}}\n", "'{{#each}}' is not supported by wherry"),
])
def test_bad_inputs(wherry: Wherry, repo: Repository, inputs: str, said: str) -> None:
    done = execute(wherry, repo.work, steps(META + inputs))
    assert done.returncode == 1 and said in done.stdout + done.stderr


def test_emulators(wherry: Wherry, repo: Repository, place: Path) -> None:
    """What the kernel has is told; what a job asks for and is not there fails it, with what to do."""
    entries = place / "binfmt"
    entries.mkdir(mode=0o755)
    (entries / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n"
                                          "magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n")
    (entries / "qemu-arm").write_text("enabled\ninterpreter /usr/bin/qemu-arm-static\nflags: OC\noffset 0\n"
                                      "magic 7f454c4601010100000000000000000002002800\nmask ffffffffffffff00fffffffffffffffffeffffff\n")
    there = "env:\n  WHERRY_BINFMT_DIR: " + str(entries)
    qemu = "id: q\nuses: docker/setup-qemu-action@v4\n" + there + "\nwith:\n"
    done = execute(wherry, repo.work, steps(qemu + "  platforms: linux/arm64\n  reset: true", "run: echo \"p=${{ steps.q.outputs.platforms }}\""))
    assert done.returncode == 0 and "linux/arm64" in done.stdout.split("p=")[-1] and "'reset' is without effect" in done.stdout, done.stdout
    done = execute(wherry, repo.work, steps(qemu + "  platforms: arm64,linux/arm/v7,linux/s390x,bogus/x"))
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "linux/arm/v7: its emulator is registered without the flag F" in said, said
    assert "linux/s390x: no emulator is registered" in said and "apt-get install qemu-user-static" in said
