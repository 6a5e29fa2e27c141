#include "wherry/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"

static enum wh_log_level max_level = WH_LOG_INFO;
static bool journal;
static int copy_fd = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const names[] = {"error", "warning", "info", "debug"};

struct name {
    char *text;
    struct name *next;
};
static struct name *known;
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *inherited;           /* of the process that started us */
static _Thread_local const char *about; /* one of known; NULL: nobody */

static void read_environment(void)
{
    inherited = wh_strdup(getenv(WH_LOG_NAME_ENV));
    unsetenv(WH_LOG_NAME_ENV); /* not for what we start: a job's steps speak for themselves */
    const char *wanted = getenv("WHERRY_LOG");
    for (size_t i = 0; wanted && i < WH_COUNT(names); i++)
        if (strcmp(wanted, names[i]) == 0)
            max_level = (enum wh_log_level)i;
    journal = getenv("JOURNAL_STREAM") != NULL && !isatty(STDERR_FILENO);
}

void wh_log_start(void)
{
    pthread_once(&once, read_environment);
}

void wh_log_set_level(enum wh_log_level level)
{
    pthread_once(&once, read_environment);
    max_level = level;
}

void wh_log_copy(int fd)
{
    copy_fd = fd;
}

bool wh_log_enabled(enum wh_log_level level)
{
    pthread_once(&once, read_environment);
    return level <= max_level || copy_fd >= 0;
}

static void put(int fd, const char *line)
{
    ssize_t written = write(fd, line, strlen(line));
    (void)written; /* nowhere left to tell */
}

const char *wh_log_name(void)
{
    return about;
}

const char *wh_log_enter(const char *name)
{
    const char *before = about;
    struct name *n = NULL;
    if (name) {
        pthread_mutex_lock(&known_lock);
        for (n = known; n && strcmp(n->text, name) != 0; n = n->next)
            ;
        if (!n) {
            n = wh_malloc(sizeof *n);
            *n = (struct name){wh_strdup(name), known};
            known = n;
        }
        pthread_mutex_unlock(&known_lock);
    }
    about = n ? n->text : NULL;
    return before;
}

void wh_log(enum wh_log_level level, const char *fmt, ...)
{
    if (!wh_log_enabled(level))
        return;
    static const int priorities[] = {3, 4, 6, 7};
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    char stamp[40];
    const char *who = about ? about : inherited ? inherited : "";
    const char *colon = *who ? ": " : "";
    /* One write a line: lines of several processes don't mix. */
    wh_autofree char *line =
        wh_printf("%s %-7s %s%s%s\n", wh_time_iso(wh_now_ns(), 3, stamp), names[level], who, colon, text);
    if (copy_fd >= 0)
        put(copy_fd, line);
    if (level > max_level)
        return;
    wh_autofree char *entry = journal ? wh_printf("<%d>%s%s%s\n", priorities[level], who, colon, text) : NULL;
    put(STDERR_FILENO, entry ? entry : line);
}

bool wh_color_ok(int fd)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    return isatty(fd) && (!no_color || *no_color == '\0') && term && strcmp(term, "dumb") != 0;
}
