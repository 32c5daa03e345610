"""The page cache that an engine answers from without mapping it.

An engine that reads its index from an open file holds it in memory, though no counter of its own
process says so. Counted: cached pages of regular files that it has open or maps, less what of them
is resident in it already. Not counted: its program and libraries (what it maps to execute), the
system's tables below /usr, its standard streams, and files that it has closed, which it can't
answer from."""

import os
import stat
import subprocess


def mapped(pid):
    """{path: resident bytes} of the files it maps, and the paths of those it executes from."""
    found, executed, path = {}, set(), None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            words = line.split(None, 5)
            if not words[0].endswith(":"):  # begin-end rights offset device inode path
                path = words[5].rstrip("\n") if len(words) > 5 and words[4] != "0" else None
                if path and "x" in words[1]:
                    executed.add(path)
            elif path and words[0] == "Rss:":
                found[path] = found.get(path, 0) + int(words[1]) * 1024
    return found, executed


def opened(pid):
    """The regular files that it has open, beside its standard streams."""
    folder, found = f"/proc/{pid}/fd", set()
    for number in os.listdir(folder):
        try:
            there = os.stat(os.path.join(folder, number))
            if int(number) > 2 and stat.S_ISREG(there.st_mode):
                found.add(os.path.realpath(os.path.join(folder, number)))
        except OSError:
            pass  # closed meanwhile
    return found


def cached(path):
    """Bytes of a file in the page cache, as util-linux counts them."""
    r = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", "--", path],
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return int(r.stdout) if r.returncode == 0 and r.stdout.strip() else 0


def unmapped_cache(pid):
    resident, executed = mapped(pid)
    files = (set(resident) | opened(pid)) - executed
    return sum(max(0, cached(p) - resident.get(p, 0)) for p in files if not p.startswith("/usr/"))
