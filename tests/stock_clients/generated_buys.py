"""A client that a stock generator has made of another network's document buys a picture.

The folder of its package is the first word. What is to be bought is read from the standard input,
and what came of it is written as JSON.
"""

import json
import sys
import time
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

sys.path.insert(0, sys.argv[1])
PACKAGE = "image_jobs_client"


def call(name: str, **given: Any) -> Any:
    """Ask an operation, and return the answer as the client's own model of it."""
    folder = import_module(f"{PACKAGE}.api")  # each tag of the document has one of its own
    found = [each.name for each in walk_packages(folder.__path__, f"{folder.__name__}.")]
    module = next(each for each in found if each.endswith(f".{name}"))
    answer = import_module(module).sync_detailed(**given)
    assert answer.parsed is not None, (name, answer.status_code, answer.content)
    return answer.parsed


def main() -> None:
    """Look around, buy one picture, and wait for it."""
    asked, models = json.load(sys.stdin), import_module(f"{PACKAGE}.models")
    client = import_module(f"{PACKAGE}.client")
    mine = client.AuthenticatedClient(base_url=asked["url"], token=asked["key"])
    anyone = client.Client(base_url=asked["url"])
    me = call("get_api_v1_users_me", client=mine)
    before = call("get_api_v1_users_me_credits", client=mine)
    tiers = call("get_api_v1_tiers", client=anyone)
    known = call("get_api_v1_models", client=anyone)
    wants = models.CreateJobRequest.from_dict(asked["job"])
    job = call("post_api_v1_jobs", client=mine, body=wants)
    while job.status not in (models.JobStatus.COMPLETED, models.JobStatus.FAILED):
        time.sleep(0.05)
        job = call("get_api_v1_jobs_id", id=job.id, client=anyone)
    result = call("get_api_v1_jobs_id_result", id=job.id, client=anyone)
    short = call("post_api_v1_jobs", client=mine, body=wants)
    told = {
        "same": str(me.id) == str(before.user_id),
        "credits": [before.credits_, call("get_api_v1_users_me_credits", client=mine).credits_],
        "costs": tiers.tiers.pro.credits_,
        "available": known.models[known.default_model].available,
        "status": str(job.status),
        "result": result.result_url,
        "short": [short.code, short.credits_, short.credits_needed],
    }
    print(json.dumps(told))


main()
