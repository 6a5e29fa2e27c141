/* Running git as the step's log shows it. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/platform/process.h"

#define MAX_OUTPUT ((size_t)16 << 20)
#define TRIES 3

unsigned checkout_retry_min = 10, checkout_retry_max = 20;

extern char **environ;

void checkout_echo(struct checkout *c, const char *const *args)
{
    wh_autostr line = {0};
    wh_str_addf(&line, "[command]%s", c->git);
    for (const char *const *a = args; *a; a++)
        wh_str_addf(&line, " %s", *a);
    wh_action_print("%s", wh_str_text(&line));
}

static void show_output(const struct wh_str *out)
{
    if (out->len == 0)
        return;
    fwrite(out->data, 1, out->len, stdout);
    if (out->data[out->len - 1] != '\n')
        putchar('\n');
    fflush(stdout);
}

int checkout_git(struct checkout *c, unsigned flags, struct wh_str *out, struct wh_error *err,
                 const char *const *args)
{
    bool quiet = (flags & CHECKOUT_QUIET) != 0;
    if (!quiet)
        checkout_echo(c, args);
    wh_autostrv char **argv = NULL;
    wh_strv_add(&argv, c->git);
    for (const char *const *a = args; *a; a++)
        wh_strv_add(&argv, *a);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = c->git;
    o.argv = argv;
    o.env = c->env;
    o.cwd = c->path;
    o.stdout_fd = quiet ? -1 : STDOUT_FILENO;
    o.stderr_fd = quiet ? -1 : STDERR_FILENO;
    o.death_signal = SIGTERM; /* a cancelled step leaves no git behind */
    fflush(stdout);
    int code = wh_process_run(&o, MAX_OUTPUT, out, NULL, err);
    if (code < 0)
        return -1;
    if (out && !quiet)
        show_output(out);
    if (code != 0 && !(flags & CHECKOUT_ANY))
        return wh_fail(err, WH_E_FAILED, "The process '%s' failed with exit code %d", c->git, code);
    return code;
}

void checkout_wait(void)
{
    unsigned seconds = (unsigned)wh_jitter(checkout_retry_min, checkout_retry_max);
    wh_action_print("Waiting %u seconds before trying again", seconds);
    wh_sleep_ms(seconds * 1000U);
}

int checkout_git_retry(struct checkout *c, struct wh_error *err, const char *const *args)
{
    for (int i = 1; i < TRIES; i++) {
        wh_autoerror failed = {0};
        if (checkout_git(c, 0, NULL, &failed, args) >= 0)
            return 0;
        wh_action_print("%s", wh_error_text(&failed));
        checkout_wait();
    }
    return checkout_git(c, 0, NULL, err, args) < 0 ? -1 : 0;
}

void checkout_git_env(struct checkout *c, const char *name, const char *value)
{
    wh_env_set(&c->env, name, value ? value : wh_env_get(environ, name));
}

/* Variables that tell git where things are, or to say more: then only git itself can answer. */
static bool environment_is_plain(void)
{
    static const char *const harmless[] = {"GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_HTTP_",  "GIT_SSL_",
                                           "GIT_SSH",     "GIT_ASKPASS",    "GIT_EDITOR", "GIT_PAGER",
                                           "GIT_PROXY_",  "GIT_TERMINAL_",  "GIT_LFS_",   "GIT_SEQUENCE_",
                                           "GIT_MERGE_",  "GIT_ALLOW_"};
    for (char **e = environ; e && *e; e++) {
        if (!wh_starts_with(*e, "GIT_"))
            continue;
        bool fine = false;
        for (size_t i = 0; i < WH_COUNT(harmless) && !fine; i++)
            fine = wh_starts_with(*e, harmless[i]);
        if (!fine)
            return false;
    }
    return true;
}

static bool parse_version(const char *text, unsigned out[3])
{
    const char *digits = text + strcspn(text, "0123456789");
    out[2] = 0;
    return sscanf(digits, "%u.%u.%u", &out[0], &out[1], &out[2]) >= 2;
}

bool checkout_git_at_least(const struct checkout *c, unsigned major, unsigned minor)
{
    return c->version_of_git[0] > major || (c->version_of_git[0] == major && c->version_of_git[1] >= minor);
}

static void user_agent(struct checkout *c)
{
    wh_autostr agent = {0};
    wh_str_addf(&agent, "git/%u.%u.%u (github-actions-checkout)", c->version_of_git[0], c->version_of_git[1],
                c->version_of_git[2]);
    const char *id = wh_action_env("ACTIONS_ORCHESTRATION_ID");
    if (id[0] && checkout_at_least(c, 6, 0, 2)) {
        wh_autofree char *clean = wh_strdup(id);
        for (char *p = clean; *p; p++)
            if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-", *p))
                *p = '_';
        wh_str_addf(&agent, " actions_orchestration_id/%s", clean);
    }
    checkout_git_env(c, "GIT_HTTP_USER_AGENT", wh_str_text(&agent));
}

/* The answer to `git version`; the post step has the main step's. */
static int ask_version(struct checkout *c, struct wh_str *out, struct wh_error *err)
{
    const char *known = wh_action_state(c->run, "gitVersion");
    size_t n = strlen(c->git);
    if (wh_starts_with(known, c->git) && known[n] == ' ') {
        CHECKOUT_ECHO(c, "version");
        wh_str_add(out, known + n + 1);
        wh_action_print("%s", wh_str_text(out));
        return 0;
    }
    if (CHECKOUT_GIT(c, 0, out, err, "version") < 0)
        return -1;
    wh_autofree char *version = wh_view_dup(wh_view_trim((struct wh_view){wh_str_text(out), out->len}));
    wh_autofree char *state = wh_printf("%s %s", c->git, version);
    return wh_action_save_state(c->run, "gitVersion", state, err);
}

int checkout_git_start(struct checkout *c, struct wh_error *err)
{
    c->git = wh_find_program("git", wh_action_env("PATH"), false);
    if (!c->git)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "git is not installed: checkout needs git 2.18 or newer (the download by the REST API "
                       "that GitHub's "
                       "runner falls back to is not supported yet by wherry)");
    c->may_answer = environment_is_plain();
    c->env = wh_strv_dup(environ);
    checkout_git_env(c, "GIT_TERMINAL_PROMPT", "0");
    checkout_git_env(c, "GCM_INTERACTIVE", "Never");
    checkout_git_env(c, "GIT_LFS_SKIP_SMUDGE", "1");
    if (c->may_answer) { /* gc.auto is 0: a process less for each fetch (git 2.31) */
        checkout_git_env(c, "GIT_CONFIG_COUNT", "1");
        checkout_git_env(c, "GIT_CONFIG_KEY_0", "maintenance.auto");
        checkout_git_env(c, "GIT_CONFIG_VALUE_0", "false");
    }
    wh_autostr out = {0};
    if (ask_version(c, &out, err) < 0)
        return -1;
    if (!parse_version(wh_str_text(&out), c->version_of_git))
        return wh_fail(err, WH_E_UNSUPPORTED, "Unable to determine git version");
    if (!checkout_git_at_least(c, 2, 18))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "Minimum required git version is 2.18. Your git ('%s') is %u.%u.%u", c->git,
                       c->version_of_git[0], c->version_of_git[1], c->version_of_git[2]);
    user_agent(c);
    return 0;
}
