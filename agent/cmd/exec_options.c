/* The command line of `wherry exec`. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "cmd/option.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"

const char exec_help[] =
    "usage: wherry exec [OPTION...] [WORKFLOW...] [EVENT]\n"
    "\n"
    "Runs workflow files on this machine, without GitHub: the same worker, the same builder. Jobs wait for "
    "what they\n"
    "need and run side by side; matrices, conditions, outputs and reusable workflows are what they are on "
    "GitHub.\n"
    "\n"
    "  WORKFLOW               a file, or a folder of them (default: .github/workflows, those that EVENT "
    "triggers)\n"
    "  EVENT                  the event (default: push, else the first one of a file that was named)\n"
    "\n"
    "What runs\n"
    "  -j, --job ID           this job and what it needs. Repeatable\n"
    "      --matrix KEY:VALUE only rows of matrices where KEY is VALUE. Repeatable\n"
    "  -e, --event NAME       the event, as EVENT\n"
    "      --event-path FILE  the event's payload, JSON (default: made from the git repository)\n"
    "      --input K=V        an input of workflow_dispatch. Repeatable\n"
    "      --max-parallel N   at most N jobs at a time (default: the number of processors)\n"
    "\n"
    "Without running\n"
    "  -l, --list             list the jobs and end\n"
    "      --graph            draw the jobs in the order in which they run, and end\n"
    "  -n, --dry-run          say what would run, with values as far as they are known, and end\n"
    "\n"
    "What they see\n"
    "  -s, --secret K=V       a secret; K alone takes it from the environment. Repeatable\n"
    "      --secret-file FILE secrets, a line K=V each\n"
    "      --var K=V          a member of vars. Repeatable\n"
    "      --var-file FILE    such members, a line K=V each\n"
    "      --env K=V          a variable of the runner's environment. Repeatable\n"
    "      --env-file FILE    such variables, a line K=V each\n"
    "      --token TOKEN      github.token (default: the secret GITHUB_TOKEN)\n"
    "      --server URL       GitHub Enterprise, instead of https://github.com (default: GITHUB_SERVER_URL)\n"
    "      --network-checkout actions/checkout of this repository fetches it, instead of taking the work "
    "tree as it is\n"
    "      --native off       run the published JavaScript of all actions instead of what is built in; also "
    "a list of\n"
    "                         OWNER/REPO\n"
    "\n"
    "What you see\n"
    "      --progress STYLE   auto (tty on a terminal where several jobs run, else plain), plain, tty or "
    "json (a line\n"
    "                         for each event)\n"
    "      --logs DIR         write each job's whole log there, too\n"
    "      --debug            show debug lines of steps\n"
    "      --result FILE      write conclusions, outputs and annotations there, JSON\n"
    "  -q, --quiet            no summary at the end\n"
    "\n"
    "Where it runs\n"
    "      --work DIR         work folder (default: below the cache folder)\n"
    "      --state DIR        state folder with the layer store (default: WHERRY_STATE, else the usual "
    "place)\n"
    "      --user NAME        as root: run jobs as this user (default: who called sudo, else nobody)\n"
    "  -h, --help             this text\n"
    "\n"
    "Ctrl-C cancels: steps and jobs with always() or cancelled() still run. A second one ends everything at "
    "once.\n"
    "\n"
    "Examples\n"
    "  wherry exec\n"
    "  wherry exec .github/workflows/image.yml\n"
    "  wherry exec -j build --matrix platform:linux/arm64 -s REGISTRY_PASSWORD .github/workflows/ci.yml\n"
    "  wherry exec --dry-run pull_request\n"
    "\n"
    "Exit code: 0 no job failed, 1 one did (or was cancelled), 2 bad usage.\n";

enum {
    EVENT_PATH = 256,
    SECRET_FILE,
    VAR,
    VAR_FILE,
    INPUT,
    ENV,
    ENV_FILE,
    TOKEN,
    WORK,
    STATE,
    USER,
    NETWORK_CHECKOUT,
    DEBUG,
    RESULT,
    MATRIX,
    MAX_PARALLEL,
    GRAPH,
    NATIVE,
    PROGRESS,
    LOGS,
    SERVER
};

static const struct option long_options[] = {{"job", required_argument, NULL, 'j'},
                                             {"matrix", required_argument, NULL, MATRIX},
                                             {"list", no_argument, NULL, 'l'},
                                             {"graph", no_argument, NULL, GRAPH},
                                             {"dry-run", no_argument, NULL, 'n'},
                                             {"event", required_argument, NULL, 'e'},
                                             {"event-path", required_argument, NULL, EVENT_PATH},
                                             {"secret", required_argument, NULL, 's'},
                                             {"secret-file", required_argument, NULL, SECRET_FILE},
                                             {"var", required_argument, NULL, VAR},
                                             {"var-file", required_argument, NULL, VAR_FILE},
                                             {"input", required_argument, NULL, INPUT},
                                             {"env", required_argument, NULL, ENV},
                                             {"env-file", required_argument, NULL, ENV_FILE},
                                             {"token", required_argument, NULL, TOKEN},
                                             {"work", required_argument, NULL, WORK},
                                             {"state", required_argument, NULL, STATE},
                                             {"user", required_argument, NULL, USER},
                                             {"network-checkout", no_argument, NULL, NETWORK_CHECKOUT},
                                             {"native", required_argument, NULL, NATIVE},
                                             {"max-parallel", required_argument, NULL, MAX_PARALLEL},
                                             {"progress", required_argument, NULL, PROGRESS},
                                             {"logs", required_argument, NULL, LOGS},
                                             {"server", required_argument, NULL, SERVER},
                                             {"debug", no_argument, NULL, DEBUG},
                                             {"result", required_argument, NULL, RESULT},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {0}};

void exec_options_clear(struct exec_options *o)
{
    free(o->token);
    cJSON_Delete(o->secrets);
    cJSON_Delete(o->vars);
    cJSON_Delete(o->inputs);
    cJSON_Delete(o->rows);
    wh_strv_free(o->env);
    wh_strv_free(o->files);
    wh_strv_free(o->jobs);
}

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

/* Quotes around a value are taken off; in double ones \n is a newline and \" a quote, as other tools read
 * such files. */
static char *unquoted(struct wh_view v)
{
    char quote = v.len >= 2 ? v.data[0] : '\0';
    if ((quote != '"' && quote != '\'') || v.data[v.len - 1] != quote)
        return wh_view_dup(v);
    wh_autostr out = {0};
    for (size_t i = 1; i + 1 < v.len; i++) {
        bool escaped = quote == '"' && v.data[i] == '\\' && i + 2 < v.len;
        i += escaped;
        wh_str_addc(&out, escaped && v.data[i] == 'n' ? '\n' : v.data[i]);
    }
    return wh_str_steal(&out);
}

/* Lines K=V, with "export" before them or not; blank ones and those that begin with # are skipped. */
static int add_file(cJSON *object, const char *path, const char *option, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_EXEC_FILE, &text, err) < 0)
        return wh_wrap(err, "%s", option);
    struct wh_reader r = wh_reader_of(text.data, text.len);
    unsigned number = 0;
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        number++;
        line = wh_view_trim(line);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (line.len > 7 && memcmp(line.data, "export ", 7) == 0)
            line = (struct wh_view){line.data + 7, line.len - 7};
        struct wh_view name;
        struct wh_view value;
        bool pair = wh_view_split(line, '=', &name, &value);
        name = wh_view_trim(name);
        if (!pair || name.len == 0) /* the line itself may hold a secret: its number says enough */
            return wh_fail(err, WH_E_ARGUMENT, "%s: %s:%u: the line is not NAME=VALUE", option, path, number);
        wh_autofree char *key = wh_view_dup(name);
        wh_autofree char *given = unquoted(wh_view_trim(value));
        cJSON_DeleteItemFromObjectCaseSensitive(object, key);
        cJSON_AddStringToObject(object, key, given);
    }
    return 0;
}

static int add_env(struct exec_options *o, const char *text, bool file, struct wh_error *err)
{
    wh_autojson *pairs = cJSON_CreateObject();
    if (file ? add_file(pairs, text, "--env-file", err) < 0 : add_pair(pairs, text, false, "--env", err) < 0)
        return -1;
    for (const cJSON *p = pairs->child; p; p = p->next)
        wh_env_set(&o->env, p->string, p->valuestring);
    return 0;
}

/* A secret of the command line is in the process list no longer than it takes to read it. */
static int take_secret(struct exec_options *o, char *value, struct wh_error *err)
{
    int n = add_pair(o->secrets, value, true, "--secret", err);
    char *equals = strchr(value, '=');
    if (equals)
        wh_wipe(equals + 1, strlen(equals + 1));
    return n;
}

static void take_token(struct exec_options *o, char *value)
{
    free(o->token);
    o->token = wh_strdup(value);
    wh_wipe(value, strlen(value));
}

static int take_row(struct exec_options *o, const char *text, struct wh_error *err)
{
    struct wh_view key;
    struct wh_view value;
    if (!wh_view_split(wh_view_of(text), ':', &key, &value) || key.len == 0)
        return wh_fail(err, WH_E_ARGUMENT, "--matrix %s: KEY:VALUE is expected", text);
    wh_autofree char *name = wh_view_dup(key);
    cJSON *list = cJSON_GetObjectItem(o->rows, name);
    if (!list)
        list = cJSON_AddArrayToObject(o->rows, name);
    cJSON_AddItemToArray(list, cJSON_CreateString(value.data));
    return 0;
}

static int take_native(struct exec_options *o, const char *value)
{
    o->native_off = wh_streq(value, "off") ? "all" : wh_streq(value, "on") ? "" : value;
    return 0;
}

static int take_flag(struct exec_options *o, int option)
{
    if (option == 'l')
        o->mode = EXEC_LIST;
    else if (option == 'n')
        o->mode = EXEC_DRY_RUN;
    else if (option == GRAPH)
        o->mode = EXEC_GRAPH;
    o->network_checkout |= option == NETWORK_CHECKOUT;
    o->debug |= option == DEBUG;
    o->quiet |= option == 'q';
    o->help |= option == 'h';
    return option == '?' ? -1 : 0;
}

static int take_value(struct exec_options *o, int option, char *value, struct wh_error *err)
{
    switch (option) {
    case 's':
        return take_secret(o, value, err);
    case SECRET_FILE:
        return add_file(o->secrets, value, "--secret-file", err);
    case VAR:
        return add_pair(o->vars, value, false, "--var", err);
    case VAR_FILE:
        return add_file(o->vars, value, "--var-file", err);
    case INPUT:
        return add_pair(o->inputs, value, false, "--input", err);
    case ENV:
    case ENV_FILE:
        return add_env(o, value, option == ENV_FILE, err);
    case MATRIX:
        return take_row(o, value, err);
    case NATIVE:
        return take_native(o, value);
    case MAX_PARALLEL:
        return wh_parse_u64(value, 1024, &o->max_parallel) && o->max_parallel > 0
                   ? 0
                   : wh_fail(err, WH_E_ARGUMENT, "--max-parallel %s: a number from 1 to 1024 is expected",
                             value);
    case TOKEN:
        take_token(o, value);
        return 0;
    case 'j':
        wh_strv_add(&o->jobs, value);
        return 0;
    default:
        return take_flag(o, option);
    }
}

static int check_server(char *url, struct wh_error *err)
{
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        url[--len] = '\0';
    if ((wh_starts_with(url, "https://") || wh_starts_with(url, "http://")) && len > strlen("https://"))
        return 0;
    return wh_fail(err, WH_E_ARGUMENT, "--server %s: a URL is expected, say https://github.example.com", url);
}

static int take_option(struct exec_options *o, int option, char *value, struct wh_error *err)
{
    const struct {
        int option;
        const char **to;
    } texts[] = {
        {'e', &o->event},    {EVENT_PATH, &o->event_path}, {WORK, &o->work}, {STATE, &o->state},
        {USER, &o->user},    {RESULT, &o->result},         {LOGS, &o->logs}, {PROGRESS, &o->progress},
        {SERVER, &o->server}};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        if (texts[i].option != option)
            continue;
        *texts[i].to = value;
        return option == SERVER ? check_server(value, err) : 0;
    }
    return take_value(o, option, value, err);
}

/* A workflow is a file or a folder, or looks like one; anything else is an event. */
static int take_operand(struct exec_options *o, const char *text, struct wh_error *err)
{
    if (strchr(text, '/') || wh_ends_with(text, ".yml") || wh_ends_with(text, ".yaml") ||
        access(text, F_OK) == 0) {
        wh_strv_add(&o->files, text);
        return 0;
    }
    if (o->event)
        return wh_fail(err, WH_E_ARGUMENT, "'%s': the event is '%s' already, and there is no such file", text,
                       o->event);
    o->event = text;
    return 0;
}

int exec_options_read(int argc, char **argv, struct exec_options *o, struct wh_error *err)
{
    o->progress = "auto";
    o->secrets = cJSON_CreateObject();
    o->vars = cJSON_CreateObject();
    o->inputs = cJSON_CreateObject();
    o->rows = cJSON_CreateObject();
    optind = 1;
    for (int option; (option = wh_cmd_option(argc, argv, "j:lne:s:qh", long_options)) != -1;)
        if (take_option(o, option, optarg, err) < 0)
            return -1;
    static const char *const styles[] = {"auto", "plain", "tty", "json"};
    bool known = false;
    for (size_t i = 0; i < WH_COUNT(styles); i++)
        known |= wh_streq(o->progress, styles[i]);
    if (!known)
        return wh_fail(err, WH_E_ARGUMENT, "--progress %s: auto, plain, tty or json is expected",
                       o->progress);
    for (int i = optind; i < argc && !o->help; i++)
        if (take_operand(o, argv[i], err) < 0)
            return -1;
    return 0;
}
