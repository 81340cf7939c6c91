# SPDX-License-Identifier: Apache-2.0
#
# `dispatch server` under a service manager, which is played here: it hears when the server is
# ready, that it lives, that it reads its keys again and that it stops.
#
# usage: notify_test.py DISPATCH
import os, select, signal, socket, subprocess, sys, tempfile, urllib.error, urllib.request

LIMIT = 60  # seconds; a test that gets there has failed


def main(dispatch):
    with tempfile.TemporaryDirectory() as directory:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.settimeout(LIMIT)
        name = "\0dispatch-notify-%d" % os.getpid()
        manager.bind(name)
        keys = os.path.join(directory, "keys")
        addresses = os.path.join(directory, "addresses")

        def heard(wanted):
            """The next datagram that is no sign of life."""
            while True:
                ready = select.select([manager, died], [], [], LIMIT)[0]
                if manager not in ready:
                    server.kill()
                    raise AssertionError("in vain for %s:\n%s" % (wanted, server.stderr.read()))
                said = manager.recv(4096).decode()
                if said != "WATCHDOG=1" or wanted == "WATCHDOG=1":
                    break
            assert said.split("\n")[0] == wanted, (wanted, said)
            return said

        def status(key):
            request = urllib.request.Request(
                "http://%s/metrics" % open(addresses).read().strip(),
                headers={"Authorization": "Bearer " + key})
            try:
                return urllib.request.urlopen(request, timeout=LIMIT).status
            except urllib.error.HTTPError as error:
                return error.code

        def write_keys(text):
            with open(keys, "w") as file:
                file.write(text)

        write_keys("first\n")
        environment = dict(os.environ, NOTIFY_SOCKET="@" + name[1:], WATCHDOG_USEC="100000")
        environment.pop("WATCHDOG_PID", None)
        server = subprocess.Popen(
            [dispatch, "server", "--listen", "127.0.0.1:0", "--api-key-file", keys, "--store",
             "sqlite:" + os.path.join(directory, "store.db"), "--ready-file", addresses],
            env=environment, stderr=subprocess.PIPE, text=True)
        died = os.pidfd_open(server.pid)
        try:
            heard("READY=1")
            heard("WATCHDOG=1")
            assert (status("first"), status("second")) == (200, 401)
            write_keys("second\n")
            server.send_signal(signal.SIGHUP)
            assert "\nMONOTONIC_USEC=" in heard("RELOADING=1")
            heard("READY=1")
            assert (status("first"), status("second")) == (401, 200)
            write_keys("not a key\n")
            server.send_signal(signal.SIGHUP)
            heard("RELOADING=1")
            heard("READY=1")
            assert status("second") == 200
            server.send_signal(signal.SIGTERM)
            heard("STOPPING=1")
            log = server.communicate(timeout=LIMIT)[1]
            assert server.returncode == 0, log
            assert "keys read again" in log and "the options before stay" in log, log
            assert "not a key" not in log, log
        finally:
            server.kill()
            server.wait()
            os.close(died)


main(sys.argv[1])
