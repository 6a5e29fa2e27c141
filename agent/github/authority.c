/* The three rights to register, and the tokens that they buy. */
#include "github/authority.h"

#include "github/rest.h"
#include "github/rsa_key.h"
#include "wherry/base/fs.h"

static bool is_personal(const struct wh_secret *token)
{
    static const char *const prefixes[] = {"ghp_", "github_pat_", "gho_", "ghu_", "ghs_"};
    for (size_t i = 0; i < WH_COUNT(prefixes); i++)
        if (wh_starts_with(wh_secret_text(token), prefixes[i]))
            return true;
    return false;
}

static struct wh_authority *authority_of(enum gh_authority_kind kind, const struct wh_secret *token)
{
    struct wh_authority *a = wh_calloc(1, sizeof *a);
    a->kind = kind;
    a->token = wh_secret_new(wh_secret_text(token), wh_secret_len(token));
    return a;
}

struct wh_authority *wh_authority_new_token(const struct wh_secret *token)
{
    return authority_of(is_personal(token) ? GH_BY_PAT : GH_BY_RUNNER_TOKEN, token);
}

struct wh_authority *wh_authority_new_pat(const struct wh_secret *pat)
{
    return authority_of(GH_BY_PAT, pat);
}

static bool id_valid(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len <= WH_MAX_APP_ID_CHARS &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static struct wh_rsa_key *read_key(const char *file, struct wh_error *err)
{
    struct wh_str text = {0};
    struct wh_rsa_key *key = NULL;
    if (wh_read_file(AT_FDCWD, file, WH_MAX_APP_KEY_BYTES, &text, err) >= 0)
        key = wh_rsa_key_import_pem(wh_str_text(&text), text.len, err);
    wh_str_wipe(&text);
    if (!key)
        wh_wrap(err, "the App's private key %s", file);
    return key;
}

struct wh_authority *wh_authority_new_app(const char *id, const char *installation, const char *key_file,
                                          struct wh_error *err)
{
    uint64_t number;
    if (!id_valid(id)) {
        wh_fail(err, WH_E_ARGUMENT,
                "\"%s\" is not an App's id: give the App ID or the client id from its page", id);
        return NULL;
    }
    if (installation && !wh_parse_u64(installation, UINT64_MAX, &number)) {
        wh_fail(err, WH_E_ARGUMENT,
                "\"%s\" is not the id of an App's installation: give the number at the end of the "
                "installation's address, or leave it away",
                installation);
        return NULL;
    }
    struct wh_rsa_key *key = read_key(key_file, err);
    if (!key)
        return NULL;
    struct wh_authority *a = wh_calloc(1, sizeof *a);
    a->kind = GH_BY_APP;
    a->app.id = wh_strdup(id);
    a->app.installation = wh_strdup(installation);
    a->app.key = key;
    return a;
}

void wh_authority_free(struct wh_authority *a)
{
    if (!a)
        return;
    wh_secret_free(a->token);
    wh_secret_free(a->app.token);
    wh_rsa_key_free(a->app.key);
    free(a->app.id);
    free(a->app.installation);
    free(a);
}

void wh_authority_free_ptr(struct wh_authority **authority)
{
    wh_authority_free(*authority);
    *authority = NULL;
}

const struct wh_secret *gh_authority_bearer(struct wh_authority *a, struct wh_http_client *http,
                                            const struct wh_github_url *url, struct wh_error *err)
{
    if (a->kind == GH_BY_PAT)
        return a->token;
    if (a->kind == GH_BY_APP)
        return gh_app_token(&a->app, http, url, err);
    wh_fail(err, WH_E_ARGUMENT,
            "a registration token only registers: this needs a personal access token (--pat) or an App "
            "(--app-id)");
    return NULL;
}

struct wh_secret *gh_authority_runner_token(struct wh_authority *a, struct wh_http_client *http,
                                            const struct wh_github_url *url, enum gh_runner_event event,
                                            struct wh_error *err)
{
    const char *what = event == GH_REMOVE ? "remove-token" : "registration-token";
    if (a->kind == GH_BY_RUNNER_TOKEN)
        return wh_secret_new(wh_secret_text(a->token), wh_secret_len(a->token));
    const struct wh_secret *bearer = gh_authority_bearer(a, http, url, err);
    if (!bearer)
        return NULL;
    gh_autoanswer answer = {0};
    wh_autofree char *address = wh_printf("%s/runners/%s", url->entity, what);
    struct gh_rest_call call = {.purpose = GH_FOR_RUNNER_TOKEN,
                                .method = "POST",
                                .url = address,
                                .auth = GH_AUTH_BEARER,
                                .secret = bearer,
                                .scope = url,
                                .by_app = a->kind == GH_BY_APP};
    if (gh_rest(http, &call, &answer, err)) {
        wh_wrap(err, "get a %s", what);
        return NULL;
    }
    struct wh_secret *token = gh_take_secret(answer.json, "token");
    if (!token)
        wh_fail(err, WH_E_PROTOCOL, "the answer to the call for a %s has no token", what);
    return token;
}
