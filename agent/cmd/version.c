/* wherry version */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cmd/commands.h"

int wh_cmd_version(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: wherry version\n\nPrints wherry's version and those of the libraries that it runs "
             "with.\n\nExit code: 0 done, 2 bad usage.");
        return 0;
    }
    if (argc > 1) {
        fputs("wherry version: it takes no arguments\n", stderr);
        return 2;
    }
    printf("wherry %s\n", WH_VERSION);
    printf("libuv %s, %s, cJSON %s, libsodium %s, SQLite %s\n", uv_version_string(), curl_version(),
           cJSON_Version(), sodium_version_string(), sqlite3_libversion());
    return 0;
}
