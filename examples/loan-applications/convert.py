#!/usr/bin/env python3
"""Turns the XES log of the BPI Challenge 2012 into CloudEvents, one JSON object a line, in the order of their times.

    python3 convert.py financial_log.xes.gz > loan-applications.jsonl

The same log always gives the same lines: event ids are UUIDs of version 5 made from the application and the event's place
in it, and events of the same time stay in the order of the log. Needs nothing but Python 3.11 or later.
"""

import gzip
import json
import sys
import uuid
import xml.etree.ElementTree as xml
from datetime import datetime

SOURCE = "urn:bpi-challenge-2012"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, SOURCE)


def attributes(element):
    """The XES attributes of a trace or an event, as text by key."""
    return {child.get("key"): child.get("value") for child in element if child.get("key") is not None}


def traces(file):
    """The traces of the log, each as its attributes and those of its events. Only one is in memory at a time."""
    # Tags carry a namespace in some editions of the log and none in others.
    name = lambda element: element.tag.rpartition("}")[2]
    parser = xml.iterparse(file, events=("start", "end"))
    _, root = next(parser)
    for moment, element in parser:
        if moment == "end" and name(element) == "trace":
            yield attributes(element), [attributes(child) for child in element if name(child) == "event"]
            root.clear()


def cloud_events(trace, events):
    """The events of one application, each with its time for sorting."""
    case = trace["concept:name"]
    for index, event in enumerate(events):
        data = {"transition": event["lifecycle:transition"]}
        if "org:resource" in event:
            data["resource"] = event["org:resource"]
        if event["concept:name"] == "A_SUBMITTED":
            data["amount_requested"] = int(trace["AMOUNT_REQ"])
            data["registered_at"] = trace["REG_DATE"]
        yield datetime.fromisoformat(event["time:timestamp"]), {
            "specversion": "1.0",
            "id": str(uuid.uuid5(NAMESPACE, f"{case}/{index}")),
            "source": SOURCE,
            "type": event["concept:name"],
            "subject": f"LoanApplication-{case}",
            "time": event["time:timestamp"],
            "datacontenttype": "application/json",
            "data": data,
        }


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: convert.py LOG.xes[.gz] > loan-applications.jsonl")
    path = sys.argv[1]
    lines = []
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        for number, (trace, events) in enumerate(traces(file), 1):
            try:
                # Only time and text are kept: sorting needs all of them at once.
                lines += [(time, json.dumps(event, separators=(",", ":"))) for time, event in cloud_events(trace, events)]
            except KeyError as key:
                sys.exit(f"trace {number} ({trace.get('concept:name', 'without a name')}) of {path} lacks the attribute {key}; "
                         "is it the log of the BPI Challenge 2012?")
    # Stable: events of the same time stay as they are.
    lines.sort(key=lambda line: line[0])
    for _, line in lines:
        print(line)
    print(f"{len(lines)} events", file=sys.stderr)


if __name__ == "__main__":
    main()
