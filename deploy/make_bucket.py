"""Makes a bucket where there is none, as soon as the S3 store answers: python deploy/make_bucket.py NAME."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

store = boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 10}))
try:
    store.head_bucket(Bucket=sys.argv[1])
except ClientError as error:
    if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
        raise
    store.create_bucket(Bucket=sys.argv[1])
