/* A runner from the user's settings to its files: what `register` and `config` have in common. */
#ifndef WH_CMD_REGISTERING_H
#define WH_CMD_REGISTERING_H

#include "wherry/github/register.h"

struct cmd_registering {
    const char *state, *url;
    const char *name, *group, *work; /* NULL: asked for if `ask`, else the defaults */
    const char *job_user, *version;  /* may be NULL */
    char **labels;
    bool labels_given; /* so that they are not asked for */
    bool no_default_labels, ephemeral, replace, disable_update;
    bool ask; /* questions on the terminal, in the order of the official program */
    /* Of a GitHub App: kept with the runner. */
    const char *app_id, *app_installation, *app_key_file;
};
/* Registers, writes the identity, and says so on standard output. */
int cmd_register(const struct cmd_registering *settings, struct wh_authority *authority,
                 struct wh_error *err);
/* "a, b ,c" into the vector; empty ones are left out. */
void cmd_add_labels(char ***labels, const char *list);

/* Work folder as official programs write it, or NULL: where it lies here. Owned by the caller. */
char *cmd_work_dir(const char *state, const char *name, const char *work_folder);
/* Fails while an agent runs this runner. One that does not exist is fine. */
int cmd_runner_idle(const char *state, const char *name, struct wh_error *err);
/* Key and settings into the state folder; both or nothing that `run` would take for a runner. */
int cmd_runner_save(const char *state, struct wh_runner_config *config, const struct wh_rsa_key *key,
                    struct wh_error *err);
/* The name that was given, else that of the only runner in the state folder. Owned by the caller. */
char *cmd_runner_pick(const char *state, const char *name, struct wh_error *err);

#endif
