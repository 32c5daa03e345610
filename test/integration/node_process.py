"""A node under test: `quiver serve` on free ports with a directory of its own."""

import os
import re
import resource
import signal
import subprocess
import time

READY = re.compile(r"https?://[^:]+:(\d+).*grpcs?://[^:]+:(\d+)")
COMPLAINT = re.compile(r"assertion failed|runtime error:|Sanitizer")
START_SECONDS = 60  # of a busy machine; else a second


class Node:
    """settings: KEY=VALUE, as of `quiver serve --set`."""

    def __init__(self, binary, folder, settings=()):
        self.binary = binary
        self.folder = folder
        self.settings = list(settings)
        self.process = None
        self.http = self.grpc = 0
        self.log = folder + ".log"
        self.start()

    def start(self):
        command = [self.binary, "serve", "--host", "127.0.0.1", "--http-port", "0", "--grpc-port",
                   "0", "--storage-path", self.folder, "--set",
                   f"storage.snapshots_path={self.folder}/snapshots"]
        for s in self.settings:
            command += ["--set", s]
        with open(self.log, "ab") as err:
            # A file that meets its size limit is to be an error code, as on a full disk.
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                restore_signals=False,
                preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        os.set_blocking(self.process.stdout.fileno(), False)
        text, until = "", time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            text += (self.process.stdout.read() or b"").decode()
            found = READY.search(text)
            if found and "\n" in text:
                self.http, self.grpc = int(found[1]), int(found[2])
                return
            time.sleep(0.01)
        code = self.process.poll()
        why = "is not ready" if code is None else f"ended with {code}"
        raise RuntimeError(f"the server does not start, it {why}: {text} {self.tail()}")

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def complaint(self):
        """What the server's log says of a bug of its own, or None."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return next((s.strip() for s in f if COMPLAINT.search(s)), None)

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(s.split()[1]) * 1024 for s in f if s.startswith("VmRSS"))

    def limit_files(self, size):
        """No file may be written beyond size any more; None: as far as the disk goes."""
        size = resource.RLIM_INFINITY if size is None else size
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def stop(self, sig=signal.SIGTERM, seconds=30):
        """The exit code; None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self.process.stdout.close()
