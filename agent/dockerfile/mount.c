/* RUN --mount: one record with its variables expanded (builder.md §1.3). */
#include "dockerfile/mount.h"

#include "dockerfile/text.h"

static const char *const type_names[] = {"bind", "cache", "tmpfs", "secret", "ssh", NULL};
static const char *const sharing_names[] = {"shared", "private", "locked", NULL};
static const char *const key_names[] = {
    "type", "from", "source", "target", "readonly",    "id", "sharing", "required",  "size", "mode",
    "uid",  "gid",  "src",    "dst",    "destination", "ro", "rw",      "readwrite", "env",  NULL};

/* What is being read: read_only is decided by the type unless a key said it. */
struct reading {
    struct df_mount_fields *m;
    bool ro_said;
};

void df_mount_fields_clear(struct df_mount_fields *m)
{
    free(m->from);
    free(m->source);
    free(m->target);
    free(m->id);
    free(m->env);
    *m = (struct df_mount_fields){0};
}

static int find(const char *const *names, const char *text)
{
    for (int i = 0; names[i]; i++)
        if (wh_streq_ci(names[i], text))
            return i;
    return -1;
}

static int unsupported(const char *what, const char *value, const char *const *names, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_str_addf(&text, "unsupported %s ", what);
    df_add_quoted(&text, value);
    df_suggest(&text, value, names, false);
    return wh_fail(err, WH_E_PARSE, "%s", wh_str_text(&text));
}

static int wrong_type(const char *key, const struct df_mount_fields *m, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "unexpected key '%s' for mount type '%s'", key, type_names[m->type]);
}

static int bad_value(const char *key, const char *value, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "invalid value for %s: %s", key, value);
}

/* strconv.ParseBool. */
static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < WH_COUNT(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static bool parse_octal(const char *text, unsigned *out)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '7' || v > UINT32_MAX / 8)
            return false;
        v = v * 8 + (uint64_t)(*text - '0');
    }
    *out = (unsigned)v;
    return true;
}

static bool may_be_required(const struct df_mount_fields *m)
{
    return m->type == WH_DF_MOUNT_SECRET || m->type == WH_DF_MOUNT_SSH;
}

static void replace(char **field, const char *value)
{
    free(*field);
    *field = wh_strdup(value);
}

/* A key without a value. */
static int bare_key(struct reading *in, const char *key, const char *field, struct wh_error *err)
{
    struct df_mount_fields *m = in->m;
    if (strcmp(key, "readonly") == 0 || strcmp(key, "ro") == 0) {
        m->read_only = in->ro_said = true;
    } else if (strcmp(key, "readwrite") == 0 || strcmp(key, "rw") == 0) {
        m->read_only = false;
        in->ro_said = true;
    } else if (strcmp(key, "required") == 0) {
        if (!may_be_required(m))
            return wrong_type(key, m, err);
        m->required = true;
    } else {
        return wh_fail(err, WH_E_PARSE, "invalid field '%s' must be a key=value pair", field);
    }
    return 0;
}

static int boolean_key(struct reading *in, const char *key, const char *value, struct wh_error *err)
{
    struct df_mount_fields *m = in->m;
    if (strcmp(key, "required") == 0 && !may_be_required(m))
        return wrong_type(key, m, err);
    bool b;
    if (!parse_bool(value, &b))
        return bad_value(key, value, err);
    if (strcmp(key, "required") == 0) {
        m->required = b;
        return 0;
    }
    m->read_only = key[0] == 'r' && (strcmp(key, "ro") == 0 || strcmp(key, "readonly") == 0) ? b : !b;
    in->ro_said = true;
    return 0;
}

static int number_key(struct df_mount_fields *m, const char *key, const char *value, struct wh_error *err)
{
    uint64_t v;
    if (strcmp(key, "size") == 0) {
        if (m->type != WH_DF_MOUNT_TMPFS)
            return wrong_type(key, m, err);
        return wh_parse_size(value, &m->size) ? 0 : bad_value(key, value, err);
    }
    if (strcmp(key, "mode") == 0) {
        m->has_mode = parse_octal(value, &m->mode);
        return m->has_mode ? 0 : wh_fail(err, WH_E_PARSE, "invalid value %s for mode", value);
    }
    if (!wh_parse_u64(value, UINT32_MAX, &v))
        return wh_fail(err, WH_E_PARSE, "invalid value %s for %s", value, key);
    bool uid = key[0] == 'u';
    *(uid ? &m->has_uid : &m->has_gid) = true;
    *(uid ? &m->uid : &m->gid) = (unsigned)v;
    return 0;
}

static int set_key(struct reading *in, const char *key, const char *value, const char *field,
                   struct wh_error *err)
{
    struct df_mount_fields *m = in->m;
    int i;
    if (strcmp(key, "type") == 0) {
        if ((i = find(type_names, value)) < 0)
            return unsupported("mount type", value, type_names, err);
        m->type = (enum wh_df_mount_type)i;
    } else if (strcmp(key, "from") == 0) {
        replace(&m->from, value);
    } else if (strcmp(key, "source") == 0 || strcmp(key, "src") == 0) {
        replace(&m->source, value);
    } else if (strcmp(key, "target") == 0 || strcmp(key, "dst") == 0 || strcmp(key, "destination") == 0) {
        replace(&m->target, value);
    } else if (strcmp(key, "id") == 0) {
        replace(&m->id, value);
    } else if (strcmp(key, "env") == 0) {
        replace(&m->env, value);
    } else if (strcmp(key, "sharing") == 0) {
        if ((i = find(sharing_names, value)) < 0)
            return unsupported("sharing value", value, sharing_names, err);
        m->sharing = (enum wh_df_sharing)i;
        m->has_sharing = true;
    } else if (strcmp(key, "size") == 0 || strcmp(key, "mode") == 0 || strcmp(key, "uid") == 0 ||
               strcmp(key, "gid") == 0) {
        return number_key(m, key, value, err);
    } else if (find(key_names, key) >= 0) {
        return boolean_key(in, key, value, err);
    } else {
        wh_autostr text = {0};
        wh_str_addf(&text, "unexpected key '%s' in '%s'", key, field);
        df_suggest(&text, key, key_names, false);
        return wh_fail(err, WH_E_PARSE, "%s", wh_str_text(&text));
    }
    return 0;
}

static bool given(const char *text)
{
    return text && text[0] != '\0';
}

static int check(const struct df_mount_fields *m, struct wh_error *err)
{
    const char *type = type_names[m->type];
    if (m->type == WH_DF_MOUNT_BIND || m->type == WH_DF_MOUNT_TMPFS) {
        const char *bad = m->has_mode ? "mode" : m->has_uid ? "uid" : m->has_gid ? "gid" : NULL;
        if (bad)
            return wh_fail(err, WH_E_PARSE, "%s not allowed for \"%s\" type mounts", bad, type);
    }
    if (m->type == WH_DF_MOUNT_SECRET) {
        if (given(m->from))
            return wh_fail(err, WH_E_PARSE, "secret mount should not have a from");
        if (m->has_sharing)
            return wh_fail(err, WH_E_PARSE, "secret mount should not define sharing");
        if (!given(m->source) && !given(m->target) && !given(m->id))
            return wh_fail(err, WH_E_PARSE, "invalid secret mount. one of source, target required");
        if (given(m->source) && given(m->id))
            return wh_fail(err, WH_E_PARSE, "both source and id can't be set");
    }
    if (m->has_sharing && m->type != WH_DF_MOUNT_CACHE)
        return wh_fail(err, WH_E_PARSE, "invalid cache sharing set for %s mount", type);
    return 0;
}

static int read_field(struct reading *in, const char *field, char *const *env, char escape,
                      struct wh_df_expansion *seen, struct wh_error *err)
{
    const char *eq = strchr(field, '=');
    wh_autofree char *key = eq ? wh_strndup(field, (size_t)(eq - field)) : wh_strdup(field);
    wh_ascii_lower(key);
    if (!eq)
        return bare_key(in, key, field, err);
    wh_autofree char *value = NULL;
    if (wh_df_expand(eq + 1, env, escape, WH_DF_EXPAND, &value, seen, err) < 0)
        return -1;
    return set_key(in, key, value, field, err);
}

int df_mount_parse(const char *text, char *const *env, char escape, struct wh_df_expansion *seen,
                   struct df_mount_fields *out, struct wh_error *err)
{
    *out = (struct df_mount_fields){.type = WH_DF_MOUNT_BIND};
    struct reading in = {.m = out};
    wh_autostrv char **fields = NULL;
    if (df_csv_fields(text, &fields, err) < 0)
        return wh_wrap(err, "failed to parse csv mounts");
    int r = 0;
    for (size_t i = 0; fields[i] && r == 0; i++)
        r = read_field(&in, fields[i], env, escape, seen, err);
    if (r == 0) {
        if (!in.ro_said)
            out->read_only = out->type != WH_DF_MOUNT_CACHE && out->type != WH_DF_MOUNT_TMPFS;
        r = check(out, err);
    }
    if (r < 0)
        df_mount_fields_clear(out);
    return r;
}
