/* JavaScript actions: which Node.js, and the process of a stage (job-execution.md §7.2). */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/net/http.h"
#include "worker/job.h"

#define NEWEST_MAJOR 24
#define OLDEST_MAJOR 16 /* what an action may still run with, where nothing newer is at hand */

extern char **environ;

/* ---- which version is wanted ---- */

static bool is_true(const char *text)
{
    return wh_streq_ci(text, "true") || wh_streq(text, "1");
}

struct flags {
    bool force24, unsecure;
};

static struct flags read_flags(const struct wh_job *j, const struct wh_run *run)
{
    static const char *const names[] = {"FORCE_JAVASCRIPT_ACTIONS_TO_NODE24",
                                        "ACTIONS_ALLOW_USE_UNSECURE_NODE_VERSION"};
    bool value[2];
    for (size_t i = 0; i < 2; i++) {
        const struct wh_value *own = wh_object_get(run->env, names[i]);
        value[i] = own ? is_true(wh_value_text(own)) : is_true(wh_env_get(j->base_env, names[i]));
    }
    return (struct flags){.force24 = value[0], .unsecure = value[1]};
}

static int wanted_major(struct wh_job *j, const struct wh_run *run)
{
    int declared = run->foreign->manifest->node;
    if (declared > 20)
        return declared;
    struct flags f = read_flags(j, run);
    bool standard24 = wh_message_variable_bool(j->message, "actions.runner.usenode24bydefault", false);
    if (wh_message_variable_bool(j->message, "actions.runner.requirenode24", false))
        return 24;
    if (f.force24 && f.unsecure) {
        wh_say_warning(j, "Both FORCE_JAVASCRIPT_ACTIONS_TO_NODE24 and "
                          "ACTIONS_ALLOW_USE_UNSECURE_NODE_VERSION environment variables are set to true. "
                          "This is likely a configuration error. Using the default Node version.");
        return standard24 ? 24 : 20;
    }
    if (standard24)
        return f.unsecure ? 20 : 24;
    return f.force24 ? 24 : 20;
}

/* ---- where it is ---- */

static char *in_folder(const char *externals, int major, const char *kind)
{
    if (!externals || externals[0] != '/')
        return NULL;
    char *path = wh_printf("%s/node%d%s/bin/node", externals, major, kind);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* The wanted one first, then newer ones: Node.js keeps old code running. */
static char *in_externals(const struct wh_job *j, int major)
{
    wh_autofree char *fetched = wh_path_join(j->dirs.work, "_externals");
    const char *const folders[] = {wh_json_string(j->options, "externals"), getenv("WHERRY_EXTERNALS"),
                                   "/usr/lib/wherry/externals", fetched};
    for (int version = major; version <= NEWEST_MAJOR; version += 2) {
        for (size_t i = 0; i < WH_COUNT(folders); i++) {
            char *found = in_folder(folders[i], version, "");
            if (found)
                return found;
        }
    }
    return NULL;
}

static int major_of(const char *version)
{
    int major = 0;
    if (version[0] != 'v')
        return 0;
    for (const char *p = version + 1; isdigit((unsigned char)*p) && major < 1000; p++)
        major = major * 10 + (*p - '0');
    return major;
}

/* The one on the worker's PATH; its version is asked for once a job. */
static char *on_path(struct wh_job *j, int *major)
{
    wh_autofree char *program = wh_find_program("node", wh_env_get(j->base_env, "PATH"), false);
    *major = 0;
    if (!program)
        return NULL;
    if (!j->node_version) {
        char *argv[] = {"node", "--version", NULL};
        struct wh_process_options o = WH_PROCESS_OPTIONS;
        wh_autostr out = {0};
        o.path = program;
        o.argv = argv;
        o.env = j->base_env;
        int code = wh_process_run(&o, 64, &out, NULL, NULL);
        j->node_version =
            code == 0 ? wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&out)))) : wh_strdup("");
    }
    *major = major_of(j->node_version);
    return *major > 0 ? wh_steal(&program) : NULL;
}

static char *fetched(struct wh_job *j, int major, struct wh_error *err)
{
    wh_autofree char *folder = wh_printf("%s/_externals/node%d", j->dirs.work, major);
    wh_say_debug(j, "Fetching Node.js %d", major);
    if (wh_fetch_node(j, major, folder, err) < 0)
        return NULL;
    return wh_path_join(folder, "bin/node");
}

static char *find_node(struct wh_job *j, int wanted, struct wh_error *err)
{
    int major = 0;
    char *found = in_externals(j, wanted);
    if (found)
        return found;
    wh_autofree char *path = on_path(j, &major);
    if (major >= wanted)
        return wh_steal(&path);
    wh_autoerror why = {0};
    found = fetched(j, wanted, &why);
    if (found)
        return found;
    if (major >= OLDEST_MAJOR) {
        wh_say_warning(
            j,
            "This action asks for Node.js %d, but the machine has %s only (%s): it is used all the "
            "same. Put a newer one on PATH or into /usr/lib/wherry/externals/node%d.",
            wanted, j->node_version, wh_error_text(&why), wanted);
        return wh_steal(&path);
    }
    wh_fail(err, WH_E_NOT_FOUND,
            "This action needs Node.js %d, and the machine has none: it is neither in "
            "/usr/lib/wherry/externals/node%d nor on PATH, and could not be fetched: %s.",
            wanted, wanted, wh_error_text(&why));
    return NULL;
}

/* In the job's container: of the externals, which are mounted there; the machine's own would not run. */
static char *find_inside(struct wh_job *j, int wanted, struct wh_error *err)
{
    const char *externals = wh_json_string(j->options, "externals");
    const char *kind = wh_container_is_alpine(j) ? "_alpine" : "";
    if (!externals)
        externals = getenv("WHERRY_EXTERNALS");
    for (int version = wanted; version <= NEWEST_MAJOR; version += 2) {
        wh_autofree char *found = in_folder(externals, version, kind);
        if (found)
            return wh_printf("/__e/node%d%s/bin/node", version, kind);
    }
    if (*kind) {
        wh_fail(
            err, WH_E_NOT_FOUND,
            "This action needs Node.js %d in the job's container, which is of Alpine Linux: put one that is "
            "linked with musl into the externals folder, as node%d_alpine/bin/node.",
            wanted, wanted);
        return NULL;
    }
    wh_autofree char *folder = wh_printf("%s/_externals/node%d/bin/node", j->dirs.work, wanted);
    wh_autoerror why = {0};
    if (access(folder, X_OK) < 0) {
        wh_autofree char *made = fetched(j, wanted, &why);
        if (!made) {
            wh_fail(
                err, WH_E_NOT_FOUND,
                "This action needs Node.js %d in the job's container: neither is there a folder of externals "
                "with one, nor could it be fetched: %s.",
                wanted, wh_error_text(&why));
            return NULL;
        }
    }
    return wh_container_path(j, folder);
}

/* ---- the process ---- */

static const char *script_of(const struct wh_run *run)
{
    const struct wh_action_manifest *m = run->foreign->manifest;
    return run->stage == WH_STAGE_PRE ? m->pre : run->stage == WH_STAGE_POST ? m->post : m->main;
}

/* Node.js looks at no store of the system's: what the agent trusts (--ca-file, SSL_CERT_FILE), actions trust,
 * too. */
static void trust_ca(const struct wh_job *j, char ***environment)
{
    const char *file = getenv(WH_CA_FILE_ENV);
    if (!file || file[0] == '\0')
        file = getenv("SSL_CERT_FILE");
    if (file && !j->container && !wh_env_get(*environment, "NODE_EXTRA_CA_CERTS") && access(file, R_OK) == 0)
        wh_env_set(environment, "NODE_EXTRA_CA_CERTS", file);
}

struct wh_child *wh_node_start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_autovalue *inputs = wh_inputs_evaluate(j, run, err);
    if (!inputs)
        return NULL;
    wh_inputs_say_header(j, run, inputs);
    wh_autofree char *script = wh_printf("%s/%s", run->foreign->directory, script_of(run));
    if (access(script, F_OK) < 0) {
        wh_fail(err, WH_E_NOT_FOUND, "File not found: '%s'", script);
        return NULL;
    }
    int wanted = wanted_major(j, run);
    wh_autofree char *node = j->container ? find_inside(j, wanted, err) : find_node(j, wanted, err);
    if (!node)
        return NULL;
    wh_autostrv char **environment = wh_environ_of(j, run, inputs);
    wh_env_set(&environment, "NODE_ICU_DATA", NULL);
    trust_ca(j, &environment);
    if (j->container) {
        wh_autofree char *inside = wh_container_path(j, script);
        char *words[] = {node, inside, NULL};
        return wh_container_child(j, words, environment, j->dirs.workspace, err);
    }
    char *argv[] = {node, script, NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = node;
    options.argv = argv;
    options.env = environment;
    options.cwd = j->dirs.workspace;
    return wh_run_child(j, &options, NULL, NULL, err);
}
