/* Signed URLs: HMAC-SHA-256 over what, which, how, until when and by whom. They are never logged. */
#include <ctype.h>
#include <sodium.h>
#include <stdio.h>

#include "cachesvc/internal.h"

#define KEY_FILE "uploads/key"

int svc_key_load(struct wh_cachesvc *svc, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_autoerror none = {0};
    wh_autofree char *path = wh_path_join(wh_store_dir(svc->writes), KEY_FILE);
    if (wh_read_file(AT_FDCWD, path, SVC_SIGN_KEY, &text, &none) == 0 && text.len == SVC_SIGN_KEY) {
        memcpy(svc->key, text.data, SVC_SIGN_KEY);
        wh_wipe(text.data, text.len);
        return 0;
    }
    if (none.code != WH_OK && none.code != WH_E_NOT_FOUND && none.code != WH_E_LIMIT)
        return wh_error_move(err, &none);
    randombytes_buf(svc->key, SVC_SIGN_KEY);
    return wh_write_file(AT_FDCWD, path, svc->key, SVC_SIGN_KEY, 0600, err);
}

static void signature(const struct wh_cachesvc *svc, const char *what, int64_t id, char permission,
                      int64_t until, const char *job, char out[2 * crypto_auth_hmacsha256_BYTES + 1])
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    wh_autofree char *text =
        wh_printf("%s\n%lld\n%c\n%lld\n%s", what, (long long)id, permission, (long long)until, job);
    crypto_auth_hmacsha256(mac, (const unsigned char *)text, strlen(text), svc->key);
    sodium_bin2hex(out, 2 * sizeof(mac) + 1, mac, sizeof(mac));
}

/* By which the client reached us: through a bridge it is not ours. It only comes back to whoever sent it. */
static bool host_ok(const char *host)
{
    size_t len = host ? strlen(host) : 0;
    if (len == 0 || len > 255)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr(".:-_[]", host[i]))
            return false;
    return true;
}

char *svc_sign(const struct request *r, const char *what, int64_t id, char permission)
{
    char sig[2 * crypto_auth_hmacsha256_BYTES + 1];
    int64_t until = wh_now_ns() / 1000000000 + WH_CACHE_URL_SECONDS;
    const char *host = svc_header(r, "Host");
    wh_autofree char *origin = host_ok(host) ? wh_printf("http://%s", host) : wh_strdup(r->svc->origin);
    signature(r->svc, what, id, permission, until, r->job, sig);
    return wh_printf("%s/_blob/%s/%lld?se=%lld&sp=%c&j=%s&sig=%s", origin, what, (long long)id,
                     (long long)until, permission, r->job, sig);
}

bool svc_sign_check(struct request *r, const char *what, int64_t id, char permission)
{
    const char *until, *allows, *job, *sig;
    char want[2 * crypto_auth_hmacsha256_BYTES + 1];
    int64_t seconds = 0;
    bool ok = svc_argument(r, "se", &until) && svc_argument(r, "sp", &allows) && svc_argument(r, "j", &job) &&
              svc_argument(r, "sig", &sig) && until && allows && job && sig && strlen(job) <= 200 &&
              wh_parse_i64(until, 0, INT64_MAX, &seconds) && strlen(sig) == sizeof(want) - 1;
    if (ok) {
        signature(r->svc, what, id, permission, seconds, job, want);
        ok = sodium_memcmp(sig, want, sizeof(want) - 1) == 0 && allows[0] == permission &&
             allows[1] == '\0' && seconds >= wh_now_ns() / 1000000000;
    }
    if (ok) {
        r->job = wh_strdup(job);
        ok = svc_job_of(r) != NULL;
    }
    if (!ok)
        svc_refuse_status(r, 403, "AuthenticationFailed",
                          "The URL's signature is not right, it has expired, or its job has ended.");
    return ok;
}
