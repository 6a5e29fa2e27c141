"""The token call: a signed client assertion for a listener token (protocol §2)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from . import jwt
from .endpoint import Call, Route, answer
from .model import Runner

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLAIMS = {"sub", "iss", "aud", "jti", "nbf", "exp"}
MAX_LIFETIME = 300
# What the service forgives between its clock and the runner's.
SKEW = 60


def _refuse(error: str, text: str) -> web.Response:
    return answer(400, {"error": error, "error_description": text})


def _form(call: Call) -> str | None:
    """The assertion out of the body; records what is wrong with the form."""
    if call.request.content_type != "application/x-www-form-urlencoded":
        call.error("content-type", f"Content-Type is {call.request.content_type!r}, expected application/x-www-form-urlencoded")
    if "Authorization" in call.request.headers:
        call.error("token", "the token call must not carry Authorization")
    call.body_read = True
    pairs = parse_qsl(call.body.decode("ascii", "replace"), keep_blank_values=True)
    form = dict(pairs)
    expected = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
    for name, value in expected.items():
        if form.get(name) != value:
            call.error("form", f"{name} is {form.get(name)!r}, expected {value!r}")
    for name in sorted(set(form) - set(expected) - {"client_assertion"}):
        call.error("form", f"unknown field {name}")
    if len(pairs) != len(form):
        call.error("form", "a field is given twice")
    return form.get("client_assertion")


def _check_claims(call: Call, runner: Runner, header: dict[str, Any], claims: dict[str, Any]) -> web.Response | None:
    service = call.service
    if set(header) != {"typ", "alg"} or header.get("typ") != "JWT":
        call.error("assertion", f"header members are {sorted(header)}, typ {header.get('typ')!r}; expected typ JWT and alg")
    if header.get("alg") != runner.algorithm:
        call.error("assertion", f"alg is {header.get('alg')!r}, expected {runner.algorithm}")
        return _refuse("invalid_client", "unexpected algorithm")
    for name in sorted(CLAIMS - set(claims)):
        call.error("assertion", f"claim {name} is missing")
    for name in sorted(set(claims) - CLAIMS - {"iat"}):
        call.error("assertion", f"unknown claim {name}")
    if any(not isinstance(claims.get(n), int) or isinstance(claims.get(n), bool) for n in ("nbf", "exp")):
        call.error("assertion", "nbf and exp must be integers")
        return _refuse("invalid_client", "malformed times")
    if claims.get("sub") != runner.client_id or claims.get("iss") != runner.client_id:
        call.error("assertion", "sub and iss must both be the client id")
        return _refuse("invalid_client", "unknown client")
    if claims.get("aud") != service.authorization_url(runner):
        call.error("assertion", f"aud is {claims.get('aud')!r}, expected {service.authorization_url(runner)!r}")
        return _refuse("invalid_client", "wrong audience")
    if claims["exp"] - claims["nbf"] > MAX_LIFETIME:
        call.error("assertion", f"the assertion lives {claims['exp'] - claims['nbf']} s, at most {MAX_LIFETIME} are allowed")
        return _refuse("invalid_client", "assertion lifetime exceeds 300 seconds")
    if claims.get("jti") in runner.assertions:
        call.error("assertion", "jti was used before")
    runner.assertions.add(str(claims.get("jti")))
    now = service.clock.now()
    if claims["nbf"] > now + SKEW:
        return _refuse("invalid_client", f"The token is not valid until {claims['nbf']}. Current server time is {service.clock.iso()}.")
    if claims["exp"] < now - SKEW:
        return _refuse("invalid_client", f"The token expired on {claims['exp']}. Current server time is {service.clock.iso()}.")
    return None


async def token(call: Call) -> web.Response:
    service = call.service
    assertion = _form(call)
    if not assertion:
        call.error("form", "client_assertion is missing")
        return _refuse("invalid_request", "client_assertion is missing")
    service.recorder.hide_value(assertion)
    runner = service.runners.get(int(call.request.match_info["runner"]))
    if runner is None:
        return _refuse("invalid_client", "The client is not registered")
    call.record.runner = runner.id
    try:
        header, claims = jwt.parse(assertion)
        refusal = _check_claims(call, runner, header, claims)
        if refusal is not None:
            return refusal
        jwt.verify(assertion, runner.modulus, runner.exponent, runner.algorithm)
    except jwt.JwtError as error:
        call.error("assertion", str(error))
        return _refuse("invalid_client", str(error))
    seconds = service.options.token_seconds
    issued = service.tokens.issue("listener", str(runner.id), seconds, {"sub": runner.client_id})
    return answer(200, {"access_token": issued.value, "token_type": "JWT", "expires_in": int(seconds)})


def routes() -> list[Route]:
    return [("POST", "/_token/{runner:\\d+}", "oauth.token", token)]
