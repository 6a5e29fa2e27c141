/* Which native action a `uses:` means, and which version of it. */
#include <ctype.h>

#include "actions/list.h"
#include "actions/releases.h"
#include "wherry/actions/action.h"

static const struct wh_action *const actions[] = {
#define WH_ACTION_ROW(name) &wh_action_##name,
    WH_ACTIONS(WH_ACTION_ROW)
#undef WH_ACTION_ROW
        NULL};

bool wh_action_version_at_least(const struct wh_action_version *v, int major, int minor, int patch)
{
    if (v->major != major)
        return v->major > major;
    if (v->minor != minor)
        return v->minor > minor;
    return v->patch >= patch;
}

/* Digits up to the end or a dot; -1 if there are none or too many. */
static int take_number(struct wh_reader *r)
{
    int value = -1;
    while (isdigit(wh_reader_peek(r))) {
        value = (value < 0 ? 0 : value) * 10 + (wh_reader_next(r) - '0');
        if (value >= WH_NEWEST)
            return -1;
    }
    return value;
}

static bool parse_tag(const char *ref, struct wh_action_version *out)
{
    struct wh_reader r = wh_reader_of(ref, strlen(ref));
    (void)(wh_reader_take_text(&r, "refs/tags/") || wh_reader_take_text(&r, "refs/heads/"));
    (void)(wh_reader_take_text(&r, "releases/")); /* release branches of several actions: releases/v4 */
    if (!wh_reader_take(&r, 'v') && !isdigit(wh_reader_peek(&r)))
        return false;
    *out = (struct wh_action_version){
        .major = take_number(&r), .minor = WH_NEWEST, .patch = WH_NEWEST, .known = true};
    if (out->major < 0)
        return false;
    if (wh_reader_take(&r, '.') && (out->minor = take_number(&r)) < 0)
        return false;
    if (out->minor != WH_NEWEST && wh_reader_take(&r, '.') && (out->patch = take_number(&r)) < 0)
        return false;
    /* "v4.0.0-beta.1" counts as its release. */
    return wh_reader_end(&r) || wh_reader_peek(&r) == '-';
}

static bool is_commit(const char *ref)
{
    size_t len = strlen(ref);
    if (len != 40 && len != 64)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isxdigit((unsigned char)ref[i]))
            return false;
    return true;
}

static bool read_ref(const struct wh_action *action, const char *ref, struct wh_action_version *out)
{
    *out = (struct wh_action_version){
        .major = action->max_major, .minor = WH_NEWEST, .patch = WH_NEWEST, .known = true};
    if (is_commit(ref)) {
        const char *tag = wh_action_release_of(action->repository, ref);
        if (tag)
            return parse_tag(tag, out);
        out->known = false;
        return true;
    }
    if (wh_streq(ref, "main") || wh_streq(ref, "master"))
        return true;
    return parse_tag(ref, out);
}

const struct wh_action *wh_action_find(const char *repository, const char *path, const char *ref,
                                       struct wh_action_version *version, struct wh_error *err)
{
    const char *slash = path && path[0] ? "/" : "";
    const char *below = path ? path : "";
    const struct wh_action *found = NULL;
    for (size_t i = 0; actions[i] && !found; i++)
        if (wh_streq_ci(actions[i]->repository, repository) &&
            wh_streq(actions[i]->path ? actions[i]->path : "", below))
            found = actions[i];
    if (!found) {
        wh_fail(err, WH_E_UNSUPPORTED,
                "Action '%s%s%s@%s' is not supported yet by wherry: it has no native implementation of it.",
                repository, slash, below, ref);
        return NULL;
    }
    if (!read_ref(found, ref, version)) {
        wh_fail(err, WH_E_UNSUPPORTED,
                "Action '%s@%s' is not supported yet by wherry: '%s' is neither a version tag (v%d) nor a "
                "commit.",
                repository, ref, ref, found->max_major);
        return NULL;
    }
    if (version->major < found->min_major || version->major > found->max_major) {
        wh_fail(err, WH_E_UNSUPPORTED,
                "Action '%s@%s' is not supported yet by wherry: versions v%d to v%d are.", repository, ref,
                found->min_major, found->max_major);
        return NULL;
    }
    return found;
}
