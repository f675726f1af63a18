"""The local page's addresses: what a browser may ask of a session, and who may ask.

app = make_app(session, folder=Path("page"), about={}, guard=Guard(8000))

Only a page of this very address is answered: `Host` holds off names that lead here
from elsewhere (DNS rebinding), `Origin` and `Sec-Fetch-Site` pages of other sites, and
where other machines may ask, a token everybody to whom it was not given. Names of
uploaded files are words to show, never paths: addresses hold keys.
"""

from __future__ import annotations

import math
import mimetypes
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from secrets import compare_digest
from tempfile import TemporaryFile

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
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

from retina.commands import micrometres, number
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
SHARE = number(float, "a threshold of 0 to 1", lambda value: 0 <= value <= 1)
FILES = ("view", "thumbnail", "overlay", "map", "vessels", "changes", "measures")
SHOWN = ("key", "name", "step", "error", "ready")  # of an item
mimetypes.add_type("text/javascript", ".js")  # Windows may say otherwise


def told(sentence: str, status: int) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


# ---- who may ask


class Guard:
    """Answers what a page of this address asks for, and refuses all else.

    Args:
        port: of 127.0.0.1, at which the page is served.
        token: that other machines must know, which may call this one by any name;
            empty: this machine alone is answered.
    """

    def __init__(self, port: int, token: str = ""):
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.token, self.cookie = token, f"retina-{port}"  # cookies know no ports

    def around(self, app: Callable) -> Callable:
        """The application behind this guard; each answer has `HEADERS`."""

        async def guarded(scope: dict, receive: Callable, send: Callable) -> None:
            async def send_with_headers(message: dict) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(HEADERS)
                await send(message)

            if scope["type"] == "http":  # and nothing else
                answer = self.answer_instead(Request(scope)) or app
                await answer(scope, receive, send_with_headers)

        return guarded

    def answer_instead(self, request: Request) -> Response | None:
        """What is answered in place of what was asked for, if anything is. The token
        comes in the first address, and in a cookie thereafter."""
        if refusal := self.find_refusal(request):
            return told(refusal, 403)
        if not self.token or self.is_token(request.cookies.get(self.cookie)):
            return None
        if not self.is_token(request.query_params.get("token")):
            sentence = "expected the address with its token, as serve.py printed it"
            return told(f"{sentence}, received another: ask who started it", 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return answer

    def is_token(self, text: str | None) -> bool:
        return compare_digest((text or "").encode(), self.token.encode())

    def find_refusal(self, request: Request) -> str:
        """Why nothing is answered, whoever knows the token; empty where it is."""
        host, origin = (request.headers.get(name) for name in ("host", "origin"))
        if not self.token and host not in self.hosts:
            here = min(self.hosts)
            return f"expected the address {here}, received {host}: open http://{here}"
        if origin is None and request.method not in ("GET", "HEAD"):
            return "expected a request by this page, received one without an Origin"
        site = request.headers.get("sec-fetch-site", "none")
        if origin in (None, f"http://{host}") and site in ("none", "same-origin"):
            return ""
        return (
            "expected a request by this page, received one by another site: type "
            f"the address http://{host} yourself"
        )


# ---- what is answered


def make_app(
    session: Session, *, folder: Path, about: dict[str, object], guard: Guard
) -> Callable:
    """The application.

    Args:
        session: whose photographs it shows.
        folder: of the page's own files, of which nothing else is handed out.
        about: what the page is told of the network and the measures.
        guard: who decides whether a request is answered.
    """
    page, one = Page(session, about), "/photographs/{key}"
    routes = [
        Route("/about", page.tell),
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
    return guard.around(Starlette(routes=routes, exception_handlers=handlers))


class Page:
    """What the addresses of a session answer; functions without `async` run in threads
    of their own, so that none waits for another."""

    def __init__(self, session: Session, about: dict[str, object]):
        self.session, self.about = session, about

    def tell(self, request: Request) -> Response:
        files = {"endings": ENDINGS, "most_bytes": MOST_BYTES}
        return JSONResponse(self.about | files)

    async def photographs(self, request: Request) -> Response:
        return JSONResponse([*map(describe, self.items())])

    def items(self) -> list[Item]:
        return [*self.session.items.values()]

    async def upload(self, request: Request) -> Response:
        name = request.query_params.get("name", "")[:1000]
        size = int(request.headers.get("content-length", "0"))
        require_size(size, name)
        with self.session.scratch() as folder, open(f"{folder}/upload", "wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
                require_size(file.tell(), name)
            file.close()
            item = await run_in_threadpool(self.session.add, Path(file.name), name)
        return JSONResponse(describe(item), 201)

    def remove(self, request: Request) -> Response:
        self.session.remove(self.find(request))
        return JSONResponse({})

    def again(self, request: Request) -> Response:
        item = self.find(request)
        if item.error:
            self.session.ask(item)
        return JSONResponse(describe(item), 202)

    def probability(self, request: Request) -> Response:
        values = self.session.probability_of(self.find_ready(request))
        return Response(values.tobytes())

    def drawing(self, request: Request) -> Response:
        vessels, seen = self.session.vessels_of(self.find_ready(request))
        return Response(np.packbits(vessels).tobytes(), headers={"ETag": seen})

    async def correct(self, request: Request) -> Response:
        item = self.find_ready(request)
        given, shape = request.query_params, (item.row.height, item.row.width)
        threshold = SHARE(given.get("threshold", ""))
        scale = micrometres(given["scale"]) if given.get("scale") else None
        size = -(-math.prod(shape) // 8)
        if request.headers.get("content-length") != str(size):
            raise InputError(f"expected {size} bytes, received others: load it anew")
        body = np.frombuffer(await request.body(), np.uint8)
        bits = np.unpackbits(body, count=math.prod(shape))
        seen = await run_in_threadpool(
            self.session.correct,
            item,
            bits.astype(bool).reshape(shape),
            given.get("seen", ""),
            threshold,
            scale,
        )
        return JSONResponse({"seen": seen}, 202)

    def file(self, request: Request) -> Response:
        item, kind = self.find(request), request.path_params["kind"]
        path = self.session.paths_of(item).get(kind) if kind in FILES else None
        if path is None or not path.is_file():
            raise HTTPException(404, "expected a file that is there, found none: wait")
        return FileResponse(path)

    def table(self, request: Request) -> Response:
        item, name = self.find_ready(request), f"{request.path_params['name']}.csv"
        if name not in (tables := self.session.tables_of([item])):
            raise HTTPException(404, f"expected a table, received {name}: take another")
        return Response(tables[name], media_type="text/csv")

    def pack(self, request: Request) -> Response:
        one = [self.find_ready(request)] if "key" in request.path_params else None
        items = one or [item for item in self.items() if item.ready]
        file = TemporaryFile(dir=self.session.folder)  # gone when it is closed
        self.session.pack(items, file)
        size = str(file.tell())
        file.seek(0)
        chunks = iter(lambda: file.read(2**20), b"")
        return StreamingResponse(
            chunks, media_type="application/zip", headers={"Content-Length": size}
        )

    def find(self, request: Request) -> Item:
        item = self.session.items.get(request.path_params["key"])
        if item is None:
            raise HTTPException(
                404,
                "expected a photograph that is here, found none: load the page anew",
            )
        return item

    def find_ready(self, request: Request) -> Item:
        """The photograph that is asked for, which must have been measured."""
        item = self.find(request)
        if not item.ready:
            raise HTTPException(404, f"expected a map of {item.name}, found none: wait")
        return item


def describe(item: Item) -> dict[str, object]:
    """What the list shows of a photograph."""
    shown = {name: getattr(item, name) for name in SHOWN}
    return shown | {"note": item.row.note if item.row else ""}


# ---- what is asked


def require_size(size: int, name: str) -> None:
    if size > MOST_BYTES:
        raise InputError(
            f"expected a photograph of at most {MOST_BYTES // 2**20} MB, but {name} is "
            "larger: make it smaller"
        )
