"""``toolchain/demo`` after everything is installed and built."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from ..support import agent
from . import measure, report, stage, verify

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


def play(scene: stage.Stage) -> None:
    time.sleep(2)  # an agent is idle when its start is over
    idle = agent.memory(scene.wherry.pid)["VmRSS"]
    runs = []
    for title in ("run 1: cold", "run 2: the same commit", "run 3: one source line changed"):
        say(title)
        if title.startswith("run 3"):
            stage.change_a_line(scene.repo)
        done = measure.run(scene, title)
        verify.run_is_complete(done)
        verify.protocol(scene)
        runs.append(done)
        say(f"{title}: {done.total:.2f} s, {done.digest}")
        if len(runs) == 1:
            say("the image of run 1: skopeo, digests of all blobs, its program in crun")
            said = verify.image(scene, done, changed=False)
            say(f"it says: {said}")
    peak = agent.memory(scene.wherry.pid)["VmHWM"]
    verify.second_run(runs[0], runs[1])
    verify.third_run(scene, runs[1], runs[2])
    say(f"the image of run 3 says: {verify.image(scene, runs[2], changed=True)}")
    say("wherry cache verify")
    checked = scene.wherry.run("cache", "verify")
    if checked.returncode:
        raise stage.StepFailed(f"cache verify: {checked.stdout}{checked.stderr}")
    verify.protocol(scene)
    print()
    print(report.table(runs, idle, peak), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="toolchain/demo")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    place = stage.folder()
    scene = None
    try:
        scene = stage.start(place, say)
        play(scene)
        say(f"all checked; logs in {place}")
        if given.keep:
            _look_around(scene)
        return 0
    except stage.StepFailed as error:
        print(f"\ndemo: FAILED: {error}\n  all logs: {place}", file=sys.stderr, flush=True)
        if given.keep and scene is not None:
            _look_around(scene)
        return 1
    finally:
        if scene is not None:
            scene.stop()


if __name__ == "__main__":
    sys.exit(main())
