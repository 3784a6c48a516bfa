"""A small engine that speaks the protocol and misbehaves when it is asked to."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any


def send(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def read(inbox: queue.Queue[dict[str, Any]], cancelled: set[int]) -> None:
    for line in sys.stdin:
        values = json.loads(line)
        if "cancel" in values:
            cancelled.add(values["cancel"])
        elif values.get("quit"):
            break
        else:
            inbox.put(values)
    os._exit(0)


def run(job: int, verb: str, options: dict[str, Any], cancelled: set[int]) -> None:
    if verb == "count":
        for done in range(options["total"] + 1):
            if job in cancelled:
                send(event="cancelled", job=job)
                return
            send(
                event="progress",
                job=job,
                stage="Counting",
                done=done,
                total=options["total"],
                unit="numbers",
                detail="",
                seconds_left=None,
            )
            time.sleep(options.get("seconds", 0.0))
        send(event="done", job=job, result={"pid": os.getpid(), "total": options["total"]})
    elif verb == "environment":
        send(event="done", job=job, result={"env": dict(os.environ), "nice": os.nice(0)})
    elif verb == "sleep":  # never looks at `cancelled`
        time.sleep(60)
    elif verb == "exit":
        sys.stderr.write("the last words\n")
        sys.stderr.flush()
        os._exit(options["code"])
    elif verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "raise":
        send(
            event="error",
            job=job,
            kind="SlideReadError",
            message="a.svs cannot be opened.",
            details="Traceback ...",
            user=True,
        )
    elif verb == "bug":
        send(
            event="error",
            job=job,
            kind="KeyError",
            message="The engine met a bug (KeyError); see Details.",
            details="Traceback ... line 7",
            user=False,
        )
    elif verb == "noise":
        sys.stdout.write("hello from a library\n[1, 2]\n{broken\n\xff\n" + "[" * 100_000 + "\n")
        send(event="progress", job=job, stage="x")
        send(event="progress", job=job, stage="x", done="many", total=None)
        send(event="done", job=job + 1000, result={})
        send(event="unheard of", job=job)
        send(event="done", job=job, result="not an object")
    elif verb == "flood":
        sys.stdout.write("x" * options["bytes"])
        sys.stdout.flush()
        time.sleep(60)


def main() -> None:
    if "--no-start" in sys.argv:
        sys.stderr.write("ModuleNotFoundError: No module named 'something'\n")
        sys.exit(1)
    if "--slow-start" in sys.argv:
        time.sleep(60)
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    cancelled: set[int] = set()
    threading.Thread(target=read, args=(inbox, cancelled), daemon=True).start()
    send(event="ready", pid=os.getpid())
    while True:
        values = inbox.get()
        run(values["job"], values["verb"], values["options"], cancelled)


if __name__ == "__main__":
    main()
