/* Log throughput without the network: bench_log [LINES] [BYTES] [SECRETS] prints the best of 5 for that many
 * lines (1000000) of that many bytes on average (120) through line splitting, commands, matchers, masks (50
 * secrets), time stamps, the live feed's queue and messages, the spool, and the reading of both logs' blocks
 * for their upload. All on one thread, as in a worker. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "github/feed_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/github/results.h"
#include "wherry/github/spool.h"
#include "worker/job.h"

#define CHUNK ((size_t)64 << 10)
#define FEED_EACH_NS 250000000u

struct bench {
    struct wh_sink sink;
    struct wh_spool *spool;
    struct wh_feed *feed;
    struct wh_github_job service;
    uint64_t fed_ns, uploaded, messages;
    int log;
};

static void line(struct wh_sink *s, const struct wh_timeline *r, uint64_t number, const char *text,
                 size_t len)
{
    wh_feed_line(((struct bench *)s)->feed, r->id, (int64_t)number, text, len);
}

/* What an upload does with a block, but for the socket. */
static void take_blocks(struct bench *b, int log, bool all)
{
    static char buf[256 << 10];
    struct wh_spool_mark mark = wh_spool_mark(b->spool, log, WH_SPOOL_BLOB);
    while (wh_spool_size(b->spool, log) - mark.pos > (all ? 0 : WH_LOG_BLOCK)) {
        uint64_t end = WH_MIN(mark.pos + WH_LOG_BLOCK, wh_spool_size(b->spool, log));
        while (mark.pos < end) {
            ssize_t n =
                wh_spool_read(b->spool, log, mark.pos, buf, (size_t)WH_MIN(end - mark.pos, sizeof buf), NULL);
            if (n <= 0)
                abort();
            mark.pos += (uint64_t)n;
            b->uploaded += (uint64_t)n;
        }
        wh_spool_set_mark(b->spool, log, WH_SPOOL_BLOB, &mark);
    }
}

static void log_lines(struct wh_sink *s, struct wh_timeline *r, const char *data, size_t len, uint64_t lines)
{
    struct bench *b = (struct bench *)s;
    wh_autoerror err = {0};
    (void)r;
    if (wh_spool_write(b->spool, b->log, data, len, lines, false, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        exit(1);
    }
    take_blocks(b, b->log, false);
    take_blocks(b, WH_SPOOL_JOB, false);
}

static const struct wh_sink_ops ops = {.line = line, .log = log_lines};

static void feed_pass(struct bench *b)
{
    uint64_t now = wh_mono_ns();
    cJSON *message = NULL;
    int64_t sent = 0;
    if (now - b->fed_ns < FEED_EACH_NS)
        return;
    b->fed_ns = now;
    while (sent < FEED_LINES_PER_PASS && feed_take(b->feed, &message)) {
        sent += wh_json_int(message, "count", 0);
        wh_autofree char *text = wh_json_print(message);
        cJSON_Delete(message);
        b->messages++;
    }
}

/* Like a compiler's: words, paths, numbers, now and then colours and UTF-8; no secret. */
static char *make_text(size_t lines, size_t bytes, size_t *len)
{
    static const char *const words[] = {"Building",       "CXX",
                                        "object",         "CMakeFiles/core.dir/src/",
                                        "warning:",       "[ 42%]",
                                        "unused",         "variable",
                                        "downloading",    "https://example.com/pool",
                                        "\x1b[36m",       "\x1b[0m",
                                        "done",           "→",
                                        "0x7fff5fbff8c0", "in 1.3s"};
    wh_autostr out = {0};
    uint64_t state = 88172645463325252u;
    wh_str_reserve(&out, lines * (bytes + 16));
    for (size_t i = 0; i < lines; i++) {
        size_t start = out.len, want = bytes / 2 + (size_t)(state >> 20) % (bytes + 1);
        do {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            wh_str_add(&out, words[state >> 60]);
            wh_str_addf(&out, " %u ", (unsigned)(state >> 44 & 0xffff));
        } while (out.len - start < want);
        wh_str_addc(&out, '\n');
    }
    *len = out.len;
    return wh_str_steal(&out);
}

static void add_secrets(struct wh_masker *m, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        wh_autofree char *secret =
            wh_printf("%c%08x-S3cr3t-%u-%08x", (char)('A' + i * 7 % 52), i * 2654435761u, i, ~i * 40503u);
        wh_masker_add_secret(m, secret, NULL);
    }
}

/* Of the one thread that there is: other work on the machine does not count. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double once(const char *text, size_t len, unsigned secrets, struct bench *b)
{
    struct wh_job j = {.masker = wh_masker_new(), .sink = &b->sink};
    struct wh_step step = {.reference = {.type = WH_REFERENCE_SCRIPT}};
    struct wh_run run = {.step = &step};
    struct wh_timeline record = {.id = "57e91111-0000-4000-8000-000000000001", .name = (char *)"bench"};
    struct wh_line_splitter lines = {0};
    struct wh_spool_options o = {.consumers = 1u << WH_SPOOL_BLOB};
    wh_autoerror err = {0};
    char folder[] = "/var/tmp/bench-log-XXXXXX";
    if (!mkdtemp(folder) || !(b->spool = wh_spool_create(folder, &o, &err))) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        exit(1);
    }
    b->sink.ops = &ops;
    b->service.feed_url = (char *)"ws://localhost/";
    b->feed = wh_feed_new(&b->service);
    b->feed->tick = (void *)1; /* no loop here: feed_pass() is the timer */
    b->log = wh_spool_log(b->spool, record.id, NULL);
    add_secrets(j.masker, secrets);
    j.current = &record;
    j.running = &run;
    double start = cpu_seconds();
    for (size_t at = 0; at < len; at += CHUNK) {
        wh_lines_feed(&lines, text + at, WH_MIN(CHUNK, len - at), wh_output_line, &j);
        feed_pass(b);
        if (at / CHUNK % 16 == 15)
            wh_job_flush_lines(&j);
    }
    wh_lines_end(&lines, wh_output_line, &j);
    wh_job_flush_lines(&j);
    take_blocks(b, b->log, true);
    take_blocks(b, WH_SPOOL_JOB, true);
    double seconds = cpu_seconds() - start;
    b->feed->tick = NULL;
    wh_feed_free(b->feed);
    wh_spool_delete(b->spool);
    wh_str_free(&record.waiting);
    wh_lines_clear(&lines);
    wh_masker_free(j.masker);
    return seconds;
}

int main(int argc, char **argv)
{
    size_t lines = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 120;
    unsigned secrets = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 50;
    size_t len = 0;
    wh_autofree char *text = make_text(lines, bytes, &len);
    double best = 1e9;
    struct bench b;
    for (int i = 0; i < 5; i++) {
        b = (struct bench){0};
        double seconds = once(text, len, secrets, &b);
        best = seconds < best ? seconds : best;
    }
    printf("log      %.3f s of one core  %.0f MB/s in  %.2f M lines/s  (%zu lines, %.1f MB in, %.1f MB read "
           "for upload, "
           "%llu "
           "live messages)\n",
           best, (double)len / best / 1e6, (double)lines / best / 1e6, lines, (double)len / 1e6,
           (double)b.uploaded / 1e6, (unsigned long long)b.messages);
    return 0;
}
