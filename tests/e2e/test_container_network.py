"""Networks of a job's containers: names, ports, the way out, and nothing shared between jobs.

Where the box gives no network of their own (no root, no nft and no iptables), containers share the machine's: the tests of what
needs one are skipped then, and the one that says so runs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from tests.service.client import ProtocolErrors, step_log

from .conftest import Runs
from .support.agent import Wherry
from .test_foreign_docker import container_job
from .test_jobs import by_name, steps

own_networks = pytest.mark.skipif(os.geteuid() != 0 or not (shutil.which("nft") or shutil.which("iptables")),
                                  reason="networks of containers need root, and nft or iptables")

SERVER = "#!/bin/sh\necho serving as $(hostname); mkdir -p /tmp/www; echo \"hello from $WORD\" > /tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www\n"
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:%s/').read().decode())"


def services(busybox: str, place: Path, **ports: str) -> str:
    """Services that all listen at port 80; each has the given `ports`."""
    (place / "srv").write_text(SERVER)
    (place / "srv").chmod(0o755)
    text = "    services:\n"
    for name, port in ports.items():
        text += (f"      {name}:\n        image: {busybox}\n        ports: {port}\n        env: {{WORD: {name}}}\n"
                 f"        options: --entrypoint /srv --health-cmd \"wget -q -O - http://localhost/\" --health-interval 1s\n"
                 f"        volumes: ['{place}/srv:/srv:ro']\n")
    return text


@own_networks
def test_ports_and_names(online: Wherry, runs: Runs, busybox: str) -> None:
    """Two services with one port, published at a port that is named, at any, and for one address; and by name from a container."""
    top = services(busybox, online.folder, one="['18180:80', '127.0.0.1:18181:80']", two="[80]")
    ask = "".join(f"  /usr/bin/python3 -c \"{ASK % port}\"\n" for port in ("18180", "18181", "${{ job.services.two.ports['80'] }}"))
    job = runs.run(steps(f"name: ask\nrun: |\n{ask}  echo \"port ${{{{ job.services.two.ports['80'] }}}} of ${{{{ job.services.one.network }}}}\"\n",
                         f"name: act\nuses: docker://{busybox}\nwith: {{entryPoint: /bin/wget, args: '-q -O - http://two/'}}", top=top), timeout=120)
    log = step_log(job, "ask")
    assert log.count("hello from one") == 2 and log.count("hello from two") == 1, log + step_log(job, "Initialize containers")
    assert "of github_network_" in log and "port 80 of" not in log
    assert "hello from two" in step_log(job, "act"), step_log(job, "act")
    stop = step_log(job, "Stop containers")
    assert "Remove container network: github_network_" in stop and "serving as" in stop
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 18180)) != 0  # closed with its service
    inside = runs.run(steps("name: ask\nrun: |\n  wget -q -O - http://one/\n  wget -q -O - http://two/\n  cat /etc/hosts\n  timeout 2 wget -q -O - http://127.0.0.1/ || echo not here",
                            top=top + container_job(busybox, "")), timeout=120)
    log = step_log(inside, "ask")
    assert "hello from one" in log and "hello from two" in log and "not here" in log and inside["conclusion"] == "succeeded", log
    begin = step_log(inside, "Initialize containers")
    assert begin.index("Starting job container") < begin.index("Starting one service container") < begin.index("one service is healthy.")
    runs.client.check()


@own_networks
def test_two_jobs_with_the_same_ports(wherry: Wherry, runs: Runs, busybox: str) -> None:
    """Services of two jobs at once listen at the same port, and neither job's containers see the other's."""
    for name in ("box1", "box2"):
        wherry.register(runs.client, "--work", str(wherry.folder / name), name=name)
    wherry.start(client=runs.client)
    go = wherry.folder / "go"
    script = ("name: ask\nrun: |\n  wget -q -O - http://web/\n  mine=$(awk '$2 == \"web\" {print $1}' /etc/hosts); echo \"mine $mine\" | tee /__w/web/web/mine\n"
              "  for i in $(seq 100); do [ -e /go/WHICH ] && break; sleep 0.2; done\n  other=$(cat /go/WHICH)\n"
              "  timeout 3 wget -q -O - http://$other/ || echo \"cannot reach $other\"")
    go.mkdir()
    go.chmod(0o777)
    jobs = {}
    for which, other in (("a", "b"), ("b", "a")):
        text = steps(script.replace("WHICH", which).replace("| tee /__w/web/web/mine", f"; echo $mine > /go/{other}"),
                     top=services(busybox, wherry.folder, web="[80]") + container_job(busybox, f", volumes: ['{go}:/go'], env: {{WORD: {which}}}"))
        jobs[which] = runs.queue(text)
    for which, job_id in jobs.items():
        job = runs.client.wait(job_id, 120)
        log = step_log(job, "ask")
        assert job["conclusion"] == "succeeded" and "hello from web" in log and "cannot reach 10." in log, log
    runs.client.check()


@pytest.fixture
def outside() -> Iterator[str]:
    """A machine beyond this one: a namespace with an address that is reached through this machine alone."""
    name = f"whtest{os.getpid() % 10000}"
    address, here = "198.51.100.2", "198.51.100.1"
    ip = shutil.which("ip") or pytest.skip("needs ip (iproute2)")
    for command in (f"netns add {name}", f"link add {name} type veth peer name eth0 netns {name}", f"addr add {here}/24 dev {name}", f"link set {name} up",
                    f"-n {name} addr add {address}/24 dev eth0", f"-n {name} link set eth0 up", f"-n {name} link set lo up"):
        subprocess.run([ip, *command.split()], check=True)
    server = subprocess.Popen([ip, "netns", "exec", name, "/usr/bin/python3", "-c",
                               "import socketserver\nclass H(socketserver.BaseRequestHandler):\n def handle(s): s.request.recv(999); "
                               "s.request.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nseen as ' + s.client_address[0].encode() + b'\\n')\n"
                               f"socketserver.ThreadingTCPServer(('{address}', 8080), H).serve_forever()"])
    yield address
    server.kill()
    server.wait()
    subprocess.run([ip, "netns", "del", name], check=True)


@own_networks
def test_the_way_out(online: Wherry, runs: Runs, busybox: str, outside: str) -> None:
    """A container reaches what lies beyond the machine, with the machine's address; and the job's own service at the machine's loopback."""
    job = runs.run(steps(f"name: out\nrun: |\n  for i in $(seq 20); do timeout 3 wget -q -O - http://{outside}:8080/ && break; sleep 0.5; done\n"
                         "  timeout 3 wget -q -O - http://127.0.0.1:${{ env.ELSE }}/ || echo nothing else",
                         f"name: own\nuses: docker://{busybox}\nwith: {{entryPoint: /bin/sh, args: '-c \"echo asking $ACTIONS_RUNTIME_URL; timeout 3 wget -S -q -O /dev/null "
                         "$ACTIONS_RUNTIME_URL 2>&1\"'}", top=container_job(busybox, "") + f"    env: {{ELSE: '{runs.git.url.rsplit(':', 1)[1].strip('/')}'}}\n"), timeout=120)
    log = step_log(job, "out")
    assert "seen as 198.51.100.1" in log, log
    assert "nothing else" in log, log  # what the job was not told of at the loopback is not there
    own = step_log(job, "own")
    assert "asking http://127.0.0.1:" in own and "HTTP/1.1 " in own, own
    with pytest.raises(ProtocolErrors, match="1 protocol errors:\n.* GET /"):  # the service was reached, and has no such page
        runs.client.check()


UDP_ECHO = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 7)); [s.sendto(d.upper(), a) for d, a in iter(lambda: s.recvfrom(99), 0)]"


def udp_echo(port: int) -> str:
    return (f"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); s.sendto(b'ping', ('127.0.0.1', {port})); "
            "print('got', s.recv(99).decode())")


@own_networks
def test_docker_run_publishes(wherry: Wherry, runs: Runs, busybox: str) -> None:
    """`docker run -p`, networks and names of the docker command, UDP, a port below 1024."""
    wherry.register(runs.client)
    wherry.start(client=runs.client, PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    script = f"""set -ex
docker network create mine
docker run -d --name web --network mine --network-alias www -p 18190:80 -p 127.0.0.1:963:80 {busybox} sh -c 'mkdir /w; echo web here > /w/index.html; exec httpd -f -p 80 -h /w'
docker run -d --name echo -p 18191:7/udp -v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro {busybox} /usr/bin/python3 -c "{UDP_ECHO}"
docker run --rm --network mine {busybox} sh -c 'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://www/ && exit; sleep 0.3; done; exit 1'
/usr/bin/python3 -c "{ASK % 18190}"
/usr/bin/python3 -c "{ASK % 963}"
sleep 1; /usr/bin/python3 -c "{udp_echo(18191)}"
docker port web
docker run --rm {busybox} timeout 2 wget -q -O - http://www/ || echo other network
docker run -d -p 18190:80 {busybox} true || echo taken
docker network rm mine || echo in use
docker rm -f web echo
docker network rm mine
docker run --rm --network none {busybox} ls /sys/class/net
"""
    job = runs.run(steps("name: d\nrun: |\n" + "".join(f"  {line}\n" for line in script.split("\n"))), timeout=180)
    log = step_log(job, "d")
    assert job["conclusion"] == "succeeded", log[-3000:]
    assert log.count("\nweb here\n") == 3 and "\ngot PING\n" in log and "\nother network\n" in log, log
    assert "80/tcp -> 0.0.0.0:18190\n" in log and "80/tcp -> 127.0.0.1:963\n" in log, log
    assert "port is already allocated" in log and "\ntaken\n" in log and "\nin use\n" in log, log
    assert log.rstrip().endswith("lo"), log
    runs.client.check()


def test_without_a_network_of_their_own(wherry: Wherry, runs: Runs, busybox: str) -> None:
    """Where the machine's network is shared, that is said, names still mean something, and a port that would be mapped is refused."""
    wherry.register(runs.client)
    wherry.start(client=runs.client, WHERRY_CONTAINERS_NETWORK="host")
    top = services(busybox, wherry.folder, web="['18280:18280']").replace("localhost/", "localhost:18280/")
    (wherry.folder / "srv").write_text(SERVER.replace("-p 80 ", "-p 18280 "))
    job = runs.run(steps("name: ask\nrun: wget -q -O - http://web:${{ job.services.web.ports['18280'] }}/; echo net ${{ job.services.web.network }}",
                         top=top + container_job(busybox, "")), timeout=120)
    log = step_log(job, "ask")
    assert "hello from web" in log and "net host" in log, log + step_log(job, "Initialize containers")
    assert "Containers share the machine's network: the settings say so (containers.network)" in step_log(job, "Initialize containers")
    job = runs.run(steps("run: echo never", top=services(busybox, wherry.folder, web="['18281:80']")), timeout=120)
    assert job["conclusion"] == "failed" and by_name(job)["Run echo never"]["conclusion"] == "skipped"
    assert "the port 18281:80: containers share the machine's network here" in step_log(job, "Initialize containers")
    runs.client.check()


@own_networks
def test_many_connections(online: Wherry, runs: Runs, busybox: str) -> None:
    """A published port carries many connections at once, and every byte of a big answer."""
    (online.folder / "big").write_bytes(os.urandom(8 << 20))
    (online.folder / "srv").write_text("#!/bin/sh\nmkdir /w; cp /big /w/big; exec httpd -f -p 80 -h /w\n")
    (online.folder / "srv").chmod(0o755)
    top = (f"    services:\n      web:\n        image: {busybox}\n        ports: ['18380:80']\n        options: --entrypoint /srv --health-cmd \"test -e /w/big\" --health-interval 1s\n"
           f"        volumes: ['{online.folder}/srv:/srv:ro', '{online.folder}/big:/big:ro']\n")
    script = """import threading, urllib.request as u, hashlib
sums = []
def get(): sums.append(hashlib.sha256(u.urlopen('http://127.0.0.1:18380/big').read()).hexdigest())
threads = [threading.Thread(target=get) for _ in range(24)]
[t.start() for t in threads]
[t.join() for t in threads]
print('sums', len(sums), *sorted(set(sums)))
"""
    job = runs.run(steps("name: get\nshell: python3 {0}\nrun: |\n" + "".join(f"  {line}\n" for line in script.split("\n")), top=top), timeout=120)
    digest = subprocess.run(["sha256sum", str(online.folder / "big")], capture_output=True, text=True, check=True).stdout.split()[0]
    assert f"sums 24 {digest}" in step_log(job, "get"), step_log(job, "get")[-2000:]
    runs.client.check()
