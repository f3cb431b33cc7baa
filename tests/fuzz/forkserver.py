"""Run many installed commands quickly: a process that has imported them forks a child for each.

A child runs the installed script (`bin/freelight`, `bin/train`) as its main program, under a memory limit and an alarm,
with its output in files. It differs from a typed command in two ways: imports are already done, and it ends after
Python's exit functions without taking the interpreter apart, which would take 0.6 s. With `"exec": true` the child
executes the script, so it is a typed command in every way.

As a program, this file is the server: it reads a JSON line per command and writes a JSON line per result.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

from PIL import Image

from freelight.cli import SHORT_HELPS

ALARM, EXEC_ALARM = 20, 90
"""Seconds after which the kernel ends a command. An executed one also needs time to import."""
ADDRESS_SPACE = 4 << 30
"""Bytes of address space of a command, 1.4 GB of which are the libraries'."""
BIN = Path(sys.executable).parent
NO_TRACES = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class ForkServer:
    """A server process, for one thread."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **NO_TRACES},
            text=True,
        )

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a command; return its exit `code` (minus the signal), `seconds` and `megabytes` at its peak.

        request: `argv`; `cwd`; `env`, changes of the environment; `stdout`, `stderr`, files; `exec`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result

    def close(self) -> None:
        """End the server."""
        self._process.communicate()


def _serve() -> None:
    _import_everything()
    gc.collect()
    gc.freeze()  # otherwise each child's collections would copy all pages
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
        _, status, usage = os.wait4(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # processes that it left
        result = {
            "code": os.waitstatus_to_exitcode(status),
            "seconds": usage.ru_utime + usage.ru_stime,
            "megabytes": usage.ru_maxrss / 1024,
        }
        print(json.dumps(result), flush=True)


def _import_everything() -> None:
    commands = [f"freelight.commands.{name.replace('-', '_')}" for name in SHORT_HELPS]
    libraries = ("pyarrow.parquet", "scipy.io", "scipy.optimize", "simplejpeg", "joblib", "fsspec")
    for module in (*commands, "freelight.train.cli", "freelight.claims.figure1", "freelight.claims.table1", *libraries):
        importlib.import_module(module)
    Image.init()


def _become(request: dict[str, Any]) -> None:
    """Run the request's command in this child; does not return."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(name, flags), number)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(EXEC_ALARM if request["exec"] else ALARM)
    script = str(BIN / request["argv"][0])
    sys.argv = [script, *request["argv"][1:]]
    if request["exec"]:
        os.execv(script, sys.argv)
    _run_script(script)


def _run_script(script: str) -> None:
    tempfile.tempdir = None  # chosen again, from the environment
    code = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
