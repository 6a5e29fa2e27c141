/* `wherry exec` in parts: exec.c puts it together, exec_options.c reads the command line, exec_load.c the
 * workflow files, exec_plan.c prints what would run, exec_run.c plays the agent for the workers, exec_job.c
 * is one of them, exec_show.c the display, exec_place.c folders and users. */
#ifndef WH_CMD_EXEC_H
#define WH_CMD_EXEC_H

#include <uv.h>

#include "wherry/base/json.h"
#include "wherry/job/mask.h"
#include "wherry/platform/process.h"
#include "wherry/workflow/graph.h"

#define WH_MAX_EXEC_FILE ((size_t)16 << 20) /* of an option */
#define WH_MAX_EXEC_WORKFLOWS 100           /* files of one run */

/* ---- exec_options.c ---- */
enum exec_mode { EXEC_RUN, EXEC_LIST, EXEC_GRAPH, EXEC_DRY_RUN };
struct exec_options {
    char **files;      /* workflows and folders of them */
    char **jobs;       /* --job; NULL: all */
    const char *event; /* NULL: not said */
    const char *event_path, *work, *state, *user, *result, *progress, *logs, *native_off, *server;
    char *token;                           /* owned */
    cJSON *secrets, *vars, *inputs, *rows; /* objects */
    char **env;                            /* "K=V" */
    uint64_t max_parallel;
    enum exec_mode mode;
    bool network_checkout, debug, quiet, help;
};
int exec_options_read(int argc, char **argv, struct exec_options *o, struct wh_error *err);
void exec_options_clear(struct exec_options *o);
extern const char exec_help[];

/* ---- exec_place.c ---- */
struct exec_place {
    struct wh_user user;
    bool other;   /* jobs run as user; else as we are */
    char *folder; /* of the work; owned */
    char *locks;  /* folder of lock files, ours alone; owned */
};
int exec_place_open(const struct exec_options *o, struct exec_place *p, struct wh_error *err);
void exec_place_clear(struct exec_place *p);
/* A work folder that no other job uses now, of this process or another: a locked descriptor, and the path
 * (owned). */
int exec_place_slot(const struct exec_place *p, char **path, struct wh_error *err);
/* A lock file by what it is for; *lock below 0: somebody has it. */
int exec_place_lock(const struct exec_place *p, const char *kind, const char *name, int *lock,
                    struct wh_error *err);
char *exec_place_file(const struct exec_place *p, const char *kind, const char *name);
char **exec_place_environment(const struct exec_options *o, const struct exec_place *p, const char *work);
const char *exec_place_arch(void);          /* as runner.arch */
cJSON *exec_place_runner(const char *work); /* the runner of a job frame */

/* ---- exec_load.c ---- */
struct exec_files {
    struct wh_workflow **workflows;
    bool *named; /* by itself, not by its folder */
    size_t n;
};
void exec_files_clear(struct exec_files *f);
/* Those that were named, or all of .github/workflows. */
int exec_files_read(const struct exec_options *o, struct exec_files *f, struct wh_error *err);
/* One file, checked through and through. name: as it is shown; NULL: from the path. */
struct wh_workflow *exec_file_read(const char *path, const char *name, struct wh_error *err);

/* ---- exec_plan.c, exec_dry.c ---- */
struct exec_run;
int exec_list(const struct exec_files *f);
int exec_print_graph(struct exec_run *run, struct wh_masker *masker);
int exec_dry_run(struct exec_run *run, struct wh_masker *masker);
/* Runs through the graph as if every job succeeded, and shows each to visit (NULL: to none). */
void exec_plan_walk(struct exec_run *run, void (*visit)(void *arg, const struct wh_graph_job *job),
                    void *arg);

/* ---- exec_show.c: what people see ---- */
/* RAW: the one job writes to our standard output itself. LONE: the same, but its lines are needed. */
enum exec_style { EXEC_RAW, EXEC_LONE, EXEC_PLAIN, EXEC_TTY, EXEC_JSON };
struct exec_show;
struct exec_show_job; /* one job's place in it */
struct exec_show *exec_show_new(enum exec_style style, struct wh_masker *masker, bool quiet);
void exec_show_free(struct exec_show *s);
/* log: its lines go there too (taken over; -1: nowhere). */
struct exec_show_job *exec_show_start(struct exec_show *s, const char *name, int log);
/* Bytes of its worker's output. */
void exec_show_bytes(struct exec_show_job *j, const char *data, size_t len);
void exec_show_end(struct exec_show_job *j, const char *result, uint64_t took_ns);
/* A job that never ran, or that called others. */
void exec_show_note(struct exec_show *s, const char *name, enum wh_graph_result result, const char *reason);
void exec_show_say(struct exec_show *s, const char *fmt, ...) WH_PRINTF(2, 3);
void exec_show_tick(struct exec_show *s);
void exec_show_finish(struct exec_show *s, const char *result);

/* ---- exec_run.c ---- */
struct exec_run {
    const struct exec_options *options;
    const struct exec_place *place;
    struct exec_show *show;
    enum exec_style style;
    struct wh_graph *graph;
    const char *self, *state; /* path of this program; folder, for builds */
    const char *repository;   /* absolute path of the work tree; NULL: checkout fetches */
    size_t max_parallel;

    uv_loop_t loop;
    uv_signal_t interrupt, terminate;
    uv_timer_t tick, gate_timer;
    struct exec_gate **gates; /* of concurrency groups; owned */
    size_t ngates;
    struct exec_job **jobs; /* all that were started; owned */
    size_t njobs, running;  /* workers that are there */
    unsigned helpers;       /* builders and fetchers */
    unsigned interrupts;
    cJSON *results;         /* name -> completion */
    struct wh_serve *serve; /* caches and artifacts; NULL: no job wanted them yet */
    char run_id[37];        /* by which its jobs find each other's artifacts */
    bool pumping, plan_failed;
    struct wh_masker *masker; /* of all that is said */
    char **labels;            /* that this machine does not have, told already */
    const char *token;        /* github.token; NULL */
    cJSON *called;            /* workflows that were called: shown name -> text */
    struct call *calls;       /* that are fetched now */
    struct exec_origin **origins;
    size_t norigins;
};
/* Returns wherry's exit code: 0 only if no job failed. */
int exec_run(struct exec_run *run);
/* Goes on: starts what may start, cancels what shall end. */
void exec_run_pump(struct exec_run *run);

/* ---- exec_job.c ---- */
struct exec_job;
/* Starts its worker; on failure the job has failed in the graph. */
void exec_job_start(struct exec_run *run, struct wh_graph_job *job);
bool exec_job_runs(const struct exec_job *j);
void exec_job_cancel(struct exec_job *j);
void exec_job_kill(struct exec_job *j);
bool exec_job_wants_cancel(const struct exec_job *j);
void exec_job_free(struct exec_job *j);

/* ---- exec_serve.c ---- */
/* Tells the job of a frame where caches and artifacts are; what names it there (owned; NULL: nothing). */
char *exec_serve_job(struct exec_run *run, cJSON *frame);
void exec_serve_job_end(struct exec_run *run, const char *id); /* NULL: fine */

/* ---- exec_gate.c ---- */
/* The concurrency group of a job or of a workflow (the other is NULL): true if it may go on. Else it is held,
 * and is let in, or cancelled, later. */
bool exec_gate_enter(struct exec_run *run, struct wh_graph_job *job, struct wh_graph_scope *scope);
/* Lets go what is done, lets in what may. */
void exec_gates_look(struct exec_run *run);
void exec_gates_free(struct exec_run *run);

/* ---- exec_call.c ---- */
/* Finds the workflow that the job calls, and hands it to the graph. */
void exec_call(struct exec_run *run, struct wh_graph_job *job);
/* Ends fetching for jobs that were cancelled. */
void exec_calls_kill(struct exec_run *run);
void exec_calls_free(struct exec_run *run);

#endif
