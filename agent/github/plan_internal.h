/* V1 reporting: what its files share. */
#ifndef WH_GITHUB_PLAN_INTERNAL_H
#define WH_GITHUB_PLAN_INTERNAL_H

#include "github/job_internal.h"
#include "github/patience.h"
#include "github/tenant.h"
#include "wherry/github/plan.h"

/* ---- plan_wire.c: the words ---- */
/* A step's record, or the job's own. */
cJSON *gh_plan_step(const struct wh_github_job *job, const struct wh_step_record *step, const char *worker,
                    int64_t log);
cJSON *gh_plan_job(const struct wh_github_job *job, const char *worker, int64_t started_ns,
                   const struct wh_github_completion *completion, int64_t log);
/* The event JobCompleted. */
cJSON *gh_plan_event(const struct wh_github_job *job, const struct wh_github_completion *completion);

/* ---- a call to a resource of the job's plan ---- */
struct gh_plan_place { /* NULL: unset */
    const char *record, *log, *type, *name;
    bool timeline;
};
struct gh_tenant_call *gh_plan_call(struct wh_github_job *job, struct gh_tenant_request *request,
                                    const struct gh_plan_place *place, gh_answer_fn done, void *data);
/* The plan is over or never was ours: nothing of it will be taken any more (§4.6). */
bool gh_plan_gone(const struct gh_answer *answer);

/* ---- plan_logs.c: one log's way ---- */
enum gh_page_flags { GH_PAGE_CREATED = 1 }; /* mark.value is the id of the log for the page under way */
struct gh_pages {
    struct wh_plan *p;
    int log;
    enum wh_spool_kind kind;
    struct wh_spool_mark mark;
    bool lost, working;
    bool unheard;      /* nobody answered the latest try */
    uint64_t sending;  /* bytes of the page under way */
    uint64_t searched; /* up to here there is no end of a page */
    bool second;       /* of diagnostics: the file that describes them went first */
    struct gh_tenant_call *call;
    struct wh_later *retry;
    struct wh_backoff backoff;
    char *why;
    struct gh_pages *next, *prev;
};
void gh_pages_pump(struct gh_pages *g);
void gh_pages_clear(struct gh_pages *g);

/* ---- plan.c ---- */
struct gh_plan_record {
    struct wh_step_record *step; /* NULL: the job's own */
    int64_t log;
    bool dirty, under_way;
    bool told; /* the server knows it */
};

struct wh_plan {
    struct wh_github_job *job;
    struct wh_spool *spool;
    char *worker;
    bool off;
    int64_t started_ns;
    struct gh_plan_record *records; /* [0] is the job's */
    size_t nrecords;
    cJSON *job_record; /* as it stands at the end */
    uint64_t last_ms;
    struct gh_tenant_call *call;
    struct wh_later *later;
    struct wh_backoff backoff;
    bool unheard; /* nobody answered the latest try */
    bool gone;    /* nobody wants records of this plan any more */
    wh_github_done_fn flushed;
    void *flushed_data;

    struct gh_pages *uploads;
    struct gh_pages **by_log;
    size_t nlogs;
    unsigned working;

    bool finishing;
    struct gh_patience patience;
    struct wh_later *check;
    wh_github_done_fn done;
    void *done_data;
};
uv_loop_t *gh_plan_loop(const struct wh_plan *p);
void gh_plan_moved(struct wh_plan *p);
/* The record of this log names it from now on. step_id NULL: the job's. */
void gh_plan_name_log(struct wh_plan *p, const char *step_id, int64_t log);
/* The server knows the record that this log belongs to (or never will). */
bool gh_plan_told(struct wh_plan *p, const char *step_id);
void gh_plan_place(struct gh_pages *g, bool working);

#endif
