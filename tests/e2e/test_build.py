"""``wherry build``: the Dockerfile language on small images, the cache, and what may not get out of a build."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from .support.agent import Wherry
from .support.building import Builder, cached
from .support.registry import Registry


@pytest.fixture
def builder(wherry: Wherry, busybox: str, place) -> Builder:
    context = place / "context"
    context.mkdir()
    return Builder(wherry, busybox, context)


def test_scratch_copy(builder: Builder) -> None:
    builder.write(a__txt="a\n")
    builder.dockerfile("FROM scratch\nCOPY a.txt /sub/b.txt\nENV K=v\nLABEL l=1\nCMD [\"/x\"]\n")
    image = builder.image()
    assert image.read("sub/b.txt") == b"a\n"
    assert "K=v" in image.config["config"]["Env"] and image.config["config"]["Cmd"] == ["/x"]
    assert len(image.manifest["layers"]) == len(image.config["rootfs"]["diff_ids"]) == 1


def test_run_and_stages(builder: Builder) -> None:
    builder.dockerfile("""FROM BASE AS one
RUN echo one > /one
FROM BASE AS unused
RUN exit 1
FROM BASE
ARG NAME=nobody
WORKDIR /w
COPY --from=one --chown=1000:1000 --chmod=640 /one /w/one
RUN <<EOF
cat /w/one > both
echo $NAME >> both
EOF
""")
    image = builder.image("--build-arg", "NAME=you")
    assert image.read("w/both") == b"one\nyou\n"
    member = next(layer["w/one"] for layer in image.layers() if "w/one" in layer)
    assert (member.uid, member.gid, member.mode & 0o777) == (1000, 1000, 0o640)


def test_second_build_is_cached_and_identical(builder: Builder) -> None:
    builder.write(a__txt="a")
    builder.dockerfile("FROM BASE\nCOPY a.txt /a\nRUN date +%s%N > /when\nWORKDIR /x\nRUN echo 2 > y\n")
    first = builder.image()
    os.utime(builder.context / "a.txt", (1, 1))
    again = builder.build("--output", f"type=oci,dest={builder.wherry.folder}/out.tar")
    ran, hit = cached(again)
    assert not ran and len(hit) == 4
    assert builder.image().digest == first.digest


def test_changed_file_rebuilds_from_there(builder: Builder) -> None:
    builder.write(a__txt="a", b__txt="b")
    builder.dockerfile("FROM BASE\nRUN echo first\nCOPY a.txt /\nCOPY b.txt /\nRUN cat /a.txt /b.txt > /ab\n")
    builder.build()
    builder.write(b__txt="changed")
    ran, hit = cached(builder.build())
    assert {t.split()[0] + " " + t.split()[1] for t in hit} == {"RUN echo", "COPY a.txt"}
    assert len(ran) == 2


def test_other_folder_hits(builder: Builder, place) -> None:
    builder.write(a__txt="a")
    builder.dockerfile("FROM BASE\nCOPY a.txt /a\nRUN date +%N > /when\n")
    builder.build()
    moved = place / "elsewhere"
    builder.context.rename(moved)
    builder.context = moved
    assert not cached(builder.build())[0]


def test_no_cache(builder: Builder) -> None:
    builder.dockerfile("FROM BASE\nRUN echo x > /x\n")
    builder.build()
    ran, hit = cached(builder.build("--no-cache"))
    assert len(ran) == 1 and not hit


def test_target_and_build_args(builder: Builder) -> None:
    builder.dockerfile("FROM BASE AS a\nARG V=1\nRUN echo $V > /v\nFROM a AS b\nRUN exit 9\n")
    assert builder.image("--target", "a", "--build-arg", "V=7").read("v") == b"7\n"


def test_secret_and_cache_mounts(builder: Builder, place) -> None:
    (place / "pass").write_text("hunter2-in-a-build")
    builder.dockerfile("FROM BASE\nRUN --mount=type=secret,id=p,target=/run/p wc -c < /run/p > /n\n"
                       "RUN --mount=type=cache,target=/c echo run >> /c/log; wc -l < /c/log > /lines; cat /n\n")
    image = builder.image("--secret", f"id=p,src={place}/pass")
    assert image.read("n").strip() == b"18"
    assert not any(b"hunter2-in-a-build" in blob for blob in image.blobs.values())
    builder.image("--secret", f"id=p,src={place}/pass", "--no-cache")


def test_tmpfs_and_bind_mounts(builder: Builder) -> None:
    builder.write(in__txt="from the context")
    builder.dockerfile("FROM BASE AS s\nRUN mkdir /d && echo staged > /d/f\nFROM BASE\n"
                       "RUN --mount=type=bind,source=in.txt,target=/in --mount=type=bind,from=s,source=/d,target=/d cat /in /d/f > /out\n"
                       "RUN --mount=type=tmpfs,target=/t echo x > /t/x && ! echo no > /nonexistent/x\n")
    image = builder.image()
    assert image.read("out") == b"from the contextstaged\n"
    assert not any(name.startswith("t/") for layer in image.layers() for name in layer)


def test_whiteouts(builder: Builder) -> None:
    builder.dockerfile("FROM BASE\nRUN mkdir /d && touch /d/a /d/b /gone\nRUN rm /gone && rm -r /d && mkdir /d && touch /d/c\n")
    layers = builder.image().layers()
    assert ".wh.gone" in layers[-1]
    assert "d/.wh..wh..opq" in layers[-1] or {"d/.wh.a", "d/.wh.b"} <= set(layers[-1])


def test_user_and_ignore_file(builder: Builder) -> None:
    builder.write(keep__txt="k", drop__log="d", sub___x__log="x")
    builder.put(".dockerignore", "**/*.log\n!sub/x.log\n")
    builder.dockerfile("FROM BASE\nCOPY . /ctx\nRUN mkdir -m 777 /o\nUSER user\nRUN id -u > /o/uid\n")
    image = builder.image()
    names = {name for layer in image.layers() for name in layer}
    assert "ctx/keep.txt" in names and "ctx/sub/x.log" in names and "ctx/drop.log" not in names
    assert image.read("o/uid") == b"1000\n" and image.config["config"]["User"] == "user"


def test_push_and_metadata(builder: Builder, registry: Registry, place) -> None:
    builder.write(a__txt="pushed")
    builder.dockerfile("FROM BASE\nCOPY a.txt /a\n")
    docker = place / "docker"
    docker.mkdir()
    (docker / "config.json").write_text(registry.auth_file.read_text())
    env = {"DOCKER_CONFIG": str(docker)}
    registry.uploads()
    metadata = place / "meta.json"
    builder.build("-t", f"{registry.host}/test/app:1", "--push", "--metadata-file", str(metadata), env=env)
    assert registry.uploads()
    digest, _ = registry.manifest("test/app", "1")
    assert json.loads(metadata.read_text())["containerimage.digest"] == digest
    builder.build("-t", f"{registry.host}/test/app:2", "--push", env=env)
    assert not registry.uploads() and registry.manifest("test/app", "2")[0] == digest


def test_push_without_password(builder: Builder, registry: Registry, place) -> None:
    builder.dockerfile("FROM scratch\nLABEL a=b\n")
    said = builder.fails("-t", f"{registry.host}/test/denied:1", "--push", env={"DOCKER_CONFIG": str(place / "none")})
    assert registry.host in said and ("401" in said or "unauthorized" in said.lower())


def test_two_builds_at_once(builder: Builder, place) -> None:
    builder.dockerfile("FROM BASE\nRUN sleep 1; echo x > /x\nRUN echo y > /y\n")
    command = [str(builder.wherry.binary), "build", "--progress", "plain", "--output", "type=oci,dest="]
    running = [subprocess.Popen([*command[:-1], f"type=oci,dest={place}/{n}.tar", str(builder.context)], env=builder.wherry.env,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for n in range(2)]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    builder.wherry.verify_store()
    assert not cached(builder.build())[0]


# -- errors ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text,said", [
    ("FROM BASE\nRUM echo\n", ("Dockerfile:2", "RUM")),
    ("FROM BASE\nCOPY\n", ("Dockerfile:2",)),
    ("FROM BASE AS a\nCOPY --from=zzz /a /b\n", ("zzz",)),
    ("", ("Dockerfile",)),
    ("FROM BASE\nRUN exit 3\n", ("Dockerfile:2", "exit code: 3")),
    ("FROM BASE\nCOPY missing.txt /\n", ("missing.txt",)),
    ("FROM BASE\nCOPY ../outside /\n", ("outside",)),
    ("FROM BASE\nENV novalue\n", ("Dockerfile:2",)),
    ("FROM BASE\nRUN <<EOF\necho unfinished\n", ("EOF",)),
    ("FROM nowhere.invalid/x:1\n", ("nowhere.invalid",)),
    ("FROM BASE\nRUN --mount=type=wrong,target=/x true\n", ("wrong",)),
    ("FROM b AS a\nFROM a AS b\n", ("b",)),
])
def test_dockerfile_errors(builder: Builder, text: str, said: tuple[str, ...]) -> None:
    builder.dockerfile(text)
    out = builder.fails()
    for part in said:
        assert part in out, out


def test_unknown_target(builder: Builder) -> None:
    builder.dockerfile("FROM BASE AS a\n")
    assert "nosuch" in builder.fails("--target", "nosuch")


def test_no_dockerfile_and_no_context(builder: Builder) -> None:
    assert "Dockerfile" in builder.fails()
    done = builder.wherry.run("build", str(builder.context / "nowhere"))
    assert done.returncode not in (0, -6, -11) and "nowhere" in done.stderr


# -- what may not get in or out ----------------------------------------------------------------------------------------
def test_symlink_out_of_the_context(builder: Builder, place) -> None:
    (place / "secret").write_text("host's own")
    (builder.context / "link").symlink_to(place / "secret")
    (builder.context / "dir").symlink_to(place)
    builder.dockerfile("FROM BASE\nCOPY link /a\nCOPY dir/secret /b\n")
    assert "host's own" not in builder.fails()


def test_bind_mounted_folder_in_the_context(builder: Builder, place) -> None:
    hidden = place / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "f").write_text("under the mount")
    (builder.context / "m").mkdir()
    builder.dockerfile("FROM BASE\nCOPY m/f /f\n")
    script = f"mount --bind {hidden} {builder.context}/m && exec {builder.wherry.binary} build --progress plain {builder.context}"
    done = subprocess.run(["unshare", "-Urm" if os.getuid() else "-m", "sh", "-c", script], env=builder.wherry.env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode != 0, done.stdout


def test_run_sees_nothing_of_the_host(builder: Builder, place) -> None:
    (place / "hostfile").write_text("host")
    builder.dockerfile(f"""FROM BASE
RUN ! mknod /blk b 8 0 2>/dev/null || ! head -c 1 /blk
RUN test ! -e {place}/hostfile && ! cat /proc/1/root{place}/hostfile
RUN ! mount -t tmpfs t /mnt 2>/dev/null
RUN test "$(grep CapEff /proc/self/status | cut -f2)" != 000001ffffffffff
RUN test "$(cat /proc/sys/kernel/hostname)" != "" && ! echo x > /proc/sys/kernel/hostname
""")
    builder.build()


def test_setuid_and_odd_names(builder: Builder) -> None:
    builder.put("with space and é.txt", "x")
    builder.dockerfile("FROM BASE\nCOPY [\"with space and é.txt\", \"/o/\"]\nRUN cp /bin/busybox /su && chmod 4755 /su && ln /su /hard && ln -s su /soft && mkfifo /fifo\n")
    image = builder.image()
    last = image.layers()[-1]
    assert last["su"].mode & 0o4000 or last["hard"].mode & 0o4000
    assert {last["su"].islnk(), last["hard"].islnk()} == {True, False} and last["soft"].linkname == "su" and last["fifo"].isfifo()
    assert any("o/with space and é.txt" in layer for layer in image.layers())


@pytest.mark.parametrize("instruction", ["COPY f /f", "ADD f /f", "ADD f.tar /"])
def test_files_that_change_during_the_build_are_filed_under_nothing_false(builder: Builder, instruction: str) -> None:
    """A record names the bytes that went into the layer, not those that were there when the build began."""
    import io
    import tarfile
    import threading

    def put(text: str) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("f")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        builder.put("f", text)
        builder.put("f.tar", out.getvalue())

    builder.dockerfile(f"FROM BASE\nRUN sleep 1.5\n{instruction}\n")
    put("good")
    timer = threading.Timer(0.7, put, ["changed"])
    timer.start()
    assert builder.image().read("f") == b"changed"
    timer.join()
    put("good")
    assert builder.image().read("f") == b"good"
    put("changed")
    assert builder.image().read("f") == b"changed"
