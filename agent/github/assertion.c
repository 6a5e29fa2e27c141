/* The client assertion of the token call (runner-protocol.md §2.1), and how JWTs are signed. */
#include "github/jwt.h"
#include "wherry/base/digest.h"

/* The whole life must not exceed 300 s; it starts early, for a clock that lags behind ours. */
#define ASSERTION_BACK_S 30
#define ASSERTION_LIFE_S 300

static void add_part(struct wh_str *out, const cJSON *json)
{
    wh_autofree char *text = wh_json_print(json);
    wh_autofree char *encoded = wh_base64url(text, strlen(text));
    wh_str_add(out, encoded);
}

char *gh_jwt_sign(const struct wh_rsa_key *key, bool ps256, const cJSON *claims, struct wh_error *err)
{
    wh_autojson *header = cJSON_CreateObject();
    wh_json_add_string(header, "typ", "JWT");
    wh_json_add_string(header, "alg", ps256 ? "PS256" : "RS256");
    wh_autostr jwt = {0};
    wh_autostr signature = {0};
    add_part(&jwt, header);
    wh_str_addc(&jwt, '.');
    add_part(&jwt, claims);
    if (wh_rsa_key_sign(key, ps256, jwt.data, jwt.len, &signature, err))
        return NULL;
    wh_autofree char *encoded = wh_base64url(signature.data, signature.len);
    wh_str_addc(&jwt, '.');
    wh_str_add(&jwt, encoded);
    return wh_str_steal(&jwt);
}

char *wh_assertion(const struct wh_rsa_key *key, bool ps256, const char *client_id, const char *audience,
                   int64_t now_s, struct wh_error *err)
{
    char jti[37];
    wh_autojson *claims = cJSON_CreateObject();
    wh_json_add_string(claims, "sub", client_id);
    wh_json_add_string(claims, "jti", wh_guid(jti));
    wh_json_add_string(claims, "iss", client_id);
    wh_json_add_string(claims, "aud", audience);
    wh_json_add_int(claims, "nbf", now_s - ASSERTION_BACK_S);
    wh_json_add_int(claims, "exp", now_s - ASSERTION_BACK_S + ASSERTION_LIFE_S);
    return gh_jwt_sign(key, ps256, claims, err);
}
