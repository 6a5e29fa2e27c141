"""The blob store behind signed URLs: block and append blobs, in both ways that runners upload (protocol §5.2)."""

from __future__ import annotations

from aiohttp import web

from . import checks
from .endpoint import Call, Refuse, Route
from .model import Blob, Job

MAX_APPEND = 4 << 20


def _xml(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    return web.Response(status=status, body=body.encode(), content_type="application/xml", headers={"x-ms-error-code": code, **(headers or {})})


def _created() -> web.Response:
    return web.Response(status=201, headers={"ETag": '"0x1"', "x-ms-request-server-encrypted": "true"})


def _find(call: Call) -> tuple[Blob, Job]:
    """The blob that the signed URL opens."""
    service = call.service
    blob = service.blobs.get(call.request.match_info["id"])
    signature = call.request.query.get("sig", "")
    if blob is None or signature not in blob.urls:
        call.error("blob", "the URL was not signed by this service")
        raise Refuse(_xml(403, "AuthenticationFailed"))
    job = service.jobs[blob.job]
    call.record.job = job.id
    if "Authorization" in call.request.headers:
        call.error("token", "Authorization must not be sent to a signed URL", job)
    if service.clock.stamp() > blob.urls[signature]:
        raise Refuse(_xml(403, "AuthenticationFailed"))
    extra = set(call.request.query) - {"sv", "sp", "sig", "comp", "seal"}
    if extra:
        call.error("query", f"unknown parameters {', '.join(sorted(extra))}", job)
    if "Content-Length" not in call.request.headers:
        call.error("header", "Content-Length is missing", job)
    if blob.metadata is not None:
        call.error("order", f"{blob.kind} bytes after its metadata", job)
    if job.state == "completed":
        call.error("order", f"{blob.kind} bytes after completejob", job)
    return blob, job


def _content_type(call: Call, blob: Blob, job: Job) -> None:
    """Logs carry text/plain at their creation, in the header that the way of upload has; nothing else does."""
    given = call.request.headers.get("x-ms-blob-content-type" if job.sdk_upload else "Content-Type")
    blob.content_type = given
    if blob.kind.endswith("-log"):
        if given is None or given.partition(";")[0].strip() != "text/plain":
            call.error("content-type", f"a {blob.kind} is created with content type {given!r}, expected text/plain", job)
    elif given is not None and not job.sdk_upload:
        call.error("content-type", f"a {blob.kind} must not have a content type, got {given!r}", job)


def _sdk_headers(call: Call, job: Job, create: bool) -> None:
    if not job.sdk_upload:
        return
    if "x-ms-version" not in call.request.headers:
        call.error("header", "x-ms-version is missing", job)
    if create and call.request.headers.get("If-None-Match") != "*":
        call.error("header", "If-None-Match: * is missing from the create", job)


def _seal(call: Call, blob: Blob, job: Job) -> None:
    blob.sealed = True
    checks.at_seal(call.service, call, job, blob)


def _create(call: Call, blob: Blob, job: Job) -> web.Response:
    kind = call.request.headers.get("x-ms-blob-type")
    if kind is None and call.service.options.blob_storage == "BLOB_STORAGE_TYPE_UNSPECIFIED":
        kind = "BlockBlob"
    if kind not in ("BlockBlob", "AppendBlob"):
        call.error("blob", f"x-ms-blob-type is {kind!r}, expected BlockBlob or AppendBlob", job)
        return _xml(400, "InvalidHeaderValue")
    _content_type(call, blob, job)
    _sdk_headers(call, job, create=True)
    if blob.type is not None:
        if call.request.headers.get("If-None-Match") == "*":
            return _xml(409, "BlobAlreadyExists")
        if not job.may_repeat:
            call.error("blob", f"{blob.kind} created twice", job)
    blob.type = kind
    if kind == "AppendBlob":
        if call.body:
            call.error("blob", "the create of an append blob has a body", job)
            return _xml(400, "InvalidHeaderValue")
        blob.data.clear()
    else:
        if not call.body:
            call.error("blob", f"empty {blob.kind}", job)
        blob.data[:] = call.body
        blob.blocks.append((call.service.clock.stamp(), len(call.body)))
        _seal(call, blob, job)
    return _created()


def _append(call: Call, blob: Blob, job: Job) -> web.Response:
    headers = call.request.headers
    if blob.type != "AppendBlob":
        call.error("blob", "appendblock to a blob that was not created as an append blob", job)
        return _xml(404, "BlobNotFound")
    if not call.body or len(call.body) > MAX_APPEND:
        call.error("blob", f"a block of {len(call.body)} bytes", job)
        return _xml(400 if not call.body else 413, "InvalidHeaderValue")
    position = headers.get("x-ms-blob-condition-appendpos")
    if position is not None and position != str(len(blob.data)):
        return _xml(412, "AppendPositionConditionNotMet")
    if blob.sealed:
        call.error("blob", "appendblock after the seal", job)
        return _xml(409, "BlobIsSealed")
    seal = call.request.query.get("seal")
    _sdk_headers(call, job, create=False)
    if not job.sdk_upload:
        if seal not in (None, "true"):
            call.error("query", f"seal is {seal!r}, expected true", job)
        wanted = "True" if seal == "true" else "False"
        if headers.get("x-ms-blob-sealed") != wanted:
            call.error("blob", f"x-ms-blob-sealed is {headers.get('x-ms-blob-sealed')!r}, expected {wanted}", job)
    blob.data += call.body
    blob.blocks.append((call.service.clock.stamp(), len(call.body)))
    if seal == "true":
        _seal(call, blob, job)
    return _created()


async def put(call: Call) -> web.Response:
    blob, job = _find(call)
    comp = call.request.query.get("comp")
    if comp is None:
        return _create(call, blob, job)
    if comp == "appendblock":
        return _append(call, blob, job)
    if comp == "seal" and job.sdk_upload:
        _sdk_headers(call, job, create=False)
        if blob.type != "AppendBlob" or not blob.data:
            call.error("blob", "seal of a blob that has no block", job)
        if not blob.sealed:
            _seal(call, blob, job)
        return web.Response(status=200, headers={"x-ms-blob-sealed": "true"})
    call.error("blob", f"comp={comp} is not used in this way of upload", job)
    return _xml(400, "InvalidQueryParameterValue")


def routes() -> list[Route]:
    return [("PUT", "/_blob/{id}", "blob.put", put)]
