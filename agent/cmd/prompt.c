/* Questions on the terminal. */
#include "cmd/prompt.h"

#include <stdio.h>
#include <termios.h>
#include <unistd.h>

bool cmd_prompt_is_terminal(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* One line without its end; false at the end of input. Read byte by byte: what follows belongs to others. */
static bool read_line(struct wh_str *out)
{
    char c;
    bool any = false;
    wh_str_reserve(out, CMD_MAX_ANSWER + 1); /* never moved: a secret leaves no copy */
    while (read(STDIN_FILENO, &c, 1) == 1) {
        any = true;
        if (c == '\n')
            break;
        if (out->len < CMD_MAX_ANSWER)
            wh_str_addc(out, c);
    }
    return any;
}

static void ask(const char *question, const char *preset, bool optional)
{
    printf("%s ", question);
    if (preset && *preset)
        printf("[press Enter for %s] ", preset);
    else if (optional)
        printf("[press Enter to skip] ");
    fflush(stdout);
}

char *cmd_prompt(const char *question, const char *preset, bool optional, struct wh_error *err)
{
    for (;;) {
        wh_autostr line = {0};
        ask(question, preset, optional);
        bool more = read_line(&line);
        struct wh_view answer = wh_view_trim((struct wh_view){wh_str_text(&line), line.len});
        if (!isatty(STDIN_FILENO))
            putchar('\n');
        if (answer.len)
            return wh_view_dup(answer);
        if (preset && *preset)
            return wh_strdup(preset);
        if (optional)
            return wh_strdup("");
        if (!more) {
            wh_fail(err, WH_E_ARGUMENT, "no answer to \"%s\": standard input has ended", question);
            return NULL;
        }
    }
}

static bool echo_off(struct termios *before)
{
    if (tcgetattr(STDIN_FILENO, before))
        return false;
    struct termios quiet = *before;
    quiet.c_lflag &= (tcflag_t)~ECHO;
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet) == 0;
}

struct wh_secret *cmd_prompt_secret(const char *question, struct wh_error *err)
{
    struct wh_secret *secret = NULL;
    for (bool more = true; more && !secret;) {
        struct termios before;
        struct wh_str line = {0};
        bool quiet = echo_off(&before); /* before the question: who answers at once shows nothing */
        ask(question, NULL, false);
        more = read_line(&line);
        if (quiet)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
        putchar('\n');
        struct wh_view answer = wh_view_trim((struct wh_view){wh_str_text(&line), line.len});
        if (answer.len)
            secret = wh_secret_new(answer.data, answer.len);
        wh_str_wipe(&line);
    }
    if (!secret)
        wh_fail(err, WH_E_ARGUMENT, "no answer to \"%s\": standard input has ended", question);
    return secret;
}

int cmd_prompt_yes(const char *question, bool *yes, struct wh_error *err)
{
    for (;;) {
        wh_autofree char *answer = cmd_prompt(question, "N", false, err);
        if (!answer)
            return -1;
        *yes = wh_streq_ci(answer, "y") || wh_streq_ci(answer, "true");
        if (*yes || wh_streq_ci(answer, "n") || wh_streq_ci(answer, "false"))
            return 0;
        puts("Answer Y or N.");
    }
}
