/* The official runner's files. The first byte chooses which of the three is foreign; of the settings the
 * other one is right. What is taken must be writable, and read back the same. */
#include <sodium.h>

#include "github/official_fields.h"
#include "github/rsa_key.h"

static const char runner[] = "{\"agentId\":1,\"agentName\":\"box1\",\"serverUrl\":\"https://t/\"}";
static const char credentials[] =
    "{\"scheme\":\"OAuth\",\"data\":{\"clientId\":\"c\",\"authorizationUrl\":\"https://a/\"}}";
static struct wh_rsa_key *right;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    if (sodium_init() < 0)
        return 1;
    right = wh_rsa_key_new(NULL);
    return right ? 0 : 1;
}

static struct wh_view view(const struct wh_str *text)
{
    return (struct wh_view){.data = wh_str_text(text), .len = text->len};
}

static void read_settings(struct wh_view first, struct wh_view second)
{
    wh_autoerror err = {0};
    wh_autorunner *config = wh_calloc(1, sizeof *config), *back = wh_calloc(1, sizeof *back);
    struct wh_official_texts texts = {0}, again = {0};
    if (gh_official_settings(first, second, config, &err)) {
        if (!err.code)
            abort();
        return;
    }
    if (wh_official_print(config, right, &texts, NULL))
        abort();
    const struct wh_str *text = texts.text;
    bool fits = text[WH_FILE_RUNNER].len <= WH_MAX_OFFICIAL_FILE &&
                text[WH_FILE_CREDENTIALS].len <= WH_MAX_OFFICIAL_FILE; /* escapes may make it longer */
    if (fits &&
        (gh_official_settings(view(&text[WH_FILE_RUNNER]), view(&text[WH_FILE_CREDENTIALS]), back, NULL) ||
         wh_official_print(back, right, &again, NULL)))
        abort();
    for (size_t i = 0; fits && i < WH_OFFICIAL_FILES; i++)
        if (strcmp(wh_str_text(&texts.text[i]), wh_str_text(&again.text[i])) != 0)
            abort();
    wh_official_texts_clear(&texts);
    wh_official_texts_clear(&again);
}

static void read_key(const char *text, size_t len)
{
    wh_autoerror err = {0};
    wh_autorsa *key = wh_rsa_key_import_params(text, len, &err);
    if (!key && !err.code)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct wh_view foreign = {.data = (const char *)data + 1, .len = size - 1};
    if (data[0] % WH_OFFICIAL_FILES == WH_FILE_RUNNER)
        read_settings(foreign, wh_view_of(credentials));
    else if (data[0] % WH_OFFICIAL_FILES == WH_FILE_CREDENTIALS)
        read_settings(wh_view_of(runner), foreign);
    else
        read_key(foreign.data, foreign.len);
    return 0;
}
