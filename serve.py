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
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from retina import __version__, networks
from retina.commands import HelpFormatter, micrometres, number, run
from retina.files import InputError
from retina.prediction import Options, load_network
from retina.resolution import read_camera
from retina.session import Session

ROOT = Path(__file__).parent
PORT = number(int, "1024 to 65535", lambda value: 1024 <= value <= 65535)
BITS = number(int, "8 to 16", lambda value: 8 <= value <= 16)
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
    model = "a .keras or .onnx file; default: the one in models/ finished last"
    add("--model", type=Path, help=model)
    add(
        "--tta",
        action="store_true",
        help="average 8 flips and turns; takes 5.7 times as long",
    )
    camera = "of one camera: what check.py --camera wrote; default: a scale for each"
    add("--camera", type=Path, metavar="FILE.json", help=camera)
    bits = "8 to 16, of values in files of 16 bits, where a camera fills fewer"
    add("--bits", type=BITS, help=bits)
    size = "scale of measures, until the page is given another; default: pixels"
    add("--micrometres-per-pixel", type=micrometres, help=size)
    output = "folder that keeps photographs and results"
    add("--output", type=Path, default=Path("output/page"), help=output)
    add("--port", type=PORT, default=8000, help="of 127.0.0.1, 1024 to 65535")
    add("--no-browser", action="store_true", help="print the address, open nothing")
    return parser.parse_args(argv)


def require_packages() -> None:
    """Raises an InputError unless what only this command needs is installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401

        from retina import morphometry  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"expected the package {error.name}, which is not installed: "
            "pip install -r requirements/page.txt"
        ) from None


def listen(port: int) -> socket.socket:
    """Takes the port, on this machine's own address alone.

    Raises:
        InputError: another program has it.
    """
    # Named TCP, or asyncio leaves the delays on that TCP makes to send fewer packets:
    # 40 milliseconds an answer.
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # where it would let two programs have one port
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", port))
        taken.listen()
    except OSError as error:
        taken.close()
        raise InputError(
            f"expected port {port} to be free, but it is refused ({error.strerror}): "
            "is the page open already? Else choose another with --port"
        ) from None
    return taken


def read_definitions() -> dict[str, str]:
    """Measure -> what it is, from the tables of docs/measures.md."""
    definitions = {}
    for line in (ROOT / "docs/measures.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6:  # column, canonical name, definition, unit
            for name in re.findall(r"`(\w+)`", cells[1]):
                definitions.setdefault(name, cells[3])
    return definitions


def serve(session: Session, taken: socket.socket, args: argparse.Namespace) -> None:
    """Answers until Ctrl-C; the work goes on in a thread of its own meanwhile."""
    import uvicorn

    from retina.web import make_app

    network = session.network
    about = {
        "version": __version__,
        "network": str(network.path),
        "network_sha256": network.sha256,
        "scale": args.micrometres_per_pixel,
        "definitions": read_definitions(),
    }
    app = make_app(session, folder=ROOT / "page", port=args.port, about=about)
    config = uvicorn.Config(
        app, log_level="error", timeout_graceful_shutdown=1, lifespan="off"
    )
    sys.setswitchinterval(SWITCH_INTERVAL)
    worker = threading.Thread(target=session.work, daemon=True)
    worker.start()
    address = f"http://127.0.0.1:{args.port}"
    print(f"{address} (Ctrl-C stops it; all is kept in {session.folder})", flush=True)
    if not args.no_browser:
        webbrowser.open(address)
    try:
        uvicorn.Server(config).run(sockets=[taken])
    finally:
        session.stop()
        worker.join(PATIENCE)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    require_packages()
    with closing(listen(args.port)) as taken:
        camera = args.camera and read_camera(args.camera)
        network = load_network(args.model or networks.choose(), camera=camera)
        print(f"{network.path}, made {network.record.made or 'at an unknown time'}")
        views = 8 if args.tta else 1
        options = Options(
            camera=camera, views=views, bits=args.bits, vessels=True, overlay=True
        )
        size = args.micrometres_per_pixel
        serve(Session(args.output, network, options, size), taken, args)


if __name__ == "__main__":
    run(
        main,
        "serve.py",
        stopped="what was dropped and done is kept; the same command shows it again",
    )
