"""The local page's addresses: what a browser may ask of a session, and who may ask.

app = make_app(session, folder=Path("page"), port=8000, about={})

Only a page of this very address is answered: `Host` holds off names that lead here
from elsewhere (DNS rebinding), `Origin` and `Sec-Fetch-Site` pages of other sites.
Names of uploaded files are words to show, never paths: addresses hold keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from retina.files import InputError
from retina.pictures import ENDINGS
from retina.session import (
    ConflictError,
    Item,
    Session,
    explain_refusal,
    write_rows,
)

# Of an upload: as the largest photograph that is decoded, of 6 bytes a pixel.
MOST_BYTES = 700 * 2**20
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # photographs stay out of the browser's own files
}
PICTURES = {"photograph": "views", "thumbnail": "thumbnails", "overlay": "overlay"}
DOWNLOADS = {  # file, and how its name ends
    "map": ("map", ".png"),
    "vessels": ("vessels", ".vessels.png"),
    "overlay": ("overlay", ".overlay.jpg"),
    "measurements": (None, ".measurements.csv"),
    "segments": (None, ".segments.csv"),
}
T = TypeVar("T")


class OwnPageAlone:
    """Passes on what a page of this address asks for, and refuses all else."""

    def __init__(self, app: Callable, port: int):
        self.app = app
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self.refusal(scope["method"], Headers(scope=scope))
        app = told(refusal, 403) if refusal else self.app
        await app(scope, receive, send_with_headers)

    def refusal(self, method: str, headers: Mapping[str, str]) -> str:
        """Why a request is refused; empty where it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            here = min(self.hosts)
            return (
                f"expected the address {here}, received {host[:99]}: open http://{here}"
            )
        own = {f"http://{host}" for host in self.hosts}
        if origin is None and method not in ("GET", "HEAD"):
            return "expected a request by this page, received one without an Origin"
        site = headers.get("sec-fetch-site", "none")
        if (origin is not None and origin not in own) or site not in (
            "none",
            "same-origin",
        ):
            return (
                "expected a request by this page, received one by another site: type "
                f"the address http://{host} yourself"
            )
        return ""


def told(sentence: str, status: int) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


def make_app(
    session: Session, *, folder: Path, port: int, about: dict[str, object]
) -> OwnPageAlone:
    """The application.

    Args:
        session: whose photographs it shows.
        folder: of the page's own files, of which nothing else is handed out.
        port: at which it is served.
        about: what the page is told of the network and the measures.
    """
    files = {path.name: path for path in folder.iterdir() if path.suffix in TYPES}

    async def page(request: Request) -> Response:
        path = files.get(request.path_params.get("file", "index.html"))
        if path is None:
            raise HTTPException(404)
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    async def state(request: Request) -> Response:
        photographs = [describe(item) for item in list(session.items.values())]
        return JSONResponse({"photographs": photographs})

    async def tell(request: Request) -> Response:
        return JSONResponse(about | {"endings": ENDINGS, "most_bytes": MOST_BYTES})

    async def upload(request: Request) -> Response:
        name = request.query_params.get("name", "")[:1000]
        require_size(int(request.headers.get("content-length", "0")), name)
        size = 0
        with session.receive(name) as file:
            async for chunk in request.stream():
                size += len(chunk)
                require_size(size, name)
                file.write(chunk)
            file.close()
            item = await run_in_threadpool(session.add, Path(file.name), name)
        return JSONResponse(describe(item), 201)

    async def correct(request: Request) -> Response:
        item = find_mapped(session, request)
        threshold, scale = read_numbers(request)
        body = await read_body(request, -(-item.row.height * item.row.width // 8))
        bits = np.unpackbits(np.frombuffer(body, np.uint8))
        shape = item.row.height, item.row.width
        vessels = bits[: math.prod(shape)].reshape(shape).astype(bool)
        seen = request.query_params.get("seen", "")
        now = await run_in_threadpool(session.correct, item, vessels, threshold, seen)
        session.start(item, threshold, scale)
        return JSONResponse({"seen": now}, 202)

    def again(request: Request) -> Response:
        item = find(session, request)
        if item.error:
            session.start(item)
        return JSONResponse(describe(item), 202)

    def remove(request: Request) -> Response:
        session.remove(find(session, request))
        return JSONResponse({})

    def detail(request: Request) -> Response:
        item = find_mapped(session, request)
        measured = session.path_of(item, "measures").is_file()
        more = {
            "row": asdict(item.row),
            "measures": session.measures_of(item) if measured else None,
        }
        return JSONResponse(describe(item) | more)

    def probability(request: Request) -> Response:
        values = session.probability_of(find_mapped(session, request))
        return Response(values.tobytes(), media_type="application/octet-stream")

    def vessels(request: Request) -> Response:
        drawn, seen = session.vessels_of(find_mapped(session, request))
        bits = np.packbits(drawn).tobytes()
        return Response(
            bits, media_type="application/octet-stream", headers={"ETag": seen}
        )

    def picture(request: Request) -> Response:
        item = find(session, request)
        kind = known(PICTURES, request.path_params["kind"])
        return send_file(session.path_of(item, kind))

    def download(request: Request) -> Response:
        item, name = find_mapped(session, request), request.path_params["file"]
        kind, ending = known(DOWNLOADS, name)
        if kind:
            return send_file(session.path_of(item, kind), item.name + ending)
        measured = session.measures_of(item)
        rows = [measured[key] for key in ("before", "after") if measured[key]]
        rows = rows if name == "measurements" else measured["segments"]
        return send_new(session, partial(write_rows, rows=rows), item.name + ending)

    def pack(request: Request) -> Response:
        every = request.path_params["key"] == "all"
        items = list(session.items.values()) if every else [find(session, request)]
        name = "vessels" if every else items[0].name
        return send_new(session, partial(session.pack, items), f"{name}.zip")

    one = "/photographs/{key}"
    routes = [
        Route("/", page),
        Route("/page/{file}", page),
        Route("/about", tell),
        Route("/photographs", state),
        Route("/photographs", upload, methods=["POST"]),
        Route(one, detail),
        Route(one, remove, methods=["DELETE"]),
        Route(f"{one}/again", again, methods=["POST"]),
        Route(f"{one}/probability", probability),
        Route(f"{one}/vessels", vessels),
        Route(f"{one}/vessels", correct, methods=["PUT"]),
        Route(f"{one}/picture/{{kind}}", picture),
        Route(f"{one}/download/{{file}}", download),
        Route(f"{one}/zip", pack),
    ]
    handlers = {
        InputError: lambda _, error: told(str(error), 400),
        ConflictError: lambda _, error: told(str(error), 409),
        OSError: lambda _, error: told(explain_refusal(error, session.folder), 507),
        HTTPException: lambda _, error: told(error.detail, error.status_code),
        ClientDisconnect: lambda _, error: Response(status_code=400),
    }
    return OwnPageAlone(Starlette(routes=routes, exception_handlers=handlers), port)


# ---- what is asked


def find(session: Session, request: Request) -> Item:
    return known(session.items, request.path_params["key"])


def find_mapped(session: Session, request: Request) -> Item:
    """The photograph that is asked for, which must have a map."""
    item = find(session, request)
    if item.row is None:
        raise HTTPException(404, f"expected a map of {item.name}, found none: wait")
    return item


def known(values: Mapping[str, T], key: str) -> T:
    if key not in values:
        raise HTTPException(
            404, "expected something that is here, found nothing: load the page anew"
        )
    return values[key]


def read_numbers(request: Request) -> tuple[float, float | None]:
    """Threshold, and micrometres per pixel if they are given, of a request."""
    given = request.query_params
    try:
        threshold = float(given["threshold"])
        scale = float(given["scale"]) if given.get("scale") else None
    except (KeyError, ValueError):
        threshold, scale = math.nan, None
    if not 0 <= threshold <= 1 or not (scale is None or 0 < scale < math.inf):
        raise InputError(
            "expected a threshold of 0 to 1, and micrometres above 0, received "
            f"{given.get('threshold')} and {given.get('scale')}: enter others"
        )
    return threshold, scale


async def read_body(request: Request, size: int) -> bytes:
    """A body of just `size` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > size:
            break
    if len(body) != size:
        raise InputError(f"expected {size} bytes, received others: load the page anew")
    return bytes(body)


def require_size(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise HTTPException(
            413,
            f"expected a photograph of at most {MOST_BYTES // 2**20} MB, but {name} is "
            "larger: make it smaller",
        )


# ---- what is answered


def describe(item: Item) -> dict[str, object]:
    """What the list shows of a photograph."""
    return {
        "key": item.key,
        "name": item.name,
        "state": item.state,
        "step": item.step,
        "error": item.error,
        "note": item.row.note if item.row else "",
        "mapped": item.row is not None,
    }


def send_file(path: Path, name: str | None = None) -> Response:
    if not path.is_file():
        raise HTTPException(404, "expected a file that is there, found none: wait")
    return FileResponse(path, filename=name)


def send_new(session: Session, write: Callable[[Path], object], name: str) -> Response:
    """Sends what `write` writes into a file that is removed thereafter."""
    with session.receive(name) as file:
        part = Path(file.name)
        write(part)
        kept = part.with_name(f"{part.name}.sent")
        part.replace(kept)
    remove = BackgroundTask(kept.unlink, missing_ok=True)
    return FileResponse(kept, filename=name, background=remove)
