"""A shop whose metrics tell the user's cohort and variant, so that a trigger can judge each cohort by itself.

usage: python shop.py FLAG < users.jsonl

It prints where it listens. A request of each user is made ten times a second; /metrics counts them, and
POST /fail?cohort=NAME lets those of a cohort fail that get the feature, as a bad release would.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

from app import client_of, context, labels

requests = Counter()
failing = set()


def serve(client, flag, user):
    details = client.get_boolean_details(flag, False, context(user))
    told = labels(details.variant)
    cohort, variant = told["cohort"] or "none", told["variant"] or "none"
    code = "500" if details.value and cohort in failing else "200"
    # A series that begins at its first error has no rate until the second.
    for known in ("200", "500"):
        requests[cohort, variant, known] += known == code


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        lines = ["# TYPE http_requests_total counter"]
        for (cohort, variant, code), count in sorted(dict(requests).items()):
            lines.append(f'http_requests_total{{cohort="{cohort}",variant="{variant}",code="{code}"}} {count}')
        self.answer("\n".join(lines) + "\n")

    def do_POST(self):
        failing.update(parse_qs(urlparse(self.path).query).get("cohort", []))
        self.answer("")

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def main():
    path = os.environ.get("FLAGD_OFFLINE_FLAG_SOURCE_PATH")
    if len(sys.argv) != 2 or not path:
        sys.exit(__doc__ + "\nFLAGD_OFFLINE_FLAG_SOURCE_PATH names the mounted file.")
    users = [json.loads(line) for line in sys.stdin if line.strip()]
    client = client_of(path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"address": f"127.0.0.1:{server.server_port}"}), flush=True)
    while True:
        for user in users:
            serve(client, sys.argv[1], user)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
