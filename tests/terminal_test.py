# SPDX-License-Identifier: Apache-2.0
#
# Commands at a terminal, which is played here: what is written over, keys, colours, and none of it
# with NO_COLOR or without a terminal.
#
# usage: terminal_test.py DISPATCH
import os, pty, re, select, signal, subprocess, sys, tempfile, time

LIMIT = 60  # seconds; a test that gets there has failed


class Terminal:
    """A command whose standard descriptors are a terminal, save those that are given."""

    def __init__(self, *command, env=None, **streams):
        self.master, slave = pty.openpty()
        streams = {**dict(stdin=slave, stdout=slave, stderr=slave), **streams}
        self.process = subprocess.Popen(command, env=dict(os.environ, **(env or {})),
                                        start_new_session=True, **streams)
        os.close(slave)
        self.text = ""

    def read(self):
        """More of what it wrote; False at its end."""
        assert select.select([self.master], [], [], LIMIT)[0], self.text
        try:
            data = os.read(self.master, 65536)
        except OSError:  # nobody has the other side any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def until(self, wanted, times=1):
        while self.text.count(wanted) < times:
            assert self.read(), "it ended without %r: %r" % (wanted, self.text)

    def press(self, keys):
        os.write(self.master, keys)

    def ended(self, status):
        while self.read():
            pass
        os.close(self.master)
        assert self.process.wait(LIMIT) == status, (self.process.returncode, self.text)
        return self.text


def main(dispatch):
    with tempfile.TemporaryDirectory() as directory:
        store = "sqlite:" + os.path.join(directory, "store.db")
        os.environ.update(DISPATCH_CONFIG_PATH=os.path.join(directory, "none"), TERM="xterm")
        for name in ("NO_COLOR", "DISPATCH_API_URL", "DISPATCH_API_KEY"):
            os.environ.pop(name, None)

        def ask(*words, **options):
            return Terminal(dispatch, *words, "--store", store, **options)

        event = ask("call", "f", "--endpoint", "event:", "--key", "k").ended(0).strip()
        ask("complete", event, "--error", "no").ended(0)

        # Colours are for terminals, and for those who want them.
        assert "\033[31mPERMANENT_ERROR" in ask("ls").ended(0)
        assert "\033[" not in ask("ls", env={"NO_COLOR": "1"}).ended(0)
        assert "\033[31mPERMANENT_ERROR" in ask("ls", env={"NO_COLOR": ""}).ended(0)
        assert "\033[" not in ask("ls", env={"TERM": "dumb"}).ended(0)
        with open(os.path.join(directory, "out"), "w+") as out:
            ask("ls", stdout=out).ended(0)
            out.seek(0)
            text = out.read()
            assert "PERMANENT_ERROR" in text and "\033[" not in text, text

        # A progress bar where it is not in the way of the ids: on stderr, with stdout elsewhere.
        calls = os.path.join(directory, "calls")
        with open(calls, "w") as file:
            file.write("1\n" * 3000)
        with open(calls) as file, open(os.devnull, "w") as null:
            text = ask("call", "f", "-", "--endpoint", "http://127.0.0.1:1", "--in", "1h",
                       stdin=file, stdout=null).ended(0)
        assert re.search(r"\r\033\[K\[#+ *\] +\d+%  \d+ calls", text), text
        assert text.endswith("\r\033[K"), text

        # top: drawn again and again on a screen of its own, until q or the like.
        for end, status in ((b"q", 0), (b"\x03", 0), (signal.SIGTERM, 0)):
            top = ask("top", "--interval", "100ms")
            top.until("q quits", 3)
            assert top.text.startswith("\033[?1049h\033[?25l\033[H"), top.text
            assert "3000 waiting" in top.text, top.text
            if isinstance(end, bytes):
                top.press(end)
            else:
                top.process.send_signal(end)
            assert top.ended(status).endswith("\033[?25h\033[?1049l")
        # A failure is said where it stays to be seen.
        os.environ["DISPATCH_API_KEY"] = "x"
        text = Terminal(dispatch, "top", "--server", "http://127.0.0.1:1").ended(1)
        assert text.rstrip().split("\n")[0].split("\033[?1049l")[-1].startswith("dispatch: "), text


main(sys.argv[1])
