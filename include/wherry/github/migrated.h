/* The settings that the service gave a runner after it was registered (RunnerRefreshConfig,
 * runner-protocol.md §3.6): the official runner's .runner_migrated and .credentials_migrated, which lie in
 * the runner's own folder beside its registration. They come before that; the registration itself is never
 * changed by them, so that it can be gone back to. */
#ifndef WH_GITHUB_MIGRATED_H
#define WH_GITHUB_MIGRATED_H

#include "wherry/github/official.h"
#include "wherry/github/session.h"

/* For WH_FILE_RUNNER and WH_FILE_CREDENTIALS. */
const char *wh_migrated_name(enum wh_official_file file);

/* The registration with these settings in place of its own. Owned by the caller. NULL with WH_E_NOT_FOUND:
 * the service gave none. */
struct wh_runner_config *wh_migrated_apply(const char *state, const struct wh_runner_config *config,
                                           struct wh_error *err);
/* Whether an answer of the service is a file of that kind, and of this runner under its present name. */
int wh_migrated_check(const struct wh_runner_config *config, enum wh_official_file file, struct wh_view text,
                      struct wh_error *err);
int wh_migrated_save(const char *state, const char *name, enum wh_official_file file, struct wh_view text,
                     struct wh_error *err);
/* A runner that is registered anew has none. */
int wh_migrated_drop(const char *state, const char *name, struct wh_error *err);

/* To an official runner's folder and from there; files that are not there are none. Import checks them
 * first; state NULL: does no more than that. */
int wh_migrated_export(const char *state, const char *name, const char *folder, struct wh_error *err);
int wh_migrated_import(const char *folder, const char *state, const struct wh_runner_config *config,
                       struct wh_error *err);

/* ---- the exchange ---- */
struct wh_refresh;
/* file and text (borrowed) are set where the service wants other settings; err is NULL unless it failed, and
 * was told to the service too. */
typedef void (*wh_refresh_fn)(void *data, enum wh_official_file file, const struct wh_str *text,
                              struct wh_error *err);
/* Tells the service what the registration says (config, which must stay until the end), as a
 * RunnerRefreshConfig asks, and asks what it is to be; within 30 s. done comes once, never from within. */
struct wh_refresh *wh_refresh_start(struct wh_session *s, const struct wh_broker_message *message,
                                    const struct wh_runner_config *config, wh_refresh_fn done, void *data);
void wh_refresh_cancel(struct wh_refresh **refresh); /* without a callback; harmless on NULL */

#endif
