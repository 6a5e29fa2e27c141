/* The official runner's files .runner, .credentials and .credentials_rsaparams (runner-protocol.md §1.7), and
 * the just-in-time string that holds all three (§1.8): read into an identity of ours, and written back.
 *
 * Reading is as lenient as the official runner (BOM, names in any case, scalars of any type) and then strict:
 * what could not serve is refused, with file and field. Fields that we don't know are kept and written back.
 */
#ifndef WH_GITHUB_OFFICIAL_H
#define WH_GITHUB_OFFICIAL_H

#include "wherry/github/credentials.h"

#define WH_MAX_OFFICIAL_FILE ((size_t)64 << 10)
#define WH_MAX_JIT_BYTES ((size_t)512 << 10)

enum wh_official_file { WH_FILE_RUNNER, WH_FILE_CREDENTIALS, WH_FILE_RSAPARAMS, WH_OFFICIAL_FILES };
const char *wh_official_file_name(enum wh_official_file file); /* ".runner", ... */

/* An identity; work is not set (it depends on the state folder), work_folder is. */
struct wh_official {
    struct wh_runner_config *config;
    struct wh_rsa_key *key;
};
void wh_official_clear(struct wh_official *official);
#define wh_autoofficial __attribute__((cleanup(wh_official_clear))) struct wh_official

/* The three files' bytes. On failure out stays empty. */
int wh_official_read(const struct wh_view files[WH_OFFICIAL_FILES], struct wh_official *out,
                     struct wh_error *err);
/* From a folder. .runner_migrated and .credentials_migrated are read where the file itself is missing (else
 * see migrated.h). */
int wh_official_read_dir(const char *folder, struct wh_official *out, struct wh_error *err);
/* From a just-in-time string: base64, white space allowed. Such a runner is ephemeral. */
int wh_jit_read(const char *text, size_t len, struct wh_official *out, struct wh_error *err);

/* The files as the official runner writes them: with a BOM, indented. The caller wipes them by
 * wh_official_texts_clear(). */
struct wh_official_texts {
    struct wh_str text[WH_OFFICIAL_FILES];
};
int wh_official_print(const struct wh_runner_config *config, const struct wh_rsa_key *key,
                      struct wh_official_texts *out, struct wh_error *err);
void wh_official_texts_clear(struct wh_official_texts *texts);
/* Into a folder that exists, each 0600. Refuses where one of the files is there already. */
int wh_official_write_dir(const char *folder, const struct wh_runner_config *config,
                          const struct wh_rsa_key *key, struct wh_error *err);

#endif
