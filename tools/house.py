"""What the tree's Python tools share: the tree, the machine, how JSON is written."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLOSING = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
REPORT = re.compile(r"(?:ERROR|WARNING): (?:Address|Leak|Thread|Memory)Sanitizer|: runtime error: ")


def machine():
    cpu, mem_kb = platform.machine(), 0
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            cpu = next((s.split(":", 1)[1].strip() for s in f if s.startswith("model name")), cpu)
        with open("/proc/meminfo", encoding="utf-8") as f:
            mem_kb = int(next(s for s in f if s.startswith("MemTotal")).split()[1])
    except (OSError, StopIteration, ValueError):
        pass
    cores = len(os.sched_getaffinity(0))
    return {"cpu": cpu, "cores": cores, "mem_gb": round(mem_kb / 1048576, 1),
            "kernel": platform.release()}


def commit():
    r = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"],
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return r.stdout.strip() or "unknown"


def commit_of(binary):
    """What a `quiver` says it was built from: the tree may be another one by now."""
    try:
        r = subprocess.run([binary, "--version"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return "unknown"
    found = re.search(r"commit ([0-9a-f]{40})", r.stdout)
    return found[1] if found else "unknown"


def write_json(path, schema, started, fields):
    """Writes the fields under the head that every output of the project has. path None: nothing."""
    if not path:
        return
    head = {"schema": schema, "commit": commit(), "machine": machine(),
            "seconds": round(time.monotonic() - started, 3)}
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".part", "w", encoding="utf-8") as f:
        json.dump({**head, **fields}, f, indent=1)
        f.write("\n")
    os.replace(path + ".part", path)


def run(cmd, seconds, log=None, env=None, cwd=ROOT, shell=False):
    """Runs a command without standard input in a process group of its own, which is ended when
    the time is over. Returns (exit code or None when out of time, output, seconds)."""
    t0 = time.monotonic()
    with subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd=cwd, env=env, shell=shell,
                          executable="/bin/bash" if shell else None,
                          start_new_session=True) as p:
        try:
            out, _ = p.communicate(timeout=seconds)
            code = p.returncode
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, _ = p.communicate()
            code = None
        except BaseException:
            os.killpg(p.pid, signal.SIGKILL)
            raise
    text = out.decode("utf-8", "replace")
    if log:
        os.makedirs(os.path.dirname(log), exist_ok=True)
        with open(log, "w", encoding="utf-8") as f:
            f.write(text)
    return code, text, time.monotonic() - t0


def closing_line(text):
    """(passed, failed, skipped) of the last closing line, None without one."""
    found = CLOSING.findall(text)
    return tuple(int(x or 0) for x in found[-1]) if found else None


def die(text):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr)
    sys.exit(2)
