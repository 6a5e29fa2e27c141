"""The builder beside docker buildx and buildah, in one run: ``/usr/bin/python3 -m tests.bench.build [ROW...]``.

Wants a release build of wherry and ``ninja -C build/release bench_tree``, root, 20 GB below ``--dir`` and a docker-registry. Peers that
are not there are left out, which is said; see peers.py for how to name theirs. Rows: see ``--help``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Callable

from tests.bench.build.peers import ROOT, Builder, Failed, Wherry, available, run
from tests.e2e.support import ociimage
from tests.e2e.support.child import die_with_parent
from tests.e2e.support.registry import free_port

Times = dict[str, list[float]]
_REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: bench}}
"""


class Bench:
    def __init__(self, folder: Path, tree: Path | None, rounds: int, slow_rounds: int, peers: list[str]) -> None:
        self.folder, self.rounds, self.slow_rounds = folder, rounds, slow_rounds
        self.peers = available(folder, peers)
        self.port = free_port()
        config = folder / "registry.yml"
        config.write_text(_REGISTRY.format(root=folder / "registry", port=self.port))
        self.registry = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         preexec_fn=die_with_parent)
        self.host = f"127.0.0.1:{self.port}"
        self._tree = tree
        self._base: str | None = None
        self._context: Path | None = None

    # -- what is built ------------------------------------------------------------------------------------------------
    def base(self) -> str:
        if self._base is None:
            ociimage.busybox(self.folder / "busybox")
            self._base = f"{self.host}/base:1"
            run(["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"oci:{self.folder / 'busybox'}",
                 f"docker://{self._base}"], self.folder)
        return self._base

    def small(self, name: str) -> Path:
        """A context: 6 instructions, or 25 in 4 stages."""
        context = self.folder / name
        context.mkdir(exist_ok=True)
        (context / "app").write_text("echo 1\n")
        if name == "six":
            lines = [f"FROM {self.base()}", "ENV A=1", "WORKDIR /app", "RUN echo made > /made", "COPY app /app/app", 'CMD ["/app/app"]']
        else:
            lines = []
            for stage in range(3):
                (context / f"f{stage}").write_text(str(stage))
                lines += [f"FROM {self.base()} AS s{stage}", f"ENV S={stage}", "WORKDIR /w", f"COPY f{stage} .", f"RUN echo {stage} > out",
                          "LABEL a=b", "RUN cat out"]
            lines += [f"FROM {self.base()}", *(f"COPY --from=s{stage} /w/out /o{stage}" for stage in range(3))]
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        return context

    def cuda(self) -> Path:
        """The CUDA-like tree as one COPY."""
        if self._context is None:
            self._context = self.folder / "cuda"
            self._context.mkdir()
            if self._tree:
                subprocess.run(["cp", "-a", "--reflink=auto", str(self._tree), str(self._context / "cuda")], check=True)
            else:
                program = ROOT / "build/release/bench_tree"
                subprocess.run([str(program), str(self._context / "cuda")], check=True)
            (self._context / "Dockerfile").write_text("FROM scratch\nCOPY cuda /usr/local/cuda\n")
        return self._context

    def touch(self, number: int) -> None:
        """Another content for one small header."""
        header = sorted((self.cuda() / "cuda/include").rglob("*.h"))[number * 37]
        header.write_text(header.read_text() + f"/* change {number} */\n")

    def put(self) -> float:
        """Milliseconds of the registry's own PUT of the CUDA layer's blob, by curl."""
        wherry = next(p for p in self.peers if isinstance(p, Wherry))
        blob = max((wherry.state / "blobs/sha256").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
        digest = "sha256:" + blob.parent.name + blob.name
        name = f"put{len(list(self.folder.glob('put-*')))}"
        (self.folder / f"put-{name}").touch()
        with urllib.request.urlopen(urllib.request.Request(f"http://{self.host}/v2/{name}/blobs/uploads/", method="POST"), timeout=20) as answer:
            location = answer.headers["Location"]
        url = location + ("&" if "?" in location else "?") + "digest=" + digest.replace(":", "%3A")
        took, _ = run(["curl", "-sSf", "-X", "PUT", "-H", "Content-Type: application/octet-stream", "-T", str(blob), url], self.folder)
        return took

    # -- rows -----------------------------------------------------------------------------------------------------------
    def each(self, work: Callable[[Builder], float]) -> Times:
        """Every builder once. A peer that can't do it is left out from then on, which is said."""
        found: Times = {}
        for peer in list(self.peers):
            try:
                found[peer.name] = [work(peer)]
            except Failed as error:
                if isinstance(peer, Wherry):
                    raise
                print(f"{peer.name} is left out of this row: {str(error).splitlines()[-1]}", flush=True)
                self.peers = [p for p in self.peers if p is not peer]
        return found

    def in_turns(self, rounds: int, work: Callable[[Builder, int], float]) -> Times:
        """Every builder once, then the next round."""
        found: Times = {p.name: [] for p in self.peers}
        for number in range(rounds):
            for name, values in self.each(lambda p: work(p, number)).items():
                found[name] += values
        return found

    def warmed(self, context: Path, push: bool) -> Times:
        self.each(lambda p: p.build(context, push=f"{self.host}/{p.name}-{context.name}:1" if push else None, archive=not push))
        return self.in_turns(self.rounds, lambda p, n: p.build(context, push=f"{self.host}/{p.name}-{context.name}:1" if push else None))

    def noop6(self) -> Times:
        return self.warmed(self.small("six"), False)

    def noop25(self) -> Times:
        return self.warmed(self.small("many"), False)

    def noop6_push(self) -> Times:
        return self.warmed(self.small("six"), True)

    def noop25_push(self) -> Times:
        return self.warmed(self.small("many"), True)

    def edit_push(self) -> Times:
        context = self.small("six")
        self.each(lambda p: p.build(context, push=f"{self.host}/{p.name}-edit:1"))

        def work(peer: Builder, number: int) -> float:
            (context / "app").write_text(f"echo {number} {peer.name}\n")
            return peer.build(context, push=f"{self.host}/{peer.name}-edit:1")

        return self.in_turns(self.rounds, work)

    def cold(self, push: bool) -> Times:
        context, count = self.cuda(), iter(range(1000))

        def work(peer: Builder, number: int) -> float:
            peer.forget()
            # A repository of its own: a registry that has the blob would be asked for a mount.
            self.clear_registry()
            return peer.build(context, push=f"{self.host}/{peer.name}-cold{next(count)}:1" if push else None, archive=not push)

        return self.in_turns(self.slow_rounds, work)

    def clear_registry(self) -> None:
        """Without the blobs of the CUDA tree; the registry is asked for nothing meanwhile."""
        for data in (self.folder / "registry").rglob("data"):
            if data.stat().st_size > 100_000_000:
                shutil.rmtree(data.parent)

    def cuda_push(self) -> Times:
        found = self.cold(True)
        found["registry's PUT"] = [self.put() for _ in range(self.slow_rounds)]
        return found

    def cuda_layer(self) -> Times:
        return self.cold(False)

    def touched(self, push: bool) -> Times:
        context = self.cuda()
        self.each(lambda p: p.build(context, push=f"{self.host}/{p.name}-touched:1" if push else None, archive=not push))

        def work(peer: Builder, number: int) -> float:
            self.touch(self.touches)
            self.touches += 1
            return peer.build(context, push=f"{self.host}/{peer.name}-touched:1" if push else None, archive=not push)

        return self.in_turns(self.slow_rounds, work)

    touches = 0

    def cuda_touched(self) -> Times:
        return self.touched(False)

    def cuda_touched_push(self) -> Times:
        found = self.touched(True)
        found["registry's PUT"] = [self.put() for _ in range(self.slow_rounds)]
        return found

    def cuda_unchanged_push(self) -> Times:
        return self.warmed(self.cuda(), True)

    def big_base(self) -> Times:
        """Pull and unpack of a base of 10 layers of 300 MB, for one RUN on it."""
        layout, context = self.folder / "big", self.folder / "on-big"
        if not context.exists():
            tars = [Path("/bin/busybox")][:0]
            for n in range(10):
                subprocess.run([str(ROOT / "build/release/bench_tree"), str(self.folder / "part"), str(100 + n), "11"], check=True)
                tars.append(self.folder / f"part{n}.tar")
                subprocess.run(["tar", "-C", str(self.folder / "part"), "--transform", f"s,^\\.,opt/part{n},", "--owner=0", "--group=0", "-cf", str(tars[-1]),
                                "."], check=True)
                shutil.rmtree(self.folder / "part")
            ociimage.busybox(self.folder / "busybox")
            small = self.folder / "busybox-root.tar"
            small.write_bytes(ociimage.tar_of({"bin/busybox": Path("/bin/busybox").read_bytes()}, {"bin/sh": "busybox", "bin/true": "busybox"}))
            ociimage.layout_of_tars(layout, [small, *tars], {"Env": ["PATH=/bin"]})
            for tar in tars:
                tar.unlink()
            run(["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{self.host}/big:1"], self.folder)
            shutil.rmtree(layout)
            context.mkdir()
            (context / "Dockerfile").write_text(f"FROM {self.host}/big:1\nRUN /bin/true\n")

        def work(peer: Builder, number: int) -> float:
            peer.forget()
            return peer.build(context)

        return self.in_turns(self.slow_rounds, work)

    def cache_from(self) -> Times:
        """``cache-from`` of the CUDA tree's cache in a registry, of which nothing is needed."""
        self.peers = [p for p in self.peers if p.name != "buildah"]
        context = self.cuda()
        self.each(lambda p: p.build(context, archive=True, cache_to=f"type=registry,ref={self.host}/{p.name}-cache:1,mode=max"))
        other = self.folder / "other"
        other.mkdir(exist_ok=True)
        (other / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        found = self.in_turns(self.rounds, lambda p, n: p.build(other, cache_from=f"type=registry,ref={self.host}/{p.name}-cache:1"))
        plain = self.in_turns(self.rounds, lambda p, n: p.build(other))
        return found | {f"{name} without": values for name, values in plain.items()}


ROWS: dict[str, tuple[str, str]] = {
    "noop6": ("no-op rebuild, 6 instructions", "<= 10 ms"),
    "noop25": ("no-op rebuild, 25 instructions in 4 stages", "<= 20 ms"),
    "noop6_push": ("the same of 6, pushed again", "<= 40 ms"),
    "noop25_push": ("the same of 25, pushed again", "<= 40 ms"),
    "edit_push": ("one-line edit in the last COPY of a small image, push", "<= 70 ms"),
    "cuda_layer": ("CUDA tree, cold, to a compressed layer", ">= 7 x buildx"),
    "cuda_touched": ("the same, one small file changed", ">= 8 x buildx"),
    "cuda_push": ("CUDA tree, cold, COPY and push", ">= 4.5 x buildx, <= 1.15 x PUT"),
    "cuda_touched_push": ("the same with push, one small file changed", "<= 1.2 x PUT"),
    "cuda_unchanged_push": ("the same, unchanged, push", "<= 70 ms"),
    "big_base": ("base of 10 layers of 300 MB: pull, unpack, RUN", ">= 3 x buildx"),
    "cache_from": ("cache-from of the CUDA tree's cache, nothing needed of it", "<= 100 ms"),
}


def table(title: str, reach: str, found: Times) -> str:
    ours = statistics.median(found["wherry"])
    cells = [f"wherry {ours:.0f} ms"]
    for name, values in found.items():
        if name != "wherry" and values:
            cells.append(f"{name} {statistics.median(values):.0f} ms ({statistics.median(values) / ours:.2f} x)")
    return f"| {title} | {reach} | " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.build", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="some of: " + ", ".join(ROWS))
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where 20 GB may be written")
    parser.add_argument("--tree", type=Path, help="a tree made before by bench_tree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=3, help="of the rows with the CUDA tree")
    parser.add_argument("--peers", default="buildx,buildah", help="comma list")
    options = parser.parse_args()
    for row in options.rows:
        if row not in ROWS:
            parser.error(f"there is no row {row}")
    folder = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir=options.dir))
    folder.chmod(0o755)
    bench = Bench(folder, options.tree, options.rounds, options.slow_rounds, [p for p in options.peers.split(",") if p])
    if len(bench.peers) == 1:
        print("no peer can run here: times of wherry alone", flush=True)
    everybody = bench.peers
    try:
        for row in options.rows or ROWS:
            bench.peers = everybody
            title, reach = ROWS[row]
            print(table(title, reach, getattr(bench, row)()), flush=True)
        print(f"peak memory of a process of wherry: {everybody[0].peak:.1f} MB (reach: <= 64); load {os.getloadavg()[0]:.1f}", flush=True)
    finally:
        bench.registry.terminate()
        bench.registry.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
