/* Credentials at rest: sealed with the machine's key. */
#include "wherry/github/credentials.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "github/rsa_key.h"
#include "wherry/base/fs.h"

#define SEALED_FILE "credentials.sealed"
#define SEALED_MAGIC "wherry1\n" /* 8 bytes: format and version */
#define SEALED_HEAD (sizeof SEALED_MAGIC - 1)
#define MACHINE_KEY "../machine.key" /* beside the runners' folders */

static int check_private(int dir, const char *name, const char *shown, struct wh_error *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return wh_fail_errno(err, "%s", shown);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return wh_fail(err, WH_E_DENIED, "%s must be a file of ours with mode 0600", shown);
    return 0;
}

static int machine_key_make(int dir, struct wh_error *err)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    crypto_secretbox_keygen(key);
    int code = wh_write_file(dir, MACHINE_KEY, key, sizeof key, 0600, err);
    wh_wipe(key, sizeof key);
    return code;
}

static int machine_key(int dir, bool create, unsigned char key[crypto_secretbox_KEYBYTES],
                       struct wh_error *err)
{
    if (create && faccessat(dir, MACHINE_KEY, F_OK, 0) && errno == ENOENT && machine_key_make(dir, err))
        return wh_wrap(err, "make the machine key");
    if (check_private(dir, MACHINE_KEY, "<state>/runners/machine.key", err))
        return -1;
    struct wh_str text = {0};
    int code = wh_read_file(dir, MACHINE_KEY, 4096, &text, err);
    if (code >= 0) {
        code = 0;
        if (text.len == crypto_secretbox_KEYBYTES)
            memcpy(key, text.data, crypto_secretbox_KEYBYTES);
        else
            code = wh_fail(err, WH_E_CORRUPT, "<state>/runners/machine.key has %zu bytes, not %d", text.len,
                           crypto_secretbox_KEYBYTES);
    }
    wh_str_wipe(&text);
    return code;
}

int wh_credentials_save(const char *state, const char *name, const struct wh_rsa_key *key,
                        struct wh_error *err)
{
    unsigned char box_key[crypto_secretbox_KEYBYTES], nonce[crypto_secretbox_NONCEBYTES];
    wh_autoclose int dir = wh_runner_dir_open(state, name, true, err);
    if (dir < 0 || machine_key(dir, true, box_key, err))
        return -1;
    struct wh_str der = {0};
    if (wh_rsa_key_export(key, &der, err)) {
        wh_wipe(box_key, sizeof box_key);
        return -1;
    }
    wh_autostr file = {0};
    randombytes_buf(nonce, sizeof nonce);
    wh_str_add(&file, SEALED_MAGIC);
    wh_str_addn(&file, nonce, sizeof nonce);
    wh_str_reserve(&file, der.len + crypto_secretbox_MACBYTES);
    crypto_secretbox_easy((unsigned char *)file.data + file.len, (const unsigned char *)der.data, der.len,
                          nonce, box_key);
    file.len += der.len + crypto_secretbox_MACBYTES;
    wh_wipe(box_key, sizeof box_key);
    wh_str_wipe(&der);
    return wh_write_file(dir, SEALED_FILE, file.data, file.len, 0600, err);
}

static int unseal(const struct wh_str *file, const unsigned char *box_key, struct wh_str *der,
                  struct wh_error *err)
{
    size_t head = SEALED_HEAD + crypto_secretbox_NONCEBYTES;
    if (file->len < head + crypto_secretbox_MACBYTES || memcmp(file->data, SEALED_MAGIC, SEALED_HEAD) != 0)
        return wh_fail(err, WH_E_CORRUPT, "it is not a file of sealed credentials");
    const unsigned char *nonce = (const unsigned char *)file->data + SEALED_HEAD;
    const unsigned char *box = (const unsigned char *)file->data + head;
    size_t box_len = file->len - head;
    wh_str_reserve(der, box_len);
    if (crypto_secretbox_open_easy((unsigned char *)der->data, box, box_len, nonce, box_key))
        return wh_fail(err, WH_E_CORRUPT,
                       "it does not open with this machine's key (copied from another machine, or damaged)");
    der->len = box_len - crypto_secretbox_MACBYTES;
    return 0;
}

struct wh_rsa_key *wh_credentials_load(const char *state, const char *name, struct wh_error *err)
{
    unsigned char box_key[crypto_secretbox_KEYBYTES];
    wh_autofree char *shown = wh_printf("%s/runners/%s/" SEALED_FILE, state, name);
    wh_autoclose int dir = wh_runner_dir_open(state, name, false, err);
    if (dir < 0 || check_private(dir, SEALED_FILE, shown, err) || machine_key(dir, false, box_key, err))
        return NULL;
    wh_autostr file = {0};
    struct wh_str der = {0};
    struct wh_rsa_key *key = NULL;
    if (wh_read_file(dir, SEALED_FILE, WH_MAX_KEY_BYTES, &file, err) >= 0 &&
        !unseal(&file, box_key, &der, err))
        key = wh_rsa_key_import(der.data, der.len, err);
    wh_wipe(box_key, sizeof box_key);
    wh_str_wipe(&der);
    if (!key)
        wh_wrap(err, "%s", shown);
    return key;
}
