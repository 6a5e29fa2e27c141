"""Docker actions: images and Dockerfiles, run by crun out of the store."""

from __future__ import annotations

from pathlib import Path

from tests.service.client import step_log

from .conftest import Runs
from .support.agent import Wherry
from .support.repository import Repository
from .support.registry import PASSWORD, USER, Registry
from .test_foreign import Actions, actions, composite, setup_log  # noqa: F401
from .test_jobs import by_name, steps

SCRIPT = """#!/bin/sh
echo "args [$1] [$2] [$3] who [$INPUT_WHO] home [$HOME] pwd [$(pwd)] extra [$EXTRA] sha [$GITHUB_SHA]"
echo "workspace $GITHUB_WORKSPACE output $GITHUB_OUTPUT token ${ACTIONS_RUNTIME_TOKEN:+yes} id $(id -u)"
echo "said=from docker" >> "$GITHUB_OUTPUT"
echo "SET_INSIDE=yes" >> "$GITHUB_ENV"
echo made > made-inside.txt
cat here.txt
exit ${INPUT_CODE:-0}
"""


def docker_action(busybox: str) -> dict[str, str | bytes]:
    return {"action.yml": "inputs: {who: {default: world}, code: {default: '0'}}\noutputs: {said: {}}\nruns:\n  using: docker\n  image: Dockerfile\n"
                          "  args: ['${{ inputs.who }}', '', 'a \"quoted\" one']\n  env: {EXTRA: 'x ${{ inputs.who }}'}\n",
            "Dockerfile": f"FROM {busybox}\nCOPY --chmod=755 entry.sh /entry.sh\nENTRYPOINT [\"/entry.sh\"]\n", "entry.sh": SCRIPT}


def test_dockerfile_action(online: Wherry, runs: Runs, actions: Actions, busybox: str) -> None:  # noqa: F811
    actions.add("acme/box", docker_action(busybox))
    job = runs.run(steps("run: echo on the host > here.txt", "id: d\nuses: acme/box@v1\nwith: {who: you}",
                         "name: after\nrun: |\n  echo \"${{ steps.d.outputs.said }} $SET_INSIDE\"\n  echo more >> made-inside.txt && cat made-inside.txt",
                         "if: always()\nuses: acme/box@v1\nwith: {code: 5}"), timeout=120)
    log = step_log(job, "Run acme/box@v1")
    assert "args [you] [] [a \"quoted\" one] who [you] home [/github/home] pwd [/github/workspace] extra [x you]" in log, log
    assert "workspace /github/workspace output /github/file_commands/set_output_" in log and "token yes id 0" in log and "on the host" in log
    assert "from docker yes" in step_log(job, "after") and "made\nmore" in step_log(job, "after")
    results = by_name(job)
    assert results["Build acme/box@v1"]["conclusion"] == "succeeded" and "Build container for action use" in step_log(job, "Build acme/box@v1")
    assert job["conclusion"] == "failed"
    runs.client.check()


def test_image_step(online: Wherry, runs: Runs, busybox: str) -> None:
    job = runs.run(steps(f"uses: docker://{busybox}\nwith: {{entryPoint: /bin/echo, args: \"hi 'there' \\\"two words\\\"\"}}",
                         f"if: always()\nuses: docker://{busybox}\nwith: {{args: \"sh -c \\\"exit 3\\\"\"}}"))
    log = step_log(job, f"Run {busybox}")
    assert "hi 'there' two words" in log and job["conclusion"] == "failed", log
    assert by_name(job)[f"Pull {busybox}"]["conclusion"] == "succeeded"
    runs.client.check()


def container_job(busybox: str, top: str) -> str:
    return f"    container: {{image: '{busybox}'{top}}}\n"


def test_job_container(online: Wherry, runs: Runs, busybox: str) -> None:
    job = runs.run(steps(
        "name: inside\nid: i\nrun: |\n  echo \"at $(pwd) home $HOME ws $GITHUB_WORKSPACE own $OWN ci $CI id $(id -u)\"\n  ls /bin/busybox && echo made > from-inside\n"
        "  echo v=1 >> \"$GITHUB_OUTPUT\"; echo NEXT=next >> \"$GITHUB_ENV\"; mkdir -p \"$RUNNER_TEMP/bin\"; printf '#!/bin/sh\\necho tool ran\\n' > $RUNNER_TEMP/bin/tool\n"
        "  chmod +x $RUNNER_TEMP/bin/tool; echo \"$RUNNER_TEMP/bin\" >> \"$GITHUB_PATH\"",
        "name: again\nworking-directory: ..\nrun: echo \"at $(pwd) $NEXT ${{ steps.i.outputs.v }} ${{ job.container.id != '' }}\"; tool",
        "name: bad\nif: always()\nrun: exit 9", top=container_job(busybox, ", env: {OWN: own}")), timeout=120)
    log = step_log(job, "inside")
    assert "at /__w/web/web home /github/home ws /__w/web/web own own ci true id 0" in log and "shell: sh -e {0}" in log, log
    again = step_log(job, "again")
    assert "at /__w/web next 1 true" in again and "tool ran" in again, again
    assert job["conclusion"] == "failed" and "exit code 9" in step_log(job, "bad")
    names = [r["name"] for r in sorted(job["results"], key=lambda r: r["number"])]
    assert names[1] == "Initialize containers" and names[-2] == "Stop containers"
    made = online.folder / "work/web/web/from-inside"
    assert made.read_text() == "made\n" and (online.job_user is None or made.stat().st_uid == online.job_user)
    runs.client.check()


def test_services(online: Wherry, runs: Runs, busybox: str) -> None:
    service = (f"    services:\n      web:\n        image: {busybox}\n        ports: ['18080:18080']\n        env: {{WORD: there}}\n"
               "        options: --entrypoint /srv --health-cmd \"test -e /tmp/ready\" --health-interval 1s\n        volumes: ['{place}/srv:/srv:ro']\n").replace("{place}", str(online.folder))
    (online.folder / "srv").write_text("#!/bin/sh\necho serving; mkdir -p /tmp/www; echo \"hello $WORD\" > /tmp/www/index.html; (sleep 1; touch /tmp/ready) & exec httpd -f -p 18080 -h /tmp/www\n")
    (online.folder / "srv").chmod(0o755)
    job = runs.run(steps("name: ask\nrun: /usr/bin/python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:${{ job.services.web.ports['18080'] }}/').read().decode())\"",
                         top=service), timeout=120)
    assert "hello there" in step_log(job, "ask"), step_log(job, "Initialize containers")
    begin = step_log(job, "Initialize containers")
    assert "web service is starting, waiting 2 seconds before checking again." in begin and "web service is healthy." in begin
    stop = step_log(job, "Stop containers")
    assert "Print service container logs: web_" in stop and "serving" in stop and "Stop and remove container: web_" in stop
    inside = runs.run(steps("name: ask\nrun: wget -q -O - http://web:18080/", top=service + container_job(busybox, "")), timeout=120)
    assert "hello there" in step_log(inside, "ask")
    runs.client.check()


def test_service_that_never_gets_healthy(online: Wherry, runs: Runs, busybox: str) -> None:
    job = runs.run(steps("run: echo never", top=f"    services:\n      db:\n        image: {busybox}\n"
                         "        options: --health-cmd /bin/false --health-retries 1 --health-interval 1s\n"), timeout=120)
    assert job["conclusion"] == "failed" and by_name(job)["Run echo never"]["conclusion"] == "skipped"
    assert "One or more containers failed to start." in step_log(job, "Initialize containers")
    job = runs.run(steps("run: echo never", top=f"    services:\n      db:\n        image: {busybox}\n        options: --privileged\n"))
    assert job["conclusion"] == "failed" and "service 'db': the option '--privileged' is not supported" in setup_log(job)
    runs.client.check()


def test_hooks(wherry: Wherry, runs: Runs, place: Path) -> None:
    (place / "started.sh").write_text("echo started $GITHUB_REPOSITORY ${ACTIONS_RUNTIME_TOKEN:-none}; echo FROM_HOOK=yes >> $GITHUB_ENV\n")
    (place / "completed.sh").write_text("echo completed $JOB_ENV; exit 4\n")
    wherry.register(runs.client)
    (place / "wherry.yaml").write_text("hooks: {job-completed: completed.sh, job-started: not-this-one.sh}\n")  # a variable that is set wins
    wherry.start("--config", str(place / "wherry.yaml"), client=runs.client, ACTIONS_RUNNER_HOOK_JOB_STARTED=str(place / "started.sh"))
    job = runs.run(steps("name: s\nrun: echo $FROM_HOOK", top="    env: {JOB_ENV: job}\n"))
    started = step_log(job, "Set up runner")
    assert started.startswith("A job started hook has been configured by the self-hosted runner administrator\n##[group]Run '") and "started acme/web none" in started
    assert "yes" in step_log(job, "s")
    assert "##[error]Process completed with exit code 4." in step_log(job, "Complete runner") and job["conclusion"] == "failed"
    assert [r["name"] for r in sorted(job["results"], key=lambda r: r["number"])] == ["Set up job", "Set up runner", "s", "Complete runner", "Complete job"]
    runs.client.check()


def test_docker_command(wherry: Wherry, runs: Runs, busybox: str, registry: Registry) -> None:
    wherry.register(runs.client)
    wherry.start(client=runs.client, PATH="/usr/sbin:/usr/bin:/sbin:/bin")  # where no other docker lies
    name = f"{registry.host}/made/by-docker:1"
    script = f"""set -ex
docker version; docker buildx version; docker info
echo {PASSWORD} | docker login -u {USER} --password-stdin {registry.host}
printf 'FROM {busybox}\\nRUN echo built > /made\\nENV WORD=hi\\nENTRYPOINT ["/bin/sh", "-c"]\\n' > Dockerfile
docker build -t local/app:1 .
docker images
docker run --rm -e EXTRA=x -v "$PWD:/here" -w /here local/app:1 'cat /made; echo $WORD $EXTRA; echo made > from-container; pwd'
rm from-container
docker run local/app:1 'exit 7' || echo "code $?"
id=$(docker run -d --name one local/app:1 'echo up; sleep 100')
docker exec -e A=b one sh -c 'echo in $A; exit 3' || echo "code $?"
echo from stdin | docker exec -i one cat
docker ps; docker logs one; docker inspect one | grep Running; docker stop one; docker rm one; docker ps -aq
docker tag local/app:1 {name}
docker push {name}
docker pull {name}
docker run {name} 'echo pushed and pulled'
docker save -o app.tar local/app:1 && tar -tf app.tar | grep manifest.json
docker buildx build -t two --output type=tar,dest=two.tar . && ls -l two.tar
docker save local/app:1 | gzip > again.tar.gz
sed 's/local.app:1/loaded:2/' app.tar | docker load || echo "damaged $?"
mkdir t; tar -xf app.tar -C t; sed -i 's,local/app:1,loaded:2,' t/manifest.json; tar -cf loaded.tar -C t manifest.json $(cd t; ls | grep -v manifest.json); docker load -i loaded.tar
docker run --rm loaded:2 'cat /made; echo from the archive'
docker load < again.tar.gz
docker buildx build -t oci/one:1 --output type=oci,dest=oci.tar . && docker load --quiet --input oci.tar
echo nothing > no.tar; docker load -i no.tar || echo "code $?"
docker run -d --name logs local/app:1 'echo first; sleep 1; echo last'
docker logs -f logs; docker logs --tail 1 logs; docker wait logs
docker inspect -f 'is {{{{.State.Status}}}} {{{{.State.ExitCode}}}} {{{{json .Config.Image}}}}' logs
docker inspect --format '{{{{range .X}}}}' logs || echo "code $?"
docker ps -a --filter name=logs --filter status=exited; docker container ls -aq; docker image ls
docker compose up || echo "code $?"
docker frobnicate || echo "code $?"
docker run --gpus all x || echo "code $?"
docker inspect nothing/there:1 || echo "code $?"
"""
    job = runs.run(steps("name: d\nrun: |\n" + "".join(f"  {line}\n" for line in script.split("\n"))), timeout=180)
    log = step_log(job, "d")
    assert job["conclusion"] == "succeeded", log[-3000:]
    for said in ("\nbuilt\n", "\nhi x\n", "\n/here\n", "\ncode 7\n", "\nin b\n", "\ncode 3\n", "\nfrom stdin\n", "\nup\n", '"Running": true', "pushed and pulled",
                 "from the archive", "Loaded image: docker.io/library/loaded:2", "load the archive: ", "\nfirst\n",
                 'is exited 0 "local/app:1"', "a template of more than", "the command `compose` is not supported", "manifest.json", "frobnicate` is not supported by wherry's docker command", "docker run: the option '--gpus' is not supported"):
        assert said in log, (said, log[-4000:])
    runs.client.check()


def test_exec_in_a_container(wherry: Wherry, place: Path, busybox: str) -> None:
    tree = place / "tree"
    repo = Repository.create(place / "git", "acme/web", tree)
    file = tree / "ci.yml"
    file.write_text(steps("run: echo \"in $(pwd) with $WORD\"", "uses: ./act\nwith: {who: local}",
                          top=f"    container: {{image: '{busybox}', env: {{WORD: \"${{{{ github.ref_name }}}}\"}}}}\n"))
    (tree / "act").mkdir()
    (tree / "act/action.yml").write_text("inputs: {who: {}}\nruns: {using: docker, image: Dockerfile, args: ['${{ inputs.who }}']}\n")
    (tree / "act/Dockerfile").write_text(f"FROM {busybox}\nENTRYPOINT [\"echo\", \"said\"]\n")
    repo.commit()
    work = place / "work"
    done = wherry.run("exec", str(file), "--work", str(work), cwd=tree, timeout=120)
    said = done.stdout + done.stderr
    assert "in /__w/web/web with main" in said, said
    # The work folder is not the tree: a local action needs a checkout, as on GitHub.
    assert "Did you forget to run actions/checkout" in said
    file.write_text(file.read_text().replace("    steps:\n", "    steps:\n      - uses: actions/checkout@v4\n"))
    done = wherry.run("exec", str(file), "--work", str(work), cwd=tree, timeout=120)
    assert done.returncode == 0 and "said local" in done.stdout, done.stdout + done.stderr
