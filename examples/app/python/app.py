"""Says what users get of boolean flags, by the official flagd provider.

usage: python app.py FLAG... [--watch] < users.jsonl
"""

import json
import os
import queue
import sys

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent


def client_of(path):
    """A client that answers from the file, and looks at it again by itself."""
    api.set_provider_and_wait(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=path))
    return api.get_client()


def context(user):
    attributes = {key: value for key, value in user.items() if key != "targetingKey"}
    return EvaluationContext(user.get("targetingKey"), attributes)


def labels(variant):
    """The variant's name and the user's cohort, as labels of a metric; `feature.variantNames` says whether there is one."""
    name, at, cohort = (variant or "").rpartition("@")
    return {"variant": name, "cohort": cohort} if at else {"variant": variant, "cohort": None}


def report(client, flags, users):
    lines = []
    for flag in flags:
        for user in users:
            details = client.get_boolean_details(flag, False, context(user))
            line = {
                "flag": flag,
                "targetingKey": user.get("targetingKey"),
                "value": details.value,
                **labels(details.variant),
                "reason": details.reason,
            }
            lines.append(json.dumps(line))
    print("\n".join(lines), flush=True)


def main():
    flags = [argument for argument in sys.argv[1:] if argument != "--watch"]
    path = os.environ.get("FLAGD_OFFLINE_FLAG_SOURCE_PATH")
    if not flags or not path:
        sys.exit(__doc__ + "\nFLAGD_OFFLINE_FLAG_SOURCE_PATH names the mounted file.")
    users = [json.loads(line) for line in sys.stdin if line.strip()]
    changes = queue.Queue()
    client = client_of(path)
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changes.put)
    report(client, flags, users)
    while "--watch" in sys.argv:
        changes.get()
        report(client, flags, users)
    api.shutdown()


if __name__ == "__main__":
    main()
