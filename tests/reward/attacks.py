"""Attacks on the lock of the reward process, run inside it with the dialect switched off.

The production launcher starts the child; only its boot line is replaced, by one that gives real
builtins, real modules and no dialect to whatever is loaded. The same attacks run in a plain
process, where they must succeed: an attack that fails everywhere proves nothing.

Run as a script it prints what happened inside the lock, as JSON; `test_lockdown` does that under
another user.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from rewardsmith.reward import process as reward_process
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import Field, RewardFunction, TransitionLayout

ROOT = "root"
NOWHERE = "nowhere"
PLANTED = "sk-planted-0123456789-never-real"
LAYOUT = TransitionLayout((Field("x", "observation", 0, 3),), 3, 2)
LIMITS = SandboxSettings(
    allow_weaker=False, deadline_s=5.0, memory_mib=1024, cpu_s=600, batch_rows=512
)

PRELUDE = """
import ctypes, errno, mmap, os, resource, signal, socket, subprocess, sys, tempfile, threading
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.getenv.restype = ctypes.c_char_p
PR = mmap.PROT_READ | mmap.PROT_WRITE

def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(item) if isinstance(item, int) else item for item in arguments])
    return result, ctypes.get_errno()

def reached(number, *arguments):
    "The kernel did, or refused, this for a reason of its own: no filter stood before it."
    result, error = call(number, *arguments)
    return result >= 0 or error != errno.EPERM

def page():
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=PR)
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))
"""

BOOT = """
import sys
sys.path.extend(sys.argv[3:])
from rewardsmith.reward import server
prelude = {}
exec(%r, prelude)
prelude.update(%r)

def load(self, source):
    self.globals = {**prelude, "SERVER": self}
    exec(compile(source, "<reward>", "exec"), self.globals)
    self.reward = self.globals["compute_reward"]
    return 0

server.Server.load = load
server.main(int(sys.argv[1]), int(sys.argv[2]))
"""

WRAPPER = """
def compute_reward(state, action, next_state):
    try:
        worked = 1.0 if attack() else 0.0
    except Exception:
        worked = 0.0
    total = np.full(len(action), worked)
    return total, {"worked": total}
"""


@dataclass(frozen=True)
class Attack:
    """One thing that must not be possible.

    Attributes:
        code: body of a function that gives something true if it worked.
        control: who can do it without the lock: empty for anybody, `ROOT`, or `NOWHERE`.
        x86_64: it uses the system call numbers of that architecture.
    """

    code: str
    control: str = ""
    x86_64: bool = False

    @property
    def source(self) -> str:
        lines = self.code.strip().split("\n")
        return "def attack():\n" + "".join(f"    {line}\n" for line in lines) + WRAPPER


def _call(text: str, control: str = "") -> Attack:
    return Attack(f"return reached({text})", control, x86_64=True)


ATTACKS = {
    # files
    "read_passwd": Attack('return open("/etc/passwd").read()'),
    "read_key_file": Attack("return PLANTED in open(KEY_FILE).read()"),
    "read_with_numpy": Attack("return len(np.fromfile(KEY_FILE, dtype=np.uint8))"),
    "write_file": Attack('return open(FOLDER + "/written", "w").write("x")'),
    "append_file": Attack('return os.open(VICTIM, os.O_WRONLY | os.O_APPEND)'),
    "truncate_file": Attack("os.truncate(VICTIM, 0)\nreturn True"),
    "rename_file": Attack('os.rename(VICTIM, VICTIM + "2")\n'
                          'os.rename(VICTIM + "2", VICTIM)\nreturn True'),
    "delete_file": Attack('open(FOLDER + "/tmp", "w")\nos.unlink(FOLDER + "/tmp")\nreturn True'),
    "make_folder": Attack('os.mkdir(FOLDER + "/made")\nreturn True'),
    "temporary_file": Attack("return tempfile.TemporaryFile()"),
    "import_module": Attack("import xml.dom.minidom\nreturn True"),
    "stat_file": Attack('return os.stat("/etc/passwd")'),
    "list_proc": Attack('return os.listdir("/proc")'),
    "read_own_environ": Attack('open("/proc/self/environ").read()\nreturn True'),
    "read_own_maps": Attack('return open("/proc/self/maps").read()'),
    "parent_environ": Attack('return open(f"/proc/{PARENT}/environ", "rb").read()'),
    "parent_memory": Attack('return open(f"/proc/{PARENT}/mem", "rb")', ROOT),
    "parent_command": Attack('return open(f"/proc/{PARENT}/cmdline", "rb").read()'),
    "working_folder": Attack("return os.getcwd()"),
    "chroot": Attack('os.chroot("/")\nreturn True', ROOT),
    "chmod": Attack("os.chmod(VICTIM, 0o600)\nreturn True"),
    # secrets
    "environment": Attack('return libc.getenv(b"OPENAI_API_KEY")'),
    "any_environment": Attack('return bool(ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")'
                              ' and ctypes.POINTER(ctypes.c_char_p).in_dll(libc, "environ")[0])'),
    # network
    "tcp": Attack('peer = socket.create_connection(("127.0.0.1", PORT), 2)\n'
                  'return peer.send(b"tcp")'),
    "udp": Attack('peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n'
                  'return peer.sendto(b"udp", ("127.0.0.1", PORT))'),
    "unix_socket": Attack("peer = socket.socket(socket.AF_UNIX)\npeer.connect(UNIX)\nreturn True"),
    "netlink": Attack("return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    "raw_socket": Attack("return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", ROOT),
    "socket_pair": Attack("return socket.socketpair()"),
    "name_lookup": Attack('return socket.getaddrinfo("localhost", 1)'),
    # processes
    "fork": Attack("child = os.fork()\nif child == 0:\n    os._exit(0)\n"
                   "return os.waitpid(child, 0)"),
    "subprocess": Attack('return subprocess.run(["/bin/sh", "-c", "exit 0"]).returncode == 0'),
    "shell": Attack('return os.system("exit 0") == 0'),
    "spawn": Attack('return os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}) > 0'),
    "exec": Attack('try:\n    os.execv("/nowhere", ["nowhere"])\n'
                   "except FileNotFoundError:\n    return True\nexcept OSError:\n    return False"),
    "thread": Attack("worker = threading.Thread(target=int)\nworker.start()\nworker.join()\n"
                     "return True"),
    "signal_parent": Attack("os.kill(PARENT, 0)\nreturn True"),
    "terminate_parent": Attack("os.kill(PARENT, signal.SIGTERM)\nreturn True", NOWHERE),
    "signal_everybody": Attack("os.kill(-1, signal.SIGTERM)\nreturn True", NOWHERE),
    "signal_itself": Attack("signal.raise_signal(signal.SIGCONT)\nreturn True"),
    "signal_handler": Attack("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreturn True"),
    "alarm": Attack("signal.setitimer(signal.ITIMER_REAL, 0)\nreturn True"),
    "priority": Attack("return os.nice(0) is not None"),
    "affinity": Attack("os.sched_setaffinity(0, {0})\nreturn True"),
    "raise_limits": Attack("limit = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
                           "resource.setrlimit(resource.RLIMIT_NOFILE, limit)\nreturn True"),
    "ptrace": _call("101, 0x4206, PARENT, 0, 0", ROOT),
    "process_vm_readv": Attack(
        "data = ctypes.create_string_buffer(8)\n"
        "part = (ctypes.c_size_t * 2)(ctypes.addressof(data), 8)\n"
        "return call(310, os.getpid(), ctypes.byref(part), 1, ctypes.byref(part), 1, 0)[0] == 8",
        x86_64=True,
    ),
    "process_vm_writev": _call("311, PARENT, 0, 0, 0, 0, 0"),
    "pidfd_open": _call("434, PARENT, 0"),
    "pidfd_getfd": _call("438, 1000, 0, 0"),
    "pidfd_send_signal": _call("424, 1000, 0, 0, 0"),
    # kernel surfaces
    "io_uring": _call("425, 1, 0", ROOT),
    "bpf": _call("321, 0, 0, 0", ROOT),
    "userfaultfd": _call("323, 1"),
    "keyctl": _call("250, 0, -3, 0, 0, 0"),
    "add_key": _call("248, 0, 0, 0, 0, 0"),
    "perf_event_open": _call("298, 0, 0, -1, -1, 0"),
    "mount": _call("165, 0, 0, 0, 0, 0", ROOT),
    "unshare": _call("272, 0"),
    "setns": _call("308, 1000, 0"),
    "prctl": _call("157, 3, 0, 0, 0, 0"),
    "seccomp": _call("317, 99, 0, 0"),
    "personality": _call("135, 0xffffffff"),
    "modify_ldt": _call("154, 0, 0, 0"),
    "shmget": _call("29, 0x7EAD, 0, 0"),
    "msgget": _call("68, 0x7EAD, 0"),
    "semget": _call("64, 0x7EAD, 0, 0"),
    "posix_shared_memory": Attack('name = "/dev/shm/rewardsmith-attack"\n'
                                  "os.close(os.open(name, os.O_CREAT, 0o600))\n"
                                  "os.unlink(name)\nreturn True"),
    "sleep": Attack("import time\ntime.sleep(0.001)\nreturn True"),
    "x32_call": Attack("return call(0x40000000 + 39)[0] > 0", NOWHERE, x86_64=True),
    # executable memory
    "mmap_executable": Attack(
        "return mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)"
    ),
    "mprotect_executable": Attack("memory, at = page()\n"
                                  "return libc.mprotect(ctypes.c_void_p(at), 4096, 5) == 0"),
    "pkey_mprotect": Attack("memory, at = page()\nreturn call(329, at, 4096, 5, -1)[0] == 0",
                            x86_64=True),
    "memfd": Attack('return os.memfd_create("x")'),
    "memfd_exec": Attack('code = os.memfd_create("x")\n'
                         'os.write(code, open("/bin/true", "rb").read())\n'
                         'return subprocess.run([f"/proc/self/fd/{code}"], pass_fds=[code])'
                         ".returncode == 0"),
    # resources
    "memory": Attack("return len(bytearray(3 << 29))", NOWHERE),
    "map_memory": Attack("return mmap.mmap(-1, 3 << 29)"),
    "descriptors": Attack("return os.dup(0)"),
    "pipe": Attack("return os.pipe()"),
    "lock_memory": Attack("memory, at = page()\n"
                          "return libc.mlock(ctypes.c_void_p(at), 4096) == 0"),
}  # fmt: skip


@contextmanager
def targets() -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Real things to attack: files, listeners; with what the listeners heard."""
    heard: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("key", "victim"):
            (Path(folder) / name).write_text(PLANTED)
        tcp = socket.create_server(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", port))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(f"{folder}/unix")
        unix.listen(8)
        listeners = (tcp, udp, unix)
        threads = [threading.Thread(target=_listen, args=(item, heard)) for item in listeners]
        for item in threads:
            item.start()
        facts = {
            "FOLDER": folder,
            "KEY_FILE": f"{folder}/key",
            "VICTIM": f"{folder}/victim",
            "UNIX": f"{folder}/unix",
            "PORT": port,
            "PARENT": os.getpid(),
            "PLANTED": PLANTED,
        }
        try:
            yield facts, heard
        finally:
            for item in listeners:  # wakes those that wait
                item.settimeout(0)
                if item is not udp:
                    item.shutdown(socket.SHUT_RDWR)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", ("127.0.0.1", port))
            for thread in threads:
                thread.join()
            for item in listeners:
                item.close()


def _listen(listener: socket.socket, heard: list[bytes]) -> None:
    while True:
        try:
            if listener.type == socket.SOCK_DGRAM:
                data = listener.recv(100)
                if not data:
                    return
            else:
                data = b"connection"
                listener.accept()[0].close()
        except OSError:
            return
        heard.append(data)


@contextmanager
def unchecked_process(
    facts: dict[str, Any], limits: SandboxSettings = LIMITS
) -> Iterator[RewardProcess]:
    """A reward process as it is in production, except that it runs anything."""
    with (
        mock.patch.object(reward_process, "_BOOT", BOOT % (PRELUDE, facts)),
        RewardProcess(LAYOUT, limits) as process,
    ):
        yield process


def answer(process: RewardProcess, source: str, rows: int = 1) -> np.ndarray:
    """Load a source into an unchecked process and give its rewards."""
    process.load(RewardFunction(source))
    ones = np.ones((rows, 3))
    return process.evaluate(ones, ones[:, :2], ones).total


def run_locked(names: list[str], facts: dict[str, Any]) -> dict[str, str]:
    """What becomes of each attack in a reward process: ``worked``, ``failed`` or ``died``."""
    outcomes: dict[str, str] = {}
    pending = list(names)
    while pending:
        with unchecked_process(facts) as process:
            while pending:
                name = pending.pop(0)
                try:
                    worked = answer(process, ATTACKS[name].source)[0] == 1.0
                except RewardFailure as failure:
                    outcomes[name] = failure.reason
                    break
                outcomes[name] = "worked" if worked else "failed"
    return outcomes


def run_open(names: list[str], facts: dict[str, Any]) -> dict[str, str]:
    """The same in a plain process, one fork for each attack."""
    script = (
        f"import json, os, sys\nprelude = {{}}\nexec({PRELUDE!r}, prelude)\n"
        f"prelude.update({facts!r})\noutcomes = {{}}\n"
        "for name, source in json.load(sys.stdin).items():\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        scope = dict(prelude)\n"
        "        exec(source, scope)\n"
        "        zeros = scope['np'].zeros((1, 2))\n"
        "        os._exit(int(scope['compute_reward']({}, zeros, {})[0][0] != 1.0))\n"
        "    outcomes[name] = 'worked' if os.waitpid(child, 0)[1] == 0 else 'failed'\n"
        "print(json.dumps(outcomes))\n"
    )
    sources = {name: ATTACKS[name].source for name in names}
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(sources),
        env={**os.environ, "OPENAI_API_KEY": PLANTED},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    """Print what became of every attack inside the lock."""
    with targets() as (facts, heard):
        outcomes = run_locked(list(ATTACKS), facts)
    print(json.dumps({"uid": os.getuid(), "outcomes": outcomes, "heard": len(heard)}))


if __name__ == "__main__":
    main()
