/* From tags and the event to versions: which rules fire, what they give, and whether `latest` comes with it.
 */
#include <stdlib.h>

#include "actions/handlebars.h"
#include "actions/metadata.h"
#include "actions/moment.h"

#define SHORT_SHA 7

/* ---- expressions ---- */

/* The rest of ref behind prefix; NULL if it does not begin so. */
static const char *below(const char *ref, const char *prefix)
{
    return wh_starts_with(ref, prefix) ? ref + strlen(prefix) : NULL;
}

static char *short_sha(const char *sha, struct wh_error *err)
{
    const char *given = wh_action_env("DOCKER_METADATA_SHORT_SHA_LENGTH");
    uint64_t length = SHORT_SHA;
    if (given[0] && !wh_parse_u64(given, 1000000, &length)) {
        wh_fail(err, WH_E_ARGUMENT, "DOCKER_METADATA_SHORT_SHA_LENGTH is not a valid number: %s", given);
        return NULL;
    }
    return wh_strndup(sha, strnlen(sha, (size_t)length));
}

static char *base_ref(const struct metadata_context *c)
{
    const char *pushed = wh_json_string(c->payload, "base_ref");
    if (below(c->ref, "refs/tags/") && pushed) {
        const char *branch = below(pushed, "refs/heads/");
        return wh_strdup(branch ? branch : pushed);
    }
    const char *base = wh_json_string(wh_json_get(wh_json_get(c->payload, "pull_request"), "base"), "ref");
    return wh_strdup(below(c->ref, "refs/pull/") && base ? base : "");
}

static bool is_default_branch(const struct metadata_context *c)
{
    static const char *const always[] = {"create", "discussion", "issues", "schedule"};
    const char *branch = wh_starts_with(c->ref, "refs/heads/") ? c->ref + strlen("refs/heads/") : c->ref;
    if (!branch[0])
        return false;
    if (wh_streq(wh_json_string(wh_json_get(c->payload, "repository"), "default_branch"), branch))
        return true;
    for (size_t i = 0; i < WH_COUNT(always); i++)
        if (strstr(c->event, always[i])) /* events that are about the default branch */
            return true;
    return false;
}

char *metadata_expand_date(struct metadata *m, const struct wh_handlebars_call *call, struct wh_error *err)
{
    bool now = wh_streq(call->name, "date");
    const char *zone = "UTC";
    if (!now && !wh_streq(call->name, "commit_date"))
        return NULL;
    for (size_t i = 0; i < call->noptions; i++) {
        if (!wh_streq(call->options[i].name, "tz")) {
            wh_fail(err, WH_E_ARGUMENT, "Unknown %s attribute", call->options[i].name);
            return NULL;
        }
        zone = call->options[i].value;
    }
    if (!call->argument) {
        wh_fail(err, WH_E_ARGUMENT, "%s needs a format: {{%s 'YYYYMMDD'}}", call->name, call->name);
        return NULL;
    }
    bool unknown;
    char *text = wh_moment_format(now ? m->now : m->context.commit_date, zone, call->argument, &unknown);
    if (unknown)
        wh_action_warning(
            "%s: this machine has no data for the time zone %s (package tzdata); its own zone is used",
            call->name, zone);
    return text;
}

static char *expression(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    struct metadata *m = data;
    const struct metadata_context *c = &m->context;
    const char *name = call->name, *rest = "";
    if (wh_streq(name, "branch"))
        rest = below(c->ref, "refs/heads/");
    else if (wh_streq(name, "tag"))
        rest = below(c->ref, "refs/tags/");
    else if (wh_streq(name, "sha"))
        return short_sha(c->sha, err);
    else if (wh_streq(name, "base_ref"))
        return base_ref(c);
    else if (wh_streq(name, "is_default_branch"))
        rest = is_default_branch(c) ? "true" : "false";
    else if (wh_streq(name, "is_not_default_branch"))
        rest = is_default_branch(c) ? "false" : "true";
    else
        return metadata_expand_date(m, call, err);
    return wh_strdup(rest ? rest : "");
}

char *metadata_expand(struct metadata *m, const char *text, struct wh_error *err)
{
    return wh_handlebars(text, expression, m, err);
}

/* ---- one version ---- */

char *metadata_sanitize(const char *tag)
{
    wh_autostr out = {0};
    bool run = false;
    for (const char *p = tag; *p; p++) {
        bool good = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                    *p == '.' || *p == '_' || *p == '-';
        if (good)
            wh_str_addc(&out, *p);
        else if (!run)
            wh_str_addc(&out, '-');
        run = !good;
    }
    return wh_str_steal(&out);
}

/* The tag's own prefix, even an empty one, is in the flavor's place; suffixes as well. */
static char *affix(struct metadata *m, const struct metadata_tag *t, const char *name, const char *flavor,
                   struct wh_error *err)
{
    return metadata_expand(m, metadata_has_attr(t, name) ? metadata_attr(t, name) : flavor, err);
}

/* value with prefix and suffix becomes a version. latest: what `latest=auto` means for it. */
static int add_version(struct metadata *m, const struct metadata_tag *t, const char *value, bool latest,
                       struct wh_error *err)
{
    wh_autofree char *prefix = affix(m, t, "prefix", m->in.flavor.prefix, err);
    wh_autofree char *suffix = prefix ? affix(m, t, "suffix", m->in.flavor.suffix, err) : NULL;
    if (!suffix)
        return -1;
    wh_autofree char *whole = wh_printf("%s%s%s", prefix, value, suffix);
    if (!whole[0])
        return 0;
    wh_autofree char *clean = metadata_sanitize(whole);
    if (!m->main)
        m->main = wh_steal(&clean);
    else if (!wh_streq(m->main, clean) && !wh_strv_has(m->partial, clean))
        wh_strv_add(&m->partial, clean);
    const char *flavor = m->in.flavor.latest;
    if (m->latest < 0)
        m->latest = wh_streq(flavor, "auto") ? latest : wh_streq(flavor, "true");
    return 0;
}

/* ---- the types ---- */

static char *schedule_value(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    return metadata_expand_date(data, call, err);
}

static int do_schedule(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    if (!strstr(m->context.event, "schedule"))
        return 0;
    wh_autofree char *value = wh_handlebars(metadata_attr(t, "pattern"), schedule_value, m, err);
    return value ? add_version(m, t, value, false, err) : -1;
}

/* value=, or the tag's name. 0: there is neither. */
static int value_of(struct metadata *m, const struct metadata_tag *t, char **value, struct wh_error *err)
{
    const char *given = metadata_attr(t, "value"), *tag = below(m->context.ref, "refs/tags/");
    *value = given[0] ? metadata_expand(m, given, err) : tag ? wh_strdup(tag) : NULL;
    return *value ? 1 : given[0] ? -1 : 0;
}

/* match=: its first group. */
static int apply_match(const struct metadata_tag *t, char **value, struct wh_error *err)
{
    const char *pattern = metadata_attr(t, "match");
    wh_autofree char *group = NULL;
    int found = pattern[0] ? metadata_match(pattern, "", *value, 1, &group, err) : 0;
    if (found < 0)
        return -1;
    if (pattern[0] && found == 0)
        wh_action_warning("%s does not match %s.", pattern, *value);
    if (found == 1 && !group)
        return wh_fail(err, WH_E_ARGUMENT,
                       "match=%s: the expression has no group that matches (put the version's "
                       "part in parentheses)",
                       pattern);
    if (group) {
        free(*value);
        *value = wh_steal(&group);
    }
    for (char *p = *value; *p; p++)
        *p = *p == '/' ? '-' : *p;
    return 0;
}

static char *dots_to_commas(const char *text)
{
    char *copy = wh_strdup(text ? text : "");
    for (char *p = copy; *p; p++)
        *p = *p == '.' ? ',' : *p;
    return copy;
}

struct semver_text {
    struct metadata_semver v;
    const char *raw;
};

static char *semver_value(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    const struct semver_text *s = data;
    (void)err;
    if (wh_streq(call->name, "raw"))
        return wh_strdup(s->raw);
    if (wh_streq(call->name, "version"))
        return metadata_semver_version(&s->v);
    if (wh_streq(call->name, "major"))
        return wh_printf("%llu", s->v.major);
    if (wh_streq(call->name, "minor"))
        return wh_printf("%llu", s->v.minor);
    if (wh_streq(call->name, "patch"))
        return wh_printf("%llu", s->v.patch);
    if (wh_streq(call->name, "prerelease"))
        return dots_to_commas(s->v.prerelease);
    return wh_streq(call->name, "build") ? dots_to_commas(s->v.build) : NULL;
}

static int do_semver(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    wh_autofree char *raw = NULL;
    int found = value_of(m, t, &raw, err);
    if (found <= 0 || apply_match(t, &raw, err) < 0)
        return found == 0 ? 0 : -1;
    struct semver_text s = {.raw = raw};
    if (!metadata_semver_parse(raw, &s.v)) {
        wh_action_warning("%s is not a valid semver. More info: https://semver.org/", raw);
        return 0;
    }
    const char *pattern = metadata_attr(t, "pattern");
    bool release = s.v.prerelease == NULL;
    if (!release && !wh_handlebars_is_only(pattern, "raw"))
        pattern = "{{version}}";
    wh_autofree char *value = wh_handlebars(pattern, semver_value, &s, err);
    metadata_semver_free(&s.v);
    return value ? add_version(m, t, value, release, err) : -1;
}

struct pep440_text {
    struct metadata_pep440 v;
    const char *raw;
};

static char *pep440_value(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    const struct pep440_text *p = data;
    static const char *const parts[] = {"major", "minor", "patch"};
    (void)err;
    if (wh_streq(call->name, "raw"))
        return wh_strdup(p->raw);
    if (wh_streq(call->name, "version"))
        return wh_strdup(p->v.clean);
    for (size_t i = 0; i < WH_COUNT(parts); i++)
        if (wh_streq(call->name, parts[i]))
            return wh_strdup(p->v.release[i]);
    return NULL;
}

static int do_pep440(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    wh_autofree char *raw = NULL;
    int found = value_of(m, t, &raw, err);
    if (found <= 0 || apply_match(t, &raw, err) < 0)
        return found == 0 ? 0 : -1;
    struct pep440_text p = {.raw = raw};
    if (!metadata_pep440_parse(raw, &p.v)) {
        wh_action_warning(
            "%s does not conform to PEP 440. More info: https://www.python.org/dev/peps/pep-0440", raw);
        return 0;
    }
    const char *pattern = metadata_attr(t, "pattern");
    bool release = !p.v.pre && !p.v.post && !p.v.dev;
    wh_autofree char *value = release ? wh_handlebars(pattern, pep440_value, &p, err)
                              : wh_handlebars_is_only(pattern, "raw") ? wh_strdup(raw)
                                                                      : wh_strdup(p.v.clean);
    metadata_pep440_free(&p.v);
    return value ? add_version(m, t, value, release, err) : -1;
}

/* "/expression/flags", or the expression alone. */
static int find_match(const struct metadata_tag *t, const char *text, unsigned group, char **out,
                      struct wh_error *err)
{
    const char *pattern = metadata_attr(t, "pattern"), *last = strrchr(pattern, '/');
    if (pattern[0] != '/' || !last || last < pattern + 2)
        return metadata_match(pattern, "", text, group, out, err);
    wh_autofree char *inner = wh_strndup(pattern + 1, (size_t)(last - pattern - 1));
    return metadata_match(inner, last + 1, text, group, out, err);
}

static int do_match(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    wh_autofree char *raw = NULL, *value = NULL;
    int found = value_of(m, t, &raw, err);
    if (found <= 0)
        return found;
    const char *pattern = metadata_attr(t, "pattern"), *group = metadata_attr(t, "group");
    int matched = find_match(t, raw, (unsigned)strtoul(group, NULL, 10), &value, err);
    if (matched < 0)
        return -1;
    if (value)
        return add_version(m, t, value, true, err);
    if (matched)
        wh_action_warning("Group %s does not exist for %s pattern.", group, pattern);
    else
        wh_action_warning("%s does not match %s.", pattern, raw);
    return 0;
}

static int do_ref(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    const char *event = metadata_attr(t, "event"), *ref = m->context.ref;
    if (wh_streq(event, "pr")) {
        const char *pull = below(ref, "refs/pull/");
        if (!pull)
            return 0;
        size_t len = strlen(pull);
        wh_autofree char *name =
            wh_strndup(pull, wh_ends_with(pull, "/merge") ? len - strlen("/merge") : len);
        return add_version(m, t, name, false, err);
    }
    bool tag = wh_streq(event, "tag");
    const char *name = below(ref, tag ? "refs/tags/" : "refs/heads/");
    return name ? add_version(m, t, name, tag, err) : 0;
}

static int do_edge(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    const char *branch = below(m->context.ref, "refs/heads/"), *wanted = metadata_attr(t, "branch");
    if (!branch || !wh_streq(branch, wanted[0] ? wanted : m->context.default_branch))
        return 0;
    return add_version(m, t, "edge", false, err);
}

static int do_raw(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    wh_autofree char *value = metadata_expand(m, metadata_attr(t, "value"), err);
    return value ? add_version(m, t, value, false, err) : -1;
}

static int do_sha(struct metadata *m, const struct metadata_tag *t, struct wh_error *err)
{
    const char *sha = m->context.sha;
    if (!sha[0])
        return 0;
    wh_autofree char *value =
        wh_streq(metadata_attr(t, "format"), "short") ? short_sha(sha, err) : wh_strdup(sha);
    return value ? add_version(m, t, value, false, err) : -1;
}

int metadata_make_version(struct metadata *m, struct wh_error *err)
{
    static int (*const rules[])(struct metadata *, const struct metadata_tag *, struct wh_error *) = {
        [METADATA_SCHEDULE] = do_schedule, [METADATA_SEMVER] = do_semver, [METADATA_PEP440] = do_pep440,
        [METADATA_MATCH] = do_match,       [METADATA_EDGE] = do_edge,     [METADATA_REF] = do_ref,
        [METADATA_RAW] = do_raw,           [METADATA_SHA] = do_sha,
    };
    m->latest = -1;
    for (size_t i = 0; i < m->in.ntags; i++) {
        const struct metadata_tag *t = &m->in.tags[i];
        wh_autofree char *enable = metadata_expand(m, metadata_attr(t, "enable"), err);
        if (!enable)
            return -1;
        if (!wh_streq(enable, "true") && !wh_streq(enable, "false"))
            return wh_fail(err, WH_E_ARGUMENT, "Invalid value for enable attribute: %s", enable);
        if (wh_streq(enable, "true") && rules[t->type](m, t, err) < 0)
            return -1;
    }
    return 0;
}
