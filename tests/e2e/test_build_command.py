"""What `wherry build` writes, shows and returns, beside the image itself."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from .support.agent import Wherry
from .support.building import Builder


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place: Path) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


def run(builder: Builder, *arguments: str, text: str = "", timeout: float = 60, **env: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a user gives it, with bytes as they come."""
    return subprocess.run([str(builder.wherry.binary), "build", *arguments], env={**builder.wherry.env, **env}, input=text.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, cwd=builder.context, check=False)


def test_folder_and_stream(builder: Builder, place: Path) -> None:
    builder.write(a__txt="a\n")
    builder.dockerfile("FROM scratch\nCOPY a.txt /sub/b.txt\nCOPY --chmod=700 a.txt /c\n")
    out = place / "out"
    done = run(builder, "-o", str(out), ".")
    assert done.returncode == 0, done.stderr.decode()
    assert (out / "sub/b.txt").read_text() == "a\n" and (out / "c").stat().st_mode & 0o777 == 0o700
    stream = run(builder, "-q", "-o", "-", ".")
    with tarfile.open(fileobj=io.BytesIO(stream.stdout)) as tar:
        assert {"sub/b.txt", "c"} <= set(tar.getnames())


def test_folder_that_cannot_be_written(builder: Builder, place: Path) -> None:
    builder.dockerfile("FROM scratch\nCOPY Dockerfile /x\n")
    (place / "file").write_text("")
    done = run(builder, "-o", str(place / "file"), ".")
    assert done.returncode == 1 and b"--output: create folder" in done.stderr
    missing = run(builder, "-o", f"type=oci,dest={place}/no/such/x.tar", ".")
    assert missing.returncode == 1 and b"No such file or directory" in missing.stderr


def test_files_about_the_image(builder: Builder, place: Path) -> None:
    builder.dockerfile("FROM scratch\nCOPY Dockerfile /x\n")
    done = run(builder, "-q", "-o", f"type=oci,dest={place}/x.tar", "--iidfile", f"{place}/id", "--metadata-file", f"{place}/md.json", ".")
    assert done.returncode == 0, done.stderr.decode()
    identity = (place / "id").read_text()
    assert identity.startswith("sha256:") and done.stdout.decode().strip() == identity
    metadata = json.loads((place / "md.json").read_text())
    assert metadata["containerimage.config.digest"] == identity and metadata["containerimage.digest"].startswith("sha256:")
    assert done.stderr == b""


def test_dockerfile_by_stdin(builder: Builder, place: Path) -> None:
    builder.write(a__txt="a\n")
    alone = run(builder, "-o", str(place / "one"), "-", text="FROM scratch\nCOPY <<EOF /x\nhi\nEOF\n")
    assert alone.returncode == 0 and (place / "one/x").read_text() == "hi\n"
    beside = run(builder, "-o", str(place / "two"), "-f", "-", ".", text="FROM scratch\nCOPY a.txt /\n")
    assert beside.returncode == 0 and (place / "two/a.txt").read_text() == "a\n"
    packed = run(builder, "-", text="\x00" * 257 + "ustar" + "\x00" * 300)
    assert packed.returncode == 1 and b"standard input is an archive" in packed.stderr


def test_failure_on_the_screen(builder: Builder) -> None:
    builder.dockerfile("FROM BASE\nRUN echo before; echo why >&2; exit 7\nRUN later\n")
    done = run(builder, "--progress", "plain", ".")
    text = done.stderr.decode()
    assert done.returncode == 1
    assert "#0 building with" in text and " > [2/3] RUN echo before" in text and "Dockerfile:2\n" in text and ">>> RUN echo before" in text
    assert text.rstrip().splitlines()[-1] == ('ERROR: failed to build: failed to solve: process "/bin/sh -c echo before; echo why >&2; '
                                              'exit 7" did not complete successfully: exit code: 7')
    broken = run(builder, "-", text="FROM scratch\n\nCOPY --fromm=x a /\n")
    assert b"Dockerfile:3\n" in broken.stderr and b">>> COPY --fromm=x a /\n" in broken.stderr
    assert b"solve: dockerfile parse error on line 3: unknown flag: --fromm (did you mean from?)\n" in broken.stderr
    assert run(builder, "--nope", ".").returncode == 2


def test_events_as_json(builder: Builder) -> None:
    builder.dockerfile("FROM BASE\nRUN echo hello\n")
    done = run(builder, "--progress", "json", "--no-cache", ".")
    assert done.returncode == 0, done.stderr.decode()
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    assert {"vertex", "log"} <= {e["type"] for e in events}
    assert any(e["type"] == "log" and "hello" in e.get("data", "") for e in events)


def test_interrupt(builder: Builder) -> None:
    builder.dockerfile("FROM BASE\nRUN echo started; sleep 600\n")
    process = subprocess.Popen([str(builder.wherry.binary), "build", "--progress", "plain", str(builder.context)], env=builder.wherry.env,
                               stderr=subprocess.PIPE, text=True)
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "started" in line and "echo" not in line:
            break
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(20) == 130 and time.monotonic() - began < 10
    assert "CANCELED" in rest and "failed to solve: Canceled: context canceled" in rest, "".join(seen) + rest


def reasons(builder: Builder, *arguments: str) -> dict[str, str]:
    """Step -> why it was not cached, as --explain tells."""
    lines = builder.build("--explain", *arguments).stderr.partition("\nNot cached:\n")[2].splitlines()
    return {step.strip().partition("] ")[2]: why.strip() for step, why in zip(lines[::2], lines[1::2])}


def test_why_a_step_was_not_cached(builder: Builder) -> None:
    builder.write(src___a__c="a", src___b__c="b")
    text = "FROM BASE\nARG V=1\nENV E=1\nRUN echo $V\nCOPY src /src\nRUN cat /src/*\n"
    builder.dockerfile(text)
    assert set(reasons(builder).values()) == {"not built here before"}
    assert "Every step came from the cache." in builder.build("--explain").stderr
    builder.write(src___b__c="changed")
    assert reasons(builder) == {"COPY src /src": "file src/b.c changed", "RUN cat /src/*": "what `COPY src /src` made before it changed"}
    builder.write(src___new__c="n")
    (builder.context / "src/a.c").unlink()
    assert reasons(builder)["COPY src /src"] == "file src/new.c is new"
    (builder.context / "src/new.c").unlink()
    assert reasons(builder)["COPY src /src"] in ("file src/new.c is gone", "file src/a.c is gone")
    found = reasons(builder, "--build-arg", "V=2")
    assert found["RUN echo 2"] == "build argument V changed"
    builder.dockerfile(text.replace("E=1", "E=2"))
    assert reasons(builder, "--build-arg", "V=2")["RUN echo 2"] == "variable E changed"
    builder.dockerfile(text.replace("E=1", "E=2").replace("RUN echo", "RUN echo x"))
    assert reasons(builder, "--build-arg", "V=2")["RUN echo x 2"] == "the instruction was `RUN echo $V`"
    assert set(reasons(builder, "--no-cache").values()) == {"no-cache was asked for"}


def test_another_base_is_told(builder: Builder, registry, place: Path) -> None:
    from .support import ociimage
    layout = place / "base"
    for content in ("one", "two"):
        ociimage.layout_of_tars(layout, [ociimage.tar_of({"f": content})])
        base = registry.push_layout(layout, "explained/base:latest")
        builder.put("Dockerfile", f"FROM {base}\nCOPY --from={builder.base} /bin/busybox /bin/sh\nRUN true\n")
        found = reasons(builder, "--pull")
        layout.joinpath("index.json").unlink()
    assert "base image" in found["RUN true"] and "changed: sha256:" in found["RUN true"]
