"""The engines of `make bench-index`: what each is, and a process of each that is asked by lines.

How an engine is asked stands in docs/benchmarks.md. All of them answer on one core, and only one at
a time. Those that build on one core are stopped and continued in turns, so that what else the
machine does meanwhile falls on all of them alike."""

import collections
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time

import house
import pages

Kind = collections.namedtuple("Kind", "program variant settings what")

EFS = [10, 12, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960]
GRAPH = [f"ef={ef}" for ef in EFS]
LISTS = [f"nprobe={n},k_factor={k}" for k in (4, 10, 30) for n in (2, 4, 8, 16, 32, 64, 128)]

PEERS = {
    "hnswlib": Kind("peer_hnswlib", "", GRAPH, "hnswlib of Debian"),
    "faiss-hnsw": Kind("peer_faiss", "hnsw", GRAPH, "FAISS IndexHNSWFlat"),
    "faiss-hnswsq8": Kind("peer_faiss", "hnswsq8", GRAPH, "FAISS IndexHNSWSQ, 8 bits"),
    "faiss-ivfpq": Kind("peer_faiss", "ivfpq:{lists}:{parts}", LISTS,
                        "FAISS IVF{lists},PQ{parts}x4fs,RFlat"),
    "faiss-ivfpqsq8": Kind("peer_faiss", "ivfpqsq8:{lists}:{parts}", LISTS,
                           "FAISS IVF{lists},PQ{parts}x4fs refined by 8 bits"),
    "usearch-f32": Kind("peer_usearch", "f32", GRAPH, "USearch f32"),
    "usearch-f16": Kind("peer_usearch", "f16", GRAPH, "USearch f16"),
    "usearch-i8": Kind("peer_usearch", "i8", GRAPH, "USearch i8"),
    "hnswlib-new": Kind("peer_hnswlib_new", "", GRAPH, "hnswlib of PyPI"),
    "faiss-new-hnswsq8": Kind("peer_pypi.py", "faiss:hnswsq8", GRAPH, "FAISS of PyPI, HNSW SQ8"),
    "faiss-new-ivfpq": Kind("peer_pypi.py", "faiss:ivfpq:{lists}:{parts}", LISTS,
                            "FAISS of PyPI, IVF{lists},PQ{parts}x4fs,RFlat"),
    "svs": Kind("peer_pypi.py", "svs:f32", GRAPH, "Intel SVS Vamana f32"),
    "svs-lvq8": Kind("peer_pypi.py", "svs:lvq8", GRAPH, "Intel SVS Vamana LVQ8"),
}
REQUIRED = ("hnswlib", "faiss-hnsw", "faiss-hnswsq8", "faiss-ivfpq", "faiss-ivfpqsq8",
            "usearch-f32", "usearch-f16", "usearch-i8")
# Metric, and lists and parts of IVF-PQ: a list for each two hundred to five hundred rows, a part
# for each two to four dimensions.
SETS = {
    "fashion": ("l2", {"lists": 256, "parts": 196}),
    "glove": ("cosine", {"lists": 1024, "parts": 50}),
    "sift": ("l2", {"lists": 2048, "parts": 64}),
}
SMALL_LISTS = 256
TURN_S = 1.0


class Failed(Exception):
    """An engine that ended, or said what nobody understands."""


class Engine:
    """One process. Usable from `start` to `stop`; `ask` and the others answer what it said."""

    def __init__(self, name, command, settings, index=None):
        self.name, self.command, self.settings, self.index = name, command, settings, index
        self.process = self.ready = None
        self.recalls = {}

    def start(self, cpu, log):
        """On one core, in a session of its own: Linux shares a core among sessions first."""
        def pin():
            os.sched_setaffinity(0, {cpu})
        env = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, env=env,
                                        stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1,
                                        preexec_fn=pin, start_new_session=True)

    def raise_priority(self, nice):
        """For what is timed, where it is allowed: of its session, and within it."""
        try:
            with open(f"/proc/{self.process.pid}/autogroup", "w", encoding="ascii") as f:
                f.write(str(nice))
            os.setpriority(os.PRIO_PROCESS, self.process.pid, nice)
        except OSError:
            pass

    def answer(self):
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            code = self.process.poll()
            raise Failed(f"{self.name} {'ended with ' + str(code) if not line else line}") from None

    def say(self, text):
        try:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(f"{self.name} does not listen") from None
        return self.answer()

    def ask(self, setting, start, count):
        return self.say(f"ask {setting} {start} {count}")

    def move(self, cpu):
        """Each of its threads, to another core."""
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})

    def use_of_memory(self):
        """What it says, and the page cache of files that it still has in reach without mapping."""
        said, cached = self.say("memory"), pages.unmapped_cache(self.process.pid)
        said["memory_bytes"] += cached - said["page_cache_bytes"]
        return {**said, "page_cache_bytes": cached}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        if self.process:
            self.process.wait()

    # What a built index of a peer is known for lies beside it.

    def remember(self):
        """The build's figures: of now, or of when the index was built."""
        if not self.index:
            return
        path = self.index + ".json"
        if not self.ready["loaded"]:
            with open(path, "w", encoding="utf-8") as f:
                json.dump(self.ready, f)
        elif os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                built = json.load(f)
            self.ready.update({k: built[k] for k in ("build_s", "build_cpu_s")})
        known = self.index + ".recalls.json"
        if self.ready["loaded"] and os.path.exists(known):
            with open(known, encoding="utf-8") as f:
                self.recalls = json.load(f)

    def keep_recalls(self):
        if self.index and os.path.exists(self.index):
            with open(self.index + ".recalls.json", "w", encoding="utf-8") as f:
                json.dump(self.recalls, f)


class Lock:
    """Taken while something is timed, where a file was named; benchmarks then take turns."""

    def __init__(self, path):
        self.path, self.file = path, None

    def __enter__(self):
        if self.path:
            self.file = open(self.path, "a", encoding="utf-8")  # pylint: disable=R1732
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        if self.file:
            self.file.close()
            self.file = None


def start(e, cpu, log, alive, queue):
    """Ready at once where its index is kept; else it waits in the queue of those that build."""
    print(f"bench_index: starting {e.name}", file=sys.stderr)
    e.start(cpu, log)
    if not e.index or not os.path.exists(e.index):
        e.process.send_signal(signal.SIGSTOP)
        queue.append(e)
        return
    try:
        e.ready = e.answer()
        alive.append(e)
    except Failed as err:
        print(f"bench_index: left out: {err}", file=sys.stderr)


def take_turns(queue, cpus):
    """The first of the queue, one a core, go on for a while; those that are ready, or ended, leave
    it and are answered."""
    going = [queue.popleft() for _ in cpus if queue]
    for e, cpu in zip(going, cpus):
        e.move(cpu)
        e.process.send_signal(signal.SIGCONT)
    said, _, _ = select.select([e.process.stdout for e in going], [], [], TURN_S)
    over = [e for e in going if e.process.stdout in said]
    for e in going:
        if e not in over:
            e.process.send_signal(signal.SIGSTOP)
            queue.append(e)
    return over


def build_all(queue, cpus, alive):
    began = said = time.monotonic()
    while queue:
        for e in take_turns(queue, cpus):
            try:
                e.ready = e.answer()
                alive.append(e)
                print(f"bench_index: {e.name} built in {e.ready['build_cpu_s']:.1f} s",
                      file=sys.stderr)
            except Failed as err:
                print(f"bench_index: left out: {err}", file=sys.stderr)
        if time.monotonic() - said > 20:
            said = time.monotonic()
            print(f"bench_index: building {', '.join(e.name for e in queue)}, "
                  f"{said - began:.0f} s so far", file=sys.stderr)


def start_all(engines, cpu, builders, nice, log):
    """Those that build do so on the cores `builders`; then all are on `cpu`. Those that do not
    start are left out, and said."""
    alive, queue = [], collections.deque()
    for e in engines:
        start(e, cpu, log, alive, queue)
    build_all(queue, builders, alive)
    for e in alive:
        e.move(cpu)
        e.remember()
        e.raise_priority(nice)
    return alive


def data_files(data, folder, small):
    """{part: file} of a set, which is made where it is not there."""
    name = data + ("-small" if small else "")
    files = {part: os.path.join(folder, f"{name}.{part}.{'ibin' if part == 'gt' else 'fbin'}")
             for part in ("base", "query", "gt")}
    if not all(os.path.exists(f) for f in files.values()):
        command = [os.path.join(house.ROOT, "tools", "bench_data"), "--data", data,
                   "--dir", folder] + (["--small"] if small else [])
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
            house.die(f"no data set {name} in {folder}")
    return files


def cache():
    return os.environ.get("QUIVER_BENCH_CACHE") or os.path.expanduser("~/.cache/quiver-bench")


def peer(name, data, small, files, queries, fresh):
    """The engine of a peer's name; its index is kept but where `fresh`."""
    kind, (metric, lists) = PEERS[name], SETS[data]
    lists = dict(lists, lists=min(lists["lists"], SMALL_LISTS)) if small else lists
    command = [os.path.join(cache(), "bin", kind.program)]
    if kind.program.endswith(".py"):  # of PyPI: found where its library is
        command = [os.path.join(cache(), "venv", "bin", "python"),
                   os.path.join(house.ROOT, "bench", "peers", kind.program)]
    os.makedirs(os.path.join(cache(), "index"), exist_ok=True)
    index = os.path.join(cache(), "index", f"{data}{'-small' if small else ''}.{name}.index")
    command += ["--base", files["base"], "--query", files["query"], "--gt", files["gt"],
                "--metric", metric, "--queries", str(queries)]
    if kind.variant:
        command += ["--variant", kind.variant.format(**lists)]
    if not fresh:
        command += ["--index", index]
    return Engine(name, command, kind.settings, None if fresh else index)


def quiver(mode, build, data, files, queries):
    command = [os.path.join(build, "quiver"), "bench", "index", "--base", files["base"],
               "--query", files["query"], "--gt", files["gt"], "--metric", SETS[data][0],
               "--queries", str(queries), "--mode", mode, "--serve"]
    return Engine(f"quiver-{mode}", command, GRAPH)
