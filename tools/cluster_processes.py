"""Real processes of a cluster on this machine's loopback: etcd members, shard nodes, proxies."""

import http.client
import os
import random
import re
import signal
import socket
import subprocess
import time

HOST = "127.0.0.1"
START_SECONDS = 60  # of a busy machine; else a second
COMPLAINT = re.compile(r"assertion failed|runtime error:|Sanitizer")


def free_ports(count):
    """Below the range that outgoing connections take: a process that is started again finds its own
    port free."""
    socks, ports = [], []
    try:
        while len(ports) < count:
            s = socket.socket()
            try:
                port = random.randrange(20000, 32000)
                s.bind((HOST, port))
                socks.append(s)
                ports.append(port)
            except OSError:
                s.close()
        return ports
    finally:
        for s in socks:
            s.close()


class Process:
    """A program with a folder and a log of its own, that outlives who started it."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder + ".log"
        self.process = None
        os.makedirs(folder, exist_ok=True)

    def run(self, command):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, and gone."""
        if self.alive():
            self.process.kill()
            self.process.wait()

    def stop(self, seconds=30):
        """SIGTERM; the exit code, None when it had to be killed."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def complaint(self):
        """What its log says of a bug of its own, or None."""
        return next((s for s in self.said().splitlines() if COMPLAINT.search(s)), None)


def get(port, path):
    """Status and body; 0 where nobody answers."""
    conn = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        conn.close()


def wait_for(what, text, seconds=START_SECONDS):
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            raise RuntimeError(f"{text}: not within {seconds} s")
        time.sleep(0.02)


class Etcd:
    """One member after the other stands in `members`."""

    def __init__(self, folder, count):
        ports = free_ports(2 * count)
        self.clients, self.peers = ports[:count], ports[count:]
        self.members = [Process(os.path.join(folder, f"etcd{i}")) for i in range(count)]
        self.endpoints = [f"http://{HOST}:{p}" for p in self.clients]

    def start(self, numbers=None):
        everybody = ",".join(f"m{i}=http://{HOST}:{p}" for i, p in enumerate(self.peers))
        numbers = list(range(len(self.members))) if numbers is None else numbers
        for i in numbers:
            client, peer = self.endpoints[i], f"http://{HOST}:{self.peers[i]}"
            self.members[i].run(["etcd", "--name", f"m{i}", "--data-dir", "data",
                                 "--listen-client-urls", client, "--advertise-client-urls", client,
                                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                                 "--initial-cluster", everybody])
        for i in numbers:
            wait_for(lambda i=i: get(self.clients[i], "/health")[1].find(b'"true"') > 0,
                     f"etcd member {i} is not healthy; see {self.members[i].log}")

    def kill(self):
        for m in self.members:
            m.kill()

    def stop(self):
        for m in self.members:
            if m.process is not None:
                m.stop(10)


class Member(Process):
    """A `quiver serve --role ROLE`; its ports stay its own over restarts."""

    def __init__(self, binary, folder, role, endpoints, settings):
        super().__init__(folder)
        self.binary, self.role = os.path.abspath(binary), role
        self.http, self.grpc, self.p2p = free_ports(3)
        self.settings = [f"cluster.p2p.host={HOST}", f"cluster.p2p.port={self.p2p}",
                         f"cluster.metadata.endpoints={','.join(endpoints)}",
                         f"storage.snapshots_path={folder}/snapshots", *settings]

    def start(self, wait=True):
        command = [self.binary, "serve", "--role", self.role, "--host", HOST, "--http-port",
                   str(self.http), "--grpc-port", str(self.grpc), "--storage-path",
                   os.path.join(self.folder, "data")]
        for s in self.settings:
            command += ["--set", s]
        self.run(command)
        if wait:
            self.wait_ready()

    def ready(self):
        if not self.alive():
            raise RuntimeError(f"{self.role} node ended with {self.process.poll()}: "
                               f"{self.said()[-1000:]}")
        return get(self.http, "/readyz")[0] == 200

    def wait_ready(self):
        wait_for(self.ready, f"{self.role} node is not ready; see {self.log}")


class Cluster:
    def __init__(self, binary, folder, nodes=4, proxies=2, etcd=3, settings=()):
        self.etcd = Etcd(folder, etcd)
        self.nodes = [Member(binary, os.path.join(folder, f"node{i}"), "shard",
                             self.etcd.endpoints, settings) for i in range(nodes)]
        self.proxies = [Member(binary, os.path.join(folder, f"proxy{i}"), "proxy",
                               self.etcd.endpoints, settings) for i in range(proxies)]

    def members(self):
        return self.nodes + self.proxies

    def processes(self):
        return self.etcd.members + self.members()

    def start(self):
        self.etcd.start()
        for m in self.members():
            m.start(wait=False)
        for m in self.members():
            m.wait_ready()

    def stop(self):
        """Exit codes of the nodes and proxies, proxies first."""
        codes = [m.stop() for m in self.proxies + self.nodes if m.process is not None]
        self.etcd.stop()
        return codes
