/* CSV over a whole input: newlines end records, a field that starts with a quote may hold commas and
 * newlines. */
#include "actions/lists.h"

/* One field from the reader. raw (may be NULL) gets it as typed. Stops before the comma or newline that ends
 * it. */
static void take_field(struct wh_reader *r, struct wh_str *field, struct wh_str *raw)
{
    size_t start = r->pos;
    if (wh_reader_take(r, '"')) {
        for (int c = wh_reader_next(r); c != -1; c = wh_reader_next(r)) {
            if (c != '"')
                wh_str_addc(field, (char)c);
            else if (wh_reader_take(r, '"'))
                wh_str_addc(field, '"');
            else
                break;
        }
        int after = wh_reader_peek(r);
        if (after != -1 && after != ',' && after != '\n' && after != '\r') {
            r->pos = start; /* text behind the closing quote: the quotes are literal */
            wh_str_clear(field);
        }
    }
    for (int c = wh_reader_peek(r); c != -1 && c != ',' && c != '\n'; c = wh_reader_peek(r)) {
        wh_reader_next(r);
        if (c != '\r' || wh_reader_peek(r) != '\n')
            wh_str_addc(field, (char)c);
    }
    if (raw)
        wh_str_addn(raw, r->data + start, r->pos - start);
}

static void add_trimmed(char ***items, const char *text)
{
    struct wh_view v = wh_view_trim(wh_view_of(text));
    if (v.len > 0)
        wh_strv_take(items, wh_view_dup(v));
}

static void end_record(char ***items, char **fields, const struct wh_str *raw, enum wh_list_mode mode)
{
    if (mode == WH_LIST_CSV && wh_strv_len(fields) == 1) {
        wh_autostrv char **parts = wh_strv_split(fields[0], ',');
        for (char **p = parts; *p; p++)
            add_trimmed(items, *p);
    } else if (mode == WH_LIST_CSV) {
        for (char **f = fields; f && *f; f++)
            add_trimmed(items, *f);
    } else if (mode == WH_LIST_LINE) {
        wh_autofree char *line = wh_strv_join(fields, ",");
        add_trimmed(items, line);
    } else {
        add_trimmed(items, wh_str_text(raw));
    }
}

char **wh_input_list(const char *text, enum wh_list_mode mode)
{
    char **items = NULL;
    struct wh_reader r = wh_reader_of(text, strlen(text));
    while (!wh_reader_end(&r)) {
        wh_autostrv char **fields = NULL;
        wh_autostr raw = {0};
        do {
            wh_autostr field = {0};
            if (fields)
                wh_str_addc(&raw, ',');
            take_field(&r, &field, &raw);
            wh_strv_add(&fields, wh_str_text(&field));
        } while (wh_reader_take(&r, ','));
        wh_reader_take(&r, '\n');
        end_record(&items, fields, &raw, mode);
    }
    return items;
}

char *wh_input_uncomment(const char *text, enum wh_list_comments comments)
{
    wh_autostr out = {0};
    bool record = true, field = true, quoted = false;
    for (const char *p = text; *p; p++) {
        if (*p == '#' && !quoted && (record || comments == WH_LIST_COMMENT_ANYWHERE)) {
            p += strcspn(p, "\n");
            if (!*p)
                break;
        }
        if (*p == '"' && (field || quoted))
            quoted = !quoted;
        record = !quoted && *p == '\n';
        field = record || (!quoted && *p == ',');
        wh_str_addc(&out, *p);
    }
    return wh_str_steal(&out);
}
