/* Ranges of bytes, and lists of blocks: what clients write into headers and XML. */
#include <ctype.h>

#include "cachesvc/internal.h"

static bool take_number(struct wh_reader *r, uint64_t *out)
{
    bool any = false;
    *out = 0;
    while (isdigit(wh_reader_peek(r))) {
        unsigned digit = (unsigned)(wh_reader_next(r) - '0');
        if (*out > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
        any = true;
    }
    return any;
}

bool svc_content_range(const char *text, uint64_t *start, uint64_t *end)
{
    struct wh_reader r = wh_reader_of(text, text ? strlen(text) : 0);
    if (!wh_reader_take_text(&r, "bytes ") || !take_number(&r, start) || !wh_reader_take(&r, '-') ||
        !take_number(&r, end) || *end < *start || !wh_reader_take(&r, '/'))
        return false;
    uint64_t total;
    if (!wh_reader_take(&r, '*') && !take_number(&r, &total))
        return false;
    return wh_reader_end(&r);
}

enum svc_range svc_range(const char *text, uint64_t size, uint64_t *start, uint64_t *end)
{
    struct wh_reader r = wh_reader_of(text, text ? strlen(text) : 0);
    if (!wh_reader_take_text(&r, "bytes="))
        return RANGE_NONE;
    bool tail = wh_reader_take(&r, '-');
    if (!take_number(&r, start))
        return RANGE_NONE;
    *end = size ? size - 1 : 0;
    if (tail) {
        uint64_t n = *start;
        *start = n < size ? size - n : 0;
        return !wh_reader_end(&r) ? RANGE_NONE : n == 0 || size == 0 ? RANGE_OUTSIDE : RANGE_PART;
    }
    uint64_t last = 0;
    if (!wh_reader_take(&r, '-'))
        return RANGE_NONE;
    if (!wh_reader_end(&r)) {
        if (!take_number(&r, &last) || !wh_reader_end(&r) || last < *start)
            return RANGE_NONE;
        *end = WH_MIN(*end, last);
    }
    return *start >= size ? RANGE_OUTSIDE : RANGE_PART;
}

bool svc_block_id_ok(const char *id)
{
    wh_autostr bytes = {0};
    size_t len = strlen(id);
    return len > 0 && len <= WH_MAX_UPLOAD_ID && wh_unbase64(id, len, &bytes) && bytes.len > 0 &&
           bytes.len <= WH_MAX_CACHE_BLOCK_ID;
}

/* ---- <BlockList><Latest>id</Latest>...</BlockList> ---- */

static void skip_blanks(struct wh_reader *r)
{
    while (isspace(wh_reader_peek(r)))
        (void)wh_reader_next(r);
}

/* Up to and with the text; false: it doesn't come. */
static bool skip_past(struct wh_reader *r, const char *text)
{
    while (!wh_reader_end(r)) {
        if (wh_reader_take_text(r, text))
            return true;
        (void)wh_reader_next(r);
    }
    return false;
}

static bool skip_prolog(struct wh_reader *r)
{
    (void)wh_reader_take_text(r, "\xef\xbb\xbf");
    skip_blanks(r);
    if (wh_reader_take_text(r, "<?xml") && !skip_past(r, "?>"))
        return false;
    skip_blanks(r);
    return true;
}

/* The text of an element whose start tag was taken, and its end tag. */
static char *take_id(struct wh_reader *r, const char *name)
{
    char id[WH_MAX_UPLOAD_ID + 1];
    size_t n = 0;
    skip_blanks(r);
    while (!wh_reader_end(r) && wh_reader_peek(r) != '<' && !isspace(wh_reader_peek(r))) {
        if (n == WH_MAX_UPLOAD_ID)
            return NULL;
        id[n++] = (char)wh_reader_next(r);
    }
    id[n] = '\0';
    skip_blanks(r);
    bool ended = wh_reader_take_text(r, "</") && wh_reader_take_text(r, name) && wh_reader_take(r, '>');
    return ended && strlen(id) == n && svc_block_id_ok(id) ? wh_strdup(id) : NULL;
}

static char *take_element(struct wh_reader *r)
{
    static const char *const names[] = {"Latest", "Uncommitted", "Committed"};
    if (!wh_reader_take(r, '<'))
        return NULL;
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (wh_reader_take_text(r, names[i]))
            return wh_reader_take(r, '>') ? take_id(r, names[i]) : NULL;
    return NULL;
}

char **svc_block_list(const char *xml, size_t len, size_t *n)
{
    struct wh_reader r = wh_reader_of(xml, len);
    *n = 0;
    if (!skip_prolog(&r))
        return NULL;
    char **ids = wh_calloc(1, sizeof(*ids));
    size_t room = 1;
    bool whole = wh_reader_take_text(&r, "<BlockList/>");
    if (!whole && wh_reader_take_text(&r, "<BlockList>")) {
        for (skip_blanks(&r); !(whole = wh_reader_take_text(&r, "</BlockList>")); skip_blanks(&r)) {
            char *id = *n < WH_MAX_CACHE_BLOCKS ? take_element(&r) : NULL;
            if (!id)
                break;
            if (*n + 1 == room)
                ids = wh_reallocarray(ids, room *= 2, sizeof(*ids));
            ids[(*n)++] = id;
            ids[*n] = NULL;
        }
    }
    skip_blanks(&r);
    if (whole && wh_reader_end(&r))
        return ids;
    wh_strv_free(ids);
    return NULL;
}
