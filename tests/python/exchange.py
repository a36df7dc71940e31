"""What the scripts of all buses share: events travel to and from the test as JSON lines."""

import sys
import time

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

# How long messages may take to come, in seconds.
PATIENCE = 90


def run(bus, arguments):
    """Obeys `receive COUNT` or `send binary|structured`.

    `bus.receive(on_ready)` yields events after it has called `on_ready`; `bus.send(events, structured)` sends them all.
    """
    match arguments:
        case ["receive", count]:
            events = bus.receive(lambda: print("ready", flush=True))
            for _, event in zip(range(int(count)), events):
                print(JSONFormat().write(event).decode(), flush=True)
        case ["send", form]:
            events = [JSONFormat().read(CloudEvent, line) for line in sys.stdin]
            bus.send(events, form == "structured")
        case _:
            sys.exit(f"not known: {arguments}")


def patience():
    """Yields until messages have taken too long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield
    sys.exit(f"fewer messages came than expected within {PATIENCE} s")
