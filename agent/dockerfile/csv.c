/* CSV records, devices, and what a mount record says before its variables are known. */
#include "dockerfile/mount.h"
#include "dockerfile/text.h"

static int bad_csv(struct wh_error *err, size_t column, const char *what)
{
    return wh_fail(err, WH_E_PARSE, "parse error on line 1, column %zu: %s", column, what);
}

/* A quoted field, behind its opening quote. */
static int quoted_field(struct wh_reader *r, struct wh_str *out, struct wh_error *err)
{
    int c;
    while ((c = wh_reader_next(r)) >= 0) {
        if (c != '"') {
            wh_str_addc(out, (char)c);
        } else if (wh_reader_take(r, '"')) {
            wh_str_addc(out, '"');
        } else if (wh_reader_end(r) || wh_reader_peek(r) == ',') {
            return 0;
        } else {
            return bad_csv(err, r->pos, "extraneous or missing \" in quoted-field");
        }
    }
    return bad_csv(err, r->pos + 1, "extraneous or missing \" in quoted-field");
}

int df_csv_fields(const char *text, char ***out, struct wh_error *err)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    if (wh_reader_end(&r))
        return wh_fail(err, WH_E_PARSE, "EOF"); /* Go's word for an empty record */
    size_t n = 0;
    do {
        wh_autostr field = {0};
        if (++n > 1024)
            return wh_fail(err, WH_E_LIMIT, "more than 1024 fields");
        if (wh_reader_take(&r, '"')) {
            if (quoted_field(&r, &field, err) < 0)
                return -1;
        } else {
            int c;
            while ((c = wh_reader_peek(&r)) >= 0 && c != ',') {
                if (c == '"')
                    return bad_csv(err, r.pos + 1, "bare \" in non-quoted-field");
                wh_str_addc(&field, (char)wh_reader_next(&r));
            }
        }
        wh_strv_take(out, wh_str_steal(&field));
    } while (wh_reader_take(&r, ','));
    return 0;
}

int df_mount_from(const char *text, char **from, struct wh_error *err)
{
    wh_autostrv char **fields = NULL;
    if (df_csv_fields(text, &fields, err) < 0)
        return wh_wrap(err, "failed to parse csv mounts");
    for (size_t i = 0; fields && fields[i]; i++) {
        const char *eq = strchr(fields[i], '=');
        if (!eq || eq - fields[i] != 4 || wh_strcmp_ci(fields[i], "from", 4) != 0)
            continue;
        const char *dollar = strchr(eq + 1, '$');
        if (dollar && dollar[1] != '\0')
            return wh_fail(err, WH_E_PARSE,
                           "'from' doesn't support variable expansion, define alias stage instead");
        free(*from);
        *from = wh_strdup(eq + 1);
    }
    return 0;
}

int df_device_check(const char *text, struct wh_error *err)
{
    wh_autostrv char **fields = NULL;
    if (df_csv_fields(text, &fields, err) < 0)
        return wh_wrap(err, "failed to parse csv devices");
    bool named = false;
    for (size_t i = 0; fields && fields[i]; i++) {
        const char *eq = strchr(fields[i], '=');
        wh_autofree char *key = eq ? wh_strndup(fields[i], (size_t)(eq - fields[i])) : wh_strdup(fields[i]);
        wh_ascii_lower(key);
        bool known = strcmp(key, "required") == 0 || (eq && strcmp(key, "name") == 0);
        if (!known && named)
            return eq ? wh_fail(err, WH_E_PARSE, "unexpected key '%s' in '%s'", key, fields[i])
                      : wh_fail(err, WH_E_PARSE, "invalid field '%s' must be a key=value pair", fields[i]);
        if (eq && strcmp(key, "name") == 0 && named)
            return wh_fail(err, WH_E_PARSE, "device name already set");
        named |= strcmp(key, "required") != 0;
    }
    return 0;
}
