/* The worker's own: one running job. Everything runs on one thread: the engine is plain sequential code that
 * lets the loop turn (wh_job_turn()) while it waits for a step, so that logs and states are uploaded
 * meanwhile. */
#ifndef WH_WORKER_JOB_H
#define WH_WORKER_JOB_H

#include <sys/stat.h>
#include <uv.h>

#include "wherry/actions/action.h"
#include "wherry/base/frame.h"
#include "wherry/job/command.h"
#include "wherry/job/logtext.h"
#include "wherry/job/manifest.h"
#include "wherry/job/mask.h"
#include "wherry/net/later.h"
#include "worker/child.h"
#include "worker/record.h"

enum wh_cancel { WH_CANCEL_NONE, WH_CANCEL_USER, WH_CANCEL_SHUTDOWN, WH_CANCEL_LOST };

struct wh_dirs { /* job-execution.md §3; absolute, owned */
    char *work, *temp, *tools, *pipeline, *workspace, *commands, *event, *home;
    struct stat written; /* of event as it was last written here */
};

struct wh_job;
struct wh_run;

enum wh_stage { WH_STAGE_MAIN, WH_STAGE_PRE, WH_STAGE_POST };

/* An action that is not built in, as it was loaded (job-execution.md §7). */
struct wh_foreign {
    char *key;       /* "owner/repo/path@ref" in lower case; NULL for a local one */
    char *directory; /* where its action.yml lies */
    struct wh_action_manifest *manifest;
};

/* What the steps of a composite see; lives as long as the job, since post steps see it again. */
struct wh_scope {
    struct wh_value *contexts, *github, *steps; /* NULL: not made yet. github and steps are members */
};

/* A step of the runner's own among those of the job: hooks, images, containers. */
struct wh_special {
    const char *name; /* shown; NULL: the run's own */
    const char *condition;
    void (*execute)(struct wh_job *j, struct wh_run *run); /* sets the result */
};

/* One step at one stage. */
struct wh_run {
    const struct wh_step *step;
    const struct wh_special *special; /* NULL: a step of the workflow */
    struct wh_step *own_step;         /* of a special one; owned */
    char *text;                       /* of a special one: a path, an image; owned */
    enum wh_stage stage;
    struct wh_timeline *record; /* of a composite's step: only the id that its summary goes by */
    struct wh_run *main;        /* of a pre or post step; NULL for a main one */
    struct wh_run *parent;      /* the composite's run (of the same stage) that it belongs to; NULL */
    struct wh_run **children;   /* of a composite: its steps' main runs; owned by main's */
    size_t nchildren;
    struct wh_scope scope;          /* of a composite: main's */
    struct wh_scope outer;          /* what the contexts were before its steps began; borrowed */
    char *display;                  /* not masked */
    const struct wh_action *action; /* NULL: a script, or an action that is not native */
    struct wh_action_version version;
    const struct wh_foreign *foreign; /* NULL: a script, a native action, or not loaded yet */
    bool post_registered;
    bool local_checkout;      /* actions/checkout of the workflow's own repository in a local run */
    struct wh_value *state;   /* of the step over its stages; main's own */
    struct wh_value *overlay; /* the step's own env, over that of the composites around it */
    struct wh_value *env;     /* its env context while it runs */
    uint64_t deadline_ms;     /* on the monotonic clock; 0: none */
    double minutes;           /* what the deadline was made of */
    struct wh_command_state commands;
    char *files[7];      /* file commands, in the order of wh_file_commands */
    bool command_failed; /* a workflow or file command could not be processed */
    bool canceled, timed_out;
    struct wh_job *job;               /* once it has a process */
    struct wh_background *background; /* it runs beside others; NULL */
    enum wh_task_result result;       /* outcome */
};

struct wh_matcher;

#define WH_LOG_WAIT_MS 60000 /* how long a step may wait in sum for room in the spool */
#define WH_MAX_LOG_WAIT_SECONDS 86400

struct wh_room { /* room.c */
    uint64_t bound_ms, waited_ms;
    uint64_t since_ms; /* the step's pipes are not read since then; 0: they are */
    bool leaving_out;
    uint64_t lines, bytes; /* left out since it was last told */
    struct wh_later *later;
};

struct wh_job {
    uv_loop_t loop;
    struct wh_frame_conn *agent;
    uv_poll_t agent_poll;
    uv_prepare_t prepare; /* hands waiting lines on, once a turn */
    bool agent_gone;

    struct wh_frame frame; /* of the job; message, runner and options borrow from it */
    const cJSON *runner, *options;
    struct wh_job_message *message;
    struct wh_masker *masker;
    struct wh_sink *sink;
    bool local;
    bool recovers; /* another worker's job */

    struct wh_dirs dirs;
    struct wh_value *contexts;
    struct wh_value *github, *steps, *job, *runner_context; /* borrowed: live members of contexts */
    struct wh_value *env;              /* the job's env: layers and GITHUB_ENV; case-sensitive */
    size_t kept_bytes;                 /* what steps left in outputs, state and env */
    size_t output_bytes, output_units; /* of the job's outputs, in UTF-8 and UTF-16 */
    char **base_env;                   /* of every process of the job, before contexts */
    char **prepends;                   /* PATH additions in the order of their coming */
    char *default_shell, *default_directory;
    char tracking[48]; /* RUNNER_TRACKING_ID */
    bool debug;

    struct wh_timeline **records; /* in order of their making */
    size_t nrecords;
    struct wh_timeline **completed; /* borrowed, in order of completion */
    size_t ncompleted;
    int next_number;
    int post_number; /* of the next post step; 0: none registered yet */
    struct wh_timeline *current;

    struct wh_run *composite;     /* the innermost whose steps run now; NULL: the job's own steps do */
    struct wh_foreign **foreigns; /* loaded ones, shared by the steps that use them */
    size_t nforeigns;
    cJSON *action_map;  /* "o/r@ref" -> folder on this machine; NULL: not read yet */
    char *node_version; /* of the node on PATH; "": none; NULL: not asked yet */

    char *engine;        /* the socket of the job's engine of containers; NULL: none runs */
    int engine_listener; /* until the engine is started; -1 */
    uv_poll_t engine_poll;
    int engine_channel;                /* its closing ends the engine; -1: it was not started */
    cJSON *built;                      /* Docker actions: Dockerfile -> image */
    struct wh_jobcontainer *container; /* that steps run in; NULL */
    struct wh_jobcontainer **services;
    size_t nservices;
    const struct wh_container_host *container_host; /* who runs them (container.h) */
    char *network;                                  /* of all of them; NULL: there is none */
    char *docker;                                   /* the program, where docker runs them; NULL */
    bool container_known;                           /* its kind was looked at */
    bool container_alpine;                          /* the job's is of Alpine Linux: musl */
    char *hooks;                                    /* container_hooks.c: the program; NULL: none */
    char *hook_response;                            /* of the step that runs */
    cJSON *hook_state;                              /* what the hooks keep */

    struct wh_run **pres; /* in order */
    size_t npres;
    struct wh_run **mains;
    size_t nmains;
    struct wh_run **posts; /* a stack */
    size_t nposts;

    enum wh_task_result result;
    enum wh_cancel cancel; /* asked for */
    bool cancel_seen;      /* and acted on */
    struct wh_child *child;
    struct wh_run *running;
    struct wh_run **backgrounds; /* those that were started, borrowed */
    size_t nbackgrounds;
    bool background_busy;
    int64_t oom_kills; /* as last seen; -1: not known */
    int *cgroups;      /* of steps, owned: what they left is killed at the job's end */
    size_t ncgroups;

    struct wh_github_output *outputs; /* texts owned */
    size_t noutputs;
    char *environment_url;
    struct wh_telemetry *telemetry; /* texts owned */
    size_t ntelemetry;
    struct wh_annotation *annotations; /* of the job itself; messages owned */
    size_t nannotations;
    struct {
        char *path, *name;
        int fd;
    } diagnostics; /* path NULL: not wanted */
    struct wh_matcher *matchers;
    struct wh_room room;
};

/* ---- loop.c: the loop, the agent ---- */
int wh_job_open(struct wh_job *j, int control, struct wh_error *err);
void wh_job_close(struct wh_job *j);
/* Blocks for the job frame (or the one to recover a job). 0, or negative if the agent went away first. */
int wh_job_receive(struct wh_job *j, struct wh_error *err);
void wh_job_turn(struct wh_job *j);     /* one turn: waits for something to happen */
void wh_job_turn_now(struct wh_job *j); /* one turn without waiting: requests go out before longer work */
void wh_job_send(struct wh_job *j, const cJSON *frame, const int *fds, size_t nfds);
void wh_job_send_state(struct wh_job *j, const struct wh_timeline *r, const char *phase);

/* ---- say.c: records and their lines ---- */
struct wh_timeline *wh_job_record(struct wh_job *j, const char *id, const char *name, int number);
void wh_job_start_record(struct wh_job *j, struct wh_timeline *r);
void wh_job_complete_record(struct wh_job *j, struct wh_timeline *r, enum wh_task_result conclusion);
void wh_job_flush_lines(struct wh_job *j);
void wh_job_flush_record(struct wh_job *j, struct wh_timeline *r);
/* To the current record: one write, masked, one stamp; prefix "##[error]" etc. or "". */
void wh_say_text(struct wh_job *j, const char *prefix, const char *text, size_t len);
void wh_say(struct wh_job *j, const char *fmt, ...) WH_PRINTF(2, 3);
void wh_say_debug(struct wh_job *j, const char *fmt, ...) WH_PRINTF(2, 3);
/* An issue: the line and the annotation. where may be NULL. */
void wh_say_issue(struct wh_job *j, enum wh_annotation_level level, const char *message,
                  const struct wh_issue *where);
/* The same where the line that is shown is another text than the annotation's. */
void wh_say_match(struct wh_job *j, enum wh_annotation_level level, const char *shown, const char *message,
                  const struct wh_issue *where);
void wh_say_error(struct wh_job *j, const char *fmt, ...) WH_PRINTF(2, 3);
void wh_say_warning(struct wh_job *j, const char *fmt, ...) WH_PRINTF(2, 3);
/* For wh_logtext_*_header(): arg is the job. */
void wh_say_line(void *job, const char *line, size_t len);

/* ---- dirs.c ---- */
int wh_dirs_prepare(struct wh_job *j, struct wh_error *err);
void wh_dirs_clear(struct wh_dirs *d);
int wh_dirs_write_event(struct wh_job *j, struct wh_error *err);
int wh_dirs_empty_temp(struct wh_job *j, struct wh_error *err);

/* ---- context.c ---- */
int wh_context_start(struct wh_job *j, struct wh_error *err);
/* env context = job env overlaid by overlay (may be NULL). A new object. */
struct wh_value *wh_context_env(const struct wh_job *j, const struct wh_value *overlay);
void wh_context_set_env(struct wh_job *j, const struct wh_value *env);
struct wh_template_env wh_context_template(struct wh_job *j, enum wh_place place);
void wh_context_status(struct wh_job *j); /* job.status from the result */
int wh_context_output(struct wh_job *j, const struct wh_step *step, const char *name, const char *value,
                      struct wh_error *err);
/* A text that a step leaves to the job, into outputs, state or env; WH_MAX_KEPT_BYTES of all of them. */
int wh_context_keep(struct wh_job *j, struct wh_value *object, const char *name, const char *value,
                    struct wh_error *err);
void wh_context_result(struct wh_job *j, const struct wh_step *step, enum wh_task_result outcome,
                       enum wh_task_result conclusion);
/* 1, 0, or negative with err. */
int wh_context_condition(struct wh_job *j, const char *condition, struct wh_error *err);
/* Template errors: each as an issue, then the error itself (§2.6). */
void wh_context_say_errors(struct wh_job *j, struct wh_template_env *env, struct wh_error *err);

/* ---- environ.c: the environment of a step's process (§4) ---- */
/* inputs NULL: a script. */
char **wh_environ_of(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs);
/* The worker's PATH with the prepends in front; for looking programs up. Owned by the caller. */
char *wh_environ_path(const struct wh_job *j, const char *base);
void wh_environ_add_path(struct wh_job *j, const char *folder);

/* ---- steps.c ---- */
void wh_steps_find(struct wh_job *j);  /* makes the runs and looks which are native */
void wh_steps_queue(struct wh_job *j); /* makes their records, when all actions are there */
void wh_steps_run(struct wh_job *j);
void wh_job_merge_result(struct wh_job *j, enum wh_task_result r);
struct wh_run *wh_run_new(const struct wh_step *step);
void wh_run_free(struct wh_run *run);
void wh_run_find_native(struct wh_job *j, struct wh_run *run);
/* The run that the step's state, scope and children belong to. */
static inline struct wh_run *wh_run_owner(struct wh_run *run)
{
    return run->main ? run->main : run;
}
/* From the env to the result, everything but the record. minutes: of its own time-out; 0: none. */
int wh_run_evaluate_env(struct wh_job *j, struct wh_run *run);
void wh_run_execute(struct wh_job *j, struct wh_run *run);
/* A step whose condition is true: loads a local action, registers its post step, executes. */
void wh_run_start(struct wh_job *j, struct wh_run *run);
/* Lets the loop turn until j->child is through, and judges how it ended. */
void wh_run_wait(struct wh_job *j, struct wh_run *run);
void wh_job_see_cancel(struct wh_job *j);
/* The process of a step that nobody waits for, with all that comes before it; NULL: the result says why. */
struct wh_child *wh_run_begin(struct wh_job *j, struct wh_run *run);
/* The result from how j->child ended. */
void wh_run_judge(struct wh_job *j, struct wh_run *run);
/* The condition for its stage. */
const char *wh_run_condition(const struct wh_run *run);
/* What continue-on-error makes of the result. */
enum wh_task_result wh_run_conclusion(struct wh_job *j, const struct wh_run *run);
bool wh_run_has_pre(const struct wh_run *run);
bool wh_run_has_post(const struct wh_run *run);
void wh_run_register_post(struct wh_job *j, struct wh_run *main);

/* ---- prepare.c: actions that are not built in: fetched and loaded ---- */
/* Those of the job, and what their composites use, all of them. */
int wh_actions_prepare(struct wh_job *j, struct wh_error *err);
/* A local one (uses: ./path), at its step, with what it uses. */
int wh_actions_prepare_local(struct wh_job *j, struct wh_run *run, struct wh_error *err);
void wh_foreign_free(struct wh_foreign *f);

/* ---- fetch.c: the line to a fetcher ---- */
struct wh_wanted {
    const char *name, *ref, *path; /* borrowed */
};
/* Each is below <work>/_actions/<name>/<ref> afterwards. */
int wh_fetch_actions(struct wh_job *j, const struct wh_wanted *wanted, size_t n, struct wh_error *err);
/* Node.js of that major from the mirror, unpacked at folder. */
int wh_fetch_node(struct wh_job *j, int major, const char *folder, struct wh_error *err);

/* ---- inputs.c ---- */
/* Of an action, evaluated now: the author's, then defaults in the manifest's order. NULL on failure. */
struct wh_value *wh_inputs_evaluate(struct wh_job *j, struct wh_run *run, struct wh_error *err);
/* "Run owner/repo@ref" with inputs and env; "Post job cleanup." */
void wh_inputs_say_header(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs);

/* ---- background.c: background steps ---- */
#define WH_BACKGROUND_STEPS 10 /* at once, unless the message says otherwise; more wait */
extern const struct wh_special wh_background_control;
void wh_background_add_wait(struct wh_job *j);
void wh_background_describe(struct wh_job *j, size_t i); /* main i, in its record */
void wh_background_start(struct wh_job *j, struct wh_run *run);
void wh_background_turn(
    struct wh_job *j); /* after each turn of the loop: those that ended, those that wait */
void wh_background_cancel(struct wh_job *j);
void wh_background_end(struct wh_job *j); /* of all, before post steps; their results become the job's */
void wh_background_resume(struct wh_job *j);
void wh_background_flush_lines(struct wh_job *j);
void wh_background_free(struct wh_background *b);
/* For a child's events; data is its run. */
void wh_run_line(void *data, const char *line, size_t len);
void wh_run_frame(void *data, struct wh_frame *frame);
bool wh_run_hold(void *data);
/* What a step leaves to those after it, or to those that wait for it. */
int wh_run_leave_output(struct wh_job *j, const struct wh_run *run, const char *name, const char *value,
                        struct wh_error *err);
int wh_run_leave_env(struct wh_job *j, const struct wh_run *run, const char *name, const char *value,
                     struct wh_error *err);
void wh_run_leave_path(struct wh_job *j, const struct wh_run *run, const char *folder);

/* ---- special.c: steps of the runner's own; hooks ---- */
struct wh_run *wh_special_new(const struct wh_special *special, const char *display, const char *text);
void wh_special_add_pre(struct wh_job *j, struct wh_run *run);
void wh_special_add_post(struct wh_job *j, struct wh_run *run);
/* The program and its words before the path; NULL where the kind of file is not known. Owned. */
char **wh_hook_argv(struct wh_job *j, const char *path);
/* After a step that a container hook ran. */
void wh_hooks_step_end(struct wh_job *j, struct wh_run *run);
/* Hooks of the machine's owner that run before all steps and after them. */
void wh_hooks_add_started(struct wh_job *j);
void wh_hooks_add_completed(struct wh_job *j);

/* ---- engine.c: the job's engine of containers ---- */
/* Its socket; the engine itself starts with the first caller. */
void wh_engine_offer(struct wh_job *j);
int wh_engine_ensure(struct wh_job *j, struct wh_error *err);
/* Runs fn in a child of its own, its lines in the current log. The exit code; negative where it could not
 * start. result: what it wrote to descriptor WH_HELPER_RESULT_FD; owned by the caller; may be NULL. */
#define WH_HELPER_RESULT_FD 5
int wh_helper_run(struct wh_job *j, int (*fn)(void *), void *data, cJSON **result, struct wh_error *err);
/* One request to the engine, as a helper. */
int wh_engine_ask(struct wh_job *j, const cJSON *request, cJSON **result, struct wh_error *err);
/* A request of which a step is made: its output is the step's, its code too. */
struct wh_child *wh_engine_step(struct wh_job *j, const cJSON *request, struct wh_error *err);

/* ---- docker.c: Docker actions ---- */
bool wh_is_docker(const struct wh_run *run);
void wh_docker_add_pres(struct wh_job *j); /* pulls and builds, before the first step */
struct wh_child *wh_docker_start(struct wh_job *j, struct wh_run *run, struct wh_error *err);
/* A folder of the job as containers see it, by the table of docker.c or of the job's container. Owned. */
struct wh_mapping {
    const char *from, *to; /* from: borrowed of the job's folders */
};
char *wh_mapped_path(const struct wh_mapping *map, size_t n, const char *path);
/* The step's environment without what the machine brings, values as the container sees them. */
cJSON *wh_container_env(const struct wh_job *j, char *const *environment, const struct wh_mapping *map,
                        size_t n);

/* ---- oom.c ---- */
/* What the kernel killed before the first step is no step's. */
void wh_oom_start(struct wh_job *j);
/* After a step that failed: if the kernel killed for want of memory meanwhile, that is told. */
void wh_oom_note(struct wh_job *j);

/* ---- ownership.c ---- */
/* Files in the job's folders that are not its user's (a Docker daemon's containers write as root): the agent
 * is asked to give them back. */
void wh_ownership_restore(struct wh_job *j);

/* ---- container.c: `container:` and `services:` ---- */
int wh_containers_prepare(struct wh_job *j, struct wh_error *err);
/* The settings want docker to run them (containers.engine). */
bool wh_containers_by_docker(void);
void wh_containers_add_pre(struct wh_job *j);
void wh_containers_free(struct wh_job *j);
/* A path of the job's as its container sees it. Owned by the caller. */
char *wh_container_path(const struct wh_job *j, const char *path);
/* Whether the job's container is of Alpine Linux, whose programs are linked with musl. */
bool wh_container_is_alpine(struct wh_job *j);
/* In the job's container, where there is one. */
struct wh_child *wh_container_child(struct wh_job *j, char *const *argv, char *const *environment,
                                    const char *cwd, struct wh_error *err);

/* ---- composite.c ---- */
/* The contexts of the composite's steps take the place of those around it, and back. */
void wh_scope_enter(struct wh_job *j, struct wh_run *composite);
void wh_scope_leave(struct wh_job *j);
void wh_composite_execute(struct wh_job *j, struct wh_run *run);

/* ---- node.c ---- */
struct wh_child *wh_node_start(struct wh_job *j, struct wh_run *run, struct wh_error *err);

/* ---- script.c, action.c: the handlers. They start j->child; NULL with err where that failed ---- */
struct wh_child *wh_script_start(struct wh_job *j, struct wh_run *run, struct wh_error *err);
struct wh_child *wh_action_start(struct wh_job *j, struct wh_run *run, struct wh_error *err);
/* A frame of a native action's process: {"type":"build"} goes on to the agent. */
void wh_action_frame(void *job, struct wh_frame *frame);
/* .NET's rules for the text after a command name. */
char **wh_split_arguments(const char *text);
/* Starts the current step's process with what all of them get. */
struct wh_child *wh_run_child(struct wh_job *j, struct wh_process_options *options, int (*fn)(void *),
                              void *data, struct wh_error *err);

/* ---- output.c, commands.c: what the process says ---- */
void wh_output_line(void *job, const char *line, size_t len);
void wh_command_act(struct wh_job *j, struct wh_run *run, const struct wh_command *c, const char *line,
                    size_t len);

/* ---- telemetry.c, diagnostics.c ---- */
/* Once for each text, masked. */
void wh_telemetry_add(struct wh_job *j, enum wh_telemetry_type type, const char *fmt, ...) WH_PRINTF(3, 4);
/* An annotation of the job, not of a step (beside what the log says). */
void wh_job_annotate(struct wh_job *j, enum wh_annotation_level level, const char *message);
size_t wh_job_annotations_wanted(const struct wh_job *j); /* how many of them go out */
void wh_telemetry_clear(struct wh_job *j);
/* With ACTIONS_RUNNER_DEBUG: from now on the worker's log is kept; then it goes to the service. */
void wh_diagnostics_start(struct wh_job *j);
void wh_diagnostics_end(struct wh_job *j);
void wh_diagnostics_clear(struct wh_job *j);

/* ---- room.c: when logs can't be taken away fast enough ---- */
void wh_room_start(struct wh_job *j);
void wh_room_step(struct wh_job *j);
void wh_room_step_end(struct wh_job *j);
bool wh_room_hold(void *job); /* for the child's events */
void wh_room_turn(struct wh_job *j);
/* True: this line of a process is not logged (and counted). */
bool wh_room_leaves_out(struct wh_job *j, size_t len);

/* ---- filecommands.c ---- */
enum {
    WH_FILE_ENV,
    WH_FILE_PATH,
    WH_FILE_OUTPUT,
    WH_FILE_STATE,
    WH_FILE_SUMMARY,
    WH_FILE_ARTIFACTS,
    WH_FILE_ARTIFACTS_LIST
};
int wh_files_make(struct wh_job *j, struct wh_run *run, struct wh_error *err);
void wh_files_process(struct wh_job *j, struct wh_run *run);

/* ---- matcher.c: problem matchers ---- */
/* Tries one line of output; true if it was logged as an issue. */
bool wh_matchers_line(struct wh_job *j, const char *line, size_t len);
int wh_matchers_add(struct wh_job *j, const char *path, struct wh_error *err);
int wh_matchers_remove(struct wh_job *j, const char *owner, const char *path, struct wh_error *err);
void wh_matchers_clear(struct wh_job *j);

/* ---- worker.c, recover.c: the end ---- */
/* What waits, then the completion. True if the service accepted it. */
bool wh_job_hand_in(struct wh_job *j, const struct wh_github_completion *completion);
void wh_job_say_done(struct wh_job *j, bool accepted);
/* To the agent, which keeps it until the service has accepted it. */
void wh_job_keep_completion(struct wh_job *j, const struct wh_github_completion *completion);
void wh_job_recover(struct wh_job *j); /* of a "recover" frame */

/* ---- setup.c, finish.c ---- */
int wh_setup(struct wh_job *j);   /* "Set up job"; negative: it failed, no step runs */
void wh_finish(struct wh_job *j); /* "Complete job" */

#endif
