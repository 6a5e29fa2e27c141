/* What an action says: log lines and workflow commands on stdout, escaped so that a text can't start a
 * command of its own. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/actions/action.h"
#include "wherry/base/fs.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Whole lines by one write, past stdio: a line is never cut by another thread's. */
static void say(const char *text, size_t len)
{
    pthread_mutex_lock(&lock);
    fflush(stdout);
    (void)wh_write_all(STDOUT_FILENO, text, len, NULL);
    pthread_mutex_unlock(&lock);
}

static void add_escaped(struct wh_str *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        switch (*p) {
        case '%':
            wh_str_add(out, "%25");
            break;
        case '\r':
            wh_str_add(out, "%0D");
            break;
        case '\n':
            wh_str_add(out, "%0A");
            break;
        default:
            wh_str_addc(out, *p);
        }
    }
}

static void command(const char *name, const char *data)
{
    wh_autostr line = {0};
    wh_str_addf(&line, "::%s::", name);
    add_escaped(&line, data);
    wh_str_addc(&line, '\n');
    say(line.data, line.len);
}

/* fmt and the arguments after it as owned text, in a function that has them. */
#define FORMAT(out)                                                                                          \
    do {                                                                                                     \
        va_list args;                                                                                        \
        va_start(args, fmt);                                                                                 \
        (out) = wh_vprintf(fmt, args);                                                                       \
        va_end(args);                                                                                        \
    } while (0)

void wh_action_print(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    wh_autofree char *line = wh_printf("%s\n", text);
    say(line, strlen(line));
}

void wh_action_group(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    command("group", text);
}

void wh_action_group_end(void)
{
    command("endgroup", "");
}

void wh_action_error(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    command("error", text);
}

void wh_action_warning(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    command("warning", text);
}

/* Properties of a command end at `:` and `,`. */
static void add_property(struct wh_str *out, const char *name, const char *text)
{
    wh_autostr escaped = {0};
    add_escaped(&escaped, text);
    wh_str_addf(out, "%s=", name);
    for (const char *p = wh_str_text(&escaped); *p; p++)
        if (*p == ':' || *p == ',')
            wh_str_add(out, *p == ':' ? "%3A" : "%2C");
        else
            wh_str_addc(out, *p);
}

void wh_action_warning_at(const char *file, int line, const char *title, const char *text)
{
    wh_autostr out = {0};
    wh_str_add(&out, "::warning ");
    if (title) {
        add_property(&out, "title", title);
        wh_str_addc(&out, ',');
    }
    add_property(&out, "file", file);
    wh_str_addf(&out, ",line=%d::", line);
    add_escaped(&out, text);
    wh_str_addc(&out, '\n');
    say(out.data, out.len);
}

void wh_action_notice(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    command("notice", text);
}

void wh_action_debug(const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    command("debug", text);
}

void wh_action_mask(const char *value)
{
    if (value && value[0] != '\0')
        command("add-mask", value);
}

int wh_action_fail(const struct wh_error *err)
{
    wh_action_error("%s", wh_error_text(err));
    return 1;
}
