"""Asks through boto3: a line of JSON in, [service, region, operation, arguments], a line of JSON out."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint = sys.argv[1]
config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
clients = {}


def client(service, region):
    if (service, region) not in clients:
        clients[service, region] = boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=config,
        )
    return clients[service, region]


def plain(value):
    # Bodies of objects are streams, times are objects.
    return value.read().decode(errors="replace") if hasattr(value, "read") else str(value)


for line in sys.stdin:
    service, region, operation, arguments = json.loads(line)
    try:
        answer = getattr(client(service, region), operation)(**arguments)
        answer.pop("ResponseMetadata", None)
        reply = {"answer": answer}
    except (BotoCoreError, ClientError, AttributeError) as error:
        reply = {"error": str(error)}
    print(json.dumps(reply, default=plain), flush=True)
