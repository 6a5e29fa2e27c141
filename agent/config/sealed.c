/* Files sealed with the machine's key. */
#include "wherry/config/sealed.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define SEALED_MAGIC "wherry1\n" /* 8 bytes: format and version */
#define SEALED_HEAD (sizeof SEALED_MAGIC - 1)
#define MACHINE_KEY "../machine.key" /* beside the runners' folders */
#define MACHINE_KEY_SHOWN "<state>/runners/machine.key"

static int check_private(int dir, const char *name, const char *shown, struct wh_error *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? wh_fail(err, WH_E_NOT_FOUND, "%s is not there", shown)
                               : wh_fail_errno(err, "%s", shown);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return wh_fail(err, WH_E_DENIED, "%s must be a file of ours with mode 0600", shown);
    return 0;
}

static int machine_key_make(int dir, struct wh_error *err)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    crypto_secretbox_keygen(key);
    /* Whole under a name of its own first. Of two commands that make one at the same time (a script that
     * registers many runners) the first one's counts: what it has sealed must open. */
    wh_autofree char *mine = wh_printf("%s.%d", MACHINE_KEY, (int)getpid());
    int code = wh_write_file(dir, mine, key, sizeof key, 0600, err);
    wh_wipe(key, sizeof key);
    if (code == 0 && linkat(dir, mine, dir, MACHINE_KEY, 0) < 0 && errno != EEXIST)
        code = wh_fail_errno(err, "%s", MACHINE_KEY_SHOWN);
    (void)unlinkat(dir, mine, 0);
    return code < 0 ? -1 : wh_fsync_dir(dir, "..", err);
}

static int machine_key(int dir, bool create, unsigned char key[crypto_secretbox_KEYBYTES],
                       struct wh_error *err)
{
    if (create && faccessat(dir, MACHINE_KEY, F_OK, 0) && errno == ENOENT && machine_key_make(dir, err))
        return wh_wrap(err, "make the machine key");
    if (check_private(dir, MACHINE_KEY, MACHINE_KEY_SHOWN, err))
        return -1;
    struct wh_str text = {0};
    int code = wh_read_file(dir, MACHINE_KEY, 4096, &text, err);
    if (code >= 0) {
        code = 0;
        if (text.len == crypto_secretbox_KEYBYTES)
            memcpy(key, text.data, crypto_secretbox_KEYBYTES);
        else
            code = wh_fail(err, WH_E_CORRUPT, MACHINE_KEY_SHOWN " has %zu bytes, not %d", text.len,
                           crypto_secretbox_KEYBYTES);
    }
    wh_str_wipe(&text);
    return code;
}

int wh_sealed_write(int dir, const char *file, const void *data, size_t len, bool lasting,
                    struct wh_error *err)
{
    unsigned char key[crypto_secretbox_KEYBYTES], nonce[crypto_secretbox_NONCEBYTES];
    if (machine_key(dir, true, key, err))
        return -1;
    wh_autostr box = {0};
    randombytes_buf(nonce, sizeof nonce);
    wh_str_add(&box, SEALED_MAGIC);
    wh_str_addn(&box, nonce, sizeof nonce);
    wh_str_reserve(&box, len + crypto_secretbox_MACBYTES);
    crypto_secretbox_easy((unsigned char *)box.data + box.len, data, len, nonce, key);
    box.len += len + crypto_secretbox_MACBYTES;
    wh_wipe(key, sizeof key);
    return (lasting ? wh_write_file : wh_write_file_quick)(dir, file, box.data, box.len, 0600, err);
}

static int open_box(const struct wh_str *box, const unsigned char *key, struct wh_str *out,
                    struct wh_error *err)
{
    const size_t head = SEALED_HEAD + crypto_secretbox_NONCEBYTES;
    if (box->len < head + crypto_secretbox_MACBYTES || memcmp(box->data, SEALED_MAGIC, SEALED_HEAD) != 0)
        return wh_fail(err, WH_E_CORRUPT, "it is no sealed file");
    const unsigned char *nonce = (const unsigned char *)box->data + SEALED_HEAD;
    size_t len = box->len - head;
    wh_str_reserve(out, len);
    if (crypto_secretbox_open_easy((unsigned char *)out->data + out->len,
                                   (const unsigned char *)box->data + head, len, nonce, key))
        return wh_fail(err, WH_E_CORRUPT,
                       "it does not open with this machine's key (copied from another machine, or damaged)");
    out->len += len - crypto_secretbox_MACBYTES;
    out->data[out->len] = '\0'; /* where the box's tag was */
    return 0;
}

int wh_sealed_read(int dir, const char *file, size_t max, struct wh_str *out, struct wh_error *err)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    if (check_private(dir, file, file, err) || machine_key(dir, false, key, err))
        return -1;
    wh_autostr box = {0};
    int code = wh_read_file(
        dir, file, max + SEALED_HEAD + crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES, &box, err);
    if (code >= 0)
        code = open_box(&box, key, out, err);
    wh_wipe(key, sizeof key);
    return code < 0 ? -1 : 0;
}
