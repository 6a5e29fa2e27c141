"""``toolchain/demo`` after everything is installed and built."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

from ..support import agent
from . import kept, measure, report, stage, verify

BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"demo: [{time.monotonic() - BEGAN:5.1f} s] {text}", flush=True)


def _look_around(scene: stage.Stage) -> None:
    print(f"""
The parts are still running; Ctrl-C ends them.
  service      {scene.service.url}   control: {scene.service.control} (jobs, errors, requests: see python3 -m tests.service --help)
  registry     {scene.registry.host} (push, user and password in {scene.registry.auth_file}), {scene.registry.pull_host} (anonymous)
  git          git -c http.extraheader='AUTHORIZATION: basic ...' clone {scene.git.url}/{stage.REPOSITORY}
  store        {scene.wherry.binary} cache du --state {scene.wherry.state}
  agent        pid {scene.wherry.pid}, log {scene.wherry.log}
  one more job curl -s {scene.service.control}/jobs -d '{{"message": {{...}}}}'
""", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass


def _run(scene: stage.Stage, title: str) -> measure.Run:
    say(title)
    done = measure.run(scene, title)
    verify.run_is_complete(done)
    verify.protocol(scene)
    say(f"{title}: {done.total:.2f} s, {done.digest}")
    return done


def _cold(scene: stage.Stage) -> measure.Run:
    """The cold run: made, or that of the call which left the store and the registry as they stand."""
    if scene.kept is not None:
        say(f"run 1: cold: its store and image stand since {scene.kept.at}; these are its figures (--cold makes it anew)")
        return measure.from_kept(scene.kept.cold)
    return _run(scene, "run 1: cold")


def play(scene: stage.Stage) -> None:
    time.sleep(2)  # an agent is idle when its start is over
    idle = agent.memory(scene.wherry.pid)["VmRSS"]
    first = _cold(scene)
    second = _run(scene, "run 2: the same commit")
    verify.second_run(first, second)
    say("its image: skopeo, the digest of each blob, its program in crun")
    say(f"it says: {verify.image(scene, second)}")
    stage.change_a_line(scene.repo, scene.call)
    third = _run(scene, "run 3: one source line changed")
    verify.third_run(scene, second, third)
    say(f"its image says: {verify.image(scene, third, changed=scene.call)}")
    peak = agent.memory(scene.wherry.pid)["VmHWM"]
    say("wherry cache verify")
    checked = scene.wherry.run("cache", "verify")
    if checked.returncode:
        raise stage.StepFailed(f"cache verify: {checked.stdout}{checked.stderr}")
    verify.protocol(scene)
    at = scene.kept.at if scene.kept else time.strftime("%Y-%m-%d %H:%M")
    kept.save(scene.place, kept.Kept(scene.key, scene.ports, scene.call, measure.to_keep(first), at))
    print()
    print(report.table([first, second, third], idle, peak, scene.kept.at if scene.kept else None), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="toolchain/demo")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    place = stage.folder()
    scene = None
    try:
        scene = stage.start(place, say, given.cold)
        play(scene)
        say(f"all checked; logs in {place}")
        if given.keep:
            _look_around(scene)
        return 0
    except (stage.StepFailed, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"\ndemo: FAILED: {error}\n  all logs: {place}", file=sys.stderr, flush=True)
        if given.keep and scene is not None:
            _look_around(scene)
        return 1
    finally:
        if scene is not None:
            scene.stop()


if __name__ == "__main__":
    sys.exit(main())
