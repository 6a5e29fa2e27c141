#include "wherry/net/child_env.h"

#include <stdlib.h>

#include "wherry/base/str.h"
#include "wherry/net/http.h"

static void keep(char ***env, const char *name)
{
    const char *value = getenv(name);
    if (value)
        wh_env_set(env, name, value);
}

char **wh_net_child_env(const char *const *more)
{
    static const char *const kept[] = {
        "http_proxy",   "HTTP_PROXY",        "https_proxy",
        "HTTPS_PROXY",  "no_proxy",          "NO_PROXY",
        "all_proxy",    "ALL_PROXY",         "WHERRY_LOG",
        "TZ",           "SSL_CERT_FILE",     "SSL_CERT_DIR",
        "ASAN_OPTIONS", "UBSAN_OPTIONS",     "LSAN_OPTIONS",
        WH_CA_FILE_ENV, "WHERRY_TEST_CLOCK", "GITHUB_ACTIONS_RUNNER_TLS_NO_VERIFY",
    };
    char **env = NULL;
    wh_env_set(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    wh_env_set(&env, "LANG", "C.UTF-8");
    for (size_t i = 0; i < WH_COUNT(kept); i++)
        keep(&env, kept[i]);
    for (; more && *more; more++)
        keep(&env, *more);
    return env;
}
