/* `wherry exec` in two parts: exec.c reads options and makes the job message, exec_run.c plays the agent for
 * its worker. */
#ifndef WH_CMD_EXEC_H
#define WH_CMD_EXEC_H

#include "wherry/base/json.h"
#include "wherry/platform/process.h"

struct wh_exec_job {
    const char *self;           /* path of this program */
    const char *state;          /* folder, for builds */
    const char *display;        /* the job's name */
    cJSON *frame;               /* the job frame; owned by the caller */
    char **env;                 /* of the worker */
    const struct wh_user *user; /* to run as; NULL: as we are */
    unsigned timeout_minutes;   /* 0: none */
    int result;                 /* descriptor for the completion as JSON (borrowed); -1: none */
    bool quiet;                 /* no summary */
};
/* Runs it; returns wherry's exit code: 0 only if the job succeeded. */
int wh_exec_run(const struct wh_exec_job *job);

#endif
