"""A real SMTP server that writes what it takes to a file, a line of JSON a letter.

python smtpd.py PORT FILE [CERTIFICATE KEY]: with a certificate it wants STARTTLS, and a user "sluice" with the password "secret".
"""

import email
import email.policy
import json
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, out = int(sys.argv[1]), sys.argv[2]
secured = sys.argv[3:5]


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.7.1 we do not know this sender"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = lambda kind: letter.get_body(preferencelist=(kind,)).get_content()
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in letter.items()},
            "text": part("plain"),
            "html": part("html"),
            "tls": session.ssl is not None,
            "user": session.auth_data,
        }
        with open(out, "a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    ok = data.login == b"sluice" and data.password == b"secret"
    return AuthResult(success=ok, handled=False, auth_data="sluice" if ok else None)


more = {}
if secured:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*secured)
    more = {"tls_context": context, "require_starttls": True, "authenticator": authenticate, "auth_required": True}
Controller(Handler(), hostname="127.0.0.1", port=port, **more).start()
while True:
    time.sleep(3600)
