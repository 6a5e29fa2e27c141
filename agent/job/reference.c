/* What a `uses:` text refers to (job-execution.md §11.5), and the end of a step. */
#include "wherry/job/message.h"

static int read_image(const char *text, const char *image, struct wh_step_reference *out,
                      struct wh_error *err)
{
    if (wh_view_trim(wh_view_of(image)).len == 0)
        return wh_fail(err, WH_E_PARSE, "Expected format docker://{image}. Actual '%s'", text);
    out->type = WH_REFERENCE_CONTAINER;
    out->image = wh_strdup(image);
    return 0;
}

int wh_step_reference_parse(const char *text, struct wh_step_reference *out, struct wh_error *err)
{
    *out = (struct wh_step_reference){.type = WH_REFERENCE_REPOSITORY};
    if (wh_starts_with_ci(text, "docker://"))
        return read_image(text, text + strlen("docker://"), out, err);
    if (wh_starts_with(text, "./") || wh_starts_with(text, ".\\")) {
        out->repository_type = wh_strdup("self");
        out->path = wh_strdup(text);
        return 0;
    }
    struct wh_view name;
    struct wh_view ref;
    struct wh_view owner = {0};
    struct wh_view rest;
    struct wh_view repo = {0};
    struct wh_view path = {0};
    bool good = wh_view_split(wh_view_of(text), '@', &name, &ref) && ref.len > 0 &&
                wh_view_split(name, '/', &owner, &rest);
    if (good)
        (void)wh_view_split(rest, '/', &repo, &path);
    if (!good || owner.len == 0 || repo.len == 0)
        return wh_fail(err, WH_E_PARSE, "Expected format {owner}/{repo}[/path]@{ref}. Actual '%s'", text);
    out->name = wh_printf("%.*s/%.*s", (int)owner.len, owner.data, (int)repo.len, repo.data);
    out->ref = wh_view_dup(ref);
    out->repository_type = wh_strdup("GitHub");
    out->path = wh_view_dup(path);
    return 0;
}

void wh_step_reference_clear(struct wh_step_reference *r)
{
    free(r->name);
    free(r->ref);
    free(r->repository_type);
    free(r->path);
    free(r->image);
    *r = (struct wh_step_reference){0};
}

void wh_step_clear(struct wh_step *s)
{
    free(s->id);
    free(s->name);
    free(s->context_name);
    free(s->display_name);
    wh_token_free(s->display_name_token);
    wh_step_reference_clear(&s->reference);
    wh_token_free(s->inputs);
    wh_token_free(s->environment);
    free(s->condition);
    wh_token_free(s->continue_on_error);
    wh_token_free(s->timeout_minutes);
    free(s->control);
    wh_strv_free(s->step_ids);
    free(s->parallel_group);
}
