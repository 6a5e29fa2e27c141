"""Registration: registration tokens, tenant credential, runner groups, runners, JIT configuration (protocol §1)."""

from __future__ import annotations

import base64
import json
import re
from xml.etree import ElementTree

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from . import schema
from .apps import administrator, same_scope, scope_of
from .endpoint import Call, Refuse, Route, answer
from .model import Runner, guid

TOKEN_SECONDS = 3600
_NAME = re.compile(r"[^\s/]{1,64}\Z")

_LABEL = schema.record({"id": schema.integer, "name": schema.text, "type": schema.one_of("system", "user")})
_REGISTER = schema.record(
    {
        "url": schema.text,
        "group_id": schema.at_least(1),
        "name": schema.text,
        "version": schema.text,
        "updates_disabled": schema.boolean,
        "ephemeral": schema.boolean,
        "labels": schema.list_of(_LABEL, most=100),
        "public_key": schema.text,
    },
    {"runner_id": schema.at_least(1), "replace": schema.one_of(True)},
)
_TENANT = schema.record({"url": schema.text, "runner_event": schema.one_of("register", "remove")})
_JIT = schema.record(
    {"name": schema.text, "runner_group_id": schema.at_least(1), "labels": schema.list_of(schema.text, most=100)},
    {"work_folder": schema.string},
)


def _int(data: str) -> int:
    return int.from_bytes(base64.b64decode(data, validate=True), "big")


def _public_key(call: Call, text: str) -> tuple[int, int]:
    """Modulus and exponent of an <RSAKeyValue>."""
    try:
        root = ElementTree.fromstring(text)
        if root.tag != "RSAKeyValue" or [child.tag for child in root] != ["Modulus", "Exponent"]:
            raise ValueError("expected <RSAKeyValue><Modulus/><Exponent/></RSAKeyValue>")
        raw = base64.b64decode(root[0].text or "", validate=True)
        modulus, exponent = _int(root[0].text or ""), _int(root[1].text or "")
    except (ElementTree.ParseError, ValueError) as error:
        call.error("public-key", f"public_key: {error}")
        raise Refuse(answer(422, {"message": "invalid public key"})) from None
    if raw[:1] == b"\0" or len(raw) != 256:
        call.error("public-key", f"the modulus has {len(raw)} bytes (first {raw[:1].hex()}), expected 256 without leading zero")
    if exponent != 65537:
        call.error("public-key", f"the exponent is {exponent}, expected 65537")
    return modulus, exponent


def _credential(call: Call, *kinds: str) -> str:
    """The scope URL of a RemoteAuth registration or remove token."""
    scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
    # The tenant credential is got with RemoteAuth in any case; the calls after it are what is uncertain.
    wanted = "RemoteAuth" if call.record.endpoint == "api.tenant" else call.service.options.register_scheme
    if wanted == "Bearer" and scheme == "RemoteAuth":
        raise Refuse(answer(401, {"message": "use Bearer"}))
    if scheme == "Bearer" and wanted == "Bearer":
        kinds = ("tenant",)
    elif scheme != "RemoteAuth":
        call.error("token", f"Authorization scheme is {scheme!r}, expected RemoteAuth")
        raise Refuse(answer(401, {"message": "Bad credentials"}))
    for kind in kinds:
        token, _ = call.service.tokens.check(value, kind)
        if token is not None:
            return token.owner
    # A mistyped token is the user's error, not the runner's: only the answer says so.
    raise Refuse(answer(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}))


def _match_scope(call: Call, scope: str) -> None:
    if not same_scope(scope, scope_of(call)):
        call.error("scope", f"the path is for {scope_of(call)}, the token for {scope}")
        raise Refuse(answer(404, {"message": "Not Found"}))


async def create_token(call: Call) -> web.Response:
    """Registration or remove token for a personal access token or an App."""
    administrator(call)
    kind = "remove" if call.request.path.endswith("remove-token") else "registration"
    token = call.service.tokens.issue(kind, scope_of(call), TOKEN_SECONDS)
    return answer(201, {"token": token.value, "expires_at": call.service.clock.iso(TOKEN_SECONDS)})


async def tenant(call: Call) -> web.Response:
    body = call.json(_TENANT)
    scope = _credential(call, "remove" if body["runner_event"] == "remove" else "registration")
    if not same_scope(body["url"], scope):
        call.error("scope", f"url is {body['url']!r}, the token is for {scope!r}")
        return answer(404, {"message": "Not Found"})
    token = call.service.tokens.issue("tenant", scope, TOKEN_SECONDS)
    return answer(200, {"url": call.service.url + "/_tenant/", "token": token.value, "token_schema": "OAuthAccessToken",
                        **({"use_v2_flow": True} if call.service.options.registration == "v2" else {})})


async def groups(call: Call) -> web.Response:
    # Registration asks with its token; who asks for a just-in-time runner with what the REST API takes.
    if call.request.headers.get("Authorization", "").startswith("Bearer ") and call.service.options.register_scheme != "Bearer":
        administrator(call)
        if "owner" in call.request.match_info and "repo" in call.request.match_info:
            call.error("path", "the REST API lists no groups of a repository")
    else:
        _match_scope(call, _credential(call, "registration"))
    call.query(set(), {"per_page", "page"})
    listed = call.service.options.groups
    return answer(200, {"total_count": len(listed), "runner_groups": listed})


async def find(call: Call) -> web.Response:
    scope = _credential(call, "registration", "remove")
    _match_scope(call, scope)
    query = call.query({"name"}, {"per_page", "page"})
    found = [r for r in call.service.runners.values() if r.scope == scope and r.name.lower() == query.get("name", "").lower()]
    return answer(200, {"total_count": len(found), "runners": [
        {"id": r.id, "name": r.name, "os": "linux", "status": "online" if r.session else "offline", "busy": r.status == "Busy",
         "labels": [{"name": label} for label in r.labels]} for r in found]})


def _add(call: Call, name: str, labels: list[str], scope: str, key: tuple[int, int], version: str, ephemeral: bool, group: int,
         ident: int | None = None) -> Runner:
    service = call.service
    runner = Runner(ident or service.next_runner(), name, labels, scope, guid(), *key, version, ephemeral, group,
                    service.options.algorithm)
    service.runners[runner.id] = runner
    return runner


async def register(call: Call) -> web.Response:
    service = call.service
    scope = _credential(call, "registration")
    body = call.json(_REGISTER)
    if not same_scope(body["url"], scope):
        call.error("scope", f"url is {body['url']!r}, the token is for {scope!r}")
    if body["group_id"] not in [g["id"] for g in service.options.groups]:
        call.error("group", f"group_id {body['group_id']} was not listed")
        return answer(404, {"message": "runner group not found"})
    names = [label["name"] for label in body["labels"]]
    if len({n.lower() for n in names}) != len(names):
        call.error("labels", f"labels repeat: {', '.join(names)}")
    if any(len(n) > 256 for n in names):
        call.error("labels", "a label is longer than 256 characters")
    if any(label["id"] != 0 for label in body["labels"]):
        call.error("labels", "label ids must be 0")
    system = {label["name"].lower() for label in body["labels"] if label["type"] == "system"}
    if system and ("self-hosted" not in system or "linux" not in system or not system & {"x64", "arm64", "arm"}):
        call.error("labels", f"system labels are {sorted(system)}, expected self-hosted, linux and an architecture")
    if not _NAME.match(body["name"]):
        call.error("name", f"runner name {body['name']!r} is not valid")
    key = _public_key(call, body["public_key"])
    old = next((r for r in service.runners.values() if r.scope == scope and r.name.lower() == body["name"].lower()), None)
    if old is not None and not body.get("replace"):
        return answer(409, {"message": f"A runner exists with the same name {old.name}."})
    if body.get("replace") and (old is None or body.get("runner_id") != old.id):
        call.error("replace", f"replace of runner {body.get('runner_id')}, but that name belongs to {old.id if old else 'nobody'}")
        return answer(404, {"message": "runner not found"})
    runner = _add(call, body["name"], names, scope, key, body["version"], body["ephemeral"], body["group_id"], old.id if old else None)
    return answer(201, {"id": runner.id, "name": runner.name, "authorization": {
        "authorization_url": service.authorization_url(runner), "server_url": service.url + "/_broker/",
        "client_id": runner.client_id}})


async def remove(call: Call) -> web.Response:
    _match_scope(call, _credential(call, "remove"))
    ident = call.request.match_info["id"]
    if not ident.isdigit() or int(ident) not in call.service.runners:
        return answer(404, {"message": "Not Found"})
    call.service.drop_runner(int(ident))
    return web.Response(status=204)


async def jit(call: Call) -> web.Response:
    """A ready-made identity, with its key, in the three files' form."""
    if not call.request.headers.get("Authorization", "").startswith("Bearer "):
        call.error("token", "generate-jitconfig wants a Bearer")
    administrator(call)
    body, service = call.json(_JIT), call.service
    scope = scope_of(call)
    if not body["labels"]:
        call.error("labels", "a just-in-time runner needs a label")
        return answer(422, {"message": "Validation Failed", "errors": ["labels must not be empty"]})
    if len({label.lower() for label in body["labels"]}) != len(body["labels"]):
        call.error("labels", f"labels repeat: {', '.join(body['labels'])}")
    if body["runner_group_id"] not in [g["id"] for g in service.options.groups if not g["is_hosted"]]:
        return answer(404, {"message": "Not Found"})
    if not _NAME.match(body["name"]):
        call.error("name", f"runner name {body['name']!r} is not valid")
    if any(r.scope == scope and r.name == body["name"] for r in service.runners.values()):
        return answer(409, {"message": "Already exists"})
    private = rsa.generate_private_key(65537, 2048).private_numbers()
    public = private.public_numbers
    runner = _add(call, body["name"], body["labels"], scope, (public.n, public.e), "jit", True, body["runner_group_id"])

    def number(value: int, size: int) -> str:
        return base64.b64encode(value.to_bytes(size, "big")).decode()

    files = {
        ".runner": {"AgentId": str(runner.id), "AgentName": runner.name, "PoolId": "1", "PoolName": "Default", "Ephemeral": "True",
                    "DisableUpdate": "True", "ServerUrl": service.url + "/_tenant/", "GitHubUrl": scope, "UseV2Flow": str(service.options.listener == "v2"),
                    "WorkFolder": body.get("work_folder") or "_work", "ServerUrlV2": service.url + "/_broker/"},
        ".credentials": {"Scheme": "OAuth", "Data": {"ClientId": runner.client_id, "RequireFipsCryptography": "True",
                                                     "AuthorizationUrl": service.authorization_url(runner)}},
        ".credentials_rsaparams": {
            "d": number(private.d, 256), "dp": number(private.dmp1, 128), "dq": number(private.dmq1, 128),
            "exponent": "AQAB", "inverseQ": number(private.iqmp, 128), "modulus": number(public.n, 256),
            "p": number(private.p, 128), "q": number(private.q, 128)},
    }
    encoded = {name: base64.b64encode(b"\xef\xbb\xbf" + json.dumps(value).encode()).decode() for name, value in files.items()}
    config = base64.b64encode(json.dumps(encoded).encode()).decode()
    service.recorder.hide_value(config)
    return answer(201, {"runner": {"id": runner.id, "name": runner.name, "os": "unknown", "status": "offline", "busy": False,
                                   "labels": [{"name": n} for n in runner.labels]}, "encoded_jit_config": config})


def routes() -> list[Route]:
    listed: list[Route] = []
    # A GHES has its API below a path, github.com at a host of its own.
    for prefix in ("/api/v3", ""):
        listed += [("POST", prefix + "/actions/runner-registration", "api.tenant", tenant),
                   ("POST", prefix + "/actions/runners/register", "api.register", register)]
        for scope in ("/repos/{owner}/{repo}", "/orgs/{owner}", "/enterprises/{enterprise}"):
            base = f"{prefix}{scope}/actions"
            listed += [
                ("POST", base + "/runners/registration-token", "api.registration-token", create_token),
                ("POST", base + "/runners/remove-token", "api.remove-token", create_token),
                ("POST", base + "/runners/generate-jitconfig", "api.jit", jit),
                ("GET", base + "/runner-groups", "api.groups", groups),
                ("GET", base + "/runners", "api.find", find),
                ("DELETE", base + "/runners/{id}", "api.remove", remove),
            ]
    return listed
