/* V1: one log's way: pages of whole lines, each a log of the server's own that the record then names; and
 * texts as attachments of the job's record (runner-protocol.md §4.7).
 *
 * The server has no word for "append at this position": a page whose answer was lost goes into a new log of
 * the same path, so that the one that the record names is whole. */
#include "github/plan_internal.h"

#include <stdio.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define PAGE_CALL_MS 120000
#define MAX_WORKING 4
#define SEARCH_BYTES ((size_t)64 << 10)
#define SUMMARY_TYPE "Checks.Step.Summary"
#define DIAGNOSTICS_TYPE "DistributedTask.Core.DiagnosticLog"

static uint64_t log_size(const struct gh_pages *g)
{
    return wh_spool_size(g->p->spool, g->log);
}

static bool log_ended(const struct gh_pages *g)
{
    return wh_spool_ended(g->p->spool, g->log);
}

static bool is_log(const struct gh_pages *g)
{
    return g->kind == WH_SPOOL_JOB_LOG || g->kind == WH_SPOOL_STEP_LOG;
}

static void keep_mark(struct gh_pages *g)
{
    wh_spool_set_mark(g->p->spool, g->log, WH_SPOOL_PAGE, &g->mark);
}

void gh_pages_clear(struct gh_pages *g)
{
    gh_tenant_cancel(&g->call);
    wh_later_cancel(&g->retry);
}

static void end_pages(struct gh_pages *g)
{
    g->mark.done = true;
    keep_mark(g);
    gh_pages_clear(g);
    gh_plan_place(g, false);
    gh_plan_moved(g->p);
}

static void set_why(struct gh_pages *g, const char *why)
{
    char *text = wh_strdup(why);
    free(g->why);
    g->why = text;
}

static void lose(struct gh_pages *g, const char *why)
{
    set_why(g, why);
    g->lost = true;
    wh_log_debug("log upload: given up: %s", why);
    end_pages(g);
}

static void pump_again(void *data)
{
    gh_pages_pump(data);
}

static bool hopeless(const struct gh_answer *answer)
{
    int s = answer->status;
    if (answer->err->code == WH_E_UNSUPPORTED || answer->err->code == WH_E_CORRUPT)
        return true;
    return gh_plan_gone(answer) || (s >= 400 && s <= 499 && s != 408 && s != 429);
}

/* True if the answer is none to go on with. */
static bool failed(struct gh_pages *g, struct gh_answer *answer)
{
    g->call = NULL;
    g->unheard = gh_patience_note(&g->p->patience, answer->err);
    if (!answer->err) {
        wh_backoff_reset(&g->backoff);
        return false;
    }
    if (hopeless(answer)) {
        lose(g, wh_error_text(answer->err));
        return true;
    }
    set_why(g, wh_error_text(answer->err));
    uint64_t wait = wh_backoff_next(&g->backoff);
    wh_log_debug("log upload: %s; next try in %llu ms", g->why, (unsigned long long)wait);
    wh_later(&g->retry, gh_plan_loop(g->p), wait, pump_again, g);
    gh_plan_place(g, false);
    return true;
}

static ssize_t read_page(void *data, uint64_t pos, char *buf, size_t cap, struct wh_error *err)
{
    struct gh_pages *g = data;
    return wh_spool_read(g->p->spool, g->log, g->mark.pos + pos, buf, cap, err);
}

/* ---- pages ---- */

static void on_page(void *data, struct gh_answer *answer)
{
    struct gh_pages *g = data;
    if (answer->err) {
        g->mark.flags = 0; /* what of it is there is not known: anew, in a new log */
        keep_mark(g);
    }
    if (failed(g, answer))
        return;
    gh_patience_moved(&g->p->patience);
    g->mark.pos += g->sending;
    g->mark.flags = 0;
    keep_mark(g);
    gh_plan_name_log(g->p, wh_spool_step_id(g->p->spool, g->log), g->mark.value);
    gh_pages_pump(g);
}

static void send_page(struct gh_pages *g)
{
    char log[24];
    snprintf(log, sizeof log, "%lld", (long long)g->mark.value);
    struct gh_tenant_request r = {.resource = WH_RESOURCE_LOGS,
                                  .method = "POST",
                                  .octets = {.read = read_page, .read_data = g, .fd_len = g->sending},
                                  .timeout_ms = PAGE_CALL_MS};
    g->call = gh_plan_call(g->p->job, &r, &(struct gh_plan_place){.log = log}, on_page, g);
}

static void on_created(void *data, struct gh_answer *answer)
{
    struct gh_pages *g = data;
    if (failed(g, answer))
        return;
    g->mark.value = wh_json_int(answer->json, "id", 0);
    if (g->mark.value <= 0) {
        lose(g, "the server's new log has no id");
        return;
    }
    g->mark.flags = GH_PAGE_CREATED;
    keep_mark(g);
    gh_pages_pump(g);
}

static void create_log(struct gh_pages *g)
{
    char now[40];
    const char *step = wh_spool_step_id(g->p->spool, g->log);
    wh_autofree char *path = wh_printf("logs\\%s", step ? step : g->p->job->id);
    wh_autojson *body = cJSON_CreateObject();
    wh_json_add_string(body, "path", path);
    wh_json_add_string(body, "createdOn", wh_time_iso(wh_now_ns(), 7, now));
    wh_json_add_string(body, "lastChangedOn", now);
    struct gh_tenant_request r = {.resource = WH_RESOURCE_LOGS, .method = "POST", .body = body, .tries = 3};
    g->call = gh_plan_call(g->p->job, &r, &(struct gh_plan_place){0}, on_created, g);
}

/* How many bytes the page at the mark has; 0: it is not whole yet. Follows from the log alone. */
static uint64_t page_len(struct gh_pages *g)
{
    uint64_t size = log_size(g), at = WH_MAX(g->searched, g->mark.pos + WH_LOG_PAGE - 1);
    wh_autofree char *buf = NULL;
    while (at < size) {
        if (!buf)
            buf = wh_malloc(SEARCH_BYTES);
        ssize_t n = wh_spool_read(g->p->spool, g->log, at, buf, SEARCH_BYTES, NULL);
        if (n <= 0)
            break;
        const char *end = memchr(buf, '\n', (size_t)n);
        if (end)
            return at + (uint64_t)(end - buf) + 1 - g->mark.pos;
        at += (uint64_t)n;
        g->searched = at;
    }
    return log_ended(g) ? size - g->mark.pos : 0;
}

/* ---- attachments ---- */

static void on_attached(void *data, struct gh_answer *answer)
{
    struct gh_pages *g = data;
    if (failed(g, answer))
        return;
    gh_patience_moved(&g->p->patience);
    end_pages(g);
}

static void attach(struct gh_pages *g, const char *type, const char *name, struct gh_octets octets,
                   gh_answer_fn done)
{
    struct gh_tenant_request r = {.resource = WH_RESOURCE_ATTACHMENTS,
                                  .method = "PUT",
                                  .octets = octets,
                                  .timeout_ms = PAGE_CALL_MS,
                                  .tries = 3};
    struct gh_plan_place place = {.timeline = true, .record = g->p->job->id, .type = type, .name = name};
    g->call = gh_plan_call(g->p->job, &r, &place, done, g);
}

static void on_described(void *data, struct gh_answer *answer)
{
    struct gh_pages *g = data;
    if (failed(g, answer))
        return;
    g->second = true;
    gh_pages_pump(g);
}

/* What lies in the archive is told beside it. */
static void describe(struct gh_pages *g, const char *name)
{
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "runnerName", g->p->worker);
    wh_json_add_string(json, "phaseName", g->p->job->display_name);
    wh_json_add_string(json, "fileName", name);
    wh_autofree char *text = wh_json_print(json);
    size_t stem = strlen(name) - (strlen(name) > 4 ? 4 : 0); /* without .zip */
    wh_autofree char *file = wh_printf("diagnostics-%.*s.json", (int)stem, name);
    attach(g, DIAGNOSTICS_TYPE, file, (struct gh_octets){.data = text, .len = strlen(text)}, on_described);
}

static void send_text(struct gh_pages *g)
{
    struct gh_octets all = {.read = read_page, .read_data = g, .fd_len = log_size(g)};
    const char *name = wh_spool_name(g->p->spool, g->log);
    if (g->kind == WH_SPOOL_SUMMARY)
        attach(g, SUMMARY_TYPE, wh_spool_step_id(g->p->spool, g->log), all, on_attached);
    else if (!g->second)
        describe(g, name ? name : "");
    else
        attach(g, DIAGNOSTICS_TYPE, name, all, on_attached);
}

void gh_pages_pump(struct gh_pages *g)
{
    if (g->call || g->retry || g->mark.done)
        return;
    if (log_ended(g) && g->mark.pos >= log_size(g)) {
        end_pages(g);
        return;
    }
    if (!gh_plan_told(g->p, wh_spool_step_id(g->p->spool, g->log)))
        return; /* the answer to its record comes back here */
    g->sending = is_log(g) ? page_len(g) : log_size(g);
    if (g->sending == 0) {
        gh_plan_place(g, false);
        return;
    }
    if (!g->working && g->p->working >= MAX_WORKING)
        return;
    gh_plan_place(g, true);
    if (!is_log(g))
        send_text(g);
    else if (g->mark.flags & GH_PAGE_CREATED)
        send_page(g);
    else
        create_log(g);
}
