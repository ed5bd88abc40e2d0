"""A real hub on this machine, its hubctl, and a visitor of its forums."""

import json
import os
import re
import secrets
import socket
import subprocess
import time
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Hub:
    """A group of one."""

    def __init__(self, programs, folder):
        self.programs, self.folder = programs, folder
        self.http, self.grpc = free_port(), free_port()
        self.token, self.admin = secrets.token_hex(8), secrets.token_hex(8)
        folder.mkdir(parents=True)
        self.process, self.has_begun = None, False

    def start(self):
        addresses = f"127.0.0.1:{self.grpc}/127.0.0.1:{self.http}"
        words = [self.programs / "loop-hub", "--node-id", "1", "--data-dir", self.folder / "data",
                 "--http-listen", f"127.0.0.1:{self.http}", "--grpc-listen", f"127.0.0.1:{self.grpc}",
                 "--cluster", f"1={addresses}", *([] if self.has_begun else ["--bootstrap"])]
        self.has_begun = True
        environment = os.environ | {"LOOP_HUB_JOIN_TOKEN": self.token, "LOOP_HUB_ADMIN_TOKEN": self.admin}
        with open(self.folder / "hub.log", "ab") as log:
            self.process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while not self.answers("/healthz"):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "hub.log").read_text())
            time.sleep(0.1)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def answers(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def join_string(self, token=None):
        """As an operator would give it to somebody whose guest sees this machine at 10.0.2.100."""
        return f"10.0.2.100:9080/{token or self.token}"

    def ctl(self, *words):
        """What hubctl says, as JSON."""
        environment = os.environ | {"LOOP_HUBCTL_ADMIN_TOKEN": self.admin}
        command = [self.programs / "hubctl", "--hub", f"127.0.0.1:{self.grpc}", "--json", *words]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if said.returncode != 0:
            raise RuntimeError(f"hubctl {' '.join(words)}: {said.stderr}{said.stdout}")
        return json.loads(said.stdout)


class Visitor:
    """AtomJump's browser without a screen."""

    def __init__(self, hub, forum):
        self.hub, self.forum, self.sent = hub, forum, 0
        self.session = self.call("search-chat.php", self.poll(""))["ses"]

    def poll(self, session):
        return {"passcode": self.forum, "records": 500, "units": "mi", "lang": "en", "ses": session, "sessionId": session}

    def post(self, text):
        """Returns when it is acknowledged."""
        self.sent += 1
        answer = self.call("index.php", {
            "action": "ssshout", "lat": "", "lon": "", "whisper_to": "", "whisper_site": "", "your_name": "",
            "passcode": self.forum, "remoteapp": "true", "ses": self.session, "cs": "21633478", "typing": "off",
            "shout_id": "", "msg_id": self.sent, "message": text,
        })
        if not str(answer.get("sid", "")).isdigit():
            raise RuntimeError(f"not stored: {answer}")

    def texts(self):
        return [row["text"] for row in self.call("search-chat.php", self.poll(self.session))["res"]]

    def call(self, script, parameters):
        query = urllib.parse.urlencode({"callback": "jQuery1_1", **parameters, "_": 1})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.hub.http}/{script}?{query}", timeout=30) as answer:
            body = answer.read().decode()
        return json.loads(re.fullmatch(r"jQuery1_1\((.*)\)", body, re.DOTALL)[1])
