"""The local page's addresses: what a browser may ask of a session, and who may ask.

app = make_app(session, folder=Path("page"), about={}, port=8000)

Only a page of this very address is answered: `Host` holds off names that lead here
from elsewhere (DNS rebinding), `Origin` and `Sec-Fetch-Site` pages of other sites, and
where other machines may ask, a token everybody to whom it was not given. Names of
uploaded files are words to show, never paths: addresses hold keys.
"""

from __future__ import annotations

import mimetypes
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import compare_digest
from tempfile import TemporaryFile

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from retina.commands import micrometres, share
from retina.files import InputError
from retina.pictures import ENDINGS
from retina.session import Item, Session, explain_refusal

# Of an upload: as the largest photograph that is decoded, of 6 bytes a pixel.
MOST_BYTES = 700 * 2**20
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # photographs stay out of the browser's own files
}
SHOWN = ("key", "name", "step", "error", "measured")  # of an item
mimetypes.add_type("text/javascript", ".js")  # Windows may say otherwise


def told(sentence: str, status: int) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


# ---- who may ask


def make_guard(port: int, token: str) -> Callable:
    """Middleware that answers what this very page asks for, and refuses all else.

    Args:
        port: at which the page is served.
        token: that other machines must know, which may call this one by any name. It
            comes in the first address, and in a cookie thereafter. Empty: this machine
            alone is answered.
    """
    hosts = [] if token else [f"127.0.0.1:{port}", f"localhost:{port}"]
    cookie = f"retina-{port}"  # cookies know no ports

    def is_token(text: str | None) -> bool:
        return compare_digest((text or "").encode(), token.encode())

    async def guard(request: Request, call_next: Callable) -> Response:
        if refusal := find_refusal(request, hosts):
            answer = told(refusal, 403)
        elif not token or is_token(request.cookies.get(cookie)):
            answer = await call_next(request)
        elif is_token(request.query_params.get("token")):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(cookie, token, httponly=True, samesite="strict")
        else:
            sentence = "expected the address with its token, as serve.py printed it"
            answer = told(f"{sentence}, received another: ask who started it", 403)
        answer.headers.update(HEADERS)
        return answer

    return guard


def find_refusal(request: Request, hosts: Sequence[str]) -> str:
    """Why a request is refused, token or not; empty where it is not.

    `hosts` are the names and ports that this machine may be called by; none: any.
    """
    host, origin = (request.headers.get(name) for name in ("host", "origin"))
    if hosts and host not in hosts:
        address = f"http://{hosts[0]}"
        return f"expected the address {address}, received {host}: open {address}"
    if origin is None and request.method not in ("GET", "HEAD"):
        return "expected a request by this page, received one without an Origin"
    site = request.headers.get("sec-fetch-site", "none")
    if origin in (None, f"http://{host}") and site in ("none", "same-origin"):
        return ""
    return (
        "expected a request by this page, received one by another site: type the "
        f"address http://{host} yourself"
    )


# ---- what is answered


def make_app(
    session: Session, folder: Path, about: dict[str, object], port: int, token: str = ""
) -> Starlette:
    """The application.

    Args:
        session: whose photographs it shows.
        folder: of the page's own files.
        about: what the page is told of the network and the measures.
        port, token: as `make_guard` takes them.
    """
    page, one = Page(session), "/photographs/{key}"
    about = JSONResponse(about | {"endings": ENDINGS, "most_bytes": MOST_BYTES})
    routes = [
        Route("/about", lambda request: about),
        Route("/photographs", page.photographs),
        Route("/photographs", page.upload, methods=["POST"]),
        Route("/photographs/all/zip", page.pack),
        Route(one, page.remove, methods=["DELETE"]),
        Route(f"{one}/again", page.again, methods=["POST"]),
        Route(f"{one}/probability", page.probability),
        Route(f"{one}/drawing", page.drawing),
        Route(f"{one}/drawing", page.correct, methods=["PUT"]),
        Route(f"{one}/zip", page.pack),
        Route(f"{one}/{{name}}.csv", page.table),
        Route(f"{one}/{{kind}}", page.file),
        Mount("/", StaticFiles(directory=folder, html=True)),
    ]
    handlers = {
        InputError: lambda _, error: told(str(error), 400),
        ArgumentTypeError: lambda _, error: told(f"{error}: enter another", 400),
        OSError: lambda _, error: told(explain_refusal(error, session.folder), 507),
        HTTPException: lambda _, error: told(error.detail, error.status_code),
        ClientDisconnect: lambda _, error: Response(status_code=400),
    }
    guard = Middleware(BaseHTTPMiddleware, dispatch=make_guard(port, token))
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[guard])


class Page:
    """What the addresses of a session answer. Functions without `async` run in threads,
    so that none waits for another."""

    def __init__(self, session: Session):
        self.session = session

    async def photographs(self, request: Request) -> Response:
        return JSONResponse([describe_item(item) for item in self.items()])

    def items(self) -> list[Item]:
        return [*self.session.items.values()]  # others come and go meanwhile

    async def upload(self, request: Request) -> Response:
        name = request.query_params.get("name", "")[:1000]
        size = int(request.headers.get("content-length", "0"))
        with self.session.scratch() as folder, open(f"{folder}/upload", "wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
                if max(size, file.tell()) > MOST_BYTES:
                    raise InputError(
                        f"expected a photograph of at most {MOST_BYTES // 2**20} MB, "
                        f"but {name} is larger: make it smaller"
                    )
            file.close()
            item = await run_in_threadpool(self.session.add, Path(file.name), name)
        return JSONResponse(describe_item(item), 201)

    def remove(self, request: Request) -> Response:
        self.session.remove(self.find(request))
        return JSONResponse({})

    def again(self, request: Request) -> Response:
        item = self.find(request)
        if item.error:
            self.session.ask(item)
        return JSONResponse(describe_item(item), 202)

    def probability(self, request: Request) -> Response:
        values = self.session.probability_of(self.find(request, measured=True))
        return Response(values.tobytes())

    def drawing(self, request: Request) -> Response:
        vessels, seen = self.session.vessels_of(self.find(request, measured=True))
        return Response(vessels.tobytes(), headers={"ETag": seen})

    async def correct(self, request: Request) -> Response:
        item, given = self.find(request, measured=True), request.query_params
        threshold = share(given.get("threshold", ""))
        scale = micrometres(given["scale"]) if given.get("scale") else None
        height, width = item.row.height, item.row.width
        if request.headers.get("content-length") != str(height * width):
            raise InputError(
                f"expected {height * width} bytes, received others: load the page anew"
            )
        vessels = np.frombuffer(await request.body(), np.uint8) > 0
        vessels, seen = vessels.reshape(height, width), given.get("seen", "")
        seen = await run_in_threadpool(
            self.session.correct, item, vessels, seen, threshold, scale
        )
        return JSONResponse({"seen": seen}, 202)

    def file(self, request: Request) -> Response:
        paths = self.session.paths_of(self.find(request))
        path = paths.get(request.path_params["kind"])
        if path is None or not path.is_file():
            raise HTTPException(404, "expected a file that is there, found none: wait")
        return FileResponse(path)

    def table(self, request: Request) -> Response:
        item, name = self.find(request, measured=True), request.path_params["name"]
        table = self.session.tables_of([item]).get(f"{name}.csv")
        if table is None:
            raise HTTPException(404, f"expected a table, received {name}: take another")
        return Response(table, media_type="text/csv")

    def pack(self, request: Request) -> Response:
        if "key" in request.path_params:
            items = [self.find(request, measured=True)]
        else:
            items = [item for item in self.items() if item.measured]
        file = TemporaryFile(dir=self.session.folder)  # gone when it is closed
        self.session.pack(items, file)
        headers = {"Content-Length": str(file.tell())}
        file.seek(0)
        chunks = iter(lambda: file.read(2**20), b"")
        return StreamingResponse(chunks, headers=headers, media_type="application/zip")

    def find(self, request: Request, measured: bool = False) -> Item:
        """The photograph that is asked for; `measured`: refuses one that is not yet."""
        item = self.session.items.get(request.path_params["key"])
        if item is None:
            found = "expected a photograph that is here, found none: load the page anew"
            raise HTTPException(404, found)
        if measured and not item.measured:
            raise HTTPException(404, f"expected a map of {item.name}, found none: wait")
        return item


def describe_item(item: Item) -> dict[str, object]:
    """What the list shows of a photograph."""
    shown = {name: getattr(item, name) for name in SHOWN}
    return shown | {"note": item.row.note if item.row else ""}
