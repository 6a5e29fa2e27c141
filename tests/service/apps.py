"""GitHub Apps, and who else may administer runners: personal access tokens (protocol §1.2, GitHub's REST API)."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from . import jwt
from .endpoint import Call, Refuse, Route, answer

# What GitHub allows an App's JWT: ten minutes ahead of its own clock.
MAX_AHEAD = 600


def scope_of(call: Call) -> str:
    """Scope URL of a path below repos, orgs or enterprises."""
    info = call.request.match_info
    if "repo" in info:
        return f"{call.service.url}/{info['owner']}/{info['repo']}"
    if "enterprise" in info:
        return f"{call.service.url}/enterprises/{info['enterprise']}"
    return f"{call.service.url}/{info['owner']}"


def same_scope(one: str, other: str) -> bool:
    """The host has several names (127.0.0.1, github.localhost); the port and the path are one scope."""
    a, b = urlsplit(one), urlsplit(other)
    return a.port == b.port and a.path.strip("/").lower() == b.path.strip("/").lower()


def administrator(call: Call) -> None:
    """The bearer of a personal access token, or of an App's installation token for this scope; anybody else is refused."""
    scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
    if scheme == "Basic":
        value = base64.b64decode(value).decode().partition(":")[2]
    elif scheme != "Bearer":
        call.error("token", f"Authorization scheme is {scheme!r}, expected Bearer or Basic")
    if value == call.service.options.pat:
        return
    if value in call.service.options.weak_pats:
        raise Refuse(answer(403, {"message": "Resource not accessible by personal access token",
                                  "documentation_url": "https://docs.github.com/rest"}))
    token, _ = call.service.tokens.check(value, "app")
    if token is None:
        raise Refuse(answer(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}))
    if not same_scope(token.owner, scope_of(call)) and not scope_of(call).lower().startswith(token.owner.lower() + "/"):
        raise Refuse(answer(404, {"message": "Not Found"}))


def _app(call: Call) -> None:
    """The App that signs the bearer; GitHub's own words where it does not."""
    options = call.service.options
    token = call.bearer()
    call.service.recorder.hide_value(token)
    try:
        header, claims = jwt.parse(token)
    except jwt.JwtError as error:
        call.error("assertion", str(error))
        raise Refuse(answer(401, {"message": "A JSON web token could not be decoded"})) from None
    if header != {"typ": "JWT", "alg": "RS256"}:
        call.error("assertion", f"the header is {header}, expected typ JWT and alg RS256")
    if set(claims) != {"iss", "iat", "exp"}:
        call.error("assertion", f"the claims are {sorted(claims)}, expected iss, iat and exp")
    if any(not isinstance(claims.get(n), int) or isinstance(claims.get(n), bool) for n in ("iat", "exp")):
        call.error("assertion", "iat and exp must be integers")
    if str(claims.get("iss")) != options.app_id:
        raise Refuse(answer(404, {"message": "Integration not found"}))
    now = call.service.clock.now()
    if claims["exp"] > now + MAX_AHEAD:
        raise Refuse(answer(401, {"message": "'Expiration time' claim ('exp') is too far in the future"}))
    if claims["exp"] < now:
        raise Refuse(answer(401, {"message": "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
                                             "which the assertion expires"}))
    if claims["iat"] > now:
        raise Refuse(answer(401, {"message": "'Issued at' claim ('iat') must be an Integer representing the time that the assertion "
                                             "was issued"}))
    key = load_pem_public_key(options.app_key.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    numbers = key.public_numbers()
    try:
        jwt.verify(token, numbers.n, numbers.e, "RS256")
    except jwt.JwtError:
        raise Refuse(answer(401, {"message": "A JSON web token could not be decoded"})) from None


async def installation(call: Call) -> web.Response:
    _app(call)
    options = call.service.options
    if not same_scope(f"{call.service.url}/{options.app_scope}", scope_of(call)):
        return answer(404, {"message": "Not Found"})
    return answer(200, {"id": int(options.app_installation), "app_id": options.app_id, "target_type": "Organization"})


async def access_token(call: Call) -> web.Response:
    _app(call)
    options = call.service.options
    if call.request.match_info["installation"] != options.app_installation:
        return answer(404, {"message": "Not Found"})
    if options.app_suspended:
        return answer(403, {"message": "This installation has been suspended"})
    token = call.service.tokens.issue("app", f"{call.service.url}/{options.app_scope}", options.app_seconds)
    return answer(201, {"token": token.value, "expires_at": call.service.clock.iso(options.app_seconds),
                        "permissions": {"administration": "write"}, "repository_selection": "all"})


async def user(call: Call) -> web.Response:
    """What everybody can see of a name."""
    name = call.request.match_info["name"].lower()
    options = call.service.options
    if name in options.users:
        return answer(200, {"login": name, "id": 1, "type": "User"})
    if name in options.organisations:
        return answer(200, {"login": name, "id": 2, "type": "Organization"})
    return answer(404, {"message": "Not Found"})


def routes() -> list[Route]:
    listed: list[Route] = []
    for prefix in ("/api/v3", ""):
        for scope in ("/repos/{owner}/{repo}", "/orgs/{owner}", "/enterprises/{enterprise}"):
            listed.append(("GET", f"{prefix}{scope}/installation", "api.installation", installation))
        listed += [("POST", prefix + "/app/installations/{installation}/access_tokens", "api.app-token", access_token),
                   ("GET", prefix + "/users/{name}", "api.user", user)]
    return listed
