/* `wherry build`, in parts: options, outputs, the run. Private to agent/cmd/. */
#ifndef WH_CMD_BUILD_H
#define WH_CMD_BUILD_H

#include <sys/types.h>

#include "wherry/build/request.h"
#include "wherry/progress/render.h"

/* An output whose bytes this side takes as a stream: a folder that a tar is unpacked into, or `docker load`.
 */
struct build_sink {
    int pipe;     /* owned: the read end; -1 once it was handed on */
    char *folder; /* owned; NULL: docker load */
    pid_t loader; /* docker load; 0: none */
};

struct build_options {
    struct wh_build_request *request; /* owned */
    char *context;                    /* owned: folder, or "-" */
    char *file;                       /* owned: -f; NULL */
    char *state;                      /* owned: --state; NULL */
    char *metadata_file, *iid_file;   /* owned */
    char **outputs;                   /* owned: --output texts */
    const char *engine; /* borrowed: a job's engine of containers to build in; NULL: a builder is started */
    bool push, load, quiet, help;
    bool explain;       /* say why steps ran */
    bool ignore_status; /* --call check: findings are no failure */
    enum wh_progress_style style;
    struct build_sink sinks[WH_MAX_BUILD_OUTPUTS];
    size_t nsinks;
};
void build_options_clear(struct build_options *o);
/* Negative with a sentence for the user. */
int build_options_parse(int argc, char **argv, struct build_options *o, struct wh_error *err);
void build_usage(void);

/* Dockerfile, context and outputs into the request. */
int build_load_context(struct build_options *o, struct wh_error *err);
int build_open_outputs(struct build_options *o, struct wh_error *err);
/* Takes the streams (unpacks, waits for docker load) on threads; call start before and join after the
 * client's run. */
struct build_taking;
struct build_taking *build_take_start(struct build_options *o, struct wh_error *err);
/* built: the build itself went well. Negative if an output could not be taken, and that is not the build's
 * fault. */
int build_take_join(struct build_taking *t, bool built, struct wh_error *err);

/* Launches the builder, shows its progress, waits. The exit code: 0, 1, or 130 when it was canceled. */
int build_run(struct build_options *o);

#endif
