/* A record is what GitHub shows as one line of a job: "Set up job", a step, "Post ...", "Complete job". It
 * has a state, annotations and a log (job-execution.md §5, §9). Records and their lines go to a sink: the
 * service, or the terminal of `wherry exec`. */
#ifndef WH_WORKER_RECORD_H
#define WH_WORKER_RECORD_H

#include <uv.h>

#include "wherry/github/job.h"

#define WH_MAX_RECORD_NAME ((size_t)4096) /* bytes of a name that is shown; longer ones are cut */

struct wh_timeline {
    char id[37];
    int number;
    char *name;        /* masked; owned */
    char *ref_name;    /* the step's name in the workflow; owned; NULL */
    char *action_name; /* "actions/checkout"; owned; NULL */
    char *ref;         /* owned; NULL */
    const char *type;  /* "run", "node20", "runner", ...: a constant */
    enum wh_step_status status;
    enum wh_task_result conclusion;
    int64_t started_ns, completed_ns;

    struct wh_annotation *annotations; /* texts owned */
    size_t nannotations;
    unsigned issues[3]; /* by level: all of them, also those that are not kept */

    uint64_t lines;        /* of its log so far, so the next line's number is lines + 1 */
    struct wh_str waiting; /* stamped lines that the sink has not got yet */
    uint64_t waiting_lines;
    int log; /* the sink's; 0: none yet */

    bool
        background; /* and what belongs to background steps (wherry/github/job.h); borrowed but for the ids */
    const char *control, *parallel_group;
    char *control_ids;
};
void wh_timeline_clear(struct wh_timeline *r);
void wh_timeline_set_name(struct wh_timeline *r, const char *masked);
/* Keeps a copy unless WH_MAX_ANNOTATIONS of the level are kept already. */
void wh_timeline_annotate(struct wh_timeline *r, const struct wh_annotation *a);
/* A borrowed view for the service's calls. */
struct wh_step_record wh_timeline_view(const struct wh_timeline *r);

/* ---- where records go ---- */
typedef void (*wh_sink_done_fn)(void *data, struct wh_error *err);
struct wh_sink;
struct wh_sink_ops {
    void (*state)(struct wh_sink *s,
                  const struct wh_timeline *r); /* its name, status or conclusion changed */
    void (*flush)(struct wh_sink *s, wh_sink_done_fn done, void *data); /* send states now */
    /* One line (or several in one text) as shown, without stamp, as it comes. */
    void (*line)(struct wh_sink *s, const struct wh_timeline *r, uint64_t number, const char *text,
                 size_t len);
    /* Whole stamped lines, some time later, in pieces. */
    void (*log)(struct wh_sink *s, struct wh_timeline *r, const char *data, size_t len, uint64_t lines);
    void (*log_end)(struct wh_sink *s, struct wh_timeline *r);
    void (*summary)(struct wh_sink *s, const struct wh_timeline *r, const char *text, size_t len);
    void (*diagnostics)(struct wh_sink *s, const char *name, const char *data, size_t len); /* may be NULL */
    /* True: no more lines of a process, please, for what came already is not taken away fast enough. May be
     * NULL. */
    bool (*full)(struct wh_sink *s);
    /* Everything that waits, then the completion (borrowed until done). */
    void (*finish)(struct wh_sink *s, const struct wh_github_completion *completion, wh_sink_done_fn done,
                   void *data);
    void (*free)(struct wh_sink *s);
};
struct wh_sink {
    const struct wh_sink_ops *ops;
};

/* To the service that the message names. */
struct wh_sink_place {
    const char *spool;       /* the folder for what waits to be uploaded (made; wherry/github/spool.h) */
    uint64_t spool_bytes;    /* at most; 0: the default */
    const char *runner_name; /* may be NULL */
    bool resume;             /* go on with what another process left there */
};
struct wh_sink *wh_sink_service(uv_loop_t *loop, const cJSON *message, const struct wh_sink_place *place,
                                struct wh_error *err);
/* Ends in a dead worker's place what it left open: the step that ran gets the conclusion, the reason as an
 * annotation and as the last line of its log; those that waited are skipped. Returns all steps, the first of
 * *count; owned with their texts (they are a completion's). */
struct wh_step_record *wh_sink_service_end_steps(struct wh_sink *s, enum wh_task_result conclusion,
                                                 const char *reason, size_t *count);
/* To a descriptor (not closed), lines as they are, or tagged with their step's number: "L3\ttext", and states
 * as "S3\tstarted\t\tname", "S3\tcompleted\tsucceeded\tname". result (closed at the end; -1: none) gets the
 * completion as JSON, with the step summaries by record id. */
struct wh_sink *wh_sink_local(int fd, int result, bool tagged);

#endif
