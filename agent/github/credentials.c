/* Credentials at rest: sealed with the machine's key. */
#include "wherry/github/credentials.h"

#include "github/rsa_key.h"
#include "wherry/base/fs.h"
#include "wherry/config/sealed.h"

#define SEALED_FILE "credentials.sealed"

int wh_credentials_save(const char *state, const char *name, const struct wh_rsa_key *key,
                        struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, name, true, err);
    if (dir < 0)
        return -1;
    struct wh_str der = {0};
    int code = wh_rsa_key_export(key, &der, err);
    if (!code)
        code = wh_sealed_write(dir, SEALED_FILE, der.data, der.len, true, err);
    wh_str_wipe(&der);
    return code;
}

struct wh_rsa_key *wh_credentials_load(const char *state, const char *name, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, name, false, err);
    if (dir < 0)
        return NULL;
    struct wh_str der = {0};
    struct wh_rsa_key *key = NULL;
    if (wh_sealed_read(dir, SEALED_FILE, WH_MAX_KEY_BYTES, &der, err) == 0)
        key = wh_rsa_key_import(der.data, der.len, err);
    wh_str_wipe(&der);
    if (!key)
        wh_wrap(err, "%s/runners/%s/" SEALED_FILE, state, name);
    return key;
}
