"""A page on this machine: drop photographs, see their vessels, correct, measure.

    pip install -r requirements/page.txt               # once
    python serve.py                                    # opens http://127.0.0.1:8000
    python serve.py --model models/NAME.keras --output output/study --no-browser

The page is for this machine alone, and works without a network: it answers 127.0.0.1
and no other site's page. What is dropped on it stays in --output with all that is made
of it, and is there again after a restart; removing a photograph on the page removes its
files. They are those of predict.py and measure.py, byte for byte: measure.py takes the
folder. From another machine: ssh -L 8000:127.0.0.1:8000 MACHINE. Other users of this
machine can open the page, too, while it runs. More: docs/page.md
"""

from __future__ import annotations

import argparse
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from retina import networks
from retina.commands import HelpFormatter, micrometres, number, run
from retina.files import InputError, locked, require_no_link, require_writable
from retina.prediction import add_options, load_network, read_options
from retina.session import Session

ROOT = Path(__file__).parent
PORT = number(int, "1024 to 65535", lambda value: 1024 <= value <= 65535)
HERE = "127.0.0.1"
PATIENCE = 5  # seconds, for the work at hand when the page is stopped
# Seconds after which Python lets another thread go on: with its own 0.005 an answer
# waits ten times as long while the worker measures as when it is idle.
SWITCH_INTERVAL = 0.0005


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="A page on this machine: see, correct and measure vessels.",
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add_options(parser)
    size = "scale of measures, until the page is given another; default: pixels"
    add("--micrometres-per-pixel", type=micrometres, help=size)
    output = "folder that keeps photographs and results"
    add("--output", type=Path, default=Path("output/page"), help=output)
    others = "address at which other machines may ask, too, with a token; 0.0.0.0: any"
    add("--host", default=HERE, help=others)
    add("--port", type=PORT, default=8000, help="1024 to 65535")
    add("--no-browser", action="store_true", help="print the address, open nothing")
    return parser.parse_args(argv)


def require_packages() -> None:
    """Raises an InputError unless what only this command needs is installed."""
    try:
        import uvicorn  # noqa: F401

        from retina import morphometry, web  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected the package {error.name}, which is not installed: "
            "pip install -r requirements/page.txt"
        ) from None


def listen(host: str, port: int) -> socket.socket:
    """Takes the port, or raises an InputError where that is refused."""
    try:
        taken = socket.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"expected port {port} to be free on {host}, but it is refused "
            f"({error.strerror.split(' (')[0]}): is the page open already? Else choose "
            "another with --port"
        ) from None
    # Else TCP waits 40 milliseconds with each answer, to send fewer packets.
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


def take_folder(folder: Path) -> AbstractContextManager:
    """Holds off every other serve.py from a folder, for a `with` block.

    Raises:
        InputError: another one has it, or nothing can be written there.
    """
    lock = folder / ".page.lock"
    require_no_link(lock)
    require_writable(folder)
    busy = (
        f"expected {folder} to be free, but another serve.py is at work there: open "
        "its page, or choose another folder with --output"
    )
    return locked(lock, busy=busy)


def read_definitions() -> dict[str, str]:
    """Measure -> what it is, from the tables of docs/measures.md."""
    definitions = {}
    for line in (ROOT / "docs/measures.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6:  # column, canonical name, definition, unit
            for name in re.findall(r"`(\w+)`", cells[1]):
                definitions.setdefault(name, cells[3])
    return definitions


def make_page(session: Session, host: str, port: int) -> tuple[Callable, str]:
    """The application, and the address at which it is opened."""
    from retina.web import make_app

    about = {"network": str(session.network.path), "definitions": read_definitions()}
    token = "" if host == HERE else secrets.token_urlsafe()
    app = make_app(session, ROOT / "page", about, port, token)
    if not token:
        return app, f"http://{HERE}:{port}"
    print(
        "note: other machines can reach this page. Whoever has the address with its "
        "token sees and changes all that is there, and it is not encrypted on its "
        "way: give it to nobody else, and only in a network that you trust"
    )
    name = socket.gethostname() if host == "0.0.0.0" else host
    return app, f"http://{name}:{port}/?token={token}"


def serve(session: Session, taken: socket.socket, app: Callable) -> None:
    """Answers until Ctrl-C; the work goes on in a thread of its own meanwhile."""
    import uvicorn

    options = {"timeout_graceful_shutdown": 1, "lifespan": "off", "ws": "none"}
    config = uvicorn.Config(app, log_level="error", **options)
    sys.setswitchinterval(SWITCH_INTERVAL)
    worker = threading.Thread(target=session.work, daemon=True)
    worker.start()
    try:
        uvicorn.Server(config).run(sockets=[taken])
    finally:
        session.stop()
        worker.join(PATIENCE)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    require_packages()
    with listen(args.host, args.port) as taken, take_folder(args.output):
        options = read_options(args, vessels=True, overlay=True)
        path = args.model or networks.choose()
        network = load_network(path, camera=options.camera)
        print(f"{path}, made {network.record.made[:10] or 'at an unknown time'}")
        session = Session(args.output, network, options, args.micrometres_per_pixel)
        app, address = make_page(session, args.host, args.port)
        print(f"{address} (Ctrl-C stops it; all is kept in {args.output})", flush=True)
        if not args.no_browser:
            webbrowser.open(address)
        serve(session, taken, app)


if __name__ == "__main__":
    run(
        main,
        "serve.py",
        stopped="what was dropped and done is kept; the same command shows it again",
    )
