/* A V1 server's answers: of a session with its key, and a message, sealed or not. */
#include "github/session_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wh_rsa_key *rsa;
    static struct gh_session_key fixed = {.set = true};
    struct gh_session_key key;
    wh_autoerror err = {0}, why = {0};
    if (!rsa)
        rsa = wh_rsa_key_new(NULL);
    wh_autojson *json = wh_json_parse((const char *)data, size, 1 << 20, "answer", NULL);
    if (json)
        gh_session_key_read(wh_json_get(json, "encryptionKey"),
                            wh_json_bool(json, "useFipsEncryption", false), rsa, &key, &why);
    for (int sealed = 0; sealed < 2; sealed++) {
        wh_autobrokermessage m = {0};
        if (gh_message_read((const char *)data, size, sealed ? &fixed : NULL, &m, &err) < 0 &&
            err.code == WH_OK)
            abort();
    }
    return 0;
}
