/* wherry exec: runs one job of a workflow file here, with no service. */
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/exec.h"
#include "cmd/option.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/job/message.h"
#include "wherry/workflow/workflow.h"

#define MAX_FILE ((size_t)16 << 20)

static const char help[] =
    "usage: wherry exec [OPTION...] WORKFLOW\n"
    "\n"
    "Runs one job of a workflow file on this machine, without GitHub: the same worker, the same builder, the "
    "log on\n"
    "standard output.\n"
    "\n"
    "  -j, --job ID           the job; not needed where the file has only one\n"
    "  -l, --list             list the jobs and end\n"
    "  -e, --event NAME       github.event_name (default: push)\n"
    "      --event-path FILE  the event's payload, JSON\n"
    "  -s, --secret K=V       a secret; K alone takes it from the environment. Repeatable\n"
    "      --secret-file FILE secrets, a line K=V each\n"
    "      --var K=V          a member of vars. Repeatable\n"
    "      --input K=V        an input of workflow_dispatch. Repeatable\n"
    "      --env K=V          a variable of the runner's environment. Repeatable\n"
    "      --env-file FILE    such variables, a line K=V each\n"
    "      --token TOKEN      github.token (default: the secret GITHUB_TOKEN)\n"
    "      --work DIR         work folder (default: below the cache folder)\n"
    "      --state DIR        state folder with the layer store (default: WHERRY_STATE, else the usual "
    "place)\n"
    "      --user NAME        as root: run the job as this user (default: who called sudo, else nobody)\n"
    "      --network-checkout actions/checkout of this repository fetches it, instead of taking the work "
    "tree as it is\n"
    "      --debug            show debug lines of steps\n"
    "      --result FILE      write conclusions, outputs and annotations there, JSON\n"
    "  -q, --quiet            no summary line at the end\n"
    "  -h, --help             this text\n"
    "\n"
    "Examples\n"
    "  wherry exec .github/workflows/image.yml\n"
    "  wherry exec -j build -s REGISTRY_PASSWORD --var REGION=eu .github/workflows/ci.yml\n"
    "\n"
    "Exit code: 0 the job succeeded or was skipped, 1 it did not, 2 bad usage.\n";

enum {
    EVENT_PATH = 256,
    SECRET_FILE,
    VAR,
    INPUT,
    ENV,
    ENV_FILE,
    TOKEN,
    WORK,
    STATE,
    USER,
    NETWORK_CHECKOUT,
    DEBUG,
    RESULT
};

static const struct option long_options[] = {{"job", required_argument, NULL, 'j'},
                                             {"list", no_argument, NULL, 'l'},
                                             {"event", required_argument, NULL, 'e'},
                                             {"event-path", required_argument, NULL, EVENT_PATH},
                                             {"secret", required_argument, NULL, 's'},
                                             {"secret-file", required_argument, NULL, SECRET_FILE},
                                             {"var", required_argument, NULL, VAR},
                                             {"input", required_argument, NULL, INPUT},
                                             {"env", required_argument, NULL, ENV},
                                             {"env-file", required_argument, NULL, ENV_FILE},
                                             {"token", required_argument, NULL, TOKEN},
                                             {"work", required_argument, NULL, WORK},
                                             {"state", required_argument, NULL, STATE},
                                             {"user", required_argument, NULL, USER},
                                             {"network-checkout", no_argument, NULL, NETWORK_CHECKOUT},
                                             {"debug", no_argument, NULL, DEBUG},
                                             {"result", required_argument, NULL, RESULT},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {0}};

struct options {
    const char *file, *job, *event, *event_path, *work, *state, *user, *result;
    char *token; /* owned */
    cJSON *secrets, *vars, *inputs;
    char **env; /* "K=V" */
    bool list, network_checkout, debug, quiet, help;
};

static void options_clear(struct options *o)
{
    free(o->token);
    cJSON_Delete(o->secrets);
    cJSON_Delete(o->vars);
    cJSON_Delete(o->inputs);
    wh_strv_free(o->env);
}

/* ---- reading options ---- */

/* "K=V", or "K" with its value from the environment if that is allowed. */
static int add_pair(cJSON *object, const char *text, bool from_environment, const char *option,
                    struct wh_error *err)
{
    struct wh_view name;
    struct wh_view value;
    bool has_value = wh_view_split(wh_view_of(text), '=', &name, &value);
    wh_autofree char *key = wh_view_dup(name);
    const char *given = has_value ? value.data : from_environment ? getenv(key) : NULL;
    if (key[0] == '\0' || !given)
        return wh_fail(err, WH_E_ARGUMENT, "%s %s: %s", option, has_value ? "=..." : text,
                       from_environment ? "it is neither NAME=VALUE nor a variable of the environment"
                                        : "it is not NAME=VALUE");
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    cJSON_AddStringToObject(object, key, given);
    return 0;
}

/* Lines K=V; blank ones and those that begin with # are skipped. */
static int add_file(cJSON *object, const char *path, const char *option, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, MAX_FILE, &text, err) < 0)
        return wh_wrap(err, "%s", option);
    struct wh_reader r = wh_reader_of(text.data, text.len);
    unsigned number = 0;
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        number++;
        line = wh_view_trim(line);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        wh_autofree char *copy = wh_view_dup(line);
        if (add_pair(object, copy, false, option, err) < 0)
            return wh_wrap(err, "%s:%u", path, number);
    }
    return 0;
}

static int add_env_file(struct options *o, const char *path, struct wh_error *err)
{
    wh_autojson *pairs = cJSON_CreateObject();
    if (add_file(pairs, path, "--env-file", err) < 0)
        return -1;
    for (const cJSON *p = pairs->child; p; p = p->next)
        wh_env_set(&o->env, p->string, p->valuestring);
    return 0;
}

static int add_env(struct options *o, const char *text, struct wh_error *err)
{
    wh_autojson *pair = cJSON_CreateObject();
    if (add_pair(pair, text, false, "--env", err) < 0)
        return -1;
    wh_env_set(&o->env, pair->child->string, pair->child->valuestring);
    return 0;
}

/* A secret of the command line is in the process list no longer than it takes to read it. */
static int take_secret(struct options *o, char *value, struct wh_error *err)
{
    int n = add_pair(o->secrets, value, true, "--secret", err);
    char *equals = strchr(value, '=');
    if (equals)
        wh_wipe(equals + 1, strlen(equals + 1));
    return n;
}

static void take_token(struct options *o, char *value)
{
    free(o->token);
    o->token = wh_strdup(value);
    wh_wipe(value, strlen(value));
}

static int take_option(struct options *o, int option, char *value, struct wh_error *err)
{
    switch (option) {
    case 's':
        return take_secret(o, value, err);
    case SECRET_FILE:
        return add_file(o->secrets, value, "--secret-file", err);
    case VAR:
        return add_pair(o->vars, value, false, "--var", err);
    case INPUT:
        return add_pair(o->inputs, value, false, "--input", err);
    case ENV:
        return add_env(o, value, err);
    case ENV_FILE:
        return add_env_file(o, value, err);
    case 'j':
        o->job = value;
        return 0;
    case 'e':
        o->event = value;
        return 0;
    case EVENT_PATH:
        o->event_path = value;
        return 0;
    case TOKEN:
        take_token(o, value);
        return 0;
    case WORK:
        o->work = value;
        return 0;
    case STATE:
        o->state = value;
        return 0;
    case USER:
        o->user = value;
        return 0;
    case RESULT:
        o->result = value;
        return 0;
    default:
        o->list |= option == 'l';
        o->network_checkout |= option == NETWORK_CHECKOUT;
        o->debug |= option == DEBUG;
        o->quiet |= option == 'q';
        o->help |= option == 'h';
        return option == '?' ? -1 : 0;
    }
}

static int parse_options(int argc, char **argv, struct options *o, struct wh_error *err)
{
    o->event = "push";
    o->secrets = cJSON_CreateObject();
    o->vars = cJSON_CreateObject();
    o->inputs = cJSON_CreateObject();
    optind = 1;
    for (int option; (option = wh_cmd_option(argc, argv, "j:le:s:qh", long_options)) != -1;)
        if (take_option(o, option, optarg, err) < 0)
            return -1;
    if (o->help)
        return 0;
    if (argc - optind != 1)
        return wh_fail(err, WH_E_ARGUMENT, "give one workflow file (see `wherry exec --help`)");
    o->file = argv[optind];
    return 0;
}

/* ---- the message ---- */

static const char *shown_name(const char *path)
{
    const char *at = strstr(path, ".github/workflows/");
    return at ? at : wh_starts_with(path, "./") ? path + 2 : path;
}

static int list_jobs(const struct wh_workflow *w)
{
    for (size_t i = 0; i < wh_workflow_job_count(w); i++) {
        wh_autofree char *name = wh_workflow_job_name(w, i);
        printf("%-24s %s\n", wh_workflow_job_id(w, i), name);
    }
    return 0;
}

static int pick_job(const struct wh_workflow *w, const struct options *o, size_t *index, struct wh_error *err)
{
    size_t count = wh_workflow_job_count(w);
    wh_autostr names = {0};
    for (size_t i = 0; i < count; i++) {
        const char *id = wh_workflow_job_id(w, i);
        wh_str_addf(&names, "%s%s", i ? ", " : "", id);
        if (o->job ? wh_streq_ci(o->job, id) : count == 1) {
            *index = i;
            return 0;
        }
    }
    if (o->job)
        return wh_fail(err, WH_E_NOT_FOUND, "%s has no job '%s'; it has %s", o->file, o->job, names.data);
    return wh_fail(err, WH_E_ARGUMENT, "%s has %zu jobs: choose one with --job (%s)", o->file, count,
                   names.data);
}

static cJSON *make_message(const struct wh_workflow *w, size_t index, const struct options *o,
                           struct wh_error *err)
{
    wh_autojson *event = o->event_path ? wh_json_read_file(o->event_path, MAX_FILE, err) : NULL;
    if (o->event_path && !event)
        return NULL;
    const char *id = wh_workflow_job_id(w, index);
    wh_autojson *github =
        wh_workflow_github(".", o->event, event, shown_name(o->file), wh_workflow_name(w), id);
    const char *token = o->token ? o->token : wh_json_string(o->secrets, "GITHUB_TOKEN");
    struct wh_workflow_context context = {
        .github = github, .inputs = o->inputs, .vars = o->vars, .secrets = o->secrets, .token = token};
    return wh_workflow_message(w, id, &context, err);
}

/* The job's `if`, and its name where that is an expression. 1: it runs; 0: it is skipped. */
static int judge_job(const struct wh_workflow *w, size_t index, cJSON *message, struct wh_error *err)
{
    wh_automessage *m = wh_message_from_json(message, err);
    if (!m)
        return -1;
    wh_autovalue *contexts = wh_message_contexts(m);
    struct wh_template_env env = {.eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_JOB)};
    wh_autofree char *name = wh_workflow_job_name(w, index);
    wh_autotoken *token = wh_template_from_text(name, strlen(name), false, env.allows, NULL);
    wh_autofree char *shown = NULL;
    if (token && wh_token_eval_string(token, &env, &shown, NULL) == 0 && shown)
        cJSON_ReplaceItemInObject(message, "jobDisplayName", cJSON_CreateString(shown));
    wh_strv_free(env.errors);
    wh_autofree char *condition = wh_workflow_job_condition(w, index);
    if (!condition)
        return 1;
    int wanted = wh_condition_eval(condition, wh_place_allows(WH_PLACE_JOB_IF), &env.eval, err);
    return wanted < 0 ? wh_wrap(err, "`if` of job '%s'", wh_workflow_job_id(w, index)) : wanted;
}

/* ---- where and as whom ---- */

static int find_user(const struct options *o, struct wh_user *user, bool *other, struct wh_error *err)
{
    *other = false;
    if (getuid() != 0) {
        if (o->user)
            return wh_fail(err, WH_E_ARGUMENT, "--user is for root: the job runs as you");
        return 0;
    }
    const char *caller = getenv("SUDO_UID");
    const char *name = o->user ? o->user : caller && !wh_streq(caller, "0") ? caller : "nobody";
    if (wh_user_find(name, user, err) < 0)
        return -1;
    *other = user->uid != 0;
    return 0;
}

static char *work_folder(const struct options *o, const struct wh_user *user, bool other,
                         struct wh_error *err)
{
    wh_autofree char *work = NULL;
    if (o->work) {
        work = wh_strdup(o->work);
    } else if (other || getuid() == 0) { /* not below root's own folders: another user must get there */
        work = wh_printf("/var/tmp/wherry-exec-%u", other ? (unsigned)user->uid : 0u);
    } else {
        const char *cache = getenv("XDG_CACHE_HOME");
        const char *home = getenv("HOME");
        work = cache && cache[0] == '/' ? wh_printf("%s/wherry/exec", cache)
                                        : wh_printf("%s/.cache/wherry/exec", home ? home : "/tmp");
    }
    if (wh_mkdir_p(work, 0700, err) < 0)
        return NULL;
    struct stat st;
    uid_t owner = other ? user->uid : getuid();
    /* /var/tmp is everybody's: a folder that somebody else put there is not ours to use. */
    if (lstat(work, &st) < 0 || !S_ISDIR(st.st_mode) || (st.st_uid != owner && st.st_uid != getuid())) {
        wh_fail(err, WH_E_DENIED, "the work folder %s belongs to somebody else: name another with --work",
                work);
        return NULL;
    }
    if (st.st_uid != owner && chown(work, owner, user->gid) < 0) {
        wh_fail_errno(err, "hand the work folder %s to %s", work, user->name);
        return NULL;
    }
    return realpath(work, NULL);
}

static void add_runner(cJSON *frame, const char *work)
{
    struct utsname u;
    uname(&u);
    const char *arch = wh_streq(u.machine, "aarch64")                               ? "ARM64"
                       : wh_starts_with(u.machine, "arm")                           ? "ARM"
                       : wh_streq(u.machine, "i686") || wh_streq(u.machine, "i386") ? "X86"
                                                                                    : "X64";
    cJSON *runner = cJSON_AddObjectToObject(frame, "runner");
    wh_json_add_string(runner, "name", u.nodename);
    wh_json_add_string(runner, "machine", u.nodename);
    wh_json_add_string(runner, "version", WH_VERSION);
    wh_json_add_string(runner, "os", "Linux");
    wh_json_add_string(runner, "arch", arch);
    wh_json_add_string(runner, "workDir", work);
}

static cJSON *make_frame(const struct options *o, cJSON *message_taken, const char *work)
{
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "job");
    cJSON_AddItemToObject(frame, "message", message_taken);
    add_runner(frame, work);
    cJSON *options = cJSON_AddObjectToObject(frame, "options");
    cJSON_AddBoolToObject(options, "local", true);
    cJSON_AddBoolToObject(options, "stepDebug", o->debug);
    wh_autofree char *here = realpath(".", NULL);
    if (!o->network_checkout)
        wh_json_add_string(options, "localRepository", here);
    return frame;
}

extern char **environ;

static char **worker_environment(const struct options *o, const struct wh_user *user, bool other,
                                 const char *work)
{
    char **env = wh_strv_dup(environ);
    if (other) {
        bool real_home = access(user->home, F_OK) == 0 && !wh_streq(user->home, "/");
        wh_env_set(&env, "HOME", real_home ? user->home : work);
        wh_env_set(&env, "USER", user->name);
        wh_env_set(&env, "LOGNAME", user->name);
    }
    for (const cJSON *s = o->secrets->child; s; s = s->next)
        wh_env_set(&env, s->string,
                   NULL); /* `--secret K` took it from here: steps get it only where they ask */
    for (size_t i = 0; o->env && o->env[i]; i++) {
        wh_autofree char *name = wh_strdup(o->env[i]);
        char *equals = strchr(name, '=');
        *equals = '\0';
        wh_env_set(&env, name, equals + 1);
    }
    return env;
}

static int run(const struct options *o, cJSON *message_taken, unsigned timeout, struct wh_error *err)
{
    wh_autojson *message = message_taken;
    struct wh_user user __attribute__((cleanup(wh_user_clear))) = {0};
    bool other = false;
    if (find_user(o, &user, &other, err) < 0)
        return -1;
    wh_autofree char *work = work_folder(o, &user, other, err);
    if (!work)
        return -1;
    wh_autofree char *self = wh_self_path();
    wh_autofree char *state = wh_state_dir(o->state);
    /* Not the display name: it may hold a secret, and only the worker masks. */
    wh_autofree char *display = wh_strdup(wh_json_string(message, "jobName"));
    wh_autojson *frame = make_frame(o, wh_steal(&message), work);
    wh_autostrv char **env = worker_environment(o, &user, other, work);
    wh_autoclose int result = -1;
    if (o->result && (result = open(o->result, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
        return wh_fail_errno(err, "write the result to %s", o->result);
    struct wh_exec_job job = {.self = self,
                              .state = state,
                              .display = display,
                              .frame = frame,
                              .env = env,
                              .user = other ? &user : NULL,
                              .timeout_minutes = timeout,
                              .result = result,
                              .quiet = o->quiet};
    return wh_exec_run(&job);
}

static int exec_workflow(const struct options *o, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, o->file, MAX_FILE, &text, err) < 0)
        return -1;
    wh_autoworkflow *w = wh_workflow_parse(wh_str_text(&text), text.len, shown_name(o->file), err);
    if (!w)
        return -1;
    if (o->list)
        return list_jobs(w);
    size_t index = 0;
    if (pick_job(w, o, &index, err) < 0)
        return -1;
    if (!wh_workflow_has_event(w, o->event))
        fprintf(stderr, "wherry: note: %s is not triggered by '%s'; it runs all the same\n", o->file,
                o->event);
    wh_autojson *message = make_message(w, index, o, err);
    if (!message)
        return -1;
    int wanted = judge_job(w, index, message, err);
    if (wanted == 0)
        fprintf(stderr, "wherry: job '%s' is skipped: its condition is false\n",
                wh_workflow_job_id(w, index));
    if (wanted <= 0)
        return wanted;
    return run(o, wh_steal(&message), wh_workflow_job_timeout(w, index), err);
}

int wh_cmd_exec(int argc, char **argv)
{
    struct options o __attribute__((cleanup(options_clear))) = {0};
    wh_autoerror err = {0};
    if (parse_options(argc, argv, &o, &err) < 0) {
        if (err.code != WH_OK)
            fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        return 2;
    }
    if (o.help || !o.file) {
        fputs(help, stdout);
        return 0;
    }
    int code = exec_workflow(&o, &err);
    if (code < 0) {
        fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        return err.code == WH_E_ARGUMENT ? 2 : 1;
    }
    return code;
}
