/* WWW-Authenticate: which of the offered schemes we can speak (builder.md §7 Auth). */
#include "wherry/oci/registry.h"

#define MAX_CHALLENGE 16384
#define MAX_PARAMETERS 64

void wh_challenge_clear(struct wh_challenge *c)
{
    free(c->realm);
    free(c->service);
    free(c->scope);
    free(c->error);
    *c = (struct wh_challenge){0};
}

static bool is_token(int c)
{
    return c > 0x20 && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(struct wh_reader *r)
{
    while (is_blank(wh_reader_peek(r)))
        wh_reader_next(r);
}

static void take_token(struct wh_reader *r, struct wh_str *out)
{
    wh_str_clear(out);
    while (is_token(wh_reader_peek(r)))
        wh_str_addc(out, (char)wh_reader_next(r));
}

static bool take_quoted(struct wh_reader *r, struct wh_str *out)
{
    wh_str_clear(out);
    for (;;) {
        int c = wh_reader_next(r);
        if (c == '"')
            return true;
        if (c == '\\')
            c = wh_reader_next(r);
        if (c < 0)
            return false;
        if (c == 0 || c == '\r' || c == '\n')
            return false;
        wh_str_addc(out, (char)c);
    }
}

static void keep(struct wh_challenge *c, const char *name, const char *value)
{
    char **field = wh_streq_ci(name, "realm")     ? &c->realm
                   : wh_streq_ci(name, "service") ? &c->service
                   : wh_streq_ci(name, "scope")   ? &c->scope
                   : wh_streq_ci(name, "error")   ? &c->error
                                                  : NULL;
    if (field && !*field)
        *field = wh_strdup(value);
}

/* What follows a token: "name = value" is a parameter; anything else means that the token was a scheme (or
 * its token68). */
static bool take_parameter_value(struct wh_reader *r, struct wh_str *value, bool *broken)
{
    size_t at = r->pos;
    skip_blanks(r);
    if (!wh_reader_take(r, '=')) {
        r->pos = at;
        return false;
    }
    skip_blanks(r);
    if (wh_reader_take(r, '"')) {
        *broken = !take_quoted(r, value);
        return true;
    }
    take_token(r, value);
    return true;
}

/* The next scheme with its parameters. False at the end. */
static bool next_challenge(struct wh_reader *r, struct wh_str *scheme, struct wh_challenge *c)
{
    wh_autostr name = {0}, value = {0};
    bool broken = false;
    while (is_blank(wh_reader_peek(r)) || wh_reader_peek(r) == ',')
        wh_reader_next(r);
    take_token(r, scheme);
    if (scheme->len == 0)
        return false;
    for (int n = 0; n < MAX_PARAMETERS; n++) {
        size_t before = r->pos;
        while (is_blank(wh_reader_peek(r)) || wh_reader_peek(r) == ',')
            wh_reader_next(r);
        take_token(r, &name);
        if (name.len == 0)
            return true;
        if (!take_parameter_value(r, &value, &broken)) {
            r->pos = before; /* the next scheme */
            return true;
        }
        if (broken)
            return true;
        keep(c, wh_str_text(&name), wh_str_text(&value));
    }
    return true;
}

int wh_challenge_parse(const char *header, struct wh_challenge *out, struct wh_error *err)
{
    size_t len = strlen(header);
    if (len > MAX_CHALLENGE)
        return wh_fail(err, WH_E_LIMIT, "the WWW-Authenticate header is longer than %d bytes", MAX_CHALLENGE);
    struct wh_reader r = wh_reader_of(header, len);
    wh_autostr scheme = {0};
    struct wh_challenge best = {0};
    bool found = false;
    for (;;) {
        struct wh_challenge c = {0};
        if (!next_challenge(&r, &scheme, &c)) {
            wh_challenge_clear(&c);
            break;
        }
        c.bearer = wh_streq_ci(wh_str_text(&scheme), "bearer");
        bool usable = (c.bearer && c.realm) || wh_streq_ci(wh_str_text(&scheme), "basic");
        if (usable && (!found || (c.bearer && !best.bearer))) {
            wh_challenge_clear(&best);
            best = c;
            found = true;
        } else {
            wh_challenge_clear(&c);
        }
    }
    if (!found)
        return wh_fail(err, WH_E_PROTOCOL, "it asks for an authentication that is not known here: \"%.200s\"",
                       header);
    *out = best;
    return 0;
}
