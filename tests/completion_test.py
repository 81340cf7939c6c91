# SPDX-License-Identifier: Apache-2.0
#
# What zsh and fish make of `dispatch completion`: the line is typed, and TAB pressed, at a zsh of
# its own; fish says itself what it would offer. (bash: cli_test.sh)
#
# usage: completion_test.py DISPATCH
import os, pty, select, shutil, subprocess, sys, tempfile

LIMIT = 60  # seconds; a test that gets there has failed

# A line, what fish offers for its last word, and the line that zsh makes of it.
LINES = (
    ("vers", ["version"], "version "),
    ("ver", ["verification", "version"], "ver"),
    ("--api-key x swi", ["switch"], "--api-key x switch "),
    ("--env-f", ["--env-file"], "--env-file "),
    ("help vers", ["version"], "help version "),
    ("help comp", ["complete", "completion"], "help complet"),
    ("init py", ["python"], "init python "),
    ("init c", ["c", "cpp"], "init c"),
    ("keys rev", ["revoke"], "keys revoke "),
    ("run --sess", ["--session"], "run --session "),
    ("-k x ls --json --wat", ["--watch"], "-k x ls --json --watch "),
)


def fish(script):
    """What is offered for each of the lines."""
    asks = "".join('; complete -C "dispatch %s"; echo ==' % line for line, _, _ in LINES)
    said = subprocess.run(["fish", "--no-config", "-c", "source " + script + asks], check=True,
                          timeout=LIMIT, stdout=subprocess.PIPE, text=True).stdout
    return [sorted(offer.split("\t")[0] for offer in part.splitlines() if offer)
            for part in said.split("==\n")[:-1]]


class Zsh:
    """At a terminal; control-g says what stands in the line, and takes it away."""

    SETUP = ("unsetopt prompt_cr zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; "
             "source %s; show() { print -r -- \"<$BUFFER>\"; zle kill-whole-line }; "
             "zle -N show; bindkey '^G' show; print REA''DY\n")

    def __init__(self, script):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=dict(os.environ, TERM="dumb", COLUMNS="200"))
        os.close(slave)
        os.write(self.master, (self.SETUP % script).encode())
        self.until("READY")

    def until(self, wanted):
        text = ""
        while wanted not in text:
            assert select.select([self.master], [], [], LIMIT)[0], text
            text += os.read(self.master, 65536).decode(errors="replace")
        return text

    def completed(self, line):
        os.write(self.master, ("dispatch %s\t\x07" % line).encode())
        text = self.until("<dispatch ")
        rest = text.split("<dispatch ")[1]
        return (rest if ">" in rest else rest + self.until(">")).split(">")[0]

    def end(self):
        os.close(self.master)
        self.process.wait(LIMIT)


def main(dispatch):
    shells = [shell for shell in ("fish", "zsh") if shutil.which(shell)]
    if not shells:
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(HOME=directory)
        script = {}
        for shell in shells:
            script[shell] = os.path.join(directory, shell)
            with open(script[shell], "w") as file:
                subprocess.run([dispatch, "completion", shell], check=True, stdout=file)
        if "fish" in shells:
            made = fish(script["fish"])
            assert made == [offers for _, offers, _ in LINES], made
        if "zsh" in shells:
            zsh = Zsh(script["zsh"])
            for line, _, wanted in LINES:
                made = zsh.completed(line)
                assert made == wanted, (line, made)
            zsh.end()


main(sys.argv[1])
