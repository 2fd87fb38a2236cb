"""The reports over HTTP, for as long as the Dagster UI runs: a browser opens no file that a server's page links to."""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Server(ThreadingHTTPServer):
    """Ends with the process that it was started for, however that ends."""

    parent = 0

    def service_actions(self) -> None:
        if os.getppid() != self.parent:
            raise SystemExit


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A page that was read is no news in Dagster's log."""


def serve_reports(folder: Path, port: int) -> str:
    """Serve the folder from a process of its own until the present one has ended; returns its address.

    port : taken where it is free, or else any. Only this machine is served, as by the UI.
    """
    handler = partial(_Quiet, directory=str(folder))
    try:
        server = _Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError):
        server = _Server(("127.0.0.1", 0), handler)
    server.parent = os.getpid()
    if os.fork() == 0:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            os._exit(0)
    server.socket.close()
    return f"http://127.0.0.1:{server.server_port}/"
