#include "worker/record.h"

void wh_timeline_clear(struct wh_timeline *r)
{
    for (size_t i = 0; i < r->nannotations; i++) {
        free((char *)r->annotations[i].message);
        free((char *)r->annotations[i].title);
        free((char *)r->annotations[i].path);
    }
    free(r->annotations);
    free(r->name);
    free(r->ref_name);
    free(r->action_name);
    free(r->ref);
    free(r->control_ids);
    wh_str_free(&r->waiting);
    *r = (struct wh_timeline){0};
}

void wh_timeline_set_name(struct wh_timeline *r, const char *masked)
{
    size_t len = strlen(masked);
    bool cut = len > WH_MAX_RECORD_NAME;
    for (len = WH_MIN(len, WH_MAX_RECORD_NAME); cut && ((unsigned char)masked[len] & 0xc0) == 0x80;)
        len--; /* not within a character */
    char *copy = wh_printf("%.*s%s", (int)len, masked, cut ? "..." : "");
    free(r->name);
    r->name = copy;
}

void wh_timeline_annotate(struct wh_timeline *r, const struct wh_annotation *a)
{
    if (r->issues[a->level]++ >= WH_MAX_ANNOTATIONS)
        return;
    r->annotations = wh_reallocarray(r->annotations, r->nannotations + 1, sizeof *r->annotations);
    struct wh_annotation *copy = &r->annotations[r->nannotations++];
    *copy = *a;
    copy->message = wh_strdup(a->message);
    copy->title = wh_strdup(a->title);
    copy->path = wh_strdup(a->path);
}

struct wh_step_record wh_timeline_view(const struct wh_timeline *r)
{
    return (struct wh_step_record){.id = r->id,
                                   .number = r->number,
                                   .name = r->name,
                                   .ref_name = r->ref_name,
                                   .action_name = r->action_name,
                                   .ref = r->ref,
                                   .type = r->type,
                                   .status = r->status,
                                   .conclusion = r->conclusion,
                                   .started_ns = r->started_ns,
                                   .completed_ns = r->completed_ns,
                                   .background = r->background,
                                   .control = r->control,
                                   .control_ids = r->control_ids,
                                   .parallel_group = r->parallel_group,
                                   .annotations = r->annotations,
                                   .nannotations = r->nannotations};
}
